"""JSON with the line of every value."""

import json
import re
from json import decoder
from typing import Any

from twin.maps.document import Notes
from twin.maps.toml_lines import Spot
from twin.toml import DEEPEST, LONGEST, depth

_SPACE = re.compile(r"[ \t\r\n]*")
_PLAIN = re.compile(r"[^,\]}\s]+")


def load(text: str, notes: Notes) -> tuple[Any, Spot]:
    """The value of a text, and where its parts are; None, and a mistake, where it is no JSON."""
    text = text.removeprefix("\ufeff")
    try:
        value = json.loads(text, parse_int=_number)
    except json.JSONDecodeError as broken:
        notes.wrong(broken.lineno, f"not JSON: {broken.msg}")
        return None, Spot(1)
    except RecursionError:
        notes.wrong(1, "not JSON: nested too deeply")
        return None, Spot(1)
    if depth(value) > DEEPEST:
        notes.wrong(1, f"nested more than {DEEPEST} deep")
        return None, Spot(1)
    return value, _Walk(text).value()


def _number(digits: str) -> int | str:
    """A whole number; one that is too long stays a text, which is refused where a number is wanted, with its line."""
    return int(digits) if len(digits) <= LONGEST else f"{digits[:12]}... ({len(digits)} digits)"


scanstring: Any = decoder.scanstring  # type: ignore[attr-defined]
"""The end and the value of a string literal, as json itself reads it."""


class _Walk:
    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0
        self._line, self._counted = 1, 0

    def _next(self) -> str:
        found = _SPACE.match(self._text, self._at)
        self._at = found.end() if found else self._at
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._text[self._at]

    def value(self) -> Spot:
        first = self._next()
        spot = Spot(self._line)
        if first == '"':
            self._at = scanstring(self._text, self._at + 1)[1]
        elif first in "[{":
            self._at += 1
            while (sign := self._next()) not in "]}":
                if sign == ",":
                    self._at += 1
                elif first == "[":
                    spot.inside[len(spot.inside)] = self.value()
                else:
                    key, self._at = scanstring(self._text, self._at + 1)
                    line = self._line
                    self._next()
                    self._at += 1  # the colon
                    spot.inside[key] = self.value()
                    spot.inside[key].line = line
            self._at += 1
        elif found := _PLAIN.match(self._text, self._at):
            self._at = found.end()
        return spot
