"""From an operation to its Job, and how long a node's ring lasts while one is streamed. Pure but for reading programs."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from controller import programs
from controller.orders.order import OrderError
from controller.orders.route import starts_at
from controller.orders.turn import MakePlan, Request, View
from twin.factory import Factory, Machine
from twin.machine import MachineTypeError
from twin.making import Asked, Job, making
from twin.motion import lines
from twin.motion.arm import job as joints
from twin.motion.deposit import Deposit
from twin.motion.job import HEADER, decode
from twin.motion.limits import JobError
from twin.recipes import Step, arguments_of


def make(factory: Factory, folder: Path, work: MakePlan) -> Job:
    """The Job of a piece of work; `folder` holds the programs.

    Raises:
        OrderError: every refusal, each with its line, value and limit.
    """
    machine = factory.machines[work.machine]
    source, target = (factory.machines[name] if name else None for name in (work.source, work.target))
    text = ""
    if work.capability in machine.type.programs:
        text = programs.read(folder, dict(work.arguments).get("program", work.program))
    try:
        asked = Asked(
            factory,
            machine,
            work.capability,
            arguments_of(machine.type, work.capability, work.arguments),
            text,
            work.start,
            source,
            target,
            _part(folder, source, work),
        )
        return replace(making(machine.type).make(asked), digest=_digest(text) if text else "")
    except (JobError, MachineTypeError) as refused:
        raise OrderError(str(refused)) from refused


def early(view: View, request: Request) -> tuple[tuple[MakePlan, ...], ...]:
    """What of a request is tried before it is accepted: for each operators' program, a Job on every machine that could take it."""
    args, factory = request.args, view.factory
    if request.kind == "place_order" and args["recipe"] in factory.recipes:
        steps = factory.recipes[args["recipe"]].operations
    elif request.kind == "load_job" and args["machine"] in factory.machines:
        programs_of = factory.machines[args["machine"]].type.programs
        steps = (Step(programs_of[0], args["machine"]),) if programs_of else ()
    else:
        return ()
    tried = (
        tuple(
            MakePlan(0, machine.name, step.capability, args["program"], step.arguments, starts_at(view, machine))
            for machine in factory.capable(step.capability)
            if step.on in ("", machine.name) and machine.type.limits is not None
            if step.capability in making(machine.type).early
        )
        for step in steps
    )
    return tuple(works for works in tried if works)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _part(folder: Path, source: Machine | None, work: MakePlan) -> Deposit | None:
    """What a machine has made of a program; None where that is not known.

    Raises:
        OrderError: the program is another one by now.
    """
    if source is None or source.type.limits is None or not work.program:
        return None
    leaves = making(source.type).leaves
    if leaves is None:
        return None
    text = programs.read(folder, work.program)
    if work.digest and _digest(text) != work.digest:
        raise OrderError(f"program {work.program!r} has changed since {source.name} took it: nothing tells how large its part is")
    return leaves(text, source.params)


def shortest_reserve(job: bytes, ring: int) -> float:
    """Seconds of motion that a full ring holds where the Job is densest; infinite if the ring takes all of it."""
    if len(job) <= ring:
        return float("inf")
    if job.startswith(lines.MAGIC):
        return lines.shortest_reserve(job, ring)
    records = joints.decode(job) if job.startswith(joints.MAGIC) else decode(job)
    ends = np.cumsum(records.chunks)
    offsets = records.offset + HEADER.size
    # A record counts only when all of it is in the ring: the last whose successor begins within.
    last = np.searchsorted(offsets, offsets + ring, side="right") - 2
    inside = last[offsets + ring <= len(job)]
    reserve = ends[inside] - (ends[: len(inside)] - records.chunks[: len(inside)])
    chunk = records.header.chunk_frames * records.header.frame_us * 1e-6
    return float(reserve.min() * chunk) if len(reserve) else float("inf")
