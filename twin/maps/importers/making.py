"""What all importers do: names, cells, and remarks on what was left out."""

import keyword
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from twin import units
from twin.maps.document import Cell, Document, Notes, Row
from twin.maps.map import Map
from twin.maps.toml_lines import Spot

_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_OTHER = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True)
class Imported:
    """A Map made of somebody else's table.

    Attributes:
        remarks: what was left out or guessed, and how the device is reached; one line each.
    """

    map: Map
    remarks: tuple[str, ...]


def snake(text: str) -> str:
    """A name as a Signal's: `Motor1-Run` is motor1_run, `DCA_SF` dca_sf."""
    word = _OTHER.sub("_", _HUMP.sub("_", text).lower()).strip("_")[:56]
    if not word or not word[0].isalpha():
        word = f"n_{word}".rstrip("_")
    return f"{word}_" if keyword.iskeyword(word) else word


def label(text: str) -> str:
    """A name of a value."""
    return snake(text).rstrip("_")


def one_line(*texts: Any) -> str:
    """Texts as one line that can be printed."""
    joined = " ".join(" ".join(str(text).split()) for text in texts if text)
    return "".join(sign for sign in joined if sign.isprintable())


@dataclass(slots=True)
class Making:
    """A Document that grows row by row.

    Attributes:
        remarks: with the file and the line.
    """

    notes: Notes
    document: Document = field(default_factory=Document)
    remarks: list[str] = field(default_factory=list)
    _names: set[str] = field(default_factory=set)
    _numbers: dict[str, int] = field(default_factory=dict)

    def head(self, key: str, text: str, line: int = 1) -> None:
        """Say what is true of the whole Map."""
        if text:
            self.document.head[key] = Cell(text, line)

    def remark(self, line: int, text: str) -> None:
        """Note what was left out or guessed."""
        self.remarks.append(f"{self.notes.file}:{line}: {text}")

    def name(self, *wishes: str) -> str:
        """The first of the names that is free, or the last with a number."""
        found = next((name for name in map(snake, wishes) if name not in self._names), "")
        last = snake(wishes[-1])
        while not found:
            number = self._numbers[last] = self._numbers.get(last, 1) + 1
            found = "" if (other := f"{last}_{number}") in self._names else other
        self._names.add(found)
        return found

    def row(self, cells: Mapping[str, Any], where: Spot) -> None:
        """Add a Signal; empty cells say nothing."""
        made = {key: Cell(str(value), where.line) for key, value in cells.items() if value not in ("", None)}
        self.document.rows.append(Row(made, where.line, self.notes, f"signal {cells['name']}"))

    def unit(self, text: Any, name: str, line: int) -> str:
        """The symbol of a unit, empty for one that is unknown."""
        found = units.find(text) if isinstance(text, str) else None
        if found is None and text:
            self.remark(line, f"{name}: unit {text!r} is unknown, so its value has none")
        return found.symbol if found else ""


def wanted(making: Making, table: Any, where: Spot, what: str) -> dict[str, Any]:
    """A table; nothing, and a mistake, where there is none."""
    if not isinstance(table, dict):
        making.notes.wrong(where.line, f"{what}: must be a table, not {table!r}")
        return {}
    return table


def wanted_list(making: Making, value: Any, where: Spot, what: str) -> list[Any]:
    """A list; empty, and a mistake, where there is none."""
    if not isinstance(value, list):
        making.notes.wrong(where.line, f"{what}: must be a list, not {value!r}")
        return []
    return value


def wanted_number(making: Making, value: Any, limits: tuple[int, int], where: Spot, what: str) -> int | None:
    """A whole number in its range; None, and a mistake, for others."""
    if type(value) is not int or not limits[0] <= value <= limits[1]:
        making.notes.wrong(where.line, f"{what}: must be a whole number from {limits[0]} to {limits[1]}, not {value!r}")
        return None
    return value
