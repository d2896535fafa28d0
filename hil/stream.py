"""A step stream on its way: the words that a node has queued, in the order in which they are played."""

import numpy as np

from twin.clock import US, Ns
from twin.kernel import Words

FRAME = Ns(10 * US)
ROOM = 1 << 16
NO_WORDS: Words = np.zeros(0, np.uint32)


class Stream:
    """The words of one machine from those being played on; places are counted in frames since the start of time.

    Attributes:
        end: the place after the last word.
    """

    def __init__(self) -> None:
        self._words: Words = np.zeros(ROOM, np.uint32)
        self._first = self.end = 0

    def queue(self, time: Ns, words: Words) -> None:
        """Words that begin at a time; a gap before them plays zeros."""
        at = time // FRAME
        if at > self.end and self._first == self.end:
            self._first = self.end = at
        until = at + len(words)
        assert until - self._first <= ROOM, f"{until - self._first} words of a step stream are waiting; there is room for {ROOM}"
        self._words[self.end - self._first : at - self._first] = 0
        self._words[at - self._first : until - self._first] = words
        self.end = until

    def cut(self, time: Ns) -> None:
        """Drop what would be played from a time on."""
        self.end = min(self.end, max(self._first, time // FRAME))

    def clear(self) -> None:
        """Drop everything."""
        self._first = self.end

    def played(self, time: Ns) -> None:
        """Forget what lies before a time; the rest moves to the front once half of the room is taken by what is forgotten."""
        at = time // FRAME
        if at >= self.end:
            self._first = self.end
        elif at - self._first > ROOM // 2:
            rest = self._words[at - self._first : self.end - self._first].copy()
            self._words[: len(rest)] = rest
            self._first = at

    def words(self, start: Ns, dt: Ns) -> Words:
        """What is played from `start` on for `dt`, without the zeros after the last word. A view: use it at once."""
        at = start // FRAME
        if at >= self.end:
            return NO_WORDS
        until = min(self.end, at + dt // FRAME)
        if at >= self._first:
            return self._words[at - self._first : until - self._first]
        behind = np.zeros(max(0, min(self._first, until) - at), np.uint32)
        return np.concatenate((behind, self._words[: max(0, until - self._first)]))

    def __bool__(self) -> bool:
        """Whether there are words that have not been forgotten as played."""
        return self.end > self._first
