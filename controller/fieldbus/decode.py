"""Blocks of bytes to values in SI and back: forms, word orders, scales, what is no value and what is outside its Range."""

import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from controller.fieldbus import kernel
from controller.fieldbus.plan import Atom, Block
from twin.maps import Form, Mapped, Order, Place, Table
from twin.maps.map import signal
from twin.trace import Belief, Quality

NO_VALUE = Belief(Quality.BAD, "no value")
OUTSIDE = Belief(Quality.BAD, "outside its range")
NOT_A_NUMBER = Belief(Quality.BAD, "not a number")
_BELIEFS = {kernel.NO_VALUE: NO_VALUE, kernel.OUTSIDE: OUTSIDE, kernel.NOT_A_NUMBER: NOT_A_NUMBER}
_FORMS = {Form.FLOAT32: kernel.FLOAT32, Form.FLOAT64: kernel.FLOAT64, Form.BOOL: kernel.BIT}
_FORMATS = {
    Form.INT16: "h", Form.UINT16: "H", Form.INT32: "i", Form.UINT32: "I", Form.INT64: "q", Form.UINT64: "Q",
    Form.FLOAT32: "f", Form.FLOAT64: "d",
}  # fmt: skip
_told = kernel.told
_SCRATCH = np.zeros(8, np.uint8)
MOST_SHOWN = 10**300
SLACK = 1e-9
"""Of a limit: by so much a scaled value may pass its Range, for it was rounded."""


class EncodeError(ValueError):
    """A value that a Place cannot hold."""


def wire_order(order: Order, registers: int) -> tuple[int, ...]:
    """Where the bytes of a value lie on the wire, the highest first."""
    words = range(registers) if order in (Order.ABCD, Order.BADC) else range(registers - 1, -1, -1)
    swapped = order in (Order.BADC, Order.DCBA)
    return tuple(2 * word + byte for word in words for byte in ((1, 0) if swapped else (0, 1)))


def _form(place: Place) -> int:
    if place.bit is not None:
        return kernel.BIT
    return _FORMS.get(place.form, kernel.SIGNED if place.form.value.startswith("int") else kernel.UNSIGNED)


class Recipe:
    """How a Block is decoded: what is the same for all devices with the same Map, and is kept once.

    Attributes:
        rows: the indices of its Signals, sorted by how their values are made.
    """

    def __init__(self, block: Block, rows: Sequence[Mapped], by_name: Mapping[str, Mapped]) -> None:
        self.block, self.bits = block, block.table.bits
        self.rows = tuple(sorted(block.rows, key=lambda i: _kind(rows[i])))
        self.names = [rows[i].name for i in self.rows]
        self.texts = [rows[i] for i in self.rows if _kind(rows[i]) == _TEXT]
        told = [rows[i] for i in self.rows if _kind(rows[i]) != _TEXT]
        self.size = len(told)
        kinds = [_kind(row) for row in told]
        self.floats, self.ints, self.bools = (sum(kind <= upto for kind in kinds) for upto in (_FLOAT, _INT, _BOOL))
        self.odd = list(enumerate(told))[self.bools :]
        listed = [*told, *_others(told, by_name)]
        self.listed = len(listed)
        where = {row.name: i for i, row in enumerate(listed)}
        most = max((len(row.place.invalid) for row in listed), default=0)
        whole = np.array([_whole(row, block, where, most) for row in listed], dtype=np.int64)
        self.whole = whole.reshape(self.listed, kernel.INVALID + most)
        self.real = np.array([_real(row) for row in told] + [[0.0] * 6] * (self.listed - self.size)).reshape(self.listed, 6)


class Decoder:
    """Makes values of one device's Block, and remembers what was told of them.

    Attributes:
        rows: the indices of its Signals, in the order of `values`.
        values: as they were told last: SI; None where there is none.
        doubts: belief in those that are not Good, by name.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.rows = recipe.rows
        self.values: list[Any] = [None] * len(self.rows)
        self.doubts: dict[str, Belief] = {}
        self._recipe = recipe
        self._text_bytes: list[bytes | None] = [None] * len(recipe.texts)
        self._raw, self._value = np.zeros(recipe.listed, np.int64), np.zeros(recipe.listed)
        self._belief = np.full(recipe.listed, 255, np.uint8)
        self._told_floats, self._told_ints = self._value[: recipe.floats], self._raw[recipe.floats : recipe.ints]
        self._told_bools = self._raw[recipe.ints : recipe.bools]

    def feed(self, data: bytes) -> bool:
        """Whether a value or a doubt is told anew; then `values` and `doubts` are new objects."""
        recipe, changed = self._recipe, 0
        if recipe.size:
            given = np.frombuffer(data, np.uint8)
            if recipe.bits:
                given = np.unpackbits(given, bitorder="little")
            changed = _told(given, recipe.whole, recipe.real, self._raw, self._value, self._belief, _SCRATCH, recipe.size)
        if recipe.texts and self._read_texts(data):
            changed = changed or 1
        if changed:
            self._tell(changed < 0)
        return changed != 0

    def _read_texts(self, data: bytes) -> bool:
        changed = False
        for n, row in enumerate(self._recipe.texts):
            at = 2 * (row.place.address - self._recipe.block.first)
            text = data[at : at + 2 * row.place.registers]
            if text != self._text_bytes[n]:
                self._text_bytes[n], changed = text, True
        return changed

    def _tell(self, doubtful: bool) -> None:
        recipe = self._recipe
        values: list[Any] = self._told_floats.tolist()
        if recipe.ints > recipe.floats:
            values += self._told_ints.tolist()
        if recipe.bools > recipe.ints:
            values += self._told_bools.astype(np.bool_).tolist()
        doubts: dict[str, Belief] = {}
        for i, row in recipe.odd:
            values.append(self._made(i, row, doubts))
        if doubtful:
            for i, code in enumerate(self._belief[: recipe.size].tolist()):
                if code:
                    doubts[recipe.names[i]] = _BELIEFS[code]
                    if code != kernel.OUTSIDE:
                        values[i] = None
        for row, data in zip(recipe.texts, self._text_bytes, strict=True):
            text = text_of(row.place, data or b"")
            values.append(text)
            if text is None:
                doubts[row.name] = NO_VALUE
        self.values, self.doubts = values, doubts

    def _made(self, index: int, row: Mapped, doubts: dict[str, Belief]) -> Any:
        """A value that is neither a float nor a plain int nor a bool."""
        kind: Any = row.signal.type
        if _exact(row) and not _band(row):
            raw = int(self._raw[index])
            whole = raw + (1 << 64) if raw < 0 and row.place.form is Form.UINT64 else raw
        else:
            whole = round(float(self._value[index]))
        try:
            return kind(whole)
        except ValueError:
            doubts[row.name] = Belief(Quality.BAD, f"{whole} is no {kind.__name__}")
            return None


_FLOAT, _INT, _BOOL, _ODD, _TEXT = range(5)


def _kind(row: Mapped) -> int:
    """How its values are made: in this order they lie in a Decoder."""
    place, kind = row.place, row.signal.type
    if place.form is Form.STRING:
        return _TEXT
    if kind is float:
        return _FLOAT
    if kind is bool:
        return _BOOL
    return _INT if kind is int and _exact(row) and not _band(row) and place.form is not Form.UINT64 else _ODD


def warm() -> None:
    """Compile what decodes, or fetch it from the cache: it takes a while, once."""
    row = Mapped(signal("warm", float, Place(Table.HOLDING, 0)))
    Decoder(Recipe(Block(0, Table.HOLDING, 0, 1, (Atom(0, 1, (0,)),)), [row], {})).feed(b"\0\0")


def _others(told: Sequence[Mapped], by_name: Mapping[str, Mapped]) -> list[Mapped]:
    """Rows that are only needed for others: exponents, and what is added."""
    there = {row.name for row in told}
    names = dict.fromkeys(n for row in told for n in (row.place.scale_from, row.place.plus_from) if n and n not in there)
    return [by_name[name] for name in names]


def _whole(row: Mapped, block: Block, where: Mapping[str, int], most: int) -> list[int]:
    place = row.place
    at = place.address - block.first
    if block.table.bits:
        spots, bit = (at,), 0
    else:
        spots, bit = tuple(2 * at + spot for spot in wire_order(place.order, place.form.registers)), place.bit or 0
    mask = (1 << 8 * len(spots)) - 1
    invalid = [_signed(raw & mask) for raw in place.invalid] + [0] * (most - len(place.invalid))
    others = [where[name] if name else -1 for name in (place.scale_from, place.plus_from)]
    return [len(spots), _form(place), bit, *others, len(place.invalid), *spots, *[0] * (8 - len(spots)), *invalid]


def _signed(raw: int) -> int:
    return raw - (1 << 64) if raw >> 63 else raw


def _real(row: Mapped) -> list[float]:
    place, signal = row.place, row.signal
    size, limits = signal.size, signal.range
    low, high = (-np.inf, np.inf) if limits is None else (limits.low, limits.high)
    slack = SLACK * max(abs(low), abs(high)) if limits is not None else 0.0
    return [place.scale * size, place.offset * size, place.plus_factor * size, low - slack, high + slack, _band(row)]


def _band(row: Mapped) -> float:
    """By how much it must change to be told again [SI]."""
    limits = row.signal.range
    return max(row.deadband.absolute, row.deadband.share * (limits.high - limits.low) if limits is not None else 0.0)


def text_of(place: Place, data: bytes) -> str | None:
    """A string out of its registers: up to its first NUL, without the blanks at its end; None where an empty one is invalid."""
    if place.order in (Order.BADC, Order.DCBA):
        data = bytes(data[i ^ 1] for i in range(len(data)))
    text = data.split(b"\0", 1)[0].decode("utf-8", "replace").rstrip()
    return None if not text and place.invalid else text


def encode(row: Mapped, value: Any, exponent: int = 0) -> tuple[int, ...]:
    """The registers of a value [SI], or (0 or 1,) for a bit.

    Args:
        exponent: raw value of the Signal that `scale_from` names.

    Raises:
        EncodeError: the Place cannot hold it.
    """
    place, name = row.place, row.name
    if isinstance(value, float) and not math.isfinite(value):
        raise EncodeError(f"{name}={value:g} is not a number")
    if place.form is Form.BOOL or place.bit is not None:
        return (int(bool(value)),)
    if place.form is Form.STRING:
        return _text_words(row, value)
    if place.plus_from:
        raise EncodeError(f"{name} is made of two values of the device and cannot be written")
    try:
        if _exact(row):
            raw: float = int(value)
        else:
            raw = (value / row.signal.size - place.offset) / (place.scale * 10.0**exponent)
            raw = raw if place.form in (Form.FLOAT32, Form.FLOAT64) else round(raw)
        packed = struct.pack(">" + _FORMATS[place.form], raw)
    except (struct.error, OverflowError) as wrong:
        shown = f"={value:g}" if abs(value) < MOST_SHOWN else ""
        raise EncodeError(f"{name}{shown} does not fit {place}: {wrong}") from wrong
    spots = wire_order(place.order, len(packed) // 2)
    wire = bytearray(len(packed))
    for byte, spot in zip(packed, spots, strict=True):
        wire[spot] = byte
    return struct.unpack(f">{len(packed) // 2}H", wire)


def _exact(row: Mapped) -> bool:
    """Whether a value is its raw whole number as it is."""
    place = row.place
    plain = place.scale == 1 and place.offset == 0 and not place.scale_from and not place.plus_from
    return row.signal.type is not float and plain and place.form not in (Form.FLOAT32, Form.FLOAT64)


def _text_words(row: Mapped, value: str) -> tuple[int, ...]:
    place = row.place
    data = value.encode("utf-8")
    if len(data) > 2 * place.registers:
        raise EncodeError(f"{row.name}={value!r} takes {len(data)} bytes, {place} holds {2 * place.registers}")
    data = data.ljust(2 * place.registers, b"\0")
    if place.order in (Order.BADC, Order.DCBA):
        data = bytes(data[i ^ 1] for i in range(len(data)))
    return struct.unpack(f">{place.registers}H", data)
