"""Random times from a counter: each number belongs to a seed, a replica, a row, a part, and to nothing else.

So it is the same in both forms of a line, in whatever order parts are worked on, and whatever the buffers. Rows are the
arrivals, where there are any, then the stations. Kernels and all they call stay in this file: see twin.kernel.
"""

import math

import numpy as np

from twin.kernel import Floats, kernel

# Kinds of laws: the first column of a table, see twin.line.line.
FIXED, EXPONENTIAL, UNIFORM, GAMMA, LOGNORMAL, CYCLES = range(6)
_KIND, _FIRST, _SECOND, _ADDED, _BETWEEN, _REPAIR, _STREAM = range(7)
# SplitMix64: a counter in steps of the golden ratio, mixed. Every operand is unsigned, for Numba makes a float of
# unsigned and signed.
_STEP = np.uint64(0x9E3779B97F4A7C15)
_FIRST_FACTOR, _SECOND_FACTOR = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_S12, _S27, _S30, _S31 = np.uint64(12), np.uint64(27), np.uint64(30), np.uint64(31)
_ONE = np.uint64(1)
_FAILURES = np.uint64(0x5D8A3F1C92E64B07)  # sets a station's failures apart from its times
_MOST_TRIES = 100  # of a rejection that succeeds 19 times of 20
MOST_STOPS = 1000  # failures during one part that are drawn one by one

_SQUARE_ROOT_HALF_BITS = np.int64(0x3FE6A09E667F3BCD)
_LN2 = 0.6931471805599453


@kernel
def mixed(word: np.uint64) -> np.uint64:
    """SplitMix64's output function."""
    word = (word ^ (word >> _S30)) * _FIRST_FACTOR
    word = (word ^ (word >> _S27)) * _SECOND_FACTOR
    return word ^ (word >> _S31)


@kernel
def key(seed: int, replica: int, stream: int) -> np.uint64:
    """Where the counter of a stream begins."""
    word = mixed(np.uint64(seed) + _STEP)
    word = mixed(word + np.uint64(replica + 1) * _STEP)
    return mixed(word + np.uint64(stream + 1) * _STEP)


@kernel
def _word(begin: np.uint64, number: int) -> np.uint64:
    return mixed(begin + np.uint64(number + 1) * _STEP)


@kernel
def _unit(word: np.uint64) -> float:
    """Strictly between 0 and 1, from the upper 52 bits."""
    return (np.float64(np.int64(word >> _S12)) + 0.5) * 2.220446049250313e-16


@kernel
def logarithm(x: float) -> float:
    """Natural logarithm of a positive normal number, without a branch, so that loops of it become vectors.

    x = m 2^e with m from sqrt(1/2) to sqrt(2), and log m = 2 artanh((m - 1) / (m + 1)) as its series.
    """
    bits = np.float64(x).view(np.int64)
    exponent = (bits - _SQUARE_ROOT_HALF_BITS) >> np.int64(52)
    m = np.int64(bits - (exponent << np.int64(52))).view(np.float64)
    s = (m - 1.0) / (m + 1.0)
    z = s * s
    p = 1 / 15 + z * (1 / 17 + z * (1 / 19 + z * (1 / 21 + z * (1 / 23))))
    p = 1 / 3 + z * (1 / 5 + z * (1 / 7 + z * (1 / 9 + z * (1 / 11 + z * (1 / 13 + z * p)))))
    return np.float64(exponent) * _LN2 + 2.0 * (s + s * z * p)


@kernel
def _normal(word: np.uint64) -> float:
    """Standard normal, from two numbers that follow the word (Box and Muller)."""
    distance = math.sqrt(-2.0 * logarithm(_unit(_word(word, 0))))
    return distance * math.cos(2.0 * math.pi * _unit(_word(word, 1)))


@kernel
def _gamma(word: np.uint64, shape: float) -> float:
    """Of scale 1, by rejection (Marsaglia and Tsang 2000); a shape below 1 takes one more and a power."""
    boost = 1.0
    if shape < 1.0:
        boost = math.exp(logarithm(_unit(word)) / shape)
        shape += 1.0
    d = shape - 1.0 / 3.0
    c = 1.0 / math.sqrt(9.0 * d)
    for attempt in range(_MOST_TRIES):
        word = _word(word, attempt + 2)
        z = _normal(word)
        v = (1.0 + c * z) ** 3
        if v > 0.0 and logarithm(_unit(_word(word, 2))) < 0.5 * z * z + d - d * v + d * logarithm(v):
            return boost * d * v
    return boost * d


@kernel
def _repairs(word: np.uint64, work: float, between: float, repair: float) -> float:
    """Total of the repairs during some work; beyond the stops that are drawn, the mean of those that would follow."""
    total = 0.0
    for stop in range(MOST_STOPS):
        work += between * logarithm(_unit(_word(word, 2 * stop)))
        if work <= 0.0:
            break
        total -= repair * logarithm(_unit(_word(word, 2 * stop + 1)))
    return total + repair * max(work, 0.0) / between


@kernel
def _draw(law: Floats, seed: int, replica: int, times: Floats, down: Floats) -> None:
    """Times of one row for parts 0, 1, …, and the share of each that is repair."""
    parts = times.shape[0]
    begin = key(seed, replica, int(law[_STREAM]))
    kind, first, second, added = int(law[_KIND]), law[_FIRST], law[_SECOND], law[_ADDED]
    if kind == FIXED:
        times[:] = first + added
    elif kind == EXPONENTIAL:
        for i in range(parts):
            times[i] = added - first * logarithm(_unit(_word(begin, i)))
    elif kind == UNIFORM:
        for i in range(parts):
            times[i] = added + (first + second * _unit(_word(begin, i)))
    elif kind == GAMMA:
        for i in range(parts):
            times[i] = added + second * _gamma(_word(begin, i), first)
    elif kind == LOGNORMAL:
        for i in range(parts):
            times[i] = added + math.exp(first + second * _normal(_word(begin, i)))
    else:
        for i in range(parts):
            times[i] = added + first * max(1.0, math.ceil(logarithm(_unit(_word(begin, i))) / second))
    down[:] = 0.0
    if law[_BETWEEN] > 0.0:
        for i in range(parts):
            down[i] = _repairs(_word(begin ^ _FAILURES, i), times[i], law[_BETWEEN], law[_REPAIR])
            times[i] += down[i]


@kernel
def draw(table: Floats, seed: int, replica: int, times: Floats, down: Floats) -> None:
    """Times of some replicas.

    Args:
        table: (rows, 7) laws as `Line.table` gives them.
        replica: number of the first.
        times: (replicas, rows, parts) seconds for which each part occupies a server, repairs included; overwritten.
        down: (replicas, rows, parts) seconds of these that are repairs; overwritten.
    """
    for number in range(times.shape[0]):
        for row in range(table.shape[0]):
            _draw(table[row], seed, replica + number, times[number, row], down[number, row])
