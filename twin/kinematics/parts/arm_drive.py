"""An arm's drives and what hangs on them: step counts in, joint angles out, in ticks of one length.

The drive of a joint smooths its steps (guide), holds the encoder to them (position loop, speed loop with a sum), and its
motor gives the torque that this asks for, limited and a little later. The robot's inertia is that of its links and of its
rotors, which seen through the gears outweigh the links of a wrist; so the joints' accelerations come from
(inertia + rotors) x = torques, not from the links' forward dynamics alone. Friction is taken implicitly, which lets it
hold a joint at rest.
"""

import math

import numpy as np

from twin.kernel import Floats, Ints, kernel
from twin.kinematics.parts.core import AXES, inertia_of, jacobian_of, torques_of

# Rows of `drives`, one column a joint: the joint, what the steps ask for, the guide, the motor.
ANGLE, SPEED, COUNT, ORIGIN, GUIDE, PACE, RATE, SUM, TORQUE, LOST, FURTHEST = range(11)
# Rows of `joints`.
ROTOR, VISCOUS, COULOMB, LIMIT, LOW, HIGH, PER_RAD, CAM, MASS, BRAKE = range(10)
# Places in `drive`.
TICK, GUIDE_RATE, POSITION_GAIN, SPEED_GAIN, SUM_GAIN, LAG, ALLOWED, STICK, ENCODER, LOAD, GRAVITY = range(11)
# What `drive_joints` tells of its end.
TICKS, TRIPPED, STILL, EDGE = range(4)


@kernel
def drive_joints(
    drives: Floats, joints: Floats, drive: Floats, made: Ints, powered: bool, tripped: bool, until_edge: bool, told: Ints
) -> None:
    """Let ticks pass.

    Args:
        drives: (11, n) see the row names; angles in rad, steps counted as floats, torques in N m; overwritten.
        joints: (10, n) see the row names; MASS is the inertia that the drive reckons with.
        drive: (11,) see the place names; LOAD kg at the flange.
        made: (k, n) steps made in each tick.
        powered: brakes are open and drives on; tripped: they have switched themselves off.
        until_edge: end with the first tick in which a cam changes or the drives trip.
        told: (4,) ticks passed, drives tripped, all at rest, ended at an edge; overwritten.
    """
    inertia, square = np.empty((AXES, AXES)), np.empty((AXES, AXES))
    bias, right, angle, speed = np.empty(AXES), np.empty(AXES), np.empty(AXES), np.empty(AXES)
    jacobian, zero = np.empty((6, AXES)), np.zeros(AXES)
    told[TICKS], told[TRIPPED], told[STILL], told[EDGE] = made.shape[0], tripped, False, False
    for tick in range(made.shape[0]):
        on = powered and not tripped
        moved = _take_steps(drives, made[tick], on)
        if not moved and _rests(drives, joints, drive, on):
            if not told[STILL]:
                for i in range(AXES):
                    angle[i] = drives[ANGLE, i]
                torques_of(angle, zero, zero, bias)
            if told[STILL] or _holds(drives, joints, bias, on):
                _settle(drives)
                told[STILL] = True
                continue
        told[STILL] = False
        _guide(drives, joints, drive, on)
        for i in range(AXES):
            angle[i], speed[i] = drives[ANGLE, i], drives[SPEED, i]
        inertia_of(angle, inertia)
        torques_of(angle, speed, zero, bias)
        if drive[LOAD] > 0.0:
            jacobian_of(angle, jacobian)
            for i in range(AXES):
                bias[i] += jacobian[2, i] * drive[LOAD] * drive[GRAVITY]
        _motors(drives, joints, drive, on)
        _equation(drives, joints, drive, inertia, bias, on, square, right)
        _solve(square, right)
        changed = _move(drives, joints, drive, right)
        if on and _lags(drives, joints, drive):
            tripped = True
            told[TRIPPED] = True
            changed = True
        if until_edge and changed:
            told[TICKS], told[EDGE] = tick + 1, True
            return


@kernel
def _take_steps(drives: Floats, made: Ints, on: bool) -> bool:
    """Count a tick's steps; those that come while the drives are off are lost. Whether there were any."""
    moved = False
    for i in range(AXES):
        if made[i] == 0:
            continue
        moved = True
        if on:
            drives[COUNT, i] += made[i]
        else:
            drives[LOST, i] += abs(made[i])
    return moved


@kernel
def _asked(drives: Floats, joints: Floats, i: int) -> float:
    return float(drives[ORIGIN, i] + drives[COUNT, i] / joints[PER_RAD, i])


@kernel
def _rests(drives: Floats, joints: Floats, drive: Floats, on: bool) -> bool:
    """Nothing moves faster than what sticks may creep, and nothing is asked to."""
    for i in range(AXES):
        if abs(drives[SPEED, i]) > drive[STICK] or (on and abs(drives[PACE, i]) > 1e-5):
            return False
        if on and abs(_asked(drives, joints, i) - drives[ANGLE, i]) * joints[PER_RAD, i] > 0.25:
            return False
    return True


@kernel
def _holds(drives: Floats, joints: Floats, weight: Floats, on: bool) -> bool:
    """Whether friction takes up what the motors leave of the links' weight."""
    for i in range(AXES):
        friction = joints[COULOMB, i] if on else joints[COULOMB, i] + joints[BRAKE, i]
        if abs(drives[TORQUE, i] - weight[i]) > friction:
            return False
    return True


@kernel
def _settle(drives: Floats) -> None:
    for i in range(AXES):
        drives[SPEED, i] = drives[PACE, i] = drives[RATE, i] = 0.0


@kernel
def _guide(drives: Floats, joints: Floats, drive: Floats, on: bool) -> None:
    """The steps as a smooth motion: place and pace follow the count without lag at constant speed."""
    rate, tick = drive[GUIDE_RATE], drive[TICK]
    for i in range(AXES):
        if not on:
            drives[GUIDE, i] = drives[ANGLE, i]
            drives[PACE, i] = drives[RATE, i] = drives[SUM, i] = 0.0
            continue
        away = _asked(drives, joints, i) - drives[GUIDE, i] - drives[PACE, i] * tick
        drives[RATE, i] = drives[PACE, i] + 2.0 * rate * away
        drives[PACE, i] += rate * rate * away * tick
        drives[GUIDE, i] += drives[RATE, i] * tick


@kernel
def _motors(drives: Floats, joints: Floats, drive: Floats, on: bool) -> None:
    """The torque of each motor: what the loops ask for, within its limit, after its lag."""
    tick = drive[TICK]
    share = tick / (tick + drive[LAG])
    for i in range(AXES):
        asked = 0.0
        if on:
            seen = math.floor(drives[ANGLE, i] * drive[ENCODER] + 0.5) / drive[ENCODER]
            away = drives[GUIDE, i] - drives[RATE, i] * tick - seen  # the encoder was read a tick ago
            off = drives[RATE, i] + drive[POSITION_GAIN] * away - drives[SPEED, i]
            asked = joints[MASS, i] * drive[SPEED_GAIN] * off + drives[SUM, i]
            grown = drives[SUM, i] + joints[MASS, i] * drive[SUM_GAIN] * off * tick
            drives[SUM, i] = min(max(grown, -joints[LIMIT, i]), joints[LIMIT, i])
        limited = min(max(asked, -joints[LIMIT, i]), joints[LIMIT, i])
        drives[TORQUE, i] += share * (limited - drives[TORQUE, i]) if on else -drives[TORQUE, i]


@kernel
def _equation(
    drives: Floats, joints: Floats, drive: Floats, inertia: Floats, bias: Floats, on: bool, square: Floats, right: Floats
) -> None:
    """(inertia + rotors + tick * friction) speed after = (inertia + rotors) speed before + tick * torques."""
    tick = drive[TICK]
    for i in range(AXES):
        momentum = joints[ROTOR, i] * drives[SPEED, i]
        for j in range(AXES):
            square[i, j] = inertia[i, j]
            momentum += inertia[i, j] * drives[SPEED, j]
        coulomb = joints[COULOMB, i] if on else joints[COULOMB, i] + joints[BRAKE, i]
        friction = joints[VISCOUS, i] + coulomb / (abs(drives[SPEED, i]) + drive[STICK])
        square[i, i] += joints[ROTOR, i] + tick * friction
        right[i] = momentum + tick * (drives[TORQUE, i] - bias[i])


@kernel
def _solve(square: Floats, right: Floats) -> None:
    """The solution in the place of the right side, by Cholesky; the square is overwritten."""
    for i in range(AXES):
        for j in range(i + 1):
            left = square[i, j]
            for k in range(j):
                left -= square[i, k] * square[j, k]
            square[i, j] = math.sqrt(left) if i == j else left / square[j, j]
    for i in range(AXES):
        for k in range(i):
            right[i] -= square[i, k] * right[k]
        right[i] /= square[i, i]
    for i in range(AXES - 1, -1, -1):
        for k in range(i + 1, AXES):
            right[i] -= square[k, i] * right[k]
        right[i] /= square[i, i]


@kernel
def _move(drives: Floats, joints: Floats, drive: Floats, speed: Floats) -> bool:
    """The joints at their new speed for a tick, as far as their stops; whether a cam's level changed."""
    changed = False
    for i in range(AXES):
        before = drives[ANGLE, i]
        after = before + speed[i] * drive[TICK]
        held = min(max(after, joints[LOW, i]), joints[HIGH, i])
        drives[ANGLE, i] = held
        drives[SPEED, i] = speed[i] if held == after else 0.0
        changed |= (before >= joints[CAM, i]) != (held >= joints[CAM, i])
    return changed


@kernel
def _lags(drives: Floats, joints: Floats, drive: Floats) -> bool:
    """Whether a joint is further from its steps than the drives allow."""
    far = False
    for i in range(AXES):
        away = abs(_asked(drives, joints, i) - drives[ANGLE, i])
        drives[FURTHEST, i] = max(drives[FURTHEST, i], away)
        far |= away > drive[ALLOWED]
    return far
