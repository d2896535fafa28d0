"""`lockstep write` and `lockstep call`: ask a running core to set something of a machine, or to call what a foreign one has."""

import argparse
import getpass
import json
import math
import re
import sys
from pathlib import Path
from typing import Any

PATIENCE_S = 30.0
_WHOLE = re.compile(r"[+-]?[0-9]{1,19}")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Give `lockstep` its commands `write` and `call`."""
    write = commands.add_parser("write", help="set something of a machine; on a device, say what it reads afterwards")
    write.add_argument("machine", metavar="MACHINE")
    write.add_argument("signal", metavar="SIGNAL", help="such as speed of a belt")
    write.add_argument("value", metavar="VALUE", help="in its declared unit; true or false for a bit")
    write.set_defaults(do=_write)

    call = commands.add_parser("call", help="call a method of a machine on an OPC UA server")
    call.add_argument("machine", metavar="MACHINE")
    call.add_argument("method", metavar="METHOD")
    call.add_argument("arguments", metavar="NAME=VALUE", nargs="*")
    call.set_defaults(do=_call)
    for parser in (write, call):
        parser.add_argument("--state", type=Path, metavar="DIR", required=True, help="the running factory's state")


def value_of(text: str) -> bool | int | float | str:
    """What somebody typed as a value: true, false, a finite number in decimal digits, or else a text."""
    if text in ("true", "false"):
        return text == "true"
    if _WHOLE.fullmatch(text):
        return int(text)
    if _NUMBER.fullmatch(text) and math.isfinite(number := float(text)):
        return number
    return text


def _write(options: argparse.Namespace) -> int:
    args = {"machine": options.machine, "signal": options.signal, "value": value_of(options.value)}
    return _ask(options.state, "write", args)


def _call(options: argparse.Namespace) -> int:
    arguments: dict[str, Any] = {}
    for given in options.arguments:
        name, separator, value = given.partition("=")
        if not separator:
            print(f"lockstep call: {given!r} must be like NAME=VALUE", file=sys.stderr)
            return 2
        arguments[name] = value_of(value)
    return _ask(options.state, "call", {"machine": options.machine, "method": options.method, "arguments": arguments})


def _ask(state: Path, kind: str, args: dict[str, Any]) -> int:
    """0 where it was confirmed, 1 where it was not, 2 where nobody answered: then it is unknown whether it was done."""
    from controller.feed import FeedLost
    from controller.feed.follower import ask_once

    try:
        answer = ask_once(state / "feed.sock", kind, args, getpass.getuser(), PATIENCE_S)
    except FeedLost as lost:
        print(f"lockstep {kind}: {lost}", file=sys.stderr)
        return 2
    print(answer.text if answer.result is None else f"{answer.text}: {json.dumps(answer.result)}")
    return 0 if answer.ok else 1
