"""What a value that was read in the right place, in the right form, is like. Guesses: they give hints, and refuse nothing."""

import math
import struct
from typing import Any

from controller.fieldbus.decode import wire_order
from controller.modbus.pdu import Words
from twin.maps import Form, Mapped, Place

_SPANS = {
    "V": 100_000.0, "A": 20_000.0, "Hz": 1000.0, "°C": 2000.0, "K": 3000.0, "%": 1000.0, "kWh": 1e9, "Wh": 1e12, "W": 1e9,
    "kW": 1e6, "VA": 1e9, "var": 1e9, "°": 100_000.0, "bar": 10_000.0,
}  # fmt: skip
"""No value of this unit is farther from 0 in a workshop."""
_SMALLEST, _LARGEST = 1e-9, 1e12
_NOTHING = {
    Form.INT16: (0x8000,),
    Form.UINT16: (0xFFFF,),
    Form.INT32: (0x80000000,),
    Form.UINT32: (0xFFFFFFFF,),
    Form.INT64: (0x8000000000000000,),
    Form.UINT64: (0xFFFFFFFFFFFFFFFF,),
}
_FORMATS = {Form.FLOAT32: ">f", Form.FLOAT64: ">d"}


def likely(place: Place, words: Words) -> bool:
    """Whether the words look like a value where they are laid down in this form and order."""
    data = ordered(place, words)
    if place.form in _FORMATS:
        (value,) = struct.unpack(_FORMATS[place.form], data)
        return value == 0.0 or (math.isfinite(value) and _SMALLEST < abs(value) < _LARGEST)
    whole = int.from_bytes(data, "big", signed=place.form.value.startswith("int"))
    return abs(whole) < 1 << (8 * len(data) - 8)  # the highest byte says nothing but the sign


def ordered(place: Place, words: Words) -> bytes:
    """A value's bytes, the highest first."""
    data = b"".join(word.to_bytes(2, "big") for word in words)
    return bytes(data[at] for at in wire_order(place.order, place.registers))


def unlikely(row: Mapped, words: Words, value: Any) -> str:
    """Why a value [declared unit] is hardly what the Map means; empty where nothing speaks against it."""
    place: Place = row.place
    if place.table.bits or place.bit is not None or place.form is Form.STRING:
        return ""
    raw = int.from_bytes(ordered(place, words), "big")
    if raw in _NOTHING.get(place.form, ()) and raw not in place.invalid:
        return f"{raw:X} is what devices say for no value: invalid"
    if isinstance(value, float):
        symbol = row.signal.unit.symbol
        limit = _SPANS.get(symbol, _LARGEST)
        if not math.isfinite(value) or abs(value) > limit:
            return f"{value:g} {symbol}".rstrip() + " is too much"
        if place.form in _FORMATS and 0.0 < abs(value) < _SMALLEST:
            return f"{value:g} {symbol}".rstrip() + " is next to nothing, and not 0"
    return ""
