"""What becomes of a value on its way: pure functions of the time since the onset, or of that and what came before."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from twin.clock import MS, Ns
from twin.fault import FAR, Fault

FULL = 65_535
GRAIN = Ns(10 * MS)
"""How finely what changes by itself is followed."""
_MIX = (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
_U64 = (1 << 64) - 1
_KEPT = 4096


def never(elapsed: Ns) -> Ns:
    """The value changes only with its input."""
    return FAR


def every(period: Ns) -> Callable[[Ns], Ns]:
    """The value may change at each multiple of a period."""
    return lambda elapsed: Ns((elapsed // period + 1) * period)


def chance(seed: int, slot: int) -> float:
    """A number from 0 to 1 that depends on seed and slot alone, however often and in which order it is asked for."""
    z = (seed * _MIX[1] + slot * _MIX[0]) & _U64
    z = (z ^ z >> 30) * _MIX[1] & _U64
    z = (z ^ z >> 27) * _MIX[2] & _U64
    return ((z ^ z >> 31) >> 11) / (1 << 53)


def within(value: float) -> int:
    """A voltage or a duty as near to `value` as there is one."""
    return min(max(round(value), 0), FULL)


@dataclass(slots=True)
class Change:
    """What an edit does from its onset on.

    Attributes:
        made: (elapsed, value) -> value.
        again: elapsed -> when it may next change by itself, elapsed as well.
    """

    made: Callable[[Ns, int], int]
    again: Callable[[Ns], Ns] = never


class Timed:
    """An Edit that does nothing before its fault's onset and after its end, so that it may be put in place at any time."""

    def __init__(self, fault: Fault, change: Change) -> None:
        self.fired = 0
        self._start = fault.at
        self._end = FAR if fault.lasts is None else Ns(fault.at + fault.lasts)
        self._change = change

    def __call__(self, now: Ns, value: int) -> int:
        """The value as it arrives."""
        if not self._start <= now < self._end:
            return value
        made = self._change.made(Ns(now - self._start), value)
        self.fired += made != value
        return made

    def wake(self, now: Ns) -> Ns:
        """When what arrives may change although nothing else does."""
        if now < self._start:
            return self._start
        if now >= self._end:
            return FAR
        return Ns(min(self._end, self._start + self._change.again(Ns(now - self._start))))


# ---- what only time and the value decide


def constant(value: int) -> Change:
    """The same value whatever comes."""
    return Change(lambda _, __: value)


def of_value(made: Callable[[int], float]) -> Change:
    """A function of the value, held within full scale."""
    return Change(lambda _, value: within(made(value)))


def drift(per_second: float) -> Change:
    """Ever further away from what is true."""
    return Change(lambda elapsed, value: within(value + per_second * elapsed * 1e-9), every(GRAIN))


def noise(seed: int, most: float) -> Change:
    """Anything up to `most` away, another value every 10 ms."""
    return Change(lambda elapsed, value: within(value + most * (2 * chance(seed, elapsed // GRAIN) - 1)), every(GRAIN))


def pulses(period: Ns, width: Ns, inside: Callable[[int], float]) -> Change:
    """At the start of each period, for its width, a function of the value; the value itself for the rest."""

    def made(elapsed: Ns, value: int) -> int:
        return within(inside(value)) if elapsed % period < width else value

    def again(elapsed: Ns) -> Ns:
        start = elapsed // period * period
        return Ns(start + width if elapsed - start < width < period else start + period)

    return Change(made, again)


def flicker(seed: int, slot: Ns, share: float, broken: int) -> Change:
    """In a share of all slots of time, chosen by chance, `broken`."""
    return Change(lambda elapsed, value: broken if chance(seed, elapsed // slot) < share else value, every(slot))


# ---- what depends on what came before


def frozen() -> Change:
    """The value that it had at the onset."""
    held: list[int] = []

    def made(_: Ns, value: int) -> int:
        if not held:
            held.append(value)
        return held[0]

    return Change(made)


def delayed(by: Ns) -> Change:
    """Every value comes later; what was there at the onset stays until then."""
    queue: deque[tuple[Ns, int]] = deque(maxlen=_KEPT)

    def made(elapsed: Ns, value: int) -> int:
        if not queue:
            queue.append((Ns(elapsed - by), value))
        if queue[-1][1] != value:
            queue.append((elapsed, value))
        while len(queue) > 1 and queue[1][0] + by <= elapsed:
            queue.popleft()
        return queue[0][1]

    return Change(made, lambda elapsed: Ns(queue[1][0] + by) if len(queue) > 1 else FAR)


def slewed(per_second: float) -> Change:
    """It follows no faster than so many counts a second."""
    at: list[float] = []
    when = [Ns(0)]

    def made(elapsed: Ns, value: int) -> int:
        if not at:
            at.append(float(value))
        most = per_second * (elapsed - when[0]) * 1e-9
        at[0] += min(max(value - at[0], -most), most)
        when[0] = elapsed
        return within(at[0])

    return Change(made, every(GRAIN))


def chatter(lasts: Ns, interval: Ns) -> Change:
    """A contact that bounces: for a while after each change it goes back and forth."""
    state: list[int] = []
    since = [Ns(-lasts)]

    def made(elapsed: Ns, value: int) -> int:
        if state and state[0] != value:
            since[0] = elapsed
        state[:] = [value]
        passed = elapsed - since[0]
        return value ^ (passed // interval & 1) if passed < lasts else value

    def again(elapsed: Ns) -> Ns:
        passed = elapsed - since[0]
        return Ns(since[0] + min(lasts, (passed // interval + 1) * interval)) if passed < lasts else FAR

    return Change(made, again)
