"""An arm's Jobs: an operator's program, or one that takes or lays down a Part; planned, checked against all around, encoded."""

import dataclasses
from collections.abc import Iterable

import numpy as np

from twin.kernel import Floats
from twin.kinematics import collision
from twin.kinematics.kernels import kernels
from twin.kinematics.shapes import Box, Capsule, Plane, Surroundings
from twin.kinematics.ur5e import ur5e
from twin.machine import make_params
from twin.machines.arm import carry
from twin.machines.arm.arguments import Carry, Move
from twin.machines.arm.spec import ROTORS, Params, limits, steps
from twin.making import Asked, Job, Say, around
from twin.motion.arm import ArmPlan
from twin.motion.arm.check import Load, Site, check
from twin.motion.arm.job import MAGIC, encode
from twin.motion.arm.plan import plan
from twin.motion.arm.program import ArmOpKind, ArmProgram, read
from twin.motion.findings import Refusal
from twin.motion.job import header
from twin.motion.limits import JobError

EARLY = ("move",)
HOMING_S = 20.0
"""s that homing takes, more or less: the joints go one after the other."""


_TRIAL = "home\ntool 0 0 0.1 0 0 0\njoints 0 -90 90 -90 -90 0\nto -0.4 -0.2 0.4 180 0 0\ngrip\nline -0.4 -0.2 0.3 180 0 0\n"


def prepare(say: Say) -> None:
    """Compile what planning and checking need, once on a machine, so that no order waits for it."""
    robot, params = kernels(ur5e(), say), make_params(Params, {})
    kept = limits(params)
    rod = (Capsule("rod", carry.FLANGE, (0.0, 0.0, 0.1), (0.0, 0.0, 0.2), 0.01),)
    near = Surroundings(boxes=(Box("box", (2.0, 2.0, 2.0), (0.1, 0.1, 0.1)),), planes=(Plane("floor", (0.0, 0.0, 1.0), -1.0),))
    made = plan(read(_TRIAL), kept, np.array(kept.home))
    load = Load(mass=1.0, centre=(0.0, 0.0, 0.1))
    check(made, kept, robot, Site(surroundings=near, tool=rod, load=load, part=rod, part_load=load))
    encode(made, kept, steps(params))


def make(asked: Asked) -> Job:
    """The Job of what is asked; nothing that touches anything becomes one.

    Raises:
        JobError: every refusal, each with its line, the axis or the two bodies, value and limit.
    """
    params: Params = asked.machine.params
    match asked.arguments:
        case Move():
            _check_takes_nothing(asked)
            load, _ = carry.loads(params, None)
            site = Site(surroundings=around(asked, asked.arguments.at), tool=carry.gripper(params), load=load)
            return _first(asked, (asked.program,), site)
        case Carry():
            return _carry(asked, asked.arguments, params)
    raise JobError(f"an arm can't {asked.capability}")


def _check_takes_nothing(asked: Asked) -> None:
    for op in read(asked.program).ops:
        if op.kind is ArmOpKind.GRIP:
            raise JobError(f"{asked.capability} can't grip: nothing tells how large and heavy it is; pick takes parts", op.line)


def _carry(asked: Asked, how: Carry, params: Params) -> Job:
    held = carry.grasp(asked.part, params, how)
    there = asked.target or asked.source
    if there is None:
        raise JobError(f"no handover says where {asked.machine.name} is to {asked.capability} a part")
    load, with_part = carry.loads(params, held)
    part = carry.shape(held, params)
    site = Site(surroundings=around(asked, there.name), tool=carry.gripper(params), load=load, part=part, part_load=with_part)
    base = asked.machine.pose
    if asked.target is None:
        return _first(asked, carry.pick_programs(base, there.pose, held, params, how, bool(asked.start)), site)
    if not asked.start:
        raise JobError(f"{asked.machine.name} is not homed, and holds a part: take it out and home the arm")
    if there.type.entry is None:
        raise JobError(f"type {there.type.name} does not say where its parts are put: its spec has no entry()")
    entry = there.type.entry(there.params)
    return _first(asked, carry.place_programs(base, there.pose, entry, held, params, how), site)


def _first(asked: Asked, programs: Iterable[str], site: Site) -> Job:
    """The Job of the first program that is not refused; the first one's refusals where all are."""
    refused: tuple[str, ...] = ()
    kept: tuple[Refusal, ...] = ()
    params: Params = asked.machine.params
    bounds, robot, start = limits(params), kernels(ur5e()), np.array(asked.start) if asked.start else None
    site = dataclasses.replace(site, rotors=ROTORS, homing_order=steps(params).homing_order)
    for text in programs:
        program = read(text)
        made = plan(program, bounds, _start(asked, program))
        found = check(made, bounds, robot, site, start) or _ends_inside(asked, made, site)
        if not found:
            return _encoded(asked, made)
        refused, kept = refused or tuple(_told(asked, refusal, text) for refusal in found), kept or tuple(found)
    raise JobError("; ".join(refused), refusals=kept)


def _ends_inside(asked: Asked, made: ArmPlan, site: Site) -> tuple[Refusal, ...]:
    """Why an operator's program must not end where it does: in the open space of a machine, which then would start again."""
    if not isinstance(asked.arguments, Move) or not asked.arguments.at or not len(made.trajectory):
        return ()
    scene = collision.scene(ur5e(), around(asked), site.tool)
    nearest = collision.distance(kernels(ur5e()), scene, made.trajectory.q[-1])
    if nearest.distance >= site.kept:
        return ()
    pair, line = " and ".join(nearest.bodies), int(made.trajectory.line[-1])
    near = f"overlap by {-nearest.distance:.6g} m" if nearest.distance < 0.0 else f"are {nearest.distance:.6g} m apart"
    text = f"the program ends inside {asked.arguments.at}: {pair} {near}, at least {site.kept:g} m is kept"
    return (Refusal(line, pair, nearest.distance, site.kept, text),)


def _told(asked: Asked, refusal: Refusal, text: str) -> str:
    """A refusal as people see it; of a program that nobody has written with the line itself."""
    if asked.program or not refusal.line:
        return str(refusal)
    return f"{asked.capability}, {refusal} (`{text.splitlines()[refusal.line - 1].strip()}`)"


def _start(asked: Asked, program: ArmProgram) -> Floats:
    """(6,) where the plan begins: where the joints stand, or at home for a program that goes there first."""
    if asked.start:
        return np.array(asked.start)
    if not program.ops or program.ops[0].kind is not ArmOpKind.HOME or program.ops[0].before > 0:
        line = program.moves[0].line if program.moves else 0
        raise JobError(f"{asked.machine.name} is not homed: the program must begin with `home`", line)
    return np.array(limits(asked.machine.params).home)


def _encoded(asked: Asked, made: ArmPlan) -> Job:
    params: Params = asked.machine.params
    bounds, pace = limits(params), steps(params)
    data = encode(made, bounds, pace, empty=asked.capability == "pick")
    homes = sum(op.kind is ArmOpKind.HOME for op in made.ops)
    return Job(data, header(data, MAGIC).chunks, made.duration_s, homes * HOMING_S)
