"""Plans an arm's program: where each joint is at every interval, and all that keeps it from being carried out."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from twin.frames import inverse
from twin.kernel import Floats
from twin.kinematics.robot import JointKind
from twin.motion.arm.course import MOST_JOINED, Course, by_joints, by_lines, check_samples, joined, out_of_range
from twin.motion.arm.limits import ArmLimits
from twin.motion.arm.line import pose_of
from twin.motion.arm.program import ArmMove, ArmOp, ArmOpKind, ArmProgram, MoveKind
from twin.motion.arm.reach import Lost, Reach
from twin.motion.arm.solved import Solved
from twin.motion.arm.trajectory import ArmPlan, Trajectory, empty
from twin.motion.findings import Findings
from twin.motion.limits import JobError


def plan(program: ArmProgram, limits: ArmLimits, start: Floats, reach: Reach | None = None) -> ArmPlan:
    """A program's samples. It never raises for a program: what is wrong is among the refusals, with its line.

    A line goes on from where the tool is. It may be left before its end for the next line if its blend is above 0, nothing
    is to be done in between and the tool stays the same; all other moves begin and end at rest, and so do lines between which
    too little is left to round the corner. The first move that can't be made ends the planning.

    Args:
        start: (n,) where the joints stand [rad].
        reach: the arm's kinematics; the robot's own kernels unless given.
    """
    findings = Findings()
    at = np.array(start, dtype=np.float64)
    _check_start(at, limits, findings)
    _check_targets(program, limits, findings)
    planner = _Planner(program, limits, at)
    if not findings.refusals:
        try:
            planner.go(reach or Solved(limits.robot))
        except JobError as error:
            findings.refuse(error.line, _without_line(error), error.axis, error.value, error.limit)
    if findings.refusals:
        none, ops = empty(limits.robot.axes, limits.interval), tuple(replace(op, before=0) for op in program.ops)
        return ArmPlan(program, none, ops, np.empty((0, 2), np.int64), findings.refusals, 0.0)
    return planner.plan()


def _without_line(error: JobError) -> str:
    return str(error).removeprefix(f"line {error.line}: ")


def _check_start(start: Floats, limits: ArmLimits, findings: Findings) -> None:
    if start.shape != (limits.robot.axes,) or not np.isfinite(start).all():
        findings.refuse(0, f"the start {start.tolist()} is not {limits.robot.axes} joint angles")
        return
    _check_angles(start, 0, limits, findings)


def _check_targets(program: ArmProgram, limits: ArmLimits, findings: Findings) -> None:
    for move in program.moves:
        if move.kind is not MoveKind.JOINTS:
            continue
        if len(move.target) != limits.robot.axes:
            text = f"joints names {len(move.target)} angles; {limits.robot.name} has {limits.robot.axes} axes"
            findings.refuse(move.line, text, "", len(move.target), limits.robot.axes)
        else:
            _check_angles(_angles(move, limits), move.line, limits, findings)


def _check_angles(q: Floats, line: int, limits: ArmLimits, findings: Findings) -> None:
    for joint, value in zip(limits.robot.joints, q.tolist(), strict=True):
        if not joint.low <= value <= joint.high:
            error = out_of_range(joint.name, value, joint.low, joint.high, line)
            findings.refuse(line, _without_line(error), joint.name, value, error.limit)


def _angles(move: ArmMove, limits: ArmLimits) -> Floats:
    """(n,) target in rad, and in m for prismatic joints."""
    return np.array([
        value / 1000 if joint.kind is JointKind.PRISMATIC else np.radians(value)
        for joint, value in zip(limits.robot.joints, move.target, strict=True)
    ])  # fmt: skip


@dataclass(slots=True)
class _Planner:
    """Courses put one after the other; `at` is where the joints stand after them, `done` how many operations are."""

    program: ArmProgram
    limits: ArmLimits
    at: Floats
    courses: list[Course] = field(default_factory=list)
    count: int = 0
    rested: bool = True
    done: int = 0
    runs: list[int] = field(default_factory=list)
    ops: list[ArmOp] = field(default_factory=list)

    def go(self, reach: Reach) -> None:
        """Plan everything.

        Raises:
            JobError: a move can't be made.
        """
        moves, first = self.program.moves, 0
        while first < len(moves):
            self._do_ops(first)
            until = first + joined(self.at, moves[first : min(self._rest(), first + MOST_JOINED + 1)], self.limits, reach)
            course = self._course(moves[first:until], reach)
            if course is not None:
                self._add(course)
            first = until
        self._do_ops(len(moves))

    def plan(self) -> ArmPlan:
        """What was planned; a program without motion has one sample, where the arm stands."""
        if not self.courses:
            still = np.zeros((1, len(self.at)))
            self._add(Course(self.at[None].copy(), still, still.copy(), np.zeros(1, np.int64)))
        interval = self.limits.interval
        trajectory = Trajectory(
            time=np.asarray(np.arange(self.count) * interval, dtype=np.float64),
            q=np.concatenate([course.q for course in self.courses]),
            qd=np.concatenate([course.qd for course in self.courses]),
            qdd=np.concatenate([course.qdd for course in self.courses]),
            line=np.concatenate([course.line for course in self.courses]).astype(np.int64),
            interval=interval,
        )
        waits = sum(op.seconds for op in self.ops)
        runs = np.stack((np.array(self.runs), np.array([*self.runs[1:], self.count])), axis=1).astype(np.int64)
        return ArmPlan(self.program, trajectory, tuple(self.ops), runs, (), trajectory.duration + waits)

    def _do_ops(self, before: int) -> None:
        """Do what is to be done before a move."""
        while self.done < len(self.program.ops) and self.program.ops[self.done].before <= before:
            op = self.program.ops[self.done]
            self.ops.append(replace(op, before=self.count))
            self.rested = True
            self.done += 1
            if op.kind is ArmOpKind.HOME:
                self.at = np.array(self.limits.home)

    def _rest(self) -> int:
        """One past the last move before the next operation."""
        moves, ops = self.program.moves, self.program.ops
        return ops[self.done].before if self.done < len(ops) else len(moves)

    def _course(self, moves: Sequence[ArmMove], reach: Reach) -> Course | None:
        move = moves[0]
        if move.kind is MoveKind.LINE:
            course = by_lines(self.at, moves, self.limits, reach, self.count)
            self.at = self.at if course is None else course.q[-1]
            return course
        target = _angles(move, self.limits) if move.kind is MoveKind.JOINTS else self._nearest(move, reach)
        course = by_joints(self.at, target, move, self.limits, reach, self.count)
        self.at = target
        return course

    def _nearest(self, move: ArmMove, reach: Reach) -> Floats:
        found = reach.nearest(pose_of(move.target) @ inverse(pose_of(move.tool)), self.at)
        if isinstance(found, Lost):
            x, y, z = move.target[:3]
            text = f"the pose at x {x:g}, y {y:g}, z {z:g} m is {found.cause}"
            raise JobError(text, move.line, found.joint, found.value, found.limit)
        return found

    def _add(self, course: Course) -> None:
        """A course that follows without an operation shares its first sample with the last one before."""
        if self.rested:
            self.runs.append(self.count)
        else:
            course = Course(course.q[1:], course.qd[1:], course.qdd[1:], course.line[1:])
        self.courses.append(course)
        self.count += len(course.q)
        check_samples(self.count, int(course.line[-1]))
        self.rested = False
