"""A Map against the live device: every readable Signal is read, and what does not fit is named.

What a value should be like nobody has told us; so a hint is given only where another reading of the same registers fits better.
"""

import enum
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, cast

from controller.fieldbus.decode import NO_VALUE, Decoder, Recipe
from controller.fieldbus.plan import Atom, Block, plan
from controller.fieldbus.sunspec import Chain, placed
from controller.modbus.inquiry import Inquiry
from controller.modbus.likely import likely, unlikely
from controller.modbus.pdu import ModbusError, Refused, Words
from controller.modbus.scan import chain_of
from twin.maps import Form, Map, Mapped, Order, Place, Table
from twin.trace import Quality

READS = 3
"""How often everything is read."""
MOST_NEIGHBOURS = 40
"""Signals whose neighbours are looked at."""
ADDRESSES = 65_536
SWAPPED = {Order.ABCD: Order.CDAB, Order.CDAB: Order.ABCD, Order.BADC: Order.DCBA, Order.DCBA: Order.BADC}
"""What is most often taken for each other."""


class Kind(enum.StrEnum):
    """What is wrong."""

    REFUSED = "refused"
    RANGE = "out of range"
    VALUE = "no such value"
    IMPLAUSIBLE = "implausible"
    OFF_BY_ONE = "off by one"
    ORDER = "word order"
    TORN = "torn"
    SPLIT = "block"
    LOST = "not there"


_MISPLACED = (Kind.REFUSED, Kind.RANGE, Kind.VALUE, Kind.IMPLAUSIBLE)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that does not fit.

    Attributes:
        signal: its name; empty where it is about a block, or the Map as a whole.
        line: of the Map's file.
    """

    signal: str
    place: str
    kind: Kind
    text: str
    line: int = 0


@dataclass(frozen=True, slots=True)
class Heard:
    """A Signal as it was read: its words, by reading, and its value [declared unit] of the last."""

    row: Mapped
    words: tuple[Words, ...]
    value: Any
    cause: str


@dataclass(slots=True)
class Report:
    """What came of it.

    Attributes:
        absent: Signals without a value, by what the device says of them; a Map may have more than a device.
    """

    read: int = 0
    signals: int = 0
    asked: int = 0
    findings: list[Finding] = field(default_factory=list)
    absent: dict[str, list[str]] = field(default_factory=dict)


async def lint(map: Map, unit: int, inquiries: Mapping[int, Inquiry]) -> Report:
    """Read a device by a Map and compare.

    Args:
        unit: the machine's own.
        inquiries: to each unit that the Map names, and to `unit`.

    Raises:
        Over: the device has fallen silent.
    """
    report = Report(signals=len(map.read))
    rows = await _rows(map, inquiries[unit], report)
    by_name = {row.name: row for row in map.signals} | {row.name: row for row in rows}
    blocks = [block for found in plan(map, unit, rows=rows).values() for block in found]
    heard: list[Heard] = []
    for block in blocks:
        heard += await _block(inquiries[block.unit], block, rows, by_name, report)
    report.read = len(heard)
    for one in heard:
        if one.cause == NO_VALUE.cause:
            report.absent.setdefault(one.cause, []).append(one.row.name)
    report.findings += judged(heard)
    await _neighbours(inquiries, unit, rows, by_name, heard, report)
    report.findings.sort(key=lambda finding: (finding.line, finding.kind))
    report.asked = sum(inquiry.asked for inquiry in inquiries.values())
    return report


async def _rows(map: Map, inquiry: Inquiry, report: Report) -> list[Mapped]:
    """The readable rows; of a SunSpec Map with the places that the device says."""
    if not map.sunspec:
        return list(map.read)
    chain = await chain_of(inquiry, map.sunspec)
    if not isinstance(chain, Chain):
        report.findings.append(Finding("", "", Kind.LOST, chain))
        return []
    if chain.doubt:
        report.findings.append(Finding("", f"hr {chain.base}", Kind.LOST, chain.doubt))
    rows, lost = placed(map.read, chain)
    for name, why in lost.items():
        report.absent.setdefault(why, []).append(name)
    return [row for row in rows if row.name not in lost]


async def _block(
    inquiry: Inquiry, block: Block, rows: Sequence[Mapped], by_name: Mapping[str, Mapped], report: Report
) -> list[Heard]:
    """Its Signals, as far as they are answered. A block that is refused is halved until its Signals are known."""
    several = [await inquiry.read(block.table, block.first, block.count) for _ in range(READS)]
    if all(isinstance(one, tuple) for one in several):
        return _told(block, rows, by_name, [cast(Words, one) for one in several])
    refused = next(one for one in several if isinstance(one, ModbusError))
    halves = block.halves()
    if not halves:
        whole = _where(block)
        report.findings += [
            Finding(rows[i].name, str(rows[i].place), Kind.REFUSED, f"{whole}: {refused}", rows[i].line) for i in block.rows
        ]
        return []
    found = [heard for half in halves for heard in await _block(inquiry, half, rows, by_name, report)]
    if len(found) == len(block.rows):
        text = f"{block.count} at once are refused ({refused}), in two requests they are answered: most_registers, gap or forbidden"
        report.findings.append(Finding("", _where(block), Kind.SPLIT, text, min(rows[i].line for i in block.rows)))
    return found


def _where(block: Block) -> str:
    return f"{block.table} {block.first}" + (f" to {block.end - 1}" if block.count > 1 else "")


def _told(block: Block, rows: Sequence[Mapped], by_name: Mapping[str, Mapped], several: Sequence[Words]) -> list[Heard]:
    decoder = Decoder(Recipe(block, rows, by_name))
    decoder.feed(_bytes(block.table, several[-1]))
    values = dict(zip(decoder.rows, decoder.values, strict=True))
    found = []
    for i in block.rows:
        row, at = rows[i], rows[i].place.address - block.first
        words = tuple(one[at : at + row.place.registers] for one in several)
        doubt = decoder.doubts.get(row.name)
        cause = "" if doubt is None or doubt.quality is Quality.GOOD else doubt.cause
        value = values[i] / row.signal.size if isinstance(values[i], float) else values[i]
        found.append(Heard(row, words, value, cause))
    return found


def _bytes(table: Table, words: Words) -> bytes:
    if table.bits:
        packed = sum(bool(bit) << place for place, bit in enumerate(words))
        return packed.to_bytes((len(words) + 7) // 8, "little")
    return b"".join(word.to_bytes(2, "big") for word in words)


# ---- what is thought of it


def judged(heard: Iterable[Heard]) -> list[Finding]:
    """What values say of themselves: ranges, codes for "no value", orders, tearing."""
    found = []
    for one in heard:
        row = one.row
        for kind, text in (_cause(one), _order(one), _torn(one)):
            if text:
                found.append(Finding(row.name, str(row.place), kind, text, row.line))
    return found


def _cause(one: Heard) -> tuple[Kind, str]:
    signal = one.row.signal
    if one.cause.startswith("outside"):
        limits = signal.range
        span = "" if limits is None else f", not {limits.low / signal.size:g} to {limits.high / signal.size:g}"
        return Kind.RANGE, f"{_said(one)}{span}"
    if one.cause:
        return Kind.VALUE, "" if one.cause == NO_VALUE.cause else f"{_hex(one.words[-1])}: {one.cause}"
    return Kind.IMPLAUSIBLE, unlikely(one.row, one.words[-1], one.value)


def _said(one: Heard) -> str:
    return f"{one.value:g} {one.row.signal.unit.symbol}".rstrip() if isinstance(one.value, float) else str(one.value)


def _hex(words: Words) -> str:
    return " ".join(f"{word:04X}" for word in words)


def _order(one: Heard) -> tuple[Kind, str]:
    """Whether another order of bytes and words fits, where the Map's does not."""
    place: Place = one.row.place
    if place.form is Form.STRING or place.table.bits or place.registers < 2:
        return Kind.ORDER, ""
    fits = [order for order in Order if all(likely(replace(place, order=order), words) for words in one.words)]
    if place.order in fits or not any(one.words[-1]):
        return Kind.ORDER, ""
    better = SWAPPED[place.order] if SWAPPED[place.order] in fits else fits[0] if len(fits) == 1 else None
    return Kind.ORDER, "" if better is None else f"{_hex(one.words[-1])} fits {better}, not {place.order}"


def _torn(one: Heard) -> tuple[Kind, str]:
    """A whole number that jumps by a whole word, and back: the device does not write its registers at once."""
    place: Place = one.row.place
    if place.registers != 2 or place.form not in (Form.INT32, Form.UINT32) or place.order not in (Order.ABCD, Order.CDAB):
        return Kind.TORN, ""
    high = 0 if place.order is Order.ABCD else 1
    raw = [words[high] << 16 | words[1 - high] for words in one.words]
    steps = [b - a for a, b in pairwise(raw)]
    if any(0x8000 < abs(a) < 0x18000 and a * b < 0 and abs(a + b) < 0x8000 for a, b in pairwise(steps)):
        return Kind.TORN, f"read one after the other: {', '.join(map(str, raw))}; the device changes one register before the other"
    return Kind.TORN, ""


# ---- neighbours


async def _neighbours(
    inquiries: Mapping[int, Inquiry],
    unit: int,
    rows: Sequence[Mapped],
    by_name: Mapping[str, Mapped],
    heard: Sequence[Heard],
    report: Report,
) -> None:
    """Whether what does not fit would fit one address beside: of single Signals, then of a whole table."""
    by_row = {row.name: row for row in rows}
    doubtful = dict.fromkeys(f.signal for f in report.findings if f.signal in by_row and f.kind in _MISPLACED)
    fits: Counter[tuple[Table, tuple[int, ...]]] = Counter()
    asked: Counter[Table] = Counter()
    for name in list(doubtful)[:MOST_NEIGHBOURS]:
        row = by_row[name]
        place: Place = row.place
        shifts = await _shifts(inquiries[unit if place.unit is None else place.unit], row, by_name)
        asked[place.table] += 1
        if not shifts or (len(shifts) == 2 and place.registers == 1):
            continue
        # Between two values the other order of words looks right, and in the other order so does the address between: what was
        # read does not tell which it is. Most devices begin at an even address.
        if place.address % 2 == 0 and any(f.signal == name and f.kind is Kind.ORDER for f in report.findings):
            continue
        report.findings = [f for f in report.findings if f.signal != name or f.kind is not Kind.ORDER]
        fits[place.table, shifts] += 1
        where = " and at ".join(str(place.address + shift) for shift in shifts)
        report.findings.append(Finding(name, str(place), Kind.OFF_BY_ONE, f"it would fit at {where}", row.line))
    for (table, shifts), count in fits.items():
        if count >= 3 and 2 * count > asked[table]:
            way = "one address higher or lower" if len(shifts) == 2 else f"one address {'higher' if shifts[0] > 0 else 'lower'}"
            text = f"{count} of {asked[table]} Signals that do not fit would, {way}"
            report.findings.append(Finding("", str(table), Kind.OFF_BY_ONE, text))


async def _shifts(inquiry: Inquiry, row: Mapped, by_name: Mapping[str, Mapped]) -> tuple[int, ...]:
    """-1 and 1, as far as the Signal would be likely one address lower and one higher."""
    place: Place = row.place
    if place.form is Form.STRING or place.scale_from or place.plus_from:
        return ()
    found = []
    for shift in (-1, 1):
        first = place.address + shift
        if not 0 <= first <= ADDRESSES - place.registers:
            continue
        moved = replace(place, address=first)
        signal = replace(row.signal, binding=cast(Any, moved))
        beside = replace(row, signal=signal)
        reply = await inquiry.read(place.table, first, place.registers)
        if isinstance(reply, Refused | ModbusError):
            continue
        block = Block(0, place.table, first, first + place.registers, (Atom(first, first + place.registers, (0,)),))
        (heard,) = _told(block, [beside], by_name, [reply])
        if any(reply) and not heard.cause and not unlikely(beside, reply, heard.value):
            found.append(shift)
    return tuple(found)
