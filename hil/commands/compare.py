"""`lockstep hil compare A B`: whether two recordings tell the same."""

import argparse
from pathlib import Path

from hil.commands import UsageError
from hil.judging.tube import Tolerance
from twin.clock import ns

KEYS = ("abs", "rel", "lead", "lag")


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """The command's arguments."""
    found = commands.add_parser("compare", help="whether two recordings (.csv or .parquet) tell the same")
    found.add_argument("reference", type=Path)
    found.add_argument("found", type=Path)
    found.add_argument(
        "--tolerance",
        action="append",
        default=[],
        metavar="PATTERN:KEY=VALUE,…",
        help="what Signals may differ by: abs, rel, lead and lag [s], as '*/plant/*:abs=0.1,lag=0.02'; without a pattern all",
    )
    found.add_argument("--all", action="store_true", help="show what agrees, too")
    found.set_defaults(do=_compare)


def _compare(options: argparse.Namespace) -> int:
    from hil.judging.compare import compare
    from hil.reports.record import RecordError, read

    tolerances = dict(tolerance(text) for text in options.tolerance)
    try:
        reference, found = read(options.reference), read(options.found)
    except (RecordError, OSError) as unusable:
        raise UsageError(str(unusable)) from unusable
    verdicts = compare(reference, found, tolerances)
    failed = [verdict for verdict in verdicts if not verdict.passed]
    for verdict in verdicts if options.all else failed:
        print(verdict)
    print(f"{len(verdicts) - len(failed)} of {len(verdicts)} agree")
    return 1 if failed else 0


def tolerance(text: str) -> tuple[str, Tolerance]:
    """A pattern of Signals and what they may differ by, out of a command line.

    Raises:
        UsageError: what is wrong with it.
    """
    pattern, colon, values = text.rpartition(":")
    given: dict[str, float] = {}
    for pair in values.split(","):
        key, _, value = pair.partition("=")
        if key not in KEYS:
            raise UsageError(f"--tolerance {text!r}: {key!r} is none of {', '.join(KEYS)}")
        try:
            given[key] = float(value)
        except ValueError as wrong:
            raise UsageError(f"--tolerance {text!r}: {value!r} is not a number") from wrong
    times = {key: ns(given.pop(key)) for key in ("lead", "lag") if key in given}
    return (pattern if colon else "*"), Tolerance(**given, **times)  # type: ignore[arg-type]
