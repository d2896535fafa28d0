"""How a step stream fails on its way to the motors.

A word lasts 10 µs: bit 2i is the step of axis i, bit 2i+1 its direction. A step is a rising bit.
"""

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from twin.clock import US, Ns
from twin.fault import FAR, Fault
from twin.kernel import Words

FRAME = Ns(10 * US)
STEP_BITS = np.uint32(0x555)


class StepChange(Protocol):
    """What becomes of words from the onset on."""

    def __init__(self, parameters: Mapping[str, float]) -> None: ...

    def __call__(self, words: Words) -> Words:
        """As many words, others."""
        ...


class TimedSteps:
    """An edit of a step stream that does nothing before its fault's onset and after its end."""

    def __init__(self, fault: Fault, change: StepChange) -> None:
        self.fired = 0
        self._start = fault.at
        self._end = FAR if fault.lasts is None else Ns(fault.at + fault.lasts)
        self._change = change

    def __call__(self, now: Ns, words: Words) -> Words:
        """As many words as came, the first of which is played at `now`."""
        first, last = (min(max(-((now - edge) // FRAME), 0), len(words)) for edge in (self._start, self._end))
        if first >= last:
            return words
        made = self._change(words[first:last])
        self.fired += int(np.count_nonzero((made != words[first:last]) & ((made | words[first:last]) & STEP_BITS != 0)))
        return np.concatenate((words[:first], made, words[last:]))

    def wake(self, now: Ns) -> Ns:
        """Without words there is nothing to change."""
        return FAR


class _Axis:
    """One axis's bits, and the steps seen of it."""

    def __init__(self, parameters: Mapping[str, float]) -> None:
        self._shift = 2 * int(parameters["axis"])
        self._step, self._direction = np.uint32(1 << self._shift), np.uint32(2 << self._shift)
        self._each = max(1, round(parameters.get("each", 1)))
        self._count = 0
        self._high = False

    def _numbered(self, words: Words) -> tuple[Words, Words]:
        """Where a step begins, and the number of the step that each word belongs to, from 1 on."""
        high = words & self._step != 0
        begins = high & ~np.concatenate(([self._high], high[:-1]))
        numbers = self._count + np.cumsum(begins)
        self._high, self._count = bool(high[-1]), int(numbers[-1])
        return begins, numbers


class Missed(_Axis):
    """Each n-th step does not come."""

    def __call__(self, words: Words) -> Words:
        """The words without those steps."""
        _, numbers = self._numbered(words)
        return np.where(numbers % self._each == 0, words & ~self._step, words)


class Extra(_Axis):
    """After each n-th step comes another one, as soon as there is room for a pulse."""

    def __init__(self, parameters: Mapping[str, float]) -> None:
        super().__init__(parameters)
        self._owed = 0

    def __call__(self, words: Words) -> Words:
        """The words with those steps."""
        begins, numbers = self._numbered(words)
        made, free = words.copy(), words & self._step == 0
        due = np.flatnonzero(begins & (numbers % self._each == 0)).tolist()
        at = 1
        while at < len(words) - 1 and (self._owed or due):
            if not self._owed:
                at = max(at, due[0] + 2)
            while due and due[0] < at:
                due.pop(0)
                self._owed += 1
            if at < len(words) - 1 and free[at - 1 : at + 2].all():
                made[at] |= self._step
                self._owed -= 1
                at += 1
            at += 1
        self._owed += len(due)
        return made


class Dead(_Axis):
    """No step comes."""

    def __call__(self, words: Words) -> Words:
        """The words without any step of the axis."""
        return words & ~self._step


class Reversed(_Axis):
    """Every step goes the other way."""

    def __call__(self, words: Words) -> Words:
        """The words with the axis's direction turned round."""
        return words ^ self._direction


class Swapped:
    """Two axes have each other's steps."""

    def __init__(self, parameters: Mapping[str, float]) -> None:
        self._one, self._other = (np.uint32(2 * int(parameters[name])) for name in ("axis", "other"))

    def __call__(self, words: Words) -> Words:
        """The words with two axes exchanged."""
        mask = np.uint32(3)
        one, other = words >> self._one & mask, words >> self._other & mask
        both = mask << self._one | mask << self._other
        made: Words = words & ~both | one << self._other | other << self._one
        return made
