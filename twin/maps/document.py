"""A Map's file as text in cells, each with its line: what CSV and TOML have in common."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

MOST_ROWS = 20_000
INTEGER = re.compile(r"[+-]?[0-9]{1,20}|0[xX][0-9a-fA-F]{1,16}")
NUMBER = re.compile(r"[+-]?([0-9]{1,40}(\.[0-9]{0,40})?|\.[0-9]{1,40})([eE][+-]?[0-9]{1,3})?")


@dataclass(frozen=True, slots=True)
class Cell:
    """A value as it is written, and where."""

    text: str
    line: int


class Notes:
    """Collects mistakes with the file and the line."""

    def __init__(self, file: str) -> None:
        self.file = file
        self._found: list[tuple[int, str]] = []

    def wrong(self, line: int, text: str) -> None:
        """Note a mistake."""
        self._found.append((line, text))

    @property
    def mistakes(self) -> tuple[str, ...]:
        """One line for each, in the file's order."""
        return tuple(f"{self.file}:{line}: {text}" for line, text in sorted(self._found, key=lambda found: found[0]))


@dataclass(frozen=True, slots=True)
class Row:
    """The cells of one table of the file that are not empty, by key.

    Attributes:
        line: where it begins.
        title: how mistakes call it: `signal power`.
    """

    cells: Mapping[str, Cell]
    line: int
    notes: Notes
    title: str = ""

    def __contains__(self, key: object) -> bool:
        return key in self.cells

    def at(self, key: str) -> int:
        """The line of a key, or the row's."""
        return self.cells[key].line if key in self.cells else self.line

    def wrong(self, key: str, text: str) -> None:
        """Note a mistake in a key."""
        about = f"{self.title}: " if self.title else ""
        self.notes.wrong(self.at(key), f"{about}{key}: {text}")

    def text(self, key: str, default: str = "") -> str:
        """A cell's text; one line."""
        if key not in self.cells:
            return default
        found = self.cells[key].text
        if not found.isprintable():
            self.wrong(key, f"must be one line of text that can be printed, not {found!r}")
            return default
        return found

    def choice(self, key: str, allowed: Mapping[str, str], default: str) -> str:
        """What a word stands for."""
        if key not in self.cells:
            return default
        word = self.cells[key].text
        if word not in allowed:
            self.wrong(key, f"must be one of {', '.join(allowed)}, not {word!r}")
            return default
        return allowed[word]

    def integer(self, key: str, low: int, high: int, default: int) -> int:
        """A whole number in its range, decimal or 0x and hexadecimal."""
        if key not in self.cells:
            return default
        found = whole(self.cells[key].text)
        if found is None or not low <= found <= high:
            self.wrong(key, f"must be a whole number from {low} to {high}, not {self.cells[key].text!r}")
            return default
        return found

    def number(self, key: str, default: float) -> float:
        """A finite number with a point for its decimals."""
        if key not in self.cells:
            return default
        found = number(self.cells[key].text)
        if found is None:
            self.wrong(key, f"must be a number such as 0.1 or 1e-3, not {self.cells[key].text!r}")
            return default
        return found

    def parts(self, key: str) -> list[str]:
        """What is between the upright strokes."""
        return [part.strip() for part in self.cells[key].text.split("|")] if key in self.cells else []

    def pairs(self, key: str, form: str) -> list[tuple[str, str]]:
        """Both sides of each `=` between the upright strokes; `form` says how they are written."""
        found = [part.partition("=") for part in self.parts(key)]
        if any(not (left.strip() and sign and right.strip()) for left, sign, right in found):
            self.wrong(key, f"must be written {form}, not {self.cells[key].text!r}")
            return []
        return [(left.strip(), right.strip()) for left, _, right in found]


@dataclass(slots=True)
class Document:
    """A whole file: what it says of the Map, its Signals and its methods."""

    head: dict[str, Cell] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    methods: list[Row] = field(default_factory=list)


def whole(text: str) -> int | None:
    """A whole number, decimal or 0x and hexadecimal; None if it is none."""
    if not INTEGER.fullmatch(text):
        return None
    return int(text, 16) if text[1:2] in ("x", "X") else int(text)


def number(text: str) -> float | None:
    """A finite number; None if it is none."""
    found = float(text) if NUMBER.fullmatch(text) else float("inf")
    return None if found in (float("inf"), float("-inf")) else found
