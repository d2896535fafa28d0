"""Devices that are not ours, entered from their register lists as data: where a value lies, what it is, and the row itself."""

from collections.abc import Iterable
from dataclasses import dataclass

SIZES = {"bool": 1, "uint16": 1, "int16": 1, "uint32": 2, "float32": 2, "": 1}


@dataclass(frozen=True)
class Row:
    """A value at an address.

    Attributes:
        table: hr, ir or co.
        form: empty where nothing is said to lie there.
        unit: of what one count is, or the float.
        text: the list's row.
    """

    table: str
    address: int
    form: str
    unit: str
    text: str


def rows(table: str, addresses: Iterable[int], form: str, unit: str, text: str) -> list[Row]:
    """A row that stands for several addresses."""
    return [Row(table, address, form, unit, text) for address in addresses]


@dataclass(frozen=True)
class Point:
    """A point of a SunSpec model."""

    offset: int
    name: str
    type: str
    size: int
    scale: str
    unit: str
    text: str


def point(offset: int, name: str, type: str, size: int, scale: str, unit: str, text: str) -> Point:
    return Point(offset, name, type, size, scale, unit, text)
