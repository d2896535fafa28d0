"""An arm's motion: its program language, and plans under limits. Pure; text in, samples of the joints out."""

from twin.motion.arm.limits import ArmLimits, limits_of
from twin.motion.arm.plan import plan
from twin.motion.arm.program import ArmMove, ArmOp, ArmOpKind, ArmProgram, MoveKind, read
from twin.motion.arm.reach import Lost, Reach
from twin.motion.arm.trajectory import ArmPlan, Trajectory

__all__ = [
    "ArmLimits",
    "ArmMove",
    "ArmOp",
    "ArmOpKind",
    "ArmPlan",
    "ArmProgram",
    "Lost",
    "MoveKind",
    "Reach",
    "Trajectory",
    "limits_of",
    "plan",
    "read",
]
