"""From G-code to a Job: read, plan under limits, check as a whole, encode. Pure; text in, numbers out."""

from twin.motion.findings import Notice, Refusal
from twin.motion.gcode import read
from twin.motion.job import Header, Made, Record, Records, decode, encode, frames, header, inspect, steps
from twin.motion.limits import AXES, BED, HOTEND, JobError, Limits
from twin.motion.plan import Moves, Plan, plan
from twin.motion.program import Op, OpKind, Program

__all__ = [
    "AXES",
    "BED",
    "HOTEND",
    "Header",
    "JobError",
    "Limits",
    "Made",
    "Moves",
    "Notice",
    "Op",
    "OpKind",
    "Plan",
    "Program",
    "Record",
    "Records",
    "Refusal",
    "decode",
    "encode",
    "frames",
    "header",
    "inspect",
    "plan",
    "read",
    "steps",
]
