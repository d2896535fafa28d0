"""From a program's text to a Job, and how long a node's ring lasts while one is streamed. Pure."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from controller.orders.order import OrderError
from twin.motion.job import HEADER, decode, encode, header
from twin.motion.limits import JobError
from twin.motion.plan import plan


@dataclass(frozen=True, slots=True)
class Job:
    """A checked, encoded plan.

    Attributes:
        chunks: of motion, what a node counts while it plays.
        duration: seconds of motion as a slicer counts them.
        waiting: estimated seconds of heating and homing.
    """

    data: bytes
    chunks: int
    duration: float
    waiting: float
    warnings: tuple[str, ...]


def make(program: str, limits: Any) -> Job:
    """The Job of a program on a machine with these Limits.

    Raises:
        OrderError: every refusal, each with its line, value and limit.
    """
    made = plan(program, limits)
    if made.refusals:
        raise OrderError("; ".join(str(refusal) for refusal in made.refusals))
    try:
        data = encode(made, limits)
        chunks = header(data).chunks
    except JobError as unfit:
        raise OrderError(str(unfit)) from unfit
    return Job(data, chunks, made.duration_s, made.waiting_s, tuple(str(warning) for warning in made.warnings))


def shortest_reserve(job: bytes, ring: int) -> float:
    """Seconds of motion that a full ring holds where the Job is densest; infinite if the ring takes all of it."""
    if len(job) <= ring:
        return float("inf")
    records = decode(job)
    ends = np.cumsum(records.chunks)
    offsets = records.offset + HEADER.size
    # A record counts only when all of it is in the ring: the last whose successor begins within.
    last = np.searchsorted(offsets, offsets + ring, side="right") - 2
    inside = last[offsets + ring <= len(job)]
    reserve = ends[inside] - (ends[: len(inside)] - records.chunks[: len(inside)])
    chunk = records.header.chunk_frames * records.header.frame_us * 1e-6
    return float(reserve.min() * chunk) if len(reserve) else float("inf")
