"""Every Signal of a factory's plants and pins at a fixed rate, in columns: what a plot, a comparison or a model wants.

A Trace holds changes, as exact as they are; a Recorder holds samples. It costs little, because a whole step of the world is
sampled at once: pins and sensors stand during a step, and a plant that has a closed form says what lies in it.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from twin.clock import MS, Ns, seconds
from twin.kernel import Floats, Ints

PERIOD = Ns(10 * MS)
BLOCK = 4096  # samples by which a column grows
MOST = 1 << 24  # samples in a column: at 100 Hz almost two days


class Recorder:
    """Samples of every pin, sensor and numeric plant signal on a grid of `period`.

    Args:
        period: between two samples.
        most: samples kept at most; what comes later is counted in `lost`.

    Attributes:
        samples: taken so far.
        lost: not kept for want of room.
    """

    def __init__(self, period: Ns = PERIOD, most: int = MOST) -> None:
        self.period = period
        self.samples = self.lost = 0
        self._most = most
        self._columns: dict[str, Floats] = {}

    def step(self, start: Ns, end: Ns, held: Mapping[str, float], moving: Mapping[str, Floats]) -> None:
        """Take in one step of the world.

        Args:
            start, end: the samples after `start` and up to `end` are taken.
            held: by Signal, what stood during the step.
            moving: by Signal, its values at `times(start, end)`.
        """
        first, last = start // self.period + 1, end // self.period
        count = min(last - first + 1, self._most - self.samples)
        self.lost += max(0, last - first + 1 - count)
        if count <= 0:
            return
        low, high = self.samples, self.samples + count
        for name, value in held.items():
            self._column(name, high)[low:high] = value
        for name, values in moving.items():
            self._column(name, high)[low:high] = values[:count]
        self.samples = high

    def times(self, start: Ns, end: Ns) -> Ints:
        """The samples' times that lie after `start` and up to `end` [ns]."""
        return np.arange(start // self.period + 1, end // self.period + 1, dtype=np.int64) * self.period

    @property
    def columns(self) -> dict[str, Floats]:
        """By Signal, its samples; NaN before it was there."""
        return {name: column[: self.samples] for name, column in self._columns.items()}

    @property
    def time_s(self) -> Floats:
        """When each sample was true."""
        return np.arange(1, self.samples + 1, dtype=np.float64) * seconds(self.period)

    def _column(self, name: str, needed: int) -> Floats:
        column = self._columns.get(name)
        if column is None:
            column = self._columns[name] = np.full(max(BLOCK, needed), np.nan)
        elif len(column) < needed:
            column = self._columns[name] = np.concatenate((column, np.full(max(len(column), needed - len(column)), np.nan)))
        return column


def numbers(prefix: str, values: Mapping[str, Any]) -> dict[str, float]:
    """The values that are numbers, under names that say whose they are; of a tuple each one."""
    found: dict[str, float] = {}
    for name, value in values.items():
        if isinstance(value, tuple):
            found.update({f"{prefix}{name}.{i}": float(one) for i, one in enumerate(value)})
        elif isinstance(value, (bool, int, float)):
            found[f"{prefix}{name}"] = float(value)
    return found
