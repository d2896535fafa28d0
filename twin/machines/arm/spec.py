"""An arm of six joints on one step stream, a UR5e, with cams to home by and jaws that a spring closes."""

import math
from typing import Annotated as A

from twin.kinematics.ur5e import ur5e
from twin.machine import STOP, Alarm, Input, Joint, Never, Valve, params
from twin.machines.arm import arguments
from twin.motion.arm import ArmLimits, limits_of
from twin.motion.arm.job import AXES, JointSteps
from twin.residual import Residual
from twin.units import DEG, DEG_PER_S, MM, ONE, S
from twin.wire import OFF, Bit, Int32, OnSilence, Range, record

CAPABILITIES = ("move", "pick", "place")
PROGRAMS = ("move",)
ARGUMENTS = arguments.ARGUMENTS
_Six = tuple[float, float, float, float, float, float]
_TURN = 2 * math.pi
ROTORS: _Six = (0.6, 0.6, 0.6, 0.15, 0.15, 0.15)
"""Inertia of the motors, seen through the gears [kg m²]: our own choice, no maker's."""
JOINTS = ("base", "shoulder", "elbow", "wrist_1", "wrist_2", "wrist_3")


@params
class Params:
    """What differs from arm to arm."""

    steps_per_turn: A[float, ONE, "of a joint", Range(1000, 88_000)] = 64_000.0
    home: A[_Six, DEG, Range(-360, 360)] = (0.0, -90.0, 0.0, -90.0, 0.0, 0.0)
    homing_speed: A[float, DEG_PER_S, Range(1, 30)] = 20.0
    tool: A[float, MM, "from the flange to the point between the jaws", Range(0, 500)] = 150.0
    opening: A[float, MM, "between the open jaws", Range(1, 200)] = 60.0
    grip_time: A[float, S, "for the jaws to close or open", Range(0.1, 10)] = 0.5


@record
class Status:
    """What the node reports each scan."""

    base_cam: A[bool, "the joint stands at its home angle or above", Bit(0, 0)]
    shoulder_cam: A[bool, Bit(0, 1)]
    elbow_cam: A[bool, Bit(0, 2)]
    wrist_1_cam: A[bool, Bit(0, 3)]
    wrist_2_cam: A[bool, Bit(0, 4)]
    wrist_3_cam: A[bool, Bit(0, 5)]
    holding: A[bool, "there is something between the closed jaws", Bit(0, 6)]
    tripped: A[bool, "the drives have switched themselves off", Bit(0, 7)]
    jaws_open: A[bool, "the jaws are held open against their spring", Bit(0, 8)]
    base: A[float, DEG, Range(-_TURN, _TURN), Int32(2, step=0.001)]
    shoulder: A[float, DEG, Range(-_TURN, _TURN), Int32(4, step=0.001)]
    elbow: A[float, DEG, Range(-math.pi, math.pi), Int32(6, step=0.001)]
    wrist_1: A[float, DEG, Range(-_TURN, _TURN), Int32(8, step=0.001)]
    wrist_2: A[float, DEG, Range(-_TURN, _TURN), Int32(10, step=0.001)]
    wrist_3: A[float, DEG, Range(-_TURN, _TURN), Int32(12, step=0.001)]


@record
class Command:
    """What the controller asks for each scan. The defaults are the safe state."""

    run: A[bool, "the Job runs; without it the joints hold", OnSilence(OFF), Bit(0, 0)] = False


BLOCKS = (
    *(Joint(name, run="run", cam=f"{name}_cam", tripped="tripped") for name in JOINTS),
    Input("holding"),
    Input("tripped"),
    Valve("jaws_open"),
)
INTERLOCKS = (Never("run", when="tripped"),)
ALARMS = (
    Alarm(
        "tripped",
        severity=800,
        cause="A joint could not follow its steps, and the drives have switched themselves off.",
        action="Clear the arm, switch the drives on again, reset, then home the arm.",
    ),
)
ON_SILENCE = STOP
CAM_BOUND, JOB_BOUND = math.radians(0.5), math.radians(0.02)


def residuals(params: Params) -> tuple[Residual, ...]:
    """What its twin is compared in, joint by joint."""
    cam = "homing finds a cam's edge to a hundredth of a degree; the rest is how finely a passing joint is seen"
    job = "steps are whole ones, 64000 a turn: 0.006°, told in 0.001°"
    return (
        *(Residual(joint, DEG, JOB_BOUND, 1.0, job, "angle at rest, less where its Job has it") for joint in JOINTS),
        *(Residual(f"{joint}_zero", DEG, CAM_BOUND, 0.3, cam, "angle at its cam's edge, less its home angle") for joint in JOINTS),
    )


def limits(params: Params) -> ArmLimits:
    """What the planner must keep to."""
    return limits_of(ur5e(), params.home)


def steps(params: Params) -> JointSteps:
    """How the joints hang on the step stream."""
    return JointSteps(
        per_rad=(params.steps_per_turn / _TURN,) * AXES, homing_speed=params.homing_speed, grip_s=params.grip_time
    )
