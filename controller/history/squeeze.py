"""Which samples are kept: deadband and swinging door, with an error bound that holds for every sample left out.

A door swings around the last kept point: each sample narrows the slopes of the lines that pass within the bound of all
samples so far. When none is left the line ends at the sample before, at the value on such a line that is nearest to what
was measured, rounded to the grid; that point, as it is kept, is the next pivot, so no error adds up. The door is narrower
than the bound by half a step of the grid and by what floating point takes; where that is all of it, each sample is kept.

Kept in any case: the first sample, each change of the belief with the sample before it, what is no number or has none. A gap is
a sample of quality NONE: lines end before it.
"""

from dataclasses import dataclass, field

import numpy as np

from controller.history.kept import Kept, Numbers, Rule
from twin.kernel import Floats, Ints, kernel

_NONE = 3
_EXACT, _HOLD, _LINE = int(Rule.EXACT), int(Rule.HOLD), int(Rule.LINE)
_MOST = 1e300  # beyond it, sums may overflow
_ROUNDING = 16 * 2.0**-52
_GRID = 2.0**40  # a quotient below it rounds to the right place of the grid
_HALF = 0.502  # half a step, and what a quotient below _GRID may be wrong by

# The state: what the door knows between two calls.
_BEGUN, _PIVOT_T, _LAST_T, _LAST_WORD, _LAST_BELIEF, _PENDING, _EARLY, _REPEATED = range(8)
_PIVOT, _LOW, _HIGH, _LAST = range(4)


@kernel
def _on_grid(value: float, step: float) -> float:
    """The value's place on the grid; itself where it has none."""
    if step > 0.0:
        place = np.rint(value / step)
        if abs(place) < _GRID:
            return float(place * step)
    return value


@kernel
def _close(whole: Ints, real: Floats, step: float) -> float:
    """The value at which the line ends, at the last sample's time."""
    elapsed = float(whole[_LAST_T] - whole[_PIVOT_T])
    value = max(real[_LAST], real[_PIVOT] + real[_LOW] * elapsed)
    return _on_grid(min(value, real[_PIVOT] + real[_HIGH] * elapsed), step)


@kernel
def _narrow(whole: Ints, real: Floats, reach: float, time: int, value: float) -> int:
    """Narrow the door by a sample; 1 where it stays open, 0 where not, -1 where the value is too large for any door."""
    reach -= _ROUNDING * (abs(value) + abs(real[_PIVOT]))
    if reach <= 0.0:
        return -1
    elapsed = float(time - whole[_PIVOT_T])
    low = max(real[_LOW], (value - reach - real[_PIVOT]) / elapsed)
    high = min(real[_HIGH], (value + reach - real[_PIVOT]) / elapsed)
    if low > high:
        return 0
    real[_LOW], real[_HIGH] = low, high
    return 1


@kernel
def _pivot(whole: Ints, real: Floats, time: int, value: float) -> None:
    whole[_PIVOT_T], whole[_PENDING] = time, 0
    real[_PIVOT], real[_LOW], real[_HIGH] = value, -np.inf, np.inf


@kernel
def _squeeze(
    rule: int, reach: float, step: float, still: int, whole: Ints, real: Floats, times: Ints, words: Ints, values: Floats,
    beliefs: Numbers, kept_t: Ints, kept_w: Ints, kept_v: Floats, kept_b: Numbers,
) -> int:  # fmt: skip
    """How many samples of these are kept, in `kept_*`; `values` and `kept_v` are the words seen as floats."""
    count = 0
    for i in range(times.shape[0]):
        if whole[_BEGUN] and times[i] < whole[_LAST_T]:
            whole[_EARLY] += 1
            continue
        if whole[_BEGUN] and times[i] == whole[_LAST_T] and words[i] == whole[_LAST_WORD] and beliefs[i] == whole[_LAST_BELIEF]:
            whole[_REPEATED] += 1
            continue
        held = whole[_BEGUN] == 1 and (whole[_LAST_BELIEF] & 3) != _NONE and abs(real[_LAST]) <= _MOST
        silent = rule == _LINE and still > 0 and held and times[i] - whole[_LAST_T] > still
        for turn in range(0 if silent else 1, 2):
            time, word, value, belief = times[i], words[i], values[i], np.int64(beliefs[i])
            if turn == 0:
                time, word, value, belief = time - still, whole[_LAST_WORD], real[_LAST], whole[_LAST_BELIEF]
            same = whole[_BEGUN] == 1 and belief == whole[_LAST_BELIEF]
            keep = not (same and word == whole[_LAST_WORD])
            valued = (belief & 3) != _NONE and abs(value) <= _MOST
            closing = False
            if rule == _HOLD and same and valued and held:
                keep = abs(value - real[_PIVOT]) > reach - _ROUNDING * (abs(value) + abs(real[_PIVOT]))
            elif rule == _LINE:
                closing = whole[_PENDING] == 1
                if same and valued and held and time > whole[_LAST_T]:
                    door = _narrow(whole, real, reach - _HALF * step, time, value)
                    if door == 0:
                        kept_t[count], kept_b[count] = whole[_LAST_T], whole[_LAST_BELIEF]
                        kept_v[count] = _close(whole, real, step)
                        _pivot(whole, real, whole[_LAST_T], kept_v[count])
                        count += 1
                        door = _narrow(whole, real, reach - _HALF * step, time, value)
                        closing = False
                    keep = door < 0
                    if door > 0:
                        whole[_PENDING] = 1
                elif valued:
                    keep = True
            if keep and closing:
                kept_t[count], kept_b[count] = whole[_LAST_T], whole[_LAST_BELIEF]
                kept_v[count] = _close(whole, real, step)
                count += 1
            if keep:
                kept_t[count], kept_b[count], kept_w[count] = time, belief, word
                if rule != _EXACT and valued:
                    kept_v[count] = _on_grid(value, step)
                _pivot(whole, real, time, kept_v[count])
                count += 1
            whole[_BEGUN], whole[_LAST_T], whole[_LAST_WORD], whole[_LAST_BELIEF] = 1, time, word, belief
            real[_LAST] = value
            held = valued
    return count


@kernel
def _finish(step: float, whole: Ints, real: Floats, kept_t: Ints, kept_v: Floats, kept_b: Numbers) -> int:
    """End a line that is open: 1 where one sample was kept for it."""
    if whole[_PENDING] == 0:
        return 0
    kept_t[0], kept_b[0] = whole[_LAST_T], whole[_LAST_BELIEF]
    kept_v[0] = _close(whole, real, step)
    _pivot(whole, real, whole[_LAST_T], kept_v[0])
    return 1


@dataclass(frozen=True, slots=True)
class Sequence:
    """What is kept of one Signal: (n,) times [µs], words, beliefs; the times never go back."""

    times: Ints
    words: Ints
    beliefs: Numbers

    def __len__(self) -> int:
        return len(self.times)

    def then(self, later: "Sequence") -> "Sequence":
        """This one and what follows it."""
        return Sequence(
            np.concatenate((self.times, later.times)),
            np.concatenate((self.words, later.words)),
            np.concatenate((self.beliefs, later.beliefs)),
        )


@dataclass(slots=True)
class Squeeze:
    """The squeezing of one Signal's samples as they come: in whichever portions, the same are kept.

    Args:
        kept: the Signal; `reach` takes the place of its bound where samples were rounded before.
    """

    kept: Kept
    reach: float = -1.0
    _whole: Ints = field(default_factory=lambda: np.zeros(8, np.int64))
    _real: Floats = field(default_factory=lambda: np.zeros(4))

    def __post_init__(self) -> None:
        if self.reach < 0:
            self.reach = self.kept.bound

    @property
    def early(self) -> int:
        """How many samples were refused, for they were earlier than the one before them."""
        return int(self._whole[_EARLY])

    def after(self, last: Sequence) -> None:
        """Go on after what is kept already."""
        time, word, belief = int(last.times[-1]), last.words[-1:], int(last.beliefs[-1])
        value = float(word.view(np.float64)[0])
        self._whole[:] = (1, time, time, int(word[0]), belief, 0, 0, 0)
        self._real[:] = (value, -np.inf, np.inf, value)

    def take(self, times: Ints, words: Ints, beliefs: Numbers) -> Sequence:
        """The samples that are kept now; the last of a line is not among them before it ends."""
        room = (4 if self.kept.still_ns else 2) * len(times) + 2
        kept_t, kept_w, kept_b = np.empty(room, np.int64), np.empty(room, np.int64), np.empty(room, np.int32)
        count = _squeeze(
            int(self.kept.way), self.reach, self.kept.step, self.kept.still_ns // 1000, self._whole, self._real,
            times, words, words.view(np.float64), beliefs, kept_t, kept_w, kept_w.view(np.float64), kept_b,
        )  # fmt: skip
        return Sequence(kept_t[:count].copy(), kept_w[:count].copy(), kept_b[:count].copy())

    def end(self) -> Sequence:
        """The end of a line that is open."""
        kept_t, kept_w, kept_b = np.empty(1, np.int64), np.empty(1, np.int64), np.empty(1, np.int32)
        count = _finish(self.kept.step, self._whole, self._real, kept_t, kept_w.view(np.float64), kept_b)
        return Sequence(kept_t[:count], kept_w[:count], kept_b[:count])
