"""Follows a plan along the steps that are really made: the witness that a print was carried out as planned."""

from dataclasses import dataclass

import numpy as np

from twin.kernel import Floats, Ints, Words, kernel

_STEPS = 0x55  # rising edges of these bits are steps; the bit above each is its direction


@kernel
def _follow(
    words: Words, last: int, position: Ints, vertices: Floats, per_mm: Floats, reached: int, worst: Floats
) -> tuple[int, int, int]:
    """Walk along words; returns the last word, the vertices reached, and the number of steps.

    Args:
        words: (n,) the step stream.
        last: the word before it.
        position: (4,) steps from the home position, advanced.
        vertices: (m, 4) planned positions [mm].
        per_mm: (4,) steps per millimetre.
        reached: vertices reached so far.
        worst: (2,) largest distance of X, Y, Z from the planned line [mm], largest distance of an axis from a planned vertex
            at the moment it was reached [steps]; raised where exceeded.
    """
    made = 0
    for i in range(words.shape[0]):
        word = int(words[i])
        edges = word & ~last & _STEPS
        last = word
        if edges == 0:
            continue
        for axis in range(4):
            if edges >> (2 * axis) & 1:
                position[axis] += 1 if word >> (2 * axis + 1) & 1 else -1
                made += 1
        if reached == 0 or reached >= vertices.shape[0]:
            continue
        along = 0.0
        length = 0.0
        for axis in range(3):
            ab = vertices[reached, axis] - vertices[reached - 1, axis]
            ap = position[axis] / per_mm[axis] - vertices[reached - 1, axis]
            along += ab * ap
            length += ab * ab
        part = 0.0 if length == 0.0 else min(1.0, max(0.0, along / length))
        away = 0.0
        for axis in range(3):
            a = vertices[reached - 1, axis]
            d = position[axis] / per_mm[axis] - (a + part * (vertices[reached, axis] - a))
            away += d * d
        worst[0] = max(worst[0], np.sqrt(away))
        while reached < vertices.shape[0]:
            off = 0.0
            for axis in range(4):
                off = max(off, abs(position[axis] - vertices[reached, axis] * per_mm[axis]))
            if off > 0.5000001:
                break
            worst[1] = max(worst[1], off)
            reached += 1
    return last, reached, made


@dataclass(frozen=True, slots=True)
class Followed:
    """How the steps compare with the plan.

    Attributes:
        vertices, reached: planned segment ends, and those that the steps came to within half a microstep, in order.
        path_error_mm: largest distance of X, Y, Z from the planned line.
        vertex_error_steps: largest distance of an axis from a segment end when it was reached.
        steps: made since home, all axes.
        executed_s: time for which there were words to play since home.
        filament_mm: fed since home.
    """

    vertices: int
    reached: int
    path_error_mm: float
    vertex_error_steps: float
    steps: int
    executed_s: float
    filament_mm: float


class Follower:
    """Compares one machine's step stream with its plan, from the moment it is home.

    Args:
        vertices: (m, 4) positions X, Y, Z, E [mm] at every segment end, beginning with the home position.
        steps_per_mm: (4,).
    """

    def __init__(self, vertices: Floats, steps_per_mm: tuple[float, ...]) -> None:
        self._vertices = np.ascontiguousarray(vertices, np.float64)
        self._per_mm = np.array(steps_per_mm, np.float64)
        self._position = np.zeros(4, np.int64)
        self._worst = np.zeros(2)
        self._reached = 0
        self._last = 0
        self._steps = 0
        self._queued = 0

    def home(self) -> None:
        """The stream was cut at an end switch: what comes next starts at the plan's first vertex."""
        self._position[:] = 0
        self._worst[:] = 0
        self._reached = 1
        self._last = 0
        self._steps = 0
        self._queued = 0

    def queue(self, words: Words) -> None:
        """Words that will be played unless the stream is cut."""
        self._queued += len(words)

    def play(self, words: Words) -> None:
        """Words that have been played."""
        self._last, self._reached, made = _follow(
            words, self._last, self._position, self._vertices, self._per_mm, self._reached, self._worst
        )
        self._steps += made

    @property
    def result(self) -> Followed:
        """The comparison so far."""
        return Followed(
            len(self._vertices),
            self._reached,
            float(self._worst[0]),
            float(self._worst[1]),
            self._steps,
            self._queued * 1e-5,
            float(self._position[3] / self._per_mm[3]),
        )
