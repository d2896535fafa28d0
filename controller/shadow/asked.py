"""The words of `lockstep calibrate`; what it takes to do it is loaded when it is asked for."""

import argparse
from pathlib import Path


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Put the command among the others."""
    parser = commands.add_parser("calibrate", help="identify a machine's plant from a recorded run of it")
    parser.add_argument("machine", nargs="?")
    parser.add_argument("--list", action="store_true", help="only show which machines are calibrated, and from what")
    parser.add_argument("--factory", type=Path, required=True, metavar="FILE", help="factory.toml")
    parser.add_argument("--state", type=Path, required=True, metavar="DIR", help="of the history and the calibration")
    when = "ISO 8601, UTC unless it says otherwise, or how long ago: 90min"
    parser.add_argument("--from", dest="since", metavar="TIME", help=f"of the history, where the run begins, {when}")
    parser.add_argument("--to", dest="until", metavar="TIME", help="and where it ends, likewise")
    parser.add_argument("--trace", type=Path, metavar="FILE", help="a Trace's CSV instead of the history")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="identify this parameter, and no others")
    parser.add_argument("--free", action="append", default=[], metavar="NAME", help="this one too")
    parser.add_argument("--hold", action="append", default=[], metavar="NAME", help="hold this one at what is known of it")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="hold this one at a value in its unit")
    parser.add_argument("--anew", action="store_true", help="begin with the type's own values, not with what was identified before")
    parser.add_argument("--keep-anyway", action="store_true", help="also where residuals stay beyond their bounds")
    parser.add_argument("--dry-run", action="store_true", help="keep nothing")
    parser.set_defaults(do=_calibrate)


def _calibrate(options: argparse.Namespace) -> int:
    from controller.shadow.calibrate import calibrate

    return calibrate(options)
