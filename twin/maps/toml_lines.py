"""The line of every key and value of a TOML text: tomllib tells none. The text must be valid TOML already."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

_SPACE = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_WORD = re.compile(r"[A-Za-z0-9_-]+")
_PLAIN = re.compile(r"[^,\]}#\n]*")
_QUOTED = re.compile(
    r'"""(?P<a>(?:[^"\\]|\\.|"{1,2}(?!"))*"{0,2})"""|\'\'\'(?P<b>(?:[^\']|\'{1,2}(?!\'))*\'{0,2})\'\'\''
    r'|"(?P<c>(?:[^"\\]|\\.)*)"|\'(?P<d>[^\']*)\'',
    re.DOTALL,
)


@dataclass(slots=True)
class Spot:
    """A key's value: its line, and the same of what is in it, by key or by index."""

    line: int
    inside: dict[str | int, "Spot"] = field(default_factory=dict)

    def line_of(self, *path: str | int) -> int:
        """The line of the deepest part of a path that is there."""
        spot = self
        for step in path:
            if step not in spot.inside:
                break
            spot = spot.inside[step]
        return spot.line


def spots(text: str) -> Spot:
    """The whole text as a Spot."""
    return _Walk(text).all()


class _Walk:
    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0
        self._line, self._counted = 1, 0

    def all(self) -> Spot:
        root = table = Spot(1)
        while self._skip():
            if self._text[self._at] == "[":
                table = self._header(root)
            else:
                self._pair(table)
        return root

    def _skip(self) -> bool:
        """Go on to what is no space and no comment; whether there is anything."""
        found = _SPACE.match(self._text, self._at)
        self._at = found.end() if found else self._at
        return self._at < len(self._text)

    def _here(self) -> int:
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._line

    def _header(self, root: Spot) -> Spot:
        line = self._here()
        several = self._text.startswith("[[", self._at)
        self._at += 2 if several else 1
        path = self._path()
        self._at = self._text.index("]", self._at) + (2 if several else 1)
        table = _within(root, path[:-1], line)
        spot = table.inside.setdefault(path[-1], Spot(line))
        if not several:
            return spot
        added = Spot(line)
        spot.inside[len(spot.inside)] = added
        return added

    def _path(self) -> list[str]:
        """The words of a dotted key."""
        path: list[str] = []
        while True:
            self._skip()
            quoted, word = _QUOTED.match(self._text, self._at), _WORD.match(self._text, self._at)
            found = quoted or word
            if found is None:
                return path
            path.append(next(g for g in quoted.groups() if g is not None) if quoted else found[0])
            self._at = found.end()
            self._skip()
            if self._text[self._at] != ".":
                return path
            self._at += 1

    def _pair(self, table: Spot) -> None:
        line = self._here()
        path = self._path()
        self._at = self._text.index("=", self._at) + 1
        value = self._value()
        value.line = line
        _within(table, path[:-1], line).inside[path[-1]] = value

    def _value(self) -> Spot:
        self._skip()
        spot = Spot(self._here())
        opening = self._text[self._at]
        if opening in "[{":
            self._at += 1
            while self._skip() and self._text[self._at] not in "]}":
                if self._text[self._at] == ",":
                    self._at += 1
                elif opening == "{":
                    self._pair(spot)
                else:
                    spot.inside[len(spot.inside)] = self._value()
            self._at += 1
            return spot
        found = _QUOTED.match(self._text, self._at) or _PLAIN.match(self._text, self._at)
        self._at = found.end() if found else len(self._text)
        return spot


def _within(spot: Spot, path: Iterable[str], line: int) -> Spot:
    for step in path:
        spot = spot.inside.setdefault(step, Spot(line))
        if 0 in spot.inside:  # of a list of tables, the last one is meant
            spot = spot.inside[len(spot.inside) - 1]
    return spot
