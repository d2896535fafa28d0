"""`lockstep hil`, or `python -m hil`: the rig's command line."""

import argparse
import importlib
import sys
from collections.abc import Sequence

from hil.commands import UsageError
from hil.micropython import MicroPythonError
from hil.ports import PortError
from hil.scenario import ScenarioError
from twin.plant import PlantError
from twin.tables import Mistakes

COMMANDS = {"run": "run", "list": "listing", "faults": "faults", "compare": "compare", "nodes": "nodes", "export-fmu": "fmu"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line asks for; the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser(words[0] if words else "").parse_args(words)
    try:
        return int(options.do(options))
    except Mistakes as wrong:
        for mistake in wrong.mistakes:
            print(mistake, file=sys.stderr)
        return 1
    except (UsageError, ScenarioError, MicroPythonError, PortError, PlantError) as unusable:
        print(f"lockstep: {unusable}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser(wanted: str) -> argparse.ArgumentParser:
    """The parser with the command that is wanted, or with all: what each needs takes its time to import."""
    parser = argparse.ArgumentParser(prog="lockstep hil", description="Hardware in the loop, in factory time.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, module in COMMANDS.items():
        if wanted == name or wanted not in COMMANDS:
            importlib.import_module(f"hil.commands.{module}").add_to(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
