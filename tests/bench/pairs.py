"""Two programs timed in turn in one process, A B A B: whatever slows the machine slows both."""

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter_ns


@dataclass(frozen=True, slots=True)
class Pair:
    """Seconds that one call of each takes, as medians over the rounds, and the middle and the spread of their ratio.

    Attributes:
        ratio: median over the rounds of peer / ours within one round.
        low, high: smallest and largest of these.
    """

    ours: float
    peer: float
    ratio: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    Attributes:
        ours, peer: in `unit`, or None where there is no peer.
        ratio: how many times faster than the peer; where a row has a bound instead, how far within it.
        error: largest difference between both results, in the terms that `about` names.
        least, aim: of the ratio.
    """

    ours: float
    peer: float | None
    peer_name: str
    ratio: float
    error: float
    unit: str = "ns"
    least: float | None = None
    aim: float | None = None
    about: str = ""


def paired(ours: Callable[[], object], peer: Callable[[], object], rounds: int = 7, shortest: float = 0.05) -> Pair:
    """Time both, one after the other, `rounds` times; each turn lasts at least `shortest` seconds. Both run once before."""
    counts = [_calls(program, shortest) for program in (ours, peer)]
    first, second = [], []
    for _ in range(rounds):
        first.append(_seconds(ours, counts[0]))
        second.append(_seconds(peer, counts[1]))
    ratios = [b / a for a, b in zip(first, second, strict=True)]
    return Pair(statistics.median(first), statistics.median(second), statistics.median(ratios), min(ratios), max(ratios))


def alone(program: Callable[[], object], rounds: int = 7, shortest: float = 0.05) -> float:
    """Seconds of one call, the median of `rounds` turns."""
    count = _calls(program, shortest)
    return statistics.median(_seconds(program, count) for _ in range(rounds))


def _calls(program: Callable[[], object], shortest: float) -> int:
    program()
    return max(1, round(shortest / max(_seconds(program, 1), 1e-9)))


def _seconds(program: Callable[[], object], calls: int) -> float:
    begun = perf_counter_ns()
    for _ in range(calls):
        program()
    return (perf_counter_ns() - begun) * 1e-9 / calls
