"""`lockstep modbus …`: find out about a device, compare a Map with it, make a Map of somebody else's table."""

import argparse
from functools import partial
from pathlib import Path

from controller.modbus import importing
from twin.serial import PARITIES


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Give `lockstep` its command `modbus`."""
    modbus = commands.add_parser("modbus", help="Modbus devices of others: find out, compare with a Map, import a Map")
    actions = modbus.add_subparsers(required=True, metavar="ACTION")

    look = actions.add_parser("scan", help="units, their identification, what can be read, SunSpec models")
    look.add_argument("host", nargs="?", metavar="HOST[:PORT]")
    look.add_argument("--units", default="1-247", metavar="1-247", help="which units to look for, as 1-10,17 (all)")
    _reached(look)
    look.set_defaults(do=partial(_do, "scan"))

    compare = actions.add_parser("lint", help="what of a Map does not fit the live device")
    compare.add_argument("map", metavar="MAP", help="a packaged Map's name, or a file")
    compare.add_argument("--against", dest="host", metavar="HOST[:PORT]")
    compare.add_argument("--unit", type=int, default=1, help="the machine's unit (1)")
    _reached(compare)
    compare.set_defaults(do=partial(_do, "lint"))

    importing.add_to(actions)


def _reached(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--serial", metavar="PORT", help="on a serial line instead, as /dev/ttyUSB0")
    parser.add_argument("--baud", type=int, default=9600, help="of the line (9600)")
    parser.add_argument("--parity", choices=PARITIES, default="none", help="of the line (none)")
    names = ("CERTIFICATE", "KEY", "AUTHORITY")
    parser.add_argument("--tls", nargs=3, type=Path, metavar=names, help="our certificate and key, and the device's authority")
    parser.add_argument("--server-name", default="", metavar="NAME", help="of the device's certificate (the host)")
    parser.add_argument("--timeout-ms", type=int, default=500, help="how long a reply is waited for (500)")
    parser.add_argument("--pause-ms", type=int, default=0, help="silence before each request (0)")
    parser.add_argument("--most", type=int, default=4000, metavar="N", help="requests to each unit at most (4000)")
    parser.add_argument("--json", action="store_true", help="one JSON object")


def _do(action: str, options: argparse.Namespace) -> int:
    from controller.modbus import looking  # Numba and pymodbus are loaded only where they are needed

    return looking.do(action, options)
