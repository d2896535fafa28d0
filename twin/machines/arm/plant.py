"""The world's side of an arm: drives that follow the step stream, rigid bodies, brakes, cams, and jaws that hold a Part.

A word of the step stream lasts 10 µs: bit 2k is the step of joint k, bit 2k+1 its direction (1 = plus). The pin `motors`
switches the drives on and opens their brakes. The dynamics pass in ticks of 1 ms of the factory's time, however a step is cut,
and cost nothing while nothing moves. Where the jaws are, and what they meet, is the world's business: see twin/carrying.py.
"""

import dataclasses
import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from twin.clock import Ns, seconds
from twin.kernel import Floats, Ints, Words, kernel
from twin.kinematics.kernels import Kernels, kernels
from twin.kinematics.parts import arm_drive as rows
from twin.kinematics.ur5e import ur5e
from twin.machines.arm.spec import JOINTS, ROTORS, Params, limits, steps
from twin.part import Held, Jaws

FRAME = 10_000  # ns
TICK = 1_000_000  # ns
MOST_TICKS = 1000  # at a time
STEP_BITS = 0x555
QUICKEST = 4.0  # rad/s: more than any joint does
SILENT = np.zeros(0, np.uint32)
_Six = tuple[float, float, float, float, float, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Physics:
    """What the controller cannot know. Joints in their order; sizes are ours, no maker's.

    Attributes:
        start: where the joints stand when power comes on [rad].
        rotor: inertia of the motors seen through the gears [kg m²].
        viscous: friction [N m s/rad]; coulomb: once it moves [N m]; brake: what a brake adds [N m].
        torque: what a motor can give, as a share of the robot's limit.
        lag: of the torque [s].
        guide: bandwidth of the drive's smoothing [rad/s]; position, speed: gains of its loops [1/s].
        allowed: how far a joint may be from its steps before the drives trip [rad].
        encoder: lines of a turn.
        cam: of each joint, how far its cam sits from where it should [rad].
        jaws: how fast they open and close [m/s].
        slip: how far jaws move along a Part that sticks before they have slid off it [m].
    """

    start: _Six = (0.25, -1.75, 0.2, -1.4, -0.2, 0.3)
    rotor: _Six = ROTORS
    viscous: _Six = (6.0, 6.0, 6.0, 1.5, 1.5, 1.5)
    coulomb: _Six = (5.0, 5.0, 5.0, 1.5, 1.5, 1.5)
    brake: _Six = (300.0, 300.0, 300.0, 60.0, 60.0, 60.0)
    torque: _Six = (1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
    lag: float = 0.001
    guide: float = 180.0
    position: float = 40.0
    speed: float = 220.0
    allowed: float = 0.05
    encoder: int = 1 << 20
    cam: _Six = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    jaws: float = 0.2
    slip: float = 0.002


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """An arm at a moment; `step` never changes one.

    Attributes:
        word: the last word of the step stream.
        drives: (11, 6) see twin/kinematics/parts/arm_drive.py; pending: (6,) steps of the tick in work.
        powered: drives on; tripped: they have switched themselves off; still: nothing moves.
        width: between the jaws [m], `before` a step ago; opening: they are being opened.
        held: what is between them.
        joints, drive: made of Params and Physics; see `under`.
    """

    now: Ns
    word: int
    drives: Floats
    pending: Ints
    powered: bool
    tripped: bool
    still: bool
    width: float
    before: float
    opening: bool
    held: Held | None
    physics: Physics
    joints: Floats
    drive: Floats

    @property
    def angles(self) -> Floats:
        """(6,) of the joints themselves [rad]."""
        row: Floats = self.drives[rows.ANGLE]
        return row

    @property
    def position(self) -> Ints:
        """(6,) steps that the drives have counted."""
        row: Ints = self.drives[rows.COUNT].astype(np.int64)
        return row

    @property
    def lost(self) -> int:
        """Step pulses that came while the drives were off."""
        return int(self.drives[rows.LOST].sum())


def start(params: Params, physics: Physics = Physics()) -> State:
    """An arm without power, held by its brakes."""
    drives = np.zeros((11, len(JOINTS)))
    drives[rows.ANGLE] = drives[rows.GUIDE] = drives[rows.ORIGIN] = physics.start
    blank = State(
        Ns(0), 0, drives, np.zeros(6, np.int64), False, False, True, 0.0, 0.0, False, None, physics, np.zeros((10, 6)), np.zeros(11)
    )
    return under(blank, params, physics)


def under(state: State, params: Params, physics: Physics) -> State:
    """The same arm under another physics: how a fault is put in."""
    kept = limits(params)
    turn = 2 * math.pi
    joints = np.array(
        [
            physics.rotor, physics.viscous, physics.coulomb, kept.effort * physics.torque, kept.low, kept.high,
            steps(params).per_rad, np.array(kept.home) + physics.cam, _reckoned(physics.rotor, params.home), physics.brake,
        ]
    )  # fmt: skip
    load = state.held.part.mass if state.held is not None and state.held.free else 0.0
    drive = np.array(
        [
            seconds(Ns(TICK)), physics.guide, physics.position, physics.speed, physics.speed**2 / 6, physics.lag, physics.allowed,
            1e-3, physics.encoder / turn, load, -kept.robot.gravity[2],
        ]
    )  # fmt: skip
    return dataclasses.replace(state, physics=physics, joints=joints, drive=drive, still=False)


@functools.cache
def _robot() -> Kernels:
    return kernels(ur5e())


@functools.lru_cache(maxsize=64)
def _reckoned(rotor: _Six, home: _Six) -> tuple[float, ...]:
    """The inertia of each joint that its drive was set up with: that of the robot in its home pose, with the rotor."""
    inertia = np.empty((6, 6))
    _robot().joint_inertia(np.array(home), inertia)
    return tuple((np.diag(inertia) + rotor).tolist())


def step(state: State, params: Params, pins: Mapping[str, Any], dt: Ns) -> tuple[State, dict[str, int]]:
    """Let `dt` pass with the pins as they are.

    Raises:
        ValueError: more words in the step stream than `dt` has room for.
    """
    words: Words = pins.get("frames", SILENT)
    if len(words) * FRAME > dt:
        raise ValueError(f"{len(words)} words of the step stream do not fit into {dt} ns")
    state = _switched(state, bool(pins.get("motors")))
    if dt > 0 and (len(words) or not state.still or state.pending.any()):
        state, _ = _pass(state, words, dt, False)
    opening = bool(pins.get("jaws_open"))
    word = state.word if len(words) * FRAME == dt else 0  # an empty stream plays zero words
    after = dataclasses.replace(
        state, now=Ns(state.now + dt), word=word, before=state.width, width=_width(state, params, opening, dt), opening=opening
    )
    return after, sensors(after)


def sensors(state: State) -> dict[str, int]:
    """What the node's inputs see."""
    seen = {f"{name}_cam": int(state.drives[rows.ANGLE, k] >= state.joints[rows.CAM, k]) for k, name in enumerate(JOINTS)}
    seen["holding"] = int(state.held is not None)
    seen["tripped"] = int(state.tripped)
    return seen


def signals(state: State) -> dict[str, Any]:
    """What a trace keeps of it."""
    return {
        "angles": tuple(round(float(angle), 5) for angle in state.angles),
        "width": round(state.width, 4),
        "off": round(float(state.drives[rows.FURTHEST].max()), 5),
        "lost": state.lost,
        "tripped": state.tripped,
    }


def horizon(state: State, params: Params, pins: Mapping[str, Any], limit: Ns) -> Ns:
    """How long until a cam changes or the drives trip; `limit` if neither does, or where no cam is near.

    The step stream may reach beyond the limit.
    """
    words: Words = pins.get("frames", SILENT)[: limit // FRAME]
    state = _switched(state, bool(pins.get("motors")))
    if state.still and not len(words) and not state.pending.any():
        return limit
    if np.abs(state.drives[rows.ANGLE] - state.joints[rows.CAM]).min() > QUICKEST * seconds(limit):
        return limit
    ahead, edge = _pass(state, words, limit, True)
    return Ns(min(limit, ahead.now - state.now)) if edge else limit


def jaws(state: State, params: Params) -> Jaws:
    """Where the jaws are in the arm's base frame, and how they stand."""
    flange = np.empty((4, 4))
    _robot().pose(state.angles.copy(), flange)
    flange[:3, 3] += flange[:3, 2] * params.tool
    return Jaws(flange, state.width, state.before, state.opening, params.opening, state.physics.slip, state.held)


def hold(state: State, params: Params, held: Held | None) -> State:
    """The arm with something between its jaws, or without."""
    width = held.width if held is not None else state.width
    return under(dataclasses.replace(state, held=held, width=width, before=width), params, state.physics)


def reset(state: State) -> State:
    """The arm after somebody has switched its drives on again."""
    return dataclasses.replace(state, tripped=False, powered=False, still=False)


def _switched(state: State, motors: bool) -> State:
    """The drives as the pin has them; they take up the joints where they find them."""
    if motors == state.powered:
        return state
    drives = state.drives.copy()
    if motors:
        drives[rows.ORIGIN] = drives[rows.ANGLE] - drives[rows.COUNT] / state.joints[rows.PER_RAD]
        drives[rows.GUIDE] = drives[rows.ANGLE]
        drives[rows.PACE] = drives[rows.RATE] = drives[rows.SUM] = drives[rows.TORQUE] = 0.0
    return dataclasses.replace(state, drives=drives, powered=motors, still=False)


def _pass(state: State, words: Words, dt: Ns, until_edge: bool) -> tuple[State, bool]:
    """The state after `dt`, but for its own time and jaws, and whether an edge ended it before; then `now` is the edge's."""
    ticks = (state.now + dt) // TICK - state.now // TICK
    drives, pending = state.drives.copy(), state.pending.copy()
    told = np.array([0, state.tripped, state.still, False], np.int64)
    last = _count(words, state.word, state.now, made := _rows(words, state.now, ticks))
    made[0] += pending
    drive = _robot().drive_joints
    for first in range(0, ticks, MOST_TICKS):
        asked = np.zeros((min(MOST_TICKS, ticks - first), 6), np.int64)
        known = made[first : first + len(asked)]
        asked[: len(known)] = known
        drive(drives, state.joints, state.drive, asked, state.powered, bool(told[rows.TRIPPED]), until_edge, told)
        if told[rows.EDGE]:
            end = Ns((state.now // TICK + first + int(told[rows.TICKS])) * TICK)
            return dataclasses.replace(state, now=end), True
        if told[rows.STILL] and first + len(asked) >= len(made):
            break
    pending = made[ticks] if ticks < len(made) else np.zeros(6, np.int64)
    after = dataclasses.replace(
        state, word=last, drives=drives, pending=pending, tripped=bool(told[rows.TRIPPED]), still=bool(told[rows.STILL])
    )
    return after, False


def _rows(words: Words, now: int, ticks: int) -> Ints:
    """Room for the steps of each tick, as far as there are words; the row after the last whole tick is pending."""
    return np.zeros((max(1, min(ticks, (now % TICK + len(words) * FRAME) // TICK) + 1), 6), np.int64)


def _width(state: State, params: Params, opening: bool, dt: Ns) -> float:
    way = state.physics.jaws * seconds(dt)
    if opening:
        return min(params.opening, state.width + way)
    return max(state.held.width if state.held is not None else 0.0, state.width - way)


@kernel
def _count(words: Words, word: int, now: int, made: Ints) -> int:
    """Steps of the words in each tick; adds to made (k, 6), returns the last word."""
    last = np.uint32(word)
    total = words.shape[0]
    for first in range(0, total, 64):
        end = min(first + 64, total)
        high = np.uint32(0)
        for i in range(first, end):
            high |= words[i]
        if high & STEP_BITS:
            for i in range(first, end):
                rising = words[i] & ~last & STEP_BITS
                last = words[i]
                if rising:
                    row = (now % TICK + i * FRAME) // TICK
                    for joint in range(6):
                        if rising >> (2 * joint) & 1:
                            made[row, joint] += 1 if last >> (2 * joint + 1) & 1 else -1
        last = words[end - 1]
    return int(last)
