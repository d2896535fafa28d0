"""The words of `lockstep audit`; what it does is loaded when it is asked."""

import argparse
from pathlib import Path


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Give `lockstep` its command `audit`."""
    audit = commands.add_parser("audit", help="who did what, and whether the record of it is whole")
    audit.add_argument("--state", type=Path, metavar="DIR", required=True, help="the factory's state; it may run meanwhile")
    actions = audit.add_subparsers(required=True, metavar="ACTION")
    actions.add_parser("verify", help="find any record that was altered, left out, put in or moved").set_defaults(do=_verify)
    shown = actions.add_parser("show", help="print records")
    shown.add_argument("--since", metavar="TIME", help="2026-11-22T08:00, in UTC; or 3h, so long ago")
    shown.add_argument("--who", metavar="NAME", help="of one user")
    shown.add_argument("--action", metavar="WORD", help="of one kind: call, write, login, ...")
    shown.add_argument("--json", action="store_true", help="one JSON object a line")
    shown.set_defaults(do=_show)
    accepting = "after a break was found: say that you know of it, so that not only administrators may command again"
    actions.add_parser("accept", help=accepting).set_defaults(do=_accept)


def _verify(options: argparse.Namespace) -> int:
    from controller.audit.commands import run, verify_log

    return run(lambda: verify_log(options.state))


def _show(options: argparse.Namespace) -> int:
    from controller.audit.commands import run, show

    return run(lambda: show(options.state, options.since, options.who, options.action, options.json))


def _accept(options: argparse.Namespace) -> int:
    from controller.audit.commands import accept, run

    return run(lambda: accept(options.state))
