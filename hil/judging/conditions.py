"""Conditions on a value, as data: they can be compared, printed and written down. A function of a value is a condition, too."""

from collections.abc import Callable
from dataclasses import dataclass
from types import FunctionType
from typing import Any


@dataclass(frozen=True, slots=True)
class Is:
    """Equal to a value."""

    value: Any

    def __call__(self, found: Any) -> bool:
        return bool(found == self.value)

    def __str__(self) -> str:
        return f"= {self.value!r}"


@dataclass(frozen=True, slots=True)
class IsNot:
    """Not equal to a value."""

    value: Any

    def __call__(self, found: Any) -> bool:
        return bool(found != self.value)

    def __str__(self) -> str:
        return f"≠ {self.value!r}"


@dataclass(frozen=True, slots=True)
class OneOf:
    """Equal to one of some values."""

    values: tuple[Any, ...]

    def __call__(self, found: Any) -> bool:
        return found in self.values

    def __str__(self) -> str:
        return f"one of {', '.join(map(repr, self.values))}"


@dataclass(frozen=True, slots=True)
class AtMost:
    """A limit from above."""

    high: float

    def __call__(self, found: Any) -> bool:
        return bool(found <= self.high)

    def __str__(self) -> str:
        return f"≤ {self.high:g}"


@dataclass(frozen=True, slots=True)
class AtLeast:
    """A limit from below."""

    low: float

    def __call__(self, found: Any) -> bool:
        return bool(found >= self.low)

    def __str__(self) -> str:
        return f"≥ {self.low:g}"


@dataclass(frozen=True, slots=True)
class Between:
    """Both limits, each of them allowed."""

    low: float
    high: float

    def __call__(self, found: Any) -> bool:
        return bool(self.low <= found <= self.high)

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}"


def describe(condition: Callable[[Any], bool]) -> str:
    """A condition in words: what it says of itself, or its function's name."""
    if not isinstance(condition, FunctionType):
        return str(condition)
    return "as wanted" if condition.__name__ == "<lambda>" else condition.__name__.replace("_", " ")
