"""Folding: the journal's samples, sorted by Signal, squeezed and packed. Pure; hot.py reads and writes."""

from collections.abc import Iterator, Mapping
from collections.abc import Sequence as Many
from dataclasses import dataclass

import numpy as np

from controller.history.block import encode
from controller.history.kept import Kept, Samples
from controller.history.squeeze import Sequence, Squeeze
from twin.kernel import Ints, kernel

SMALL = 256
"""A block of fewer samples is taken up again and filled."""
LARGE = 4096
"""No block holds more samples than this."""


@dataclass(frozen=True, slots=True)
class Old:
    """A Signal's last block, which has room: its row, what it holds, and how many samples it stands for."""

    row: int
    sequence: Sequence
    seen: int


@dataclass(frozen=True, slots=True)
class Block:
    """A new block; `replaced` is the row whose samples are in it too."""

    signal: int
    first_us: int
    last_us: int
    count: int
    head: bytes
    body: bytes
    replaced: int | None


@kernel
def _by_signal(numbers: "np.ndarray", begins: Ints, order: Ints) -> None:
    """The order that brings each Signal's samples together and keeps theirs; `begins` is moved to the ends."""
    for i in range(numbers.shape[0]):
        order[begins[numbers[i]]] = i
        begins[numbers[i]] += 1


def together(portions: Many[Samples]) -> Samples:
    """Samples one behind the other."""
    if not portions:
        return Samples.none()
    return Samples(
        np.concatenate([portion.numbers for portion in portions]),
        np.concatenate([portion.times for portion in portions]),
        np.concatenate([portion.words for portion in portions]),
        np.concatenate([portion.beliefs for portion in portions]),
    )


def by_signal(samples: Samples) -> Iterator[tuple[int, Sequence]]:
    """Each Signal's samples in their order."""
    counts = np.bincount(samples.numbers) if len(samples) else np.zeros(0, np.int64)
    ends = np.cumsum(counts)
    order = np.empty(len(samples), np.int64)
    _by_signal(samples.numbers, ends - counts, order)
    times, words, beliefs = samples.times[order], samples.words[order], samples.beliefs[order]
    for number in np.flatnonzero(counts).tolist():
        part = slice(int(ends[number] - counts[number]), int(ends[number]))
        yield number, Sequence(times[part], words[part], beliefs[part])


def squeezed(kept: Kept, sequence: Sequence, cuts: Ints, old: Sequence | None = None) -> Sequence:
    """What is kept of samples as the journal holds them, after what is kept already; that comes first again.

    Args:
        cuts: when gaps begin, in their order: the first sample after each is kept, and no line goes across.
    """
    where = np.searchsorted(cuts, sequence.times)
    found = [] if old is None else [old]
    begin = 0
    for end in [*(np.flatnonzero(np.diff(where)) + 1).tolist(), len(sequence)]:
        door, part = Squeeze(kept, kept.reach), slice(begin, end)
        if old is not None and not begin and np.searchsorted(cuts, old.times[-1]) == where[0]:
            door.after(old)
        found.append(door.take(sequence.times[part], sequence.words[part], sequence.beliefs[part]).then(door.end()))
        begin = end
    whole = found[0]
    for part_of in found[1:]:
        whole = whole.then(part_of)
    return whole


@dataclass(frozen=True, slots=True)
class Fold:
    """A generation of the journal on its way into blocks.

    Attributes:
        generation: which; all up to it go.
        until_us: up to when it tells.
        cuts: when gaps begin.
    """

    generation: int
    until_us: int
    samples: Samples
    kept: Mapping[int, Kept]
    old: Mapping[int, Old]
    cuts: Ints

    def blocks(self) -> Iterator[Block]:
        """The blocks that take the journal's place."""
        for number, sequence in by_signal(self.samples):
            kept, old = self.kept[number], self.old.get(number)
            found = squeezed(kept, sequence, self.cuts, old.sequence if old else None)
            yield from self._packed(number, found, len(sequence), old)

    def _packed(self, number: int, found: Sequence, seen: int, old: Old | None) -> Iterator[Block]:
        kept, row = self.kept[number], old.row if old else None
        seen += old.seen if old else 0
        for start in range(0, len(found), LARGE):
            part = slice(start, start + LARGE)
            sequence = Sequence(found.times[part], found.words[part], found.beliefs[part])
            first, last = int(sequence.times[0]), int(sequence.times[-1])
            head, body = encode(kept, sequence, seen)
            yield Block(number, first, last, len(sequence), head, body, row)
            seen, row = 0, None
