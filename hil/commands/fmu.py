"""`lockstep hil export-fmu FACTORY MACHINE`: the twin of a machine as an FMI 3.0 co-simulation unit."""

import argparse
from pathlib import Path

from hil.commands import UsageError
from hil.exchange.fmu import FmuError, export
from twin.factory import read


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """The command's arguments."""
    made = commands.add_parser("export-fmu", help="a machine's twin as an FMI 3.0 co-simulation unit")
    made.add_argument("factory", type=Path)
    made.add_argument("machine")
    made.add_argument("--to", type=Path, default=Path("."), metavar="FOLDER", help="where the unit goes; here, unless told")
    made.add_argument("--step-ms", type=float, default=10.0, help="usual time between communication points; with axes the longest")
    made.set_defaults(do=_export)


def _export(options: argparse.Namespace) -> int:
    factory = read(options.factory)
    machine = factory.machines.get(options.machine)
    if machine is None:
        raise UsageError(f"no machine {options.machine!r}; there are {', '.join(factory.machines)}")
    try:
        print(export(machine, options.to, options.step_ms / 1000))
    except FmuError as unusable:
        raise UsageError(str(unusable)) from unusable
    return 0
