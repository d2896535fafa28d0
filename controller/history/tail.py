"""What is only in the journal yet, for those who read: decoded once, as it grows."""

import sqlite3
from dataclasses import dataclass, field

import numpy as np

from controller.history.fold import squeezed, together
from controller.history.journal import Journal, admit
from controller.history.kept import HistoryError, Kept, Samples
from controller.history.squeeze import Sequence
from twin.arrays import Floats, Ints

MANY = 64
"""Portions are put together when there are more: a query looks through each."""


@dataclass(slots=True)
class Tail:
    """The journal's samples as of the last `read`."""

    _fine: Floats = field(default_factory=lambda: np.zeros(1))
    _journal: Journal | None = None
    _place: int = 0
    _portions: dict[int, list[Samples]] = field(default_factory=dict)
    _last: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    _squeezed: dict[int, Sequence] = field(default_factory=dict)

    def read(self, file: sqlite3.Connection, kept: dict[int, Kept], declared: bool) -> None:
        """Take in what has come and let go what is folded. Call it within a transaction."""
        self._squeezed.clear()
        generations = [number for (number,) in file.execute("SELECT DISTINCT generation FROM journal")]
        if declared or self._journal is None or not generations or min(self._portions, default=0) not in generations:
            self._begin_again(kept)
        assert self._journal is not None
        query = "SELECT place, generation, content FROM journal WHERE place > ? ORDER BY place"
        for place, generation, content in file.execute(query, (self._place,)):
            try:
                portion, _ = admit(self._journal.read(content), self._last)
                self._portions.setdefault(generation, []).append(portion)
            except HistoryError:
                pass  # the writer counts it and shows a gap when it opens the journal again
            self._place = place
        for generation, portions in self._portions.items():
            if len(portions) > MANY:
                self._portions[generation] = [together(portions)]

    def _begin_again(self, kept: dict[int, Kept]) -> None:
        self._fine = np.zeros(max(kept, default=0) + 1)
        for number, one in kept.items():
            self._fine[number] = one.fine
        self._journal, self._place, self._portions = Journal(self._fine), 0, {}
        self._last = np.full(len(self._fine), np.iinfo(np.int64).min)

    def of(self, number: int, kept: Kept, cuts: Ints) -> Sequence:
        """One Signal's samples, squeezed as they will be in their block."""
        if number not in self._squeezed:
            self._squeezed[number] = self._squeeze(number, kept, cuts)
        return self._squeezed[number]

    def _squeeze(self, number: int, kept: Kept, cuts: Ints) -> Sequence:
        found = []
        for portions in self._portions.values():
            for portion in portions:
                if len(at := np.flatnonzero(portion.numbers == number)):
                    found.append(Sequence(portion.times[at], portion.words[at], portion.beliefs[at]))
        if not found:
            return Sequence(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int32))
        whole = Sequence(*(np.concatenate([getattr(one, name) for one in found]) for name in ("times", "words", "beliefs")))
        return squeezed(kept, whole, cuts)
