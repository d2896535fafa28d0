"""Causes and texts by number, and rows as the arrays that a commit takes."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from controller.history.kept import NONE, Kept, Samples, plain, word_of

RowIn = tuple[int, int, Any, int, str]
"""A Signal's number, UTC [ns], its value or None, quality, cause."""
NOT_ITS_TYPE = "the value was none of its type, or beyond 64 bits with a sign"
TOO_LATE = "a sample came too late"


class Names:
    """Each cause and each text that was ever said has a number.

    Attributes:
        new: statements that go with the next commit.
        refused: rows whose value was none of their Signal's type.
    """

    def __init__(self, file: Any) -> None:
        self._causes = {text: number for number, text in file.execute("SELECT number, text FROM causes").fetchall()}
        self._texts = {text: number for number, text in file.execute("SELECT number, text FROM texts").fetchall()}
        self.new: list[tuple[str, tuple[Any, ...]]] = []
        self.refused = 0

    @property
    def texts(self) -> dict[int, str]:
        """Texts by their number."""
        return {number: text for text, number in self._texts.items()}

    @property
    def causes(self) -> dict[int, str]:
        """Causes by their number."""
        return {number: text for text, number in self._causes.items()}

    def belief(self, quality: int, cause: str) -> int:
        """The number of a belief; a new one is written with the next commit."""
        return quality | self._named(self._causes, "causes", cause) << 2 if cause else quality

    def text(self, text: str) -> int:
        """The number of a text; a new one is written with the next commit."""
        return self._named(self._texts, "texts", text)

    def _named(self, names: dict[str, int], table: str, text: str) -> int:
        number = names.get(text)
        if number is None:
            whole = plain(text)
            number = names.get(whole)
            if number is None:
                number = names[whole] = len(names) + 1
                self.new.append((f"INSERT INTO {table} VALUES (?, ?)", (number, whole)))
        return number

    def samples(self, kept: Mapping[int, Kept], rows: Iterable[RowIn]) -> Samples:
        """Rows as arrays. None is a gap, and so is a value that is none of its Signal's type, which is counted too."""
        kinds = {number: one.type for number, one in kept.items()}
        numbers, times, words, beliefs = [], [], [], []
        for number, utc_ns, value, quality, cause in rows:
            kind = kinds.get(number)
            if kind is None:
                self.refused += 1
                continue
            word: int | None = 0
            if value is None:
                quality = NONE
            elif kind is str:
                word = self.text(value) if isinstance(value, str) else None
            else:
                word = word_of(kind, value)
            if word is None:
                self.refused += 1
                word, quality, cause = 0, NONE, NOT_ITS_TYPE
            numbers.append(number)
            times.append(utc_ns)
            words.append(word)
            beliefs.append(self.belief(quality, cause) if quality or cause else 0)
        return Samples(
            np.array(numbers, np.int32), np.array(times, np.int64) // 1000, np.array(words, np.int64), np.array(beliefs, np.int32)
        )
