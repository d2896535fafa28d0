"""Plans a program: what each move does and when, all that is wrong with it, and all that was clamped."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from twin.kernel import Floats, Ints
from twin.motion import check, lookahead
from twin.motion.findings import Findings, Notice, Refusal
from twin.motion.gcode import read
from twin.motion.keepout import Head, KeepOut, check_keep_out
from twin.motion.limits import Limits
from twin.motion.program import Op, OpKind, Program


@dataclass(frozen=True, slots=True)
class Moves:
    """Straight moves in order; lengths in mm, times in s. Axes X, Y, Z, E.

    Attributes:
        line: (n,) source line.
        start, end: (n, 4) E as filament fed since the start of the program.
        distance: (n,) along X, Y, Z; of E alone where nothing else moves.
        acceleration: (n,) of speeding up and slowing down along the path.
        entry, cruise, exit: (n,) speeds along the path; cruise is the highest that is reached.
        accelerating, cruising, decelerating: (n,) durations of the three phases.
        begin: (n,) motion time at which the move begins.
        rests: (n,) the axes come to rest, within jerk, before the move.
    """

    line: Ints
    start: Floats
    end: Floats
    distance: Floats
    acceleration: Floats
    entry: Floats
    cruise: Floats
    exit: Floats
    accelerating: Floats
    cruising: Floats
    decelerating: Floats
    begin: Floats
    rests: Ints

    def __len__(self) -> int:
        return len(self.line)

    @property
    def duration(self) -> Floats:
        """(n,) seconds."""
        return self.accelerating + self.cruising + self.decelerating

    @property
    def along(self) -> Floats:
        """(n, 4) share of each axis in a millimetre of path."""
        return (self.end - self.start) / self.distance[:, None]


@dataclass(frozen=True, slots=True)
class Plan:
    """A program planned under limits. It becomes a Job only if nothing was refused.

    Attributes:
        program: what was read.
        op_time: (len(program.ops),) motion time of each operation [s].
        refusals: why there is no Job, at most a hundred and a line saying how many more.
        warnings: what was ignored or clamped, one of a kind.
        clamped: how often a limit of the machine was exceeded: "feed" and the names of settings, as "M201 X".
        duration_s: motion and dwells as a slicer counts them, without heating and homing.
        waiting_s: an estimate of heating and homing, from constant rates.
        extents: least and largest X, Y, Z of all moves [mm]; None without moves.
        filament_mm: what is fed in the end, retractions subtracted.
    """

    program: Program
    moves: Moves
    op_time: Floats
    refusals: tuple[Refusal, ...]
    warnings: tuple[Notice, ...]
    clamped: Mapping[str, int]
    duration_s: float
    waiting_s: float
    extents: tuple[tuple[float, ...], tuple[float, ...]] | None
    filament_mm: float

    @property
    def ops(self) -> tuple[Op, ...]:
        return self.program.ops

    @property
    def layers(self) -> int:
        """How many layers the slicer marked."""
        return len(self.program.layers)

    def summary(self) -> dict[str, Any]:
        """What people and scripts ask of a plan, ready for JSON."""
        return {
            "duration_s": self.duration_s,
            "waiting_s": self.waiting_s,
            "moves": len(self.moves),
            "layers": self.layers,
            "extents_mm": self.extents,
            "filament_mm": self.filament_mm,
            "clamped": dict(self.clamped),
            "warnings": [str(warning) for warning in self.warnings],
            "refusals": [asdict(refusal) for refusal in self.refusals],
        }

    def vertices(self) -> Floats:
        """(n + 1, 4) the corners of the path: the start of the first move and the end of each [mm]."""
        return np.concatenate((self.moves.start[:1], self.moves.end))

    def position_at(self, time: Floats | float) -> Floats:
        """Where the tool is meant to be at motion times; before and after the program it stands.

        Args:
            time: (k,) or one number [s].

        Returns:
            (k, 4) X, Y, Z, E [mm].

        Raises:
            ValueError: the plan has no moves.
        """
        moves = self.moves
        if not len(moves):
            raise ValueError("a plan without moves is nowhere")
        at = np.atleast_1d(np.asarray(time, dtype=np.float64))
        index = np.clip(np.searchsorted(moves.begin, at, side="right") - 1, 0, len(moves) - 1)
        since = np.clip(at - moves.begin[index], 0.0, moves.duration[index])
        share = self._travelled(index, since) / moves.distance[index]
        span = moves.end[index] - moves.start[index]
        return np.asarray(moves.start[index] + span * np.clip(share, 0.0, 1.0)[:, None])

    def _travelled(self, index: Ints, since: Floats) -> Floats:
        """Path length of moves after some time in them, each phase for as long as it lasted."""
        moves = self.moves
        up = np.minimum(since, moves.accelerating[index])
        level = np.clip(since - moves.accelerating[index], 0.0, moves.cruising[index])
        down = np.clip(since - moves.accelerating[index] - moves.cruising[index], 0.0, moves.decelerating[index])
        acceleration, cruise = moves.acceleration[index], moves.cruise[index]
        rising = moves.entry[index] * up + acceleration * up**2 / 2
        return np.asarray(rising + cruise * level + cruise * down - acceleration * down**2 / 2)


def plan(program: str, limits: Limits, keep_out: tuple[KeepOut, ...] = (), head: Head | None = None) -> Plan:
    """Read, check and plan G-code. It never raises: what is wrong is among the plan's refusals, with its line.

    Args:
        keep_out: space that the head must not enter.
        head: what moves with the nozzle's tip; the tip alone unless told.
    """
    source = read(program, limits.home)
    findings = Findings()
    settings, clamped = check.clamped_settings(source, limits, findings)
    start = _starts(source, limits)
    delta = source.end - start
    check.check(source, delta, limits, findings)
    moves, slow, op_time, duration = _schedule(source, start, delta, settings)
    if count := check.slowed_feeds(source, slow, findings):
        clamped["feed"] = count
    rates = np.abs(moves.along) * moves.cruise[:, None] * np.array(limits.steps_per_mm)
    speeds = np.column_stack((moves.entry, moves.cruise, moves.exit))
    check.check_motion(moves.line, moves.along, speeds, moves.acceleration, moves.rests, limits, findings)
    check.check_rates(source, rates, duration / limits.chunk, limits, findings)
    check_keep_out(moves.line, start[:, :3], source.end[:, :3], keep_out, head or Head(), findings)
    refusals = source.refusals + findings.refusals
    return Plan(
        program=source,
        moves=moves,
        op_time=op_time,
        refusals=tuple(sorted(refusals, key=lambda refusal: refusal.line or source.lines + 1)),
        warnings=tuple(sorted(source.notices + findings.notices, key=lambda notice: notice.line)),
        clamped=clamped,
        duration_s=duration,
        waiting_s=check.waiting(source.ops, op_time, limits),
        extents=_extents(start, source.end),
        filament_mm=float(source.end[-1, 3]) if len(moves) else 0.0,
    )


def _starts(source: Program, limits: Limits) -> Floats:
    """(n, 4) where each move starts: where the one before ended, or at home."""
    start = np.empty_like(source.end)
    if not len(start):
        return start
    start[0] = (*limits.home, 0.0)
    start[1:] = source.end[:-1]
    for op in source.ops:
        if op.kind is OpKind.HOME and op.before < len(start):
            for axis in range(3):
                if op.arg >> axis & 1:
                    start[op.before, axis] = limits.home[axis]
    return start


def _schedule(source: Program, start: Floats, delta: Floats, settings: Floats) -> tuple[Moves, Ints, Floats, float]:
    """The moves with their speeds and times, the axis that slows each, the time of each operation, and the duration."""
    count = len(start)
    along, move = np.empty((count, 4)), np.empty((count, 4))
    ends, times = np.empty((count, 3)), np.empty((count, 3))
    slowed, rests = np.empty(count, np.int64), np.zeros(count, np.int64)
    for op in source.ops:
        if op.kind.stops and op.before < count:
            rests[op.before] = 1
    feed = np.where(np.isnan(source.feed), 1.0, source.feed)
    lookahead.cruise(delta, feed, source.setting, settings, along, move, slowed)
    lookahead.meet(along, move, source.setting, settings, rests, ends, times)
    begin, op_time, duration = _times(source.ops, times.sum(axis=1))
    moves = Moves(
        line=source.line,
        start=start,
        end=source.end,
        distance=move[:, 0].copy(),
        acceleration=move[:, 1].copy(),
        entry=ends[:, 0].copy(),
        cruise=ends[:, 1].copy(),
        exit=ends[:, 2].copy(),
        accelerating=times[:, 0].copy(),
        cruising=times[:, 1].copy(),
        decelerating=times[:, 2].copy(),
        begin=begin,
        rests=rests,
    )
    return moves, slowed, op_time, duration


def _times(ops: tuple[Op, ...], durations: Floats) -> tuple[Floats, Floats, float]:
    """When each move begins, when each operation happens, and when all is over, with the dwells between."""
    ended = np.concatenate(([0.0], np.cumsum(durations)))
    dwelt = np.zeros(len(ended))
    op_time = np.zeros(len(ops))
    total = 0.0
    for index, op in enumerate(ops):
        op_time[index] = ended[op.before] + total
        if op.kind is OpKind.DWELL:
            total += op.value
            dwelt[op.before] += op.value
    begin = ended + np.cumsum(dwelt)
    return begin[:-1], op_time, float(begin[-1])


def _extents(start: Floats, end: Floats) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    if not len(end):
        return None
    points = np.concatenate((start[:1], end))[:, :3]
    return tuple(points.min(axis=0).tolist()), tuple(points.max(axis=0).tolist())
