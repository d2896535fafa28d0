"""The check of a whole Job before motion: 100,000 moves of a printer, 10,000 waypoints of an arm with collision."""

import math
from dataclasses import replace

import numpy as np

from tests.bench.pairs import Row, alone
from twin.kinematics import collision
from twin.kinematics.kernels import kernels
from twin.kinematics.robot import rotation_of
from twin.kinematics.shapes import Box, Capsule, Plane, Surroundings
from twin.kinematics.ur5e import ur5e
from twin.motion import Limits, plan, read
from twin.motion.arm import ArmPlan, limits_of
from twin.motion.arm import read as read_arm
from twin.motion.arm.check import Load, Site, check
from twin.motion.arm.plan import plan as plan_arm
from twin.motion.check import check as check_program
from twin.motion.check import check_motion, check_rates
from twin.motion.findings import Findings
from twin.motion.keepout import Head, KeepOut, check_keep_out

MOVES, WAYPOINTS = 100_000, 10_000
ARM = ur5e()
HOME = tuple(math.radians(angle) for angle in (0, -90, 90, -90, -90, 0))
SITE = Site(
    surroundings=Surroundings(
        boxes=(
            Box("printer", (-0.55, 0.3, 0.2), (0.2, 0.25, 0.2)),
            Box("conveyor", (0.2, 0.65, 0.1), (0.5, 0.12, 0.1), rotation_of(0.0, 0.0, 0.2)),
            Box("shelf", (0.0, -0.8, 0.9), (0.4, 0.15, 0.02)),
        ),
        capsules=(Capsule("post", 0, (0.35, -0.45, -0.3), (0.35, -0.45, 1.2), 0.04),),
        planes=(Plane("floor", (0.0, 0.0, 1.0), -0.1),),
    ),
    tool=(Capsule("gripper", 7, (0.0, 0.0, 0.03), (0.0, 0.0, 0.1), 0.035),),
    load=Load(mass=1.0, centre=(0.0, 0.0, 0.09)),
)
CLIPS = tuple(KeepOut(f"clip {x}", (x, 205.0, 0.0), (x + 15.0, 220.0, 8.0)) for x in (20.0, 180.0))
HEAD = Head((-25.0, -20.0, 0.0), (25.0, 20.0, 60.0))


def _printed() -> str:
    """A spiral of short pieces, as slicers write curves."""
    turn = np.arange(MOVES) * 0.02
    x, y, z = 110 + 60 * np.cos(turn), 110 + 60 * np.sin(turn), 0.2 + turn / (2 * np.pi) * 0.05
    head = "G21\nG90\nM83\nM140 S60\nM104 S215\nG28\nM190 S60\nM109 S215\nG1 Z0.2 F600\n"
    return head + "\n".join(f"G1 X{x[i]:.3f} Y{y[i]:.3f} Z{z[i]:.3f} E0.0213 F1800" for i in range(MOVES))


def printer() -> Row:
    """All checks of a read and planned program."""
    limits, text = Limits(), _printed()
    made = plan(text, limits, CLIPS, HEAD)
    assert not made.refusals and len(made.moves) >= MOVES
    moves, program, findings = made.moves, made.program, Findings()

    def run() -> None:
        along = moves.along
        speeds = np.column_stack((moves.entry, moves.cruise, moves.exit))
        check_program(program, moves.end - moves.start, limits, findings)
        check_motion(moves.line, along, speeds, moves.acceleration, moves.rests, limits, findings)
        rates = np.abs(along) * moves.cruise[:, None] * np.array(limits.steps_per_mm)
        check_rates(program, rates, made.duration_s / limits.chunk, limits, findings)
        check_keep_out(moves.line, moves.start[:, :3], moves.end[:, :3], CLIPS, HEAD, findings)

    row = _row(alone(run), f"{MOVES} moves: range, heat, homing, motion, rates, two keep-out boxes")
    assert not findings.refusals
    return row


def printer_whole() -> Row:
    """From text to a checked plan."""
    limits, text = Limits(), _printed()
    return _row(alone(lambda: plan(text, limits, CLIPS, HEAD), rounds=5), f"{MOVES} moves read, planned and checked")


def printer_read() -> Row:
    limits, text = Limits(), _printed()
    return _row(alone(lambda: read(text, limits.home), rounds=5), f"{MOVES} moves read", None, None)


def _wandering() -> ArmPlan:
    """Moves of the joints through a cell, planned until there are enough waypoints."""
    dice, limits = np.random.default_rng(3), limits_of(ARM, HOME)
    scene, at, lines = collision.scene(ARM, SITE.surroundings, SITE.tool), np.array(HOME), ["speed 0.6"]
    while len(lines) < 88:
        to = np.array(HOME) + np.radians(dice.uniform(-60, 60, ARM.axes))
        between = at + np.linspace(0, 1, 60)[:, None] * (to - at)
        if collision.clearances(kernels(ARM), scene, between)[0].min() > 2 * collision.KEPT:
            lines.append("joints " + " ".join(f"{angle:.3f}" for angle in np.degrees(to)))
            at = to
    made = plan_arm(read_arm("\n".join(lines)), limits, np.array(HOME))
    assert not made.refusals and len(made.trajectory) >= WAYPOINTS
    path = made.trajectory
    end = int(np.searchsorted(path.line, path.line[WAYPOINTS - 1], side="right"))  # a record must end at rest
    rows = {name: getattr(path, name)[:end] for name in ("time", "q", "qd", "qdd", "line")}
    return replace(made, trajectory=replace(path, **rows))


def arm() -> Row:
    """Joints, torques, tool point and all bodies of a planned program."""
    made, limits, mine = _wandering(), limits_of(ARM, HOME), kernels(ARM)
    assert not check(made, limits, mine, SITE)
    pairs = len(collision.scene(ARM, SITE.surroundings, SITE.tool).names)
    return _row(alone(lambda: check(made, limits, mine, SITE)), f"{len(made.trajectory)} waypoints with collision, {pairs} pairs")


def _row(seconds: float, about: str, least: float | None = 1.0, aim: float | None = 5.0) -> Row:
    return Row(seconds, None, "at most 1 s, aim 0.2 s", 1.0 / seconds, 0.0, "s", least, aim, about)


METRICS = (
    ("whole-Job check: printer", printer),
    ("whole-Job check: printer, with reading and planning", printer_whole),
    ("whole-Job check: printer, reading alone", printer_read),
    ("whole-Job check: arm", arm),
)
