"""The words of `lockstep history`; what it does is loaded when it is asked."""

import argparse
from pathlib import Path

from controller.history.aggregates import AGGREGATES


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Give `lockstep` its command `history`."""
    history = commands.add_parser("history", help="what Signals were, and what happened")
    history.add_argument("factory", nargs="?", help="factory.toml, with its state in .lockstep/NAME; with --state the first Signal")
    history.add_argument("signals", nargs="*", metavar="SIGNAL", help="path or pattern, like printer-1/status/*; none: lists them")
    history.add_argument("--state", type=Path, metavar="DIR", help="the running factory's state, or an exported one")
    history.add_argument("--from", dest="since", metavar="TIME", help="2026-11-22T08:00, in UTC; or 3h, so long ago")
    history.add_argument("--to", dest="until", metavar="TIME", help="the same (now)")
    history.add_argument("--last", metavar="TIME", help="so long until --to: 10min, 3h, 2d (1h)")
    history.add_argument("--every", metavar="TIME", help="one line for each window of so long: 10s, 1min")
    history.add_argument("--aggregate", default="average", metavar="WHAT", help=f"of a window: {', '.join(AGGREGATES)} (average)")
    history.add_argument("--events", action="store_true", help="what happened, instead of values; SIGNAL is then a subject")
    history.add_argument("--gaps", action="store_true", help="when nothing was recorded, and why")
    form = history.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_true", help="comma-separated, with a head")
    form.add_argument("--json", action="store_true", help="one JSON object a line")
    form.add_argument("--parquet", type=Path, metavar="FILE", help="into a Parquet file")
    history.set_defaults(do=_run)


def _run(options: argparse.Namespace) -> int:
    from controller.history.commands import run

    return run(options)
