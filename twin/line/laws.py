"""How long something takes: laws of random times, as frozen records that say their mean and what a kernel needs of them."""

import math
from dataclasses import dataclass
from numbers import Integral

from twin.line.draws import CYCLES, EXPONENTIAL, FIXED, GAMMA, LOGNORMAL, UNIFORM


class LineError(ValueError):
    """A line, or what is asked of it, that makes no sense; the text names the thing, its value and the limit."""


def need(right: bool, name: str, value: object, limit: str) -> None:
    """Raises LineError with the name, the value and the limit, unless it is right."""
    if not right:
        raise LineError(f"{name}={value} must be {limit}")


def whole(name: str, value: object) -> None:
    """Raises LineError with the name and the value, unless it is a whole number; a truth value is none."""
    need(isinstance(value, Integral) and not isinstance(value, bool), name, value, "a whole number")


def _finite(name: str, value: float, least: float = 0.0) -> None:
    need(math.isfinite(value) and value >= least, name, value, f"finite and at least {least:g}")


def _positive(name: str, value: float) -> None:
    need(math.isfinite(value) and value > 0, name, value, "finite and above 0")


@dataclass(frozen=True, slots=True)
class Fixed:
    """Always the same time [s]."""

    time: float

    def __post_init__(self) -> None:
        _finite("time", self.time)

    @property
    def mean(self) -> float:
        return self.time

    @property
    def row(self) -> tuple[float, float, float]:
        return FIXED, self.time, 0.0


@dataclass(frozen=True, slots=True)
class Exponential:
    """Without memory; mean [s]."""

    mean: float

    def __post_init__(self) -> None:
        _positive("mean", self.mean)

    @property
    def row(self) -> tuple[float, float, float]:
        return EXPONENTIAL, self.mean, 0.0


@dataclass(frozen=True, slots=True)
class Uniform:
    """Anything from low to high [s]."""

    low: float
    high: float

    def __post_init__(self) -> None:
        _finite("low", self.low)
        _finite("high", self.high, self.low)

    @property
    def mean(self) -> float:
        return (self.low + self.high) / 2

    @property
    def row(self) -> tuple[float, float, float]:
        return UNIFORM, self.low, self.high - self.low


@dataclass(frozen=True, slots=True)
class Gamma:
    """Mean [s] and coefficient of variation; Erlang with k phases where `variation` is 1 / sqrt(k)."""

    mean: float
    variation: float

    def __post_init__(self) -> None:
        _positive("mean", self.mean)
        need(0.01 <= self.variation <= 10, "variation", self.variation, "0.01 to 10")

    @property
    def row(self) -> tuple[float, float, float]:
        shape = 1 / self.variation**2
        return GAMMA, shape, self.mean / shape


@dataclass(frozen=True, slots=True)
class Lognormal:
    """Mean [s] and coefficient of variation: manual work, where a few parts take much longer."""

    mean: float
    variation: float

    def __post_init__(self) -> None:
        _positive("mean", self.mean)
        need(0.01 <= self.variation <= 10, "variation", self.variation, "0.01 to 10")

    @property
    def row(self) -> tuple[float, float, float]:
        spread = math.log1p(self.variation**2)
        return LOGNORMAL, math.log(self.mean) - spread / 2, math.sqrt(spread)


@dataclass(frozen=True, slots=True)
class Cycles:
    """A Bernoulli machine: cycles of fixed length [s], each of which finishes the part with probability `success`."""

    cycle: float
    success: float

    def __post_init__(self) -> None:
        _positive("cycle", self.cycle)
        need(1e-6 <= self.success <= 1, "success", self.success, "1e-06 to 1")

    @property
    def mean(self) -> float:
        return self.cycle / self.success

    @property
    def row(self) -> tuple[float, float, float]:
        # With certain success the logarithm of failing is minus infinity, and one cycle is what comes out.
        return CYCLES, self.cycle, math.log1p(-self.success) if self.success < 1 else -math.inf


Law = Fixed | Exponential | Uniform | Gamma | Lognormal | Cycles
