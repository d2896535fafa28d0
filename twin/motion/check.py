"""The check of a whole program before anything moves: range, heat, homing, the planned motion, step rate, length."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from twin.kernel import Floats, Ints
from twin.motion.findings import Findings
from twin.motion.limits import AXES, BED, HOTEND, Limits
from twin.motion.program import ACCELERATION, JERK, PRINT, RETRACT, SPEED, TRAVEL, Op, OpKind, Program

_HEATERS = ("hotend", "bed")
_TOLERANCE = 1e-6  # mm
_SHARE = 1e-6  # of a limit: rounding
_ALL_AXES = 0b111
STEP_RATE_KEPT = 0.02
"""Share of the node's step rate kept free, because a Job's durations are whole chunks and its distances whole steps."""
LONGEST_CHUNKS = 2**32 - 1


def clamped_settings(program: Program, limits: Limits, findings: Findings) -> tuple[Floats, dict[str, int]]:
    """The settings rows under the machine's limits, and how often the program asked for more, by name."""
    most = np.full(program.settings.shape[1], np.inf)
    most[ACCELERATION], most[SPEED], most[JERK] = limits.max_acceleration, limits.max_speed, limits.jerk
    most[[PRINT, RETRACT, TRAVEL]] = limits.acceleration
    clamped: dict[str, int] = {}
    for setting in program.set:
        limit = float(most[setting.column])
        if setting.value > limit:
            clamped[setting.name] = clamped.get(setting.name, 0) + 1
            text = f"{setting.name}{setting.value:g} is above the machine's {limit:g} and clamped"
            findings.warn(setting.line, text, setting.name)
    return np.minimum(program.settings, most), clamped


def slowed_feeds(program: Program, slowed: NDArray[np.int64], findings: Findings) -> int:
    """How many moves the largest speed of an axis slows down; one notice for each axis."""
    for axis, letter in enumerate(AXES):
        moves = np.flatnonzero(slowed == axis)
        if len(moves):
            feed = program.feed[moves[0]] * 60
            text = f"F{feed:g} is above the largest speed of {letter} and clamped"
            findings.warn(int(program.line[moves[0]]), text, f"feed {letter}", len(moves))
    return int(np.count_nonzero(slowed >= 0))


def check(program: Program, delta: Floats, limits: Limits, findings: Findings) -> None:
    """Refuse what the machine can't or must not do, whatever its speed."""
    if not len(program.line) and not program.ops:
        findings.refuse(0, "the program moves nothing and heats nothing")
    for move in np.flatnonzero(np.isnan(program.feed))[:1]:
        findings.refuse(int(program.line[move]), "no feed rate F was given before the first move")
    _check_range(program, limits, findings)
    _check_probing(program, limits, findings)
    _check_temperatures(program, limits, findings)
    _check_homing(program, findings)
    _check_cold_extrusion(program, delta, limits, findings)


def check_rates(program: Program, rates: Floats, chunks: float, limits: Limits, findings: Findings) -> None:
    """Refuse what the node can't step or count.

    Args:
        rates: (n, 4) largest steps/s of each move.
        chunks: how long the program lasts.
    """
    allowed = limits.max_step_rate * (1 - STEP_RATE_KEPT)
    for axis, letter in enumerate(AXES):
        for move in np.flatnonzero(rates[:, axis] > allowed):
            rate = float(rates[move, axis])
            text = f"{letter} needs {rate:.0f} steps/s, above the {allowed:.0f} that the node can be asked for"
            findings.refuse(int(program.line[move]), text, letter, rate, allowed)
    if not chunks <= LONGEST_CHUNKS:
        longest = LONGEST_CHUNKS * limits.chunk
        text = f"the program lasts {chunks * limits.chunk:.3g} s, longer than the {longest:.0f} s that a Job can count"
        findings.refuse(0, text, "", chunks * limits.chunk, longest)


def check_motion(
    line: Ints,
    along: Floats,
    speeds: Floats,
    acceleration: Floats,
    rests: Ints,
    limits: Limits,
    findings: Findings,
) -> None:
    """Refuse a plan whose axes are faster, speed up faster or jump by more than the machine allows, however it was made.

    Args:
        line: (n,) of the program.
        along: (n, 4) share of each axis in a millimetre of path.
        speeds: (n, 3) along the path at entry, the highest, at exit [mm/s].
        acceleration: (n,) along the path [mm/s²].
        rests: (n,) 1 where the axes rest, within jerk, before the move.
    """
    share = np.abs(along)
    _refuse_above("speed", "mm/s", share * speeds.max(axis=1)[:, None], limits.max_speed, line, findings)
    _refuse_above("acceleration", "mm/s²", share * acceleration[:, None], limits.max_acceleration, line, findings)
    entering = along * speeds[:, :1]
    leaving = np.zeros_like(along)
    leaving[1:] = along[:-1] * speeds[:-1, 2:]
    apart = np.maximum(np.abs(entering), np.abs(leaving))
    # An axis that goes on the same way jumps by the difference only; one that rests between jumps twice.
    goes_on = (entering * leaving > 0) & (rests == 0)[:, None]
    jumps = np.where(goes_on, np.abs(entering - leaving), apart)
    jumps[-1:] = np.maximum(jumps[-1:], share[-1:] * speeds[-1:, 2:])
    _refuse_above("a jump of its speed", "mm/s", jumps, limits.jerk, line, findings)


def _refuse_above(what: str, unit: str, values: Floats, most: tuple[float, ...], line: Ints, findings: Findings) -> None:
    """Refuse where values of the axes (n, 4) are above what is allowed (4,), or no numbers."""
    for move, axis in np.argwhere(~(values <= np.array(most) * (1 + _SHARE))):
        value, letter = float(values[move, axis]), AXES[axis]
        text = f"{letter} is planned with {what} of {value:g} {unit}, above its {most[axis]:g} {unit}"
        findings.refuse(int(line[move]), text, letter, value, most[axis])


def _check_range(program: Program, limits: Limits, findings: Findings) -> None:
    for axis in range(3):
        low, high = limits.min_position[axis], limits.max_position[axis]
        at = program.end[:, axis]
        named = (program.named >> axis) & 1 == 1
        for move in np.flatnonzero(named & ~((at >= low - _TOLERANCE) & (at <= high + _TOLERANCE))):
            value = float(at[move])
            text = f"{AXES[axis]}={value:g} mm is outside the travel range {low:g} to {high:g} mm"
            findings.refuse(int(program.line[move]), text, AXES[axis], value, low if value < low else high)


def _check_probing(program: Program, limits: Limits, findings: Findings) -> None:
    """A probing must end within the travel range, and its axis must be homed, for only then does its place mean anything."""
    at, homed = list(limits.home), 0
    for op, moves in _runs(program):
        if op is not None and op.kind is OpKind.HOME:
            homed |= op.arg
            at = [home if op.arg >> axis & 1 else at[axis] for axis, home in enumerate(limits.home)]
        elif op is not None and op.kind is OpKind.MOTORS and op.arg == 0:
            homed = 0
        elif op is not None and op.kind is OpKind.PROBE:
            letter, low, high = AXES[op.arg], limits.min_position[op.arg], limits.max_position[op.arg]
            to = at[op.arg] + op.value
            if not homed >> op.arg & 1:
                findings.refuse(op.line, f"{letter} probes before it is homed (G28)", letter)
            if not low - _TOLERANCE <= to <= high + _TOLERANCE:
                text = f"{letter} probes to {to:g} mm, outside the travel range {low:g} to {high:g} mm"
                findings.refuse(op.line, text, letter, to, low if to < low else high)
        if moves.stop > moves.start:
            at = program.end[moves.stop - 1, :3].tolist()


def _check_temperatures(program: Program, limits: Limits, findings: Findings) -> None:
    for op in program.ops:
        if op.kind in (OpKind.HEAT, OpKind.WAIT):
            limit = limits.max_temperature[op.arg]
            if not 0 <= op.value <= limit:
                text = f"{op.value:g} °C is outside the range of the {_HEATERS[op.arg]}, 0 to {limit:g} °C"
                findings.refuse(op.line, text, "", op.value, limit)


def _runs(program: Program) -> Iterator[tuple[Op | None, slice]]:
    """The moves before the first op, then each op with the moves up to the next."""
    ends = [op.before for op in program.ops] + [len(program.line)]
    yield None, slice(0, ends[0])
    for op, begin, end in zip(program.ops, ends[:-1], ends[1:], strict=True):
        yield op, slice(begin, end)


def _check_homing(program: Program, findings: Findings) -> None:
    """An axis must be homed after the start and whenever the motors were off; one refusal for each axis is enough."""
    homed = 0
    said = 0
    for op, moves in _runs(program):
        if op is not None and op.kind is OpKind.HOME:
            homed |= op.arg
        elif op is not None and op.kind is OpKind.MOTORS and op.arg == 0:
            homed = 0
        if homed == _ALL_AXES:
            continue
        for axis in range(3):
            unsure = np.flatnonzero(program.named[moves] & (1 << axis) & ~(homed | said))
            if len(unsure):
                line = int(program.line[moves][unsure[0]])
                findings.refuse(line, f"{AXES[axis]} moves before it is homed (G28)", AXES[axis])
                said |= 1 << axis


def _check_cold_extrusion(program: Program, delta: Floats, limits: Limits, findings: Findings) -> None:
    """The hotend counts as hot once it was waited for, and no hotter than its target since."""
    reached = 0.0
    for op, moves in _runs(program):
        if op is not None and op.kind is OpKind.WAIT and op.arg == HOTEND:
            reached = op.value
        elif op is not None and op.kind is OpKind.HEAT and op.arg == HOTEND:
            reached = min(reached, op.value)
        if reached >= limits.min_extrusion_temperature:
            continue
        cold = np.flatnonzero(delta[moves, 3] > 0)
        if len(cold):
            line = int(program.line[moves][cold[0]])
            least = limits.min_extrusion_temperature
            text = f"E is fed while the hotend was waited for at {reached:g} °C only, below {least:g} °C"
            findings.refuse(line, text, "E", reached, least)


def waiting(ops: tuple[Op, ...], when: Floats, limits: Limits, ambient: float = 20.0) -> float:
    """Estimate of all waits for heat and homing [s], which a plan's duration leaves out.

    Temperatures rise and fall at constant rates from ambient; an axis homes from mid travel, fast, back by 2 mm and
    slowly again, one axis after another.

    Args:
        when: (len(ops),) motion time of each operation [s].
    """
    heaters = {HOTEND: (0.0, ambient, ambient), BED: (0.0, ambient, ambient)}  # since when, from what, to what
    total = 0.0
    for op, moment in zip(ops, when, strict=True):
        now = float(moment) + total
        if op.kind is OpKind.PROBE:
            total += 2 * abs(op.value) / (limits.homing_speed[op.arg] / 10)
        elif op.kind is OpKind.HOME:
            total += sum(_homing(limits, axis) for axis in range(3) if op.arg >> axis & 1)
        elif op.kind in (OpKind.HEAT, OpKind.WAIT):
            since, start, target = heaters[op.arg]
            rate = limits.heating_rate[op.arg] if target > start else -limits.cooling_rate[op.arg]
            reached = min(now - since, abs(target - start) / abs(rate)) * rate + start
            aim = max(op.value, ambient)
            heaters[op.arg] = (now, reached, aim)
            if op.kind is OpKind.WAIT:
                speed = limits.heating_rate[op.arg] if aim > reached else limits.cooling_rate[op.arg]
                total += abs(aim - reached) / speed
    return total


def _homing(limits: Limits, axis: int) -> float:
    back_off, slow = 2.0, 0.1
    travel = (limits.max_position[axis] - limits.min_position[axis]) / 2
    return (travel + back_off + back_off / slow) / limits.homing_speed[axis]
