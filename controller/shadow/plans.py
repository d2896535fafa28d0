"""Where a Job has its axes at the progress that a node reports."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from twin.factory import Machine
from twin.kernel import Floats, Ints
from twin.motion import Limits, job
from twin.motion.arm import job as arm_job
from twin.motion.arm.job import JointOp, JointSteps
from twin.motion.limits import JobError
from twin.motion.program import OpKind

ALPHA = {job.MAGIC: 32_768, arm_job.MAGIC: 8_192}
MM = 1000.0
SKEW_S = 0.05
"""s to either side of the reported progress: position and progress are of one report, but not of one tick of the node."""
MOST_CORNERS = 2000
"""Records within that window; of more only so many are looked at."""


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """A Job's way.

    Attributes:
        end: (k,) chunks at each record's end; begin: the same at its start.
        position: (k, axes) SI at each record's end; NaN before the Job knows where its axes are.
        made: (k, axes) SI within each record; share: (k,) of it that the starting speed makes.
        window: chunks to look to either side.
    """

    begin: Ints
    end: Ints
    position: Floats
    made: Floats
    share: Floats
    window: int

    def at(self, chunks: int) -> tuple[Floats, Floats] | None:
        """The least and the largest place of each axis around a progress; None where the Job does not know."""
        edges = np.clip([chunks - self.window, chunks, chunks + self.window], 0, self.end[-1])
        inside = np.flatnonzero((self.end > edges[0]) & (self.end < edges[2]))[:MOST_CORNERS]
        points = np.vstack([*(self._place(int(edge)) for edge in edges), self.position[inside]])
        if not np.isfinite(points).all():
            return None
        return points.min(axis=0), points.max(axis=0)

    def _place(self, chunks: int) -> Floats:
        row = min(int(np.searchsorted(self.end, chunks, side="left")), len(self.end) - 1)
        spent = max(int(self.end[row] - self.begin[row]), 1)
        u, a = min(max((chunks - int(self.begin[row])) / spent, 0.0), 1.0), float(self.share[row])
        back: Floats = self.position[row] - self.made[row] * (1.0 - (a * u + (1.0 - a) * u * u))
        return back

    def expected(self, chunks: int, reported: Sequence[float]) -> tuple[float, ...] | None:
        """The place nearest to the reported one of each axis [SI] that the Job has around a progress."""
        found = self.at(chunks)
        if found is None:
            return None
        return tuple(np.clip(np.array(reported), found[0][: len(reported)], found[1][: len(reported)]).tolist())


def plan_of(machine: Machine, data: bytes) -> Plan | None:
    """The way of a machine's Job; None of one that is not in our encodings.

    Raises:
        JobError: it is damaged.
    """
    if data[:4] == job.MAGIC and isinstance(limits := _limits(machine), Limits):
        records = job.decode(data)
        per = np.array(limits.steps_per_mm) * MM
        home = np.array([round(at * mm) for at, mm in zip(limits.home, limits.steps_per_mm, strict=False)], np.int64)
        made = job.steps(records, home)
        position, spent = made.position / per, records.chunks
        rows = np.flatnonzero((records.code == OpKind.HOME) & ((records.arg & 7) == 7))
        position[: int(rows[0]) if len(rows) else len(position), :3] = np.nan
        position[:, 3] = 0.0
    elif data[:4] == arm_job.MAGIC and machine.type.steps is not None:
        records = arm_job.decode(data)
        steps: JointSteps = machine.type.steps(machine.params)
        per = np.array(steps.per_rad)
        position = _joints(records, steps, _limits(machine).home) / per
        spent = records.chunks + np.where(records.code == JointOp.DWELL, records.value, 0)
    else:
        return None
    end = np.cumsum(spent)
    window = round(SKEW_S / (records.header.chunk_frames * records.header.frame_us * 1e-6))
    return Plan(end - spent, end, position, records.steps / per, records.alpha / ALPHA[data[:4]], window)


def _limits(machine: Machine) -> Any:
    return machine.type.limits(machine.params) if machine.type.limits is not None else None


def _joints(records: job.Records, steps: JointSteps, home: Sequence[float]) -> Floats:
    """(k, 6) steps at each record's end; NaN before the Job asks where the joints stand, or homes them."""
    at = np.full(arm_job.AXES, np.nan)
    found = np.empty((len(records), arm_job.AXES))
    for row in range(len(records)):
        code = records.code[row]
        if code == JointOp.HOME:
            at = steps.of(np.array(home)).astype(np.float64)
        elif code == JointOp.AT:
            at = at.copy()
            at[records.arg[row]] = records.value[row]
        elif not code:
            at = at + records.steps[row]
        found[row] = at
    return found


class Plans:
    """The Jobs that a core has left in its state folder, by machine and id; the latest of each is kept."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._kept: dict[str, tuple[int, Plan | None]] = {}

    def of(self, machine: Machine, job_id: int) -> Plan | None:
        """The Plan of a machine's Job; None where it is not there, or not to be used."""
        kept = self._kept.get(machine.name)
        if kept is None or kept[0] != job_id:
            kept = self._kept[machine.name] = (job_id, self._read(machine, job_id))
        return kept[1]

    def _read(self, machine: Machine, job_id: int) -> Plan | None:
        try:
            return plan_of(machine, (self._folder / f"{machine.name}.{job_id}.job").read_bytes())
        except (OSError, JobError):
            return None
