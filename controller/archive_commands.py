"""`lockstep export` and `lockstep import`."""

import argparse
import sys
from pathlib import Path

from twin.clock import utc_ns


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Give `lockstep` these commands."""
    out = commands.add_parser("export", help="all of a factory's state, in open formats")
    out.add_argument("out", type=Path, metavar="OUT", help="a folder that is made")
    out.add_argument("--state", type=Path, metavar="DIR", required=True, help="the factory's state; it may run meanwhile")
    kept = "with password hashes, private keys and all other files: keep it as you keep those"
    out.add_argument("--secrets", action="store_true", help=kept)
    out.set_defaults(do=_export)

    back = commands.add_parser("import", help="make a state of an export")
    back.add_argument("source", type=Path, metavar="IN", help="the folder that export has made")
    back.add_argument("--state", type=Path, metavar="DIR", required=True, help="where there is none yet")
    back.set_defaults(do=_import)


def _export(options: argparse.Namespace) -> int:
    from controller.archive import ArchiveError, export

    try:
        made = export(options.state, options.out, options.secrets, utc_ns())
    except ArchiveError as refused:
        print(f"lockstep export: {refused}", file=sys.stderr)
        return 1
    size = sum(one["bytes"] for one in made["files"].values())
    print(f"{options.out}: {len(made['files'])} files, {size / 1e6:.1f} MB")
    return 0


def _import(options: argparse.Namespace) -> int:
    from controller.archive import ArchiveError, load

    try:
        waiting = load(options.source, options.state)
    except ArchiveError as refused:
        print(f"lockstep import: {refused}", file=sys.stderr)
        return 1
    print(f"{options.state}: imported")
    for name in waiting:
        print(f"{name} has no password yet: lockstep user --state {options.state} add {name} ROLE")
    return 0
