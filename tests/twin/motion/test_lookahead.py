"""The planner's look-ahead against a plain Python reckoning that relaxes junction speeds until nothing changes any more."""

import math
import random
from dataclasses import dataclass

import pytest

from twin.motion import Limits, plan

LIMITS = Limits()


@dataclass
class Move:
    delta: tuple[float, float, float, float]
    feed: float
    rests: bool  # the program makes the axes rest before it


def random_program(seed: int, count: int) -> tuple[str, list[Move]]:
    """G-code and the moves it means: curves, corners, travels, retractions, short pieces, dwells."""
    dice = random.Random(seed)
    lines, moves = ["G21", "G90", "M83", "M104 S215", "G28", "M109 S215"], []
    at, heading, rests = [0, 0, 0], 0.0, True  # µm
    for _ in range(count):
        if dice.random() < 0.03:
            lines.append("G4 P100")
            rests = True
        kind, feed = dice.random(), dice.choice((600, 1800, 6000, 18000))
        if kind < 0.06:
            fed = dice.choice((-0.8, 0.8))
            lines.append(f"G1 E{fed} F{feed}")
            moves.append(Move((0.0, 0.0, 0.0, fed), feed / 60, rests))
            rests = False
            continue
        heading += dice.gauss(0, 0.2) if dice.random() < 0.8 else dice.uniform(-3, 3)
        length = dice.choice((80, 400, 3000, 20000)) * dice.uniform(0.5, 1.5)
        to = [at[0] + round(length * math.cos(heading)), at[1] + round(length * math.sin(heading)), at[2]]
        to = [min(max(to[0], 0), 220_000), min(max(to[1], 0), 220_000), at[2] + (200 if kind < 0.08 else 0)]
        if to == at:
            continue
        fed = round(0.03 * length / 1000, 5) if kind > 0.3 else 0.0
        words = [f"{axis}{value / 1000:.3f}" for axis, value in zip("XYZ", to, strict=True)]
        lines.append(f"G1 {' '.join(words)} F{feed}" + (f" E{fed:.5f}" if fed else ""))
        moves.append(Move((*((b - a) / 1000 for a, b in zip(at, to, strict=True)), fed), feed / 60, rests))
        at, rests = to, False
    return "\n".join(lines), moves


def plain_total(moves: list[Move]) -> float:
    """Seconds of all moves, by the rules of classic jerk, without a planner's two passes."""
    along, length, acceleration, speed, safe = [], [], [], [], []
    for move in moves:
        way = math.hypot(*move.delta[:3])
        allowed = LIMITS.acceleration[0 if move.delta[3] else 2] if way else LIMITS.acceleration[1]
        way = way or abs(move.delta[3])
        part = [value / way for value in move.delta]
        used = [axis for axis in range(4) if part[axis]]
        length.append(way)
        along.append(part)
        speed.append(min([move.feed] + [LIMITS.max_speed[axis] / abs(part[axis]) for axis in used]))
        acceleration.append(min([allowed] + [LIMITS.max_acceleration[axis] / abs(part[axis]) for axis in used]))
        jerks = [LIMITS.jerk[axis] / max(1.0, abs(part[axis])) for axis in used if abs(part[axis]) * speed[-1] > LIMITS.jerk[axis]]
        safe.append(min([speed[-1]] + jerks))
    count = len(moves)
    entry, leave, rest = list(safe), list(safe), [move.rests for move in moves] + [True]
    rest[0] = True
    for i in range(1, count):
        if rest[i]:
            continue
        common = min(speed[i - 1], speed[i])
        for axis in range(4):
            a, b = along[i - 1][axis], along[i][axis]
            jump = abs(a - b) if a * b > 0 else max(abs(a), abs(b))
            common = min(common, LIMITS.jerk[axis] / jump) if jump else common
        if min(safe[i - 1], safe[i]) > 0.99 * common:
            rest[i] = True
        else:
            entry[i] = leave[i - 1] = common
    changed = True
    while changed:
        changed = False
        for i in range(count):
            gain = 2 * acceleration[i] * length[i]
            for these, those in ((entry, leave), (leave, entry)):
                most = math.sqrt(those[i] ** 2 + gain)
                if these[i] > most * (1 + 1e-15):
                    these[i], changed = most, True
            for side in (i, i + 1):
                if 0 < side < count and not rest[side] and entry[side] != leave[side - 1]:
                    entry[side] = leave[side - 1] = min(entry[side], leave[side - 1])
                    changed = True
    total = 0.0
    for i in range(count):
        top = min(speed[i], math.sqrt((entry[i] ** 2 + leave[i] ** 2) / 2 + acceleration[i] * length[i]))
        ramps = (2 * top**2 - entry[i] ** 2 - leave[i] ** 2) / (2 * acceleration[i])
        total += (2 * top - entry[i] - leave[i]) / acceleration[i] + (length[i] - ramps) / top
    return total


@pytest.mark.parametrize("seed", range(12))
def test_a_program_lasts_as_long_as_a_plain_reckoning_says(seed: int) -> None:
    text, moves = random_program(seed, 1500)
    made = plan(text, LIMITS)
    assert not made.refusals and len(made.moves) == len(moves) > 1000
    dwells = 0.1 * text.count("G4")
    assert made.duration_s - dwells == pytest.approx(plain_total(moves), rel=1e-9, abs=1e-6)
