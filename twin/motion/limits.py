"""What a plan must keep to: the machine's limits, and the errors that name a line, an axis, a value and a limit."""

import math
import zlib
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from twin.motion.findings import Refusal

AXES = "XYZE"
HOTEND, BED = 0, 1

Three = tuple[float, float, float]
Four = tuple[float, float, float, float]


class JobError(ValueError):
    """A Job that can't be made, or bytes that are none.

    Attributes:
        line: of the program, 0 where no line is to blame.
        axis: X, Y, Z or E, or empty.
        value, limit: what was asked for and what is allowed, None where there is no number.
        refusals: one by one, where a whole program was checked.
    """

    def __init__(
        self,
        text: str,
        line: int = 0,
        axis: str = "",
        value: float | None = None,
        limit: float | None = None,
        refusals: "tuple[Refusal, ...]" = (),
    ) -> None:
        super().__init__(f"line {line}: {text}" if line else text)
        self.line, self.axis, self.value, self.limit, self.refusals = line, axis, value, limit, refusals


@dataclass(frozen=True)
class Limits:
    """A Cartesian printer's limits; the defaults are those of a common desktop machine.

    Axes in the order X, Y, Z, E; lengths in mm, speeds in mm/s, accelerations in mm/s², temperatures in °C.

    Attributes:
        acceleration: the largest that M204 may set: while extruding, of E alone, of travel.
        home: where the axes stand after homing.
        homing_speed: the fast approach; the slow one is a tenth of it.
        max_temperature: hotend, bed.
        heating_rate, cooling_rate: hotend, bed, in K/s; they serve the estimate of waits only.
        max_step_rate: steps/s of one axis that the node can make; at most one step in two frames.
        frame_us, chunk_frames: the node's step clock; durations in a Job are whole chunks.
    """

    steps_per_mm: Four = (80.0, 80.0, 400.0, 96.0)
    max_speed: Four = (300.0, 300.0, 20.0, 120.0)
    max_acceleration: Four = (3000.0, 3000.0, 400.0, 10_000.0)
    jerk: Four = (10.0, 10.0, 0.4, 5.0)
    acceleration: Three = (3000.0, 3000.0, 3000.0)
    min_position: Three = (0.0, 0.0, 0.0)
    max_position: Three = (220.0, 220.0, 250.0)
    home: Three = (0.0, 0.0, 0.0)
    homing_speed: Three = (50.0, 50.0, 8.0)
    min_extrusion_temperature: float = 170.0
    max_temperature: tuple[float, float] = (275.0, 120.0)
    heating_rate: tuple[float, float] = (2.5, 0.5)
    cooling_rate: tuple[float, float] = (1.0, 0.1)
    max_step_rate: float = 40_000.0
    frame_us: int = 10
    chunk_frames: int = 4

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            numbers = value if isinstance(value, tuple) else (value,)
            if not all(math.isfinite(number) for number in numbers):
                raise JobError(f"{field.name}={value} is not finite")
        for name in ("steps_per_mm", "max_speed", "max_acceleration", "acceleration", "homing_speed",
                     "heating_rate", "cooling_rate"):  # fmt: skip
            if min(getattr(self, name)) <= 0:
                raise JobError(f"{name}={getattr(self, name)} must be above 0")
        if min(self.jerk) < 0:
            raise JobError(f"jerk={self.jerk} must not be below 0")
        for axis, low, at, high in zip(AXES, self.min_position, self.home, self.max_position, strict=False):
            if not low <= at <= high:
                raise JobError(f"home {axis}={at} lies outside {low} to {high}", 0, axis, at, high)
        # More frames in a chunk, or fewer steps a second, and a record's counts would not fit their fields.
        if not 1 <= self.frame_us <= 1000 or not 1 <= self.chunk_frames <= 16:
            raise JobError(f"frame_us={self.frame_us}, chunk_frames={self.chunk_frames}: 1 to 1000 and 1 to 16")
        least, most = 1 / (80 * self.chunk), 1e6 / self.frame_us / 2
        if not least <= self.max_step_rate <= most:
            raise JobError(
                f"max_step_rate={self.max_step_rate} must be {least:g} to {most:g}: a step takes two frames",
                value=self.max_step_rate,
                limit=most,
            )

    @property
    def chunk(self) -> float:
        """Seconds of the smallest duration in a Job."""
        return self.frame_us * self.chunk_frames * 1e-6

    def fingerprint(self) -> int:
        """CRC-32 over all of it: a node refuses a Job made for other limits than it was configured with."""
        return zlib.crc32(repr(self).encode())
