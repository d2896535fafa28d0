"""NumericRange: parts of arrays and texts by the text that asks for them (Part 4 §7.27).

What is no such text is refused with BadIndexRangeInvalid; what is one and asks for nothing that is there, with BadIndexRangeNoData.
"""

import re
from typing import Any

from asyncua import ua
from asyncua.common.utils import Buffer, ServiceError
from asyncua.ua.status_codes import StatusCodes
from asyncua.ua.ua_binary import variant_from_binary, variant_to_binary

Bounds = tuple[int, int]
"""First and last index, both included."""

MOST_DIMENSIONS = 8
LARGEST = 0xFFFFFFFF
_ONE = re.compile(r"([0-9]{1,10})(?::([0-9]{1,10}))?", re.ASCII)
_TEXTS = (ua.VariantType.String, ua.VariantType.ByteString, ua.VariantType.XmlElement)
_ARRAY = 0x80


class NoData(ServiceError):
    """Nothing is there that is asked for."""

    def __init__(self) -> None:
        super().__init__(StatusCodes.BadIndexRangeNoData)


def parse(text: str) -> tuple[Bounds, ...]:
    """The bounds in each dimension.

    Raises:
        ServiceError: BadIndexRangeInvalid.
    """
    parts = text.split(",")
    if len(parts) > MOST_DIMENSIONS:
        raise ServiceError(StatusCodes.BadIndexRangeInvalid)
    return tuple(_bounds(part) for part in parts)


def _bounds(part: str) -> Bounds:
    found = _ONE.fullmatch(part)
    if found is None:
        raise ServiceError(StatusCodes.BadIndexRangeInvalid)
    first = int(found[1])
    last = first if found[2] is None else int(found[2])
    if max(first, last) > LARGEST or (found[2] is not None and first >= last):
        raise ServiceError(StatusCodes.BadIndexRangeInvalid)
    return first, last


def part(encoded: bytes, bounds: tuple[Bounds, ...]) -> bytes:
    """A part of an encoded Variant, itself a Variant with as many dimensions.

    Raises:
        ServiceError: BadIndexRangeNoData: it has nothing there, or not so many dimensions.
    """
    kind = ua.VariantType(encoded[0] & 0x3F) if encoded[0] & 0x3F < 26 else ua.VariantType.Null
    if not encoded[0] & _ARRAY and kind not in _TEXTS:
        raise NoData
    value: Any = variant_from_binary(Buffer(encoded))
    if value.Value is None:
        raise NoData
    if not encoded[0] & _ARRAY:
        return bytes(variant_to_binary(ua.Variant(_text(value.Value, bounds), value.VariantType)))
    shape = list(value.Dimensions) if value.Dimensions else [len(value.Value)]
    over = len(bounds) - len(shape)
    if over not in (0, 1) or (over == 1 and value.VariantType not in _TEXTS):
        raise NoData
    found = _elements(value.Value, shape, bounds)
    shape = [min(last, size - 1) - first + 1 for (first, last), size in zip(bounds, shape, strict=False)]
    dimensions: Any = shape if len(shape) > 1 else None
    return bytes(variant_to_binary(ua.Variant(found, value.VariantType, dimensions, is_array=True)))


def _elements(value: list[Any], shape: list[int], bounds: tuple[Bounds, ...]) -> list[Any]:
    """The elements within bounds, flat."""
    (first, last), size = bounds[0], shape[0]
    if first >= size:
        raise NoData
    some = value[first : last + 1]
    if len(shape) > 1:
        return [one for below in some for one in _elements(below, shape[1:], bounds[1:])]
    return [_text_in(one, bounds[1]) for one in some] if len(bounds) > 1 else some


def _text(value: Any, bounds: tuple[Bounds, ...]) -> Any:
    """Some characters or bytes of a scalar."""
    if len(bounds) != 1 or bounds[0][0] >= len(value):
        raise NoData
    return value[bounds[0][0] : bounds[0][1] + 1]


def _text_in(value: Any, bounds: Bounds) -> Any:
    """The same of an array's element; null where it has nothing there."""
    return (value or "")[bounds[0] : bounds[1] + 1] or None
