"""Four hundred programs from a seed, planned as for a better arm than there is, and judged by Pinocchio and Coal.

What they call bad is refused with its line, its cause and its axis or bodies; what they call good is let through.
"""

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pinocchio as pin

from tests.twin.kinematics.pinned import Scene, flange_of, loaded
from twin.kinematics.collision import KEPT
from twin.kinematics.kernels import kernels
from twin.kinematics.robot import rotation_of
from twin.kinematics.shapes import Box, Capsule, Plane, Surroundings
from twin.kinematics.ur5e import ur5e
from twin.motion.arm import ArmLimits, ArmPlan, limits_of, read
from twin.motion.arm.check import Load, Site, check
from twin.motion.arm.plan import plan
from twin.motion.arm.solved import Solved
from twin.motion.findings import Refusal

ROBOT = ur5e()
AXES = ROBOT.axes
HOME = tuple(math.radians(angle) for angle in (0, -90, 90, -90, -90, 0))
LIMITS = replace(limits_of(ROBOT, HOME), acceleration=(15.0,) * 6, interval=0.02)
TOOL_POINT = "tool 0 0 0.12 0 0 0"
SITE = Site(
    surroundings=Surroundings(
        boxes=(
            Box("printer", (-0.55, 0.3, 0.2), (0.2, 0.25, 0.2)),
            Box("conveyor", (0.2, 0.65, 0.1), (0.5, 0.12, 0.1), rotation_of(0.0, 0.0, 0.2)),
        ),
        capsules=(Capsule("post", 0, (0.35, -0.45, -0.3), (0.35, -0.45, 1.2), 0.04),),
        planes=(Plane("floor", (0.0, 0.0, 1.0), -0.1),),
    ),
    tool=(Capsule("gripper", 7, (0.0, 0.0, 0.03), (0.0, 0.0, 0.1), 0.035),),
    load=Load(mass=2.0, centre=(0.01, -0.02, 0.09), inertia=(0.004, 0.0, 1e-4, 0.005, 0.0, 0.003)),
    tool_speed=3.0,
)
Cause = tuple[int, str, str | frozenset[str]]
"""Line, what is wrong, and the joint or the bodies."""


class Careless(Solved):
    """Knows no torques, so moves are planned as if the motors had no end."""

    def torques(self, q: np.ndarray, qd: np.ndarray, qdd: np.ndarray) -> np.ndarray:
        return np.zeros_like(q)


def better(range_by: float, speed_by: float, acceleration_by: float) -> ArmLimits:
    """The limits of an arm that could do more; with factors of 1 our own."""
    joints = tuple(
        replace(joint, low=joint.low * range_by, high=joint.high * range_by, speed=joint.speed * speed_by) for joint in ROBOT.joints
    )
    acceleration = tuple(value * acceleration_by for value in LIMITS.acceleration)
    return replace(LIMITS, robot=replace(ROBOT, joints=joints), acceleration=acceleration)


@dataclass
class Judge:
    """Says what is wrong with a plan, by peers alone; `bad`: surely, `near`: perhaps, too."""

    def __post_init__(self) -> None:
        load = SITE.load
        assert load is not None
        xx, xy, xz, yy, yz, zz = load.inertia
        tensor = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
        self.scene = Scene(ROBOT, SITE.surroundings, SITE.tool)
        self.model = loaded(ROBOT, load.mass, np.array(load.centre), tensor)
        self.data = self.model.createData()

    def judge(self, made: ArmPlan) -> tuple[set[Cause], set[Cause]]:
        path, bad, near = made.trajectory, set[Cause](), set[Cause]()
        low, high = LIMITS.low, LIMITS.high
        shares: dict[str, list[np.ndarray]] = defaultdict(list)
        for q, qd, qdd in zip(path.q, path.qd, path.qdd, strict=True):
            shares["range"].append(1.0 + 1e3 * np.maximum(q - high, low - q))
            shares["speed"].append(np.abs(qd) / LIMITS.speed)
            shares["acceleration"].append(np.abs(qdd) / LIMITS.acceleration)
            shares["effort"].append(np.abs(pin.rnea(self.model, self.data, q, qd, qdd)) / LIMITS.effort)
        for cause, rows in shares.items():
            for line in np.unique(path.line):
                most = np.array(rows)[path.line == line].max(axis=0)
                bad |= {(int(line), cause, ROBOT.joints[axis].name) for axis in np.flatnonzero(most > 1.01)}
                near |= {(int(line), cause, ROBOT.joints[axis].name) for axis in np.flatnonzero(most > 1.0)}
        for line in np.unique(path.line):
            least = self.least(path.q, np.flatnonzero(path.line == line))
            bad |= {(int(line), "bodies", name) for name, apart in least.items() if apart < -1e-5}
            near |= {(int(line), "bodies", name) for name, apart in least.items() if apart < KEPT}
            fastest = max(self.tool_speed(path.q[at], path.qd[at]) for at in np.flatnonzero(path.line == line))
            bad |= {(int(line), "tool", "tool speed")} if fastest > SITE.tool_speed * 1.01 else set()
            near |= {(int(line), "tool", "tool speed")} if fastest > SITE.tool_speed else set()
        return bad, near

    def least(self, q: np.ndarray, rows: np.ndarray) -> dict[frozenset[str], float]:
        """Of each pair the smallest distance at some samples and before each, where any is nearer than it may be."""
        found = np.full(len(self.scene.names), np.inf)
        for at in rows:
            before = q[max(at - 1, 0)]
            for share in (0.5, 1.0):
                between = before + share * (q[at] - before)
                if self.scene.nearest(between)[0] < KEPT:
                    found = np.minimum(found, self.scene.distances(between))
        return dict(zip(self.scene.names, found, strict=True))

    def tool_speed(self, q: np.ndarray, qd: np.ndarray) -> float:
        place = flange_of(ROBOT) * pin.SE3(np.eye(3), np.array([0.0, 0.0, 0.12]))
        pin.forwardKinematics(self.model, self.data, q, qd)
        twist = place.actInv(self.data.v[AXES])
        return float(np.linalg.norm(twist.linear))


def cause_of(refusal: Refusal) -> Cause:
    for cause in ("range", "speed", "acceleration", "effort"):
        if refusal.axis in {joint.name for joint in ROBOT.joints} and (f" {cause} " in refusal.text):
            return refusal.line, cause, refusal.axis
    if refusal.axis == "tool speed":
        return refusal.line, "tool", refusal.axis
    return refusal.line, "bodies", frozenset(refusal.axis.split(" and "))


def gentle(seed: int) -> Iterator[tuple[str, ArmLimits]]:
    """Programs and the limits to plan them under: moves of the joints not far from home, lines where nothing stands."""
    dice = np.random.default_rng(seed)
    while True:
        for speed in (0.3, 0.6, 1.0, 1.0):
            yield moves(dice, LIMITS, 25.0, speed), LIMITS
        yield lines(dice, (-0.6, -0.3, 0.25), (-0.35, 0.0, 0.5)), LIMITS


def wild(seed: int) -> Iterator[tuple[str, ArmLimits]]:
    """The same for moves wherever, for arms that could do more, and for two lines of the tool point."""
    dice = np.random.default_rng(seed)
    while True:
        yield moves(dice, better(1.15, 1, 1), 350.0), better(1.15, 1, 1)
        yield moves(dice, better(1, 1.3, 1), 120.0), better(1, 1.3, 1)
        yield moves(dice, better(1, 1, 1.6), 50.0), better(1, 1, 1.6)
        yield moves(dice, LIMITS, 90.0), LIMITS
        yield lines(dice, (-0.6, -0.4, 0.0), (-0.3, 0.4, 0.4)), LIMITS


def lines(dice: np.random.Generator, low: tuple[float, ...], high: tuple[float, ...]) -> str:
    first, second = dice.uniform(low, high), dice.uniform(low, high)
    head = [TOOL_POINT, "joints 0 -90 90 -90 -90 0", "speed 0.5", "blend 0.02"]
    return "\n".join([*head, *(f"line {x:.4f} {y:.4f} {z:.4f} 180 0 0" for x, y, z in (first, second))])


def moves(dice: np.random.Generator, limits: ArmLimits, spread: float, speed: float = 1.0) -> str:
    lines = [TOOL_POINT, f"speed {speed}"]
    for _ in range(2):
        angles = np.degrees(HOME) + dice.uniform(-spread, spread, AXES)
        angles = np.clip(angles, np.degrees(limits.low) + 0.01, np.degrees(limits.high) - 0.01)
        lines.append("joints " + " ".join(f"{angle:.3f}" for angle in angles))
    return "\n".join(lines)


def judged(programs: Iterator[tuple[str, ArmLimits]]) -> Iterator[tuple[ArmPlan, set[Cause], set[Cause]]]:
    """Plans, what is surely wrong with each, and what may be."""
    judge, reach = Judge(), Careless(ROBOT)
    for text, limits in programs:
        made = plan(read(text), limits, np.array(HOME), reach)
        if not made.refusals:
            yield made, *judge.judge(made)


def kind_of(cause: Cause) -> str:
    _, what, who = cause
    if what != "bodies":
        return what
    around = set(SITE.surroundings.names)
    return "obstacle" if isinstance(who, frozenset) and who & around else "itself"


def test_two_hundred_bad_programs_are_refused_with_line_cause_and_axis_or_bodies() -> None:
    arm, count = kernels(ROBOT), Counter[str]()
    bad = ((made, wrong) for made, wrong, _ in judged(wild(42)) if wrong)
    for made, wrong in itertools.islice(bad, 200):
        found = {cause_of(refusal) for refusal in check(made, LIMITS, arm, SITE)}
        assert wrong <= found, f"{wrong - found} of\n{made.program}"
        count.update({kind_of(cause) for cause in wrong})
    assert all(count[kind] >= 10 for kind in ("range", "speed", "acceleration", "effort", "itself", "obstacle", "tool")), count


def test_of_two_hundred_good_programs_at_most_two_are_refused() -> None:
    arm = kernels(ROBOT)
    good = itertools.islice((made for made, _, near in judged(gentle(43)) if not near), 200)
    refused = [found for made in good if (found := check(made, LIMITS, arm, SITE))]
    assert len(refused) <= 2, refused
