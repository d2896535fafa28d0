"""What `lockstep modbus scan` and `lockstep modbus lint` do and show."""

import argparse
import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.markup import escape
from rich.table import Table as Drawn

from controller.modbus import lint, scan
from controller.modbus.burst import UnitLink
from controller.modbus.devices import link_to
from controller.modbus.inquiry import How, Inquiry, Over, until_up
from twin.clock import MS, LoopClock, Ns, S
from twin.devices import Device, ModbusDevice, Tls
from twin.factory import read_map
from twin.maps import MapError, Place
from twin.serial import Serial

OPENING = Ns(5 * S)
OBJECTS = ("vendor", "product code", "revision", "vendor's page", "product", "model", "application")
UNITS, NETWORK_UNITS = range(1, 248), range(0, 256)
T = TypeVar("T")


class _Unusable(Exception):
    """What was asked for cannot be done; one line says why."""


def do(action: str, options: argparse.Namespace) -> int:
    """Carry an action out; the exit code."""
    try:
        return asyncio.run({"scan": _scan, "lint": _lint}[action](options))
    except (_Unusable, Over) as unusable:
        print(f"lockstep: {unusable}", file=sys.stderr)
    except MapError as wrong:
        for mistake in wrong.mistakes:
            print(mistake, file=sys.stderr)
    return 1


def _device(options: argparse.Namespace) -> Device:
    """What the command line names."""
    if (options.host is None) == (options.serial is None):
        raise _Unusable("name either HOST[:PORT] or --serial PORT")
    if options.timeout_ms < 1 or options.pause_ms < 0 or options.most < 1:
        raise _Unusable("--timeout-ms and --most must be above 0, --pause-ms not below it")
    if options.serial is not None:
        if options.tls is not None:
            raise _Unusable("--tls has no meaning on a serial line")
        line = Serial(options.serial, 1, options.baud, options.parity)
        return Device(options.serial, ModbusDevice("", 0, line, None, options.timeout_ms))
    tls = None if options.tls is None else Tls(options.tls[0], options.tls[1], options.tls[2], options.server_name)
    host, port = place(options.host, 802 if tls else 502)
    return Device(options.host, ModbusDevice(host, port, None, tls))


def place(text: str, usual: int) -> tuple[str, int]:
    """HOST, HOST:PORT or [ADDRESS]:PORT; an IPv6 address without a port may stand bare."""
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":")
    elif text.count(":") > 1:
        host, port = text, ""
    else:
        host, _, port = text.partition(":")
    number = int(port) if port.isdecimal() else usual
    if not host or (port and not port.isdecimal()) or not 1 <= number <= 65_535:
        raise _Unusable(f"{text}: must be HOST or HOST:PORT")
    return host, number


def numbers(text: str, allowed: range) -> list[int]:
    """Numbers out of 1-10,17."""
    found: list[int] = []
    for part in text.split(","):
        low, dash, high = part.partition("-")
        if not low.strip().isdecimal() or (dash and not high.strip().isdecimal()):
            raise _Unusable(f"--units {text}: must be like 1-10,17")
        found += range(int(low), int(high or low) + 1) if dash else [int(low)]
        if found and not (found[0] in allowed and found[-1] in allowed):
            raise _Unusable(f"--units {text}: {part} is outside {allowed.start} to {allowed.stop - 1}")
    return list(dict.fromkeys(found))


async def _over(options: argparse.Namespace, work: Callable[[UnitLink, LoopClock, How], Awaitable[T]]) -> T:
    """What `work` makes of the link, while that is kept up."""
    device, clock = _device(options), LoopClock(asyncio.get_running_loop())
    link = link_to(device, clock, Path())
    how = How(Ns(options.timeout_ms * MS), Ns(options.pause_ms * MS), options.most)
    running = asyncio.ensure_future(link.run())
    try:
        if not await until_up(link, clock, OPENING):
            raise _Unusable(link.cause)
        return await work(link, clock, how)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def _say(line: str) -> None:
    print(line, file=sys.stderr)


# ---- scan


async def _scan(options: argparse.Namespace) -> int:
    wanted = numbers(options.units, UNITS if options.serial is not None else NETWORK_UNITS)

    async def work(link: UnitLink, clock: LoopClock, how: How) -> tuple[list[scan.Unit], bool]:
        there, every = await scan.units(link, wanted, clock, how, _say)
        return [await scan.survey(link, unit, clock, how, _say) for unit in there], every

    found, every = await _over(options, work)
    if options.json:
        print(json.dumps({"answers_for_every_unit": every, "units": [as_json(unit) for unit in found]}))
    else:
        _draw(found, every, len(wanted))
    return 0 if found else 1


def as_json(unit: scan.Unit) -> dict[str, Any]:
    """A unit as JSON has it."""
    identity = {_object(number): text for number, text in unit.identity.items()}
    models = [asdict(model) | {"name": scan.MODELS.get(model.id, "")} for model in unit.models]
    tables = {str(table): asdict(found) for table, found in unit.tables.items()}
    sunspec = None if unit.base is None else {"base": unit.base, "models": models}
    told = {"unit": unit.unit, "identity": identity, "tables": tables, "sunspec": sunspec}
    return {**told, "notes": unit.notes, "requests": unit.asked}


def _object(number: int) -> str:
    return OBJECTS[number] if number < len(OBJECTS) else f"object {number}"


def _draw(found: list[scan.Unit], every: bool, wanted: int) -> None:
    console = Console(highlight=False, soft_wrap=True)
    if not found:
        console.print(f"none of {wanted} units answers")
    if every:
        console.print("it answers for every unit: it is one device and does not look at the number")
    for unit in found:
        table = Drawn(title=f"unit {unit.unit}", title_justify="left", show_header=False, border_style="dim")
        for number, text in unit.identity.items():
            table.add_row(_object(number), escape(text))
        if unit.base is not None:
            table.add_row("SunSpec", f"from {unit.base} on")
            for model in unit.models:
                what = f"at {model.address}, {model.length} registers  {scan.MODELS.get(model.id, '')}"
                table.add_row(f"  model {model.id}", what)
        for name, tables in unit.tables.items():
            table.add_row(name, _ranges(tables))
        for note in unit.notes:
            table.add_row("note", escape(note))
        table.add_row("requests", str(unit.asked))
        console.print(table)


def _ranges(tables: scan.Tables) -> str:
    if not tables.served:
        return "not served"
    if not tables.ranges:
        return "nothing found"
    spans = [f"{one.first} to {one.last}{' (sampled)' if one.sampled else ''}" for one in tables.ranges]
    return ", ".join(spans) + f"; up to {tables.most} in a request"


# ---- lint


async def _lint(options: argparse.Namespace) -> int:
    found = read_map(options.map, Path())
    places = [row.place for row in found.read]
    if not all(isinstance(place, Place) for place in places):
        raise _Unusable(f"{options.map}: is a Map of OPC UA, and a Modbus device is asked")
    units = {options.unit, *(place.unit for place in places if place.unit is not None)}

    async def work(link: UnitLink, clock: LoopClock, how: How) -> lint.Report:
        return await lint.lint(found, options.unit, {unit: Inquiry(link, unit, clock, how) for unit in units})

    report = await _over(options, work)
    if options.json:
        print(json.dumps(asdict(report)))
    else:
        _draw_report(options.map, report)
    return 1 if report.findings else 0


def _draw_report(name: str, report: lint.Report) -> None:
    console = Console(highlight=False, soft_wrap=True)
    if report.findings:
        table = Drawn(border_style="dim")
        for head in ("line", "Signal", "place", "what", "why"):
            table.add_column(head, overflow="fold")
        for one in report.findings:
            table.add_row(str(one.line or ""), one.signal, one.place, one.kind, escape(one.text))
        console.print(table)
    for why, names in report.absent.items():
        console.print(escape(f"{why}: {', '.join(names[:8])}{f' and {len(names) - 8} more' if len(names) > 8 else ''}"))
    console.print(
        f"{name}: {report.read} of {report.signals} Signals were read with {report.asked} requests, {len(report.findings)} findings"
    )
