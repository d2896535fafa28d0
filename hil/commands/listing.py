"""`lockstep hil list`: the scenarios there are, and the targets, absent ones with the reason."""

import argparse
import json

from rich.console import Console
from rich.table import Table

from hil import scenarios
from hil.scenario import SCENARIOS
from hil.targets.choice import TARGETS, why_absent

HELP = "the scenarios there are, and the targets"


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """The command's arguments."""
    found = commands.add_parser("list", help=HELP)
    found.add_argument("--json", action="store_true", help="one JSON object")
    found.set_defaults(do=_list)


def _list(options: argparse.Namespace) -> int:
    scenarios.load()
    targets = {name: why_absent(name) for name in TARGETS}
    if options.json:
        told = {
            name: {
                "text": one.text,
                "parameters": {
                    n: {"default": p.default, "low": p.low, "high": p.high, "text": p.text} for n, p in one.parameters.items()
                },
            }
            for name, one in SCENARIOS.items()
        }
        print(json.dumps({"scenarios": told, "targets": targets}))
        return 0
    console = Console()
    table = Table("scenario", "what happens", "parameters", box=None, pad_edge=False)
    for name, one in SCENARIOS.items():
        table.add_row(name, one.text, ", ".join(f"{n}={p.default:g}" for n, p in one.parameters.items()))
    console.print(table)
    console.print()
    table = Table("target", "", box=None, pad_edge=False)
    for name, why in targets.items():
        table.add_row(name, f"absent: {why}" if why else "present")
    console.print(table)
    return 0
