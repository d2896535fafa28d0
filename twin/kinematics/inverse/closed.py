"""All solutions of six-axis arms in closed form, sixty-four poses at a time.

A pose is brought into the arm's own frame: origin on axis 1 opposite axis 2, z along axis 1, y along axis 2. There

    target = left @ pose @ right

holds, as columns, where axis 5, its normal to axis 6, and axis 6 point, and the wrist's centre. Angles are sought as
pairs (sine, cosine) of any common length; one loop then turns all pairs into angles, so nothing calls a library inside
a loop and every loop runs in vector registers. Where no solution exists the nearest real one is written and marked.

A tile is one flat array of rows, a row has a number for each of the poses: the compiler then sees that rows do not
overlap. Angles in the plane of axes 1 and 3 are measured from z towards x: a turn about y.
"""

import math

import numpy as np
from numpy.typing import NDArray

from twin.kernel import Floats, kernel

Flags = NDArray[np.bool_]

BRANCHES = 8
WIDTH = 64

# Rows of a tile: the target as 3 x 4; the sines, then the cosines, of the angles; results; and what stages hand on.
_TARGET, _SINE, _COSINE, _SIDE, _ALONG, _TURN, _REAL, _JOINT, _ROWS = 0, 12, 25, 38, 39, 42, 44, 46, 70
# Which angle a row below _SINE is. The elbow's come in twos: one for each of two points to be reached.
_BASE, _ELBOW, _UPPER, _LOWER, _WRIST, _OTHER = 0, 1, 3, 5, 7, 10
_ANGLES = 13

# How far out of reach (the square of an offset, m²; a cosine beyond ±1) may be the rounding of a pose at the border.
_BORDER = 1e-11
# Below this sine of its angle the wrist is straight: joint 6 then does only what another joint can do as well.
_STRAIGHT = 1e-10
_TINY = 1e-300

# What a row of `arm` holds, for both families ...
SIDE, OFFSET, UPPER, FORE, UPPER_ANGLE, FORE_ANGLE, ELBOW_SIGN, WRIST_ANGLE = range(8)
# ... with axes 2, 3 and 4 parallel: sign of axis 4, direction of axis 5 and lever of the wrist's centre, both as z, x ...
FOURTH_SIGN, FIFTH, LEVER, PARALLEL_SIZE = 8, 9, 11, 13
# ... with a spherical wrist: direction of the forearm as z, x; axis 4, axis 5, and axis 5 × axis 4.
FOREARM, AXIS_4, AXIS_5, NORMAL, SPHERICAL_SIZE = 8, 10, 13, 16, 19


@kernel
def parallel(poses: Floats, left: Floats, right: Floats, arm: Floats, joints: Floats, real: Flags) -> None:
    """All solutions of an arm whose axes 2, 3 and 4 are parallel (as Universal Robots').

    Args:
        poses: (n, 4, 4) of the flange in the robot's base frame.
        left, right: (12,) 3 x 4 into the arm's own frame, row-major.
        arm: (13,) lengths [m], angles [rad] and signs.
        joints: (n, 8, 6) angles in -π … π, overwritten; finite also where no solution exists.
        real: (n, 8) whether the branch exists, overwritten.
    """
    tile = np.zeros(_ROWS * WIDTH)
    for first in range(0, poses.shape[0], WIDTH):
        count = min(WIDTH, poses.shape[0] - first)
        _gather(poses, first, count, tile)
        _place(left, right, tile)
        for side in range(2):
            _shoulder(tile, 1.0 - 2.0 * side, arm)
            _parallel_wrist(tile, arm)
            _elbows(tile, 2, arm)
            _angles(tile)
            _parallel_joints(tile, arm)
            _wrap(tile)
            _scatter(tile, first, count, 4 * side, joints, real)


@kernel
def spherical(poses: Floats, left: Floats, right: Floats, arm: Floats, joints: Floats, real: Flags) -> None:
    """All solutions of an arm whose axes 2 and 3 are parallel and whose axes 4, 5 and 6 meet in one point.

    Args and results as of `parallel`; arm: (19,).
    """
    tile = np.zeros(_ROWS * WIDTH)
    for first in range(0, poses.shape[0], WIDTH):
        count = min(WIDTH, poses.shape[0] - first)
        _gather(poses, first, count, tile)
        _place(left, right, tile)
        for side in range(2):
            _shoulder(tile, 1.0 - 2.0 * side, arm)
            _elbows(tile, 1, arm)
            _spherical_wrist(tile, _UPPER, 1.0, _WRIST, arm)
            _spherical_wrist(tile, _LOWER, -1.0, _OTHER, arm)
            _angles(tile)
            _spherical_joints(tile, arm)
            _wrap(tile)
            _scatter(tile, first, count, 4 * side, joints, real)


@kernel
def _gather(poses: Floats, first: int, count: int, tile: Floats) -> None:
    """Poses into a tile; what is left of the tile repeats the last."""
    for i in range(WIDTH):
        pose = poses[first + min(i, count - 1)]
        for row in range(3):
            for column in range(4):
                tile[(4 * row + column) * WIDTH + i] = pose[row, column]


@kernel
def _place(left: Floats, right: Floats, tile: Floats) -> None:
    """target = left @ pose @ right."""
    for i in range(WIDTH):
        t00, t01, t02, t03 = tile[i], tile[WIDTH + i], tile[2 * WIDTH + i], tile[3 * WIDTH + i]
        t10, t11, t12, t13 = tile[4 * WIDTH + i], tile[5 * WIDTH + i], tile[6 * WIDTH + i], tile[7 * WIDTH + i]
        t20, t21, t22, t23 = tile[8 * WIDTH + i], tile[9 * WIDTH + i], tile[10 * WIDTH + i], tile[11 * WIDTH + i]
        for column in range(4):
            whole = 1.0 if column == 3 else 0.0
            a, b, c = right[column], right[4 + column], right[8 + column]
            x = t00 * a + t01 * b + t02 * c + t03 * whole
            y = t10 * a + t11 * b + t12 * c + t13 * whole
            z = t20 * a + t21 * b + t22 * c + t23 * whole
            tile[column * WIDTH + i] = left[0] * x + left[1] * y + left[2] * z + left[3] * whole
            tile[(4 + column) * WIDTH + i] = left[4] * x + left[5] * y + left[6] * z + left[7] * whole
            tile[(8 + column) * WIDTH + i] = left[8] * x + left[9] * y + left[10] * z + left[11] * whole


@kernel
def _shoulder(tile: Floats, side: float, arm: Floats) -> None:
    """Joint 1, which turns the wrist's centre to its offset along axis 2, and where that centre is in the arm's plane."""
    offset, behind = arm[OFFSET], arm[SIDE]
    for i in range(WIDTH):
        x, y, z = tile[3 * WIDTH + i], tile[7 * WIDTH + i], tile[11 * WIDTH + i]
        square = x * x + y * y - offset * offset
        out = side * math.sqrt(max(square, 0.0))
        cosine, sine = x * out + y * offset, y * out - x * offset
        length = math.sqrt(cosine * cosine + sine * sine)
        # On axis 1 every angle is as good: zero.
        free = length == 0.0
        scale = 1.0 / (1.0 if free else length)
        tile[(_COSINE + _BASE) * WIDTH + i] = 1.0 if free else cosine * scale
        tile[(_SINE + _BASE) * WIDTH + i] = sine * scale
        tile[_SIDE * WIDTH + i] = 1.0 if square >= -_BORDER else 0.0
        tile[_ALONG * WIDTH + i] = z
        tile[_TURN * WIDTH + i] = out - behind


@kernel
def _parallel_wrist(tile: Floats, arm: Floats) -> None:
    """Joints 5 and 6 and the sum of 2, 3 and 4, and where axis 4 lies: for the wrist unturned and turned over."""
    fifth_z, fifth_x, lever_z, lever_x = arm[FIFTH], arm[FIFTH + 1], arm[LEVER], arm[LEVER + 1]
    lever = max(math.sqrt(lever_z * lever_z + lever_x * lever_x), _TINY)
    shortest, longest = (arm[UPPER] - arm[FORE]) ** 2, (arm[UPPER] + arm[FORE]) ** 2
    for i in range(WIDTH):
        cosine, sine = tile[(_COSINE + _BASE) * WIDTH + i], tile[(_SINE + _BASE) * WIDTH + i]
        ax, ay, az = tile[i], tile[4 * WIDTH + i], tile[8 * WIDTH + i]
        bx, by, bz = tile[WIDTH + i], tile[5 * WIDTH + i], tile[9 * WIDTH + i]
        cx, cy = tile[2 * WIDTH + i], tile[6 * WIDTH + i]
        # Axis 2 as seen from the last link: only joints 5 and 6 turn it there.
        a, b, c = cosine * ay - sine * ax, cosine * by - sine * bx, cosine * cy - sine * cx
        bent = math.sqrt(a * a + b * b)
        straight = bent < _STRAIGHT
        scale = 1.0 / (1.0 if straight else bent)
        along, turn = tile[_ALONG * WIDTH + i], tile[_TURN * WIDTH + i]
        # Of a straight wrist's many turns, one that leaves axis 4 where the arm can reach it: square to the way there,
        # else as little off square as will do.
        square = along * along + turn * turn
        way = math.sqrt(square)
        both = square + lever * lever
        bend = (both - min(max(both, shortest), longest)) / max(2.0 * way * lever, _TINY)
        bend = min(max(bend, -1.0), 1.0)
        aside = math.sqrt((1.0 - bend) * (1.0 + bend))
        z, x = along * bend - turn * aside, turn * bend + along * aside
        scale_2 = 1.0 / max(way * lever, _TINY)
        z, x = scale_2 * (z * lever_z + x * lever_x), scale_2 * (x * lever_z - z * lever_x)
        z, x = z * fifth_z - x * fifth_x, z * fifth_x + x * fifth_z
        u, v = cosine * ax + sine * ay, cosine * bx + sine * by
        sine_6, cosine_6 = (x * v + z * bz if straight else a * scale), (x * u + z * az if straight else -b * scale)
        x, z = cosine_6 * u + sine_6 * v, cosine_6 * az + sine_6 * bz
        real, imaginary = z * fifth_z + x * fifth_x, x * fifth_z - z * fifth_x
        tile[(_SINE + _WRIST) * WIDTH + i], tile[(_COSINE + _WRIST) * WIDTH + i] = bent, c
        tile[(_SINE + _WRIST + 1) * WIDTH + i], tile[(_COSINE + _WRIST + 1) * WIDTH + i] = sine_6, cosine_6
        tile[(_SINE + _WRIST + 2) * WIDTH + i], tile[(_COSINE + _WRIST + 2) * WIDTH + i] = imaginary, real
        z, x = lever_z * real - lever_x * imaginary, lever_z * imaginary + lever_x * real
        tile[_ALONG * WIDTH + i], tile[_TURN * WIDTH + i] = along - z, turn - x
        tile[(_ALONG + 1) * WIDTH + i], tile[(_TURN + 1) * WIDTH + i] = along + z, turn + x


@kernel
def _elbows(tile: Floats, points: int, arm: Floats) -> None:
    """Both ways in which upper arm and forearm reach one or two points of their plane."""
    upper, fore = arm[UPPER], arm[FORE]
    squares, scale = upper * upper + fore * fore, 1.0 / (2.0 * upper * fore)
    for i in range(points * WIDTH):
        z, x = tile[_ALONG * WIDTH + i], tile[_TURN * WIDTH + i]
        wanted = (z * z + x * x - squares) * scale
        cosine = min(max(wanted, -1.0), 1.0)
        sine = math.sqrt((1.0 - cosine) * (1.0 + cosine))
        tile[(_SINE + _ELBOW) * WIDTH + i], tile[(_COSINE + _ELBOW) * WIDTH + i] = sine, cosine
        ahead, aside = upper + fore * cosine, fore * sine
        tile[(_SINE + _UPPER) * WIDTH + i] = x * ahead - z * aside
        tile[(_COSINE + _UPPER) * WIDTH + i] = z * ahead + x * aside
        tile[(_SINE + _LOWER) * WIDTH + i] = x * ahead + z * aside
        tile[(_COSINE + _LOWER) * WIDTH + i] = z * ahead - x * aside
        tile[_REAL * WIDTH + i] = 1.0 if abs(wanted) <= 1.0 + _BORDER else 0.0


@kernel
def _spherical_wrist(tile: Floats, way: int, sign: float, out: int, arm: Floats) -> None:
    """Joints 5, 6 and 4 that turn the last link as the target says, the elbow being up or down."""
    forearm_z, forearm_x = arm[FOREARM], arm[FOREARM + 1]
    for i in range(WIDTH):
        cosine_1, sine_1 = tile[(_COSINE + _BASE) * WIDTH + i], tile[(_SINE + _BASE) * WIDTH + i]
        z, x = tile[(_COSINE + way) * WIDTH + i], tile[(_SINE + way) * WIDTH + i]
        length = math.sqrt(z * z + x * x)
        scale = 1.0 / (1.0 if length == 0.0 else length)
        z, x = (1.0 if length == 0.0 else z * scale), x * scale
        bend_z, bend_x = tile[(_COSINE + _ELBOW) * WIDTH + i], sign * tile[(_SINE + _ELBOW) * WIDTH + i]
        z, x = z * bend_z - x * bend_x, z * bend_x + x * bend_z
        # The turn of the forearm from where it points while all joints are at zero.
        cosine, sine = z * forearm_z + x * forearm_x, x * forearm_z - z * forearm_x
        x, z = arm[AXIS_4] * cosine + arm[AXIS_4 + 2] * sine, arm[AXIS_4 + 2] * cosine - arm[AXIS_4] * sine
        ax, ay, az = cosine_1 * x - sine_1 * arm[AXIS_4 + 1], sine_1 * x + cosine_1 * arm[AXIS_4 + 1], z
        x, z = arm[AXIS_5] * cosine + arm[AXIS_5 + 2] * sine, arm[AXIS_5 + 2] * cosine - arm[AXIS_5] * sine
        bx, by, bz = cosine_1 * x - sine_1 * arm[AXIS_5 + 1], sine_1 * x + cosine_1 * arm[AXIS_5 + 1], z
        x, z = arm[NORMAL] * cosine + arm[NORMAL + 2] * sine, arm[NORMAL + 2] * cosine - arm[NORMAL] * sine
        cx, cy, cz = cosine_1 * x - sine_1 * arm[NORMAL + 1], sine_1 * x + cosine_1 * arm[NORMAL + 1], z
        ux, uy, uz = tile[i], tile[4 * WIDTH + i], tile[8 * WIDTH + i]
        vx, vy, vz = tile[WIDTH + i], tile[5 * WIDTH + i], tile[9 * WIDTH + i]
        wx, wy, wz = tile[2 * WIDTH + i], tile[6 * WIDTH + i], tile[10 * WIDTH + i]
        # Axis 4 as seen from the last link.
        u, v, w = ax * ux + ay * uy + az * uz, ax * vx + ay * vy + az * vz, ax * wx + ay * wy + az * wz
        bent = math.sqrt(u * u + v * v)
        straight = bent < _STRAIGHT
        scale = 1.0 / (1.0 if straight else bent)
        sine_6, cosine_6 = u * scale, (1.0 if straight else -v * scale)
        x, y, z = cosine_6 * ux + sine_6 * vx, cosine_6 * uy + sine_6 * vy, cosine_6 * uz + sine_6 * vz
        tile[(_SINE + out) * WIDTH + i], tile[(_COSINE + out) * WIDTH + i] = bent, w
        tile[(_SINE + out + 1) * WIDTH + i], tile[(_COSINE + out + 1) * WIDTH + i] = sine_6, cosine_6
        tile[(_SINE + out + 2) * WIDTH + i] = -(cx * x + cy * y + cz * z)
        tile[(_COSINE + out + 2) * WIDTH + i] = bx * x + by * y + bz * z


@kernel
def _angles(tile: Floats) -> None:
    """The angles of all pairs, into the rows of the sines: a polynomial of the arc tangent up to an eighth of a turn.

    Its error is below 1e-17; with the reductions an angle is within 5e-16.
    """
    for i in range(_ANGLES * WIDTH):
        y, x = tile[_SINE * WIDTH + i], tile[_COSINE * WIDTH + i]
        rise, run = abs(y), abs(x)
        steep = rise > run
        large, small = (rise if steep else run), (run if steep else rise)
        far = small > 0.41421356237309503 * large
        top, bottom = (small - large if far else small), (small + large if far else large)
        t = top / (bottom if bottom > 0.0 else 1.0)
        z = t * t
        p = 0.037963202610928067 - 0.017803287778866007 * z
        p = 0.058468582664928805 + z * (p * z - 0.050350166526462084)
        p = 0.07692045075544347 + z * (p * z - 0.06662948956126474)
        p = 0.1111111074448175 + z * (p * z - 0.0909089679503789)
        p = 0.1999999999994091 + z * (p * z - 0.14285714279244238)
        angle = t + t * z * (p * z - 0.3333333333333312)
        angle = angle + math.pi / 4 if far else angle
        angle = math.pi / 2 - angle if steep else angle
        angle = math.pi - angle if x < 0.0 else angle
        tile[_SINE * WIDTH + i] = -angle if y < 0.0 else angle


@kernel
def _parallel_joints(tile: Floats, arm: Floats) -> None:
    """The joints of four solutions out of their angles: wrist unturned and over, each with both elbows."""
    third, fourth = arm[ELBOW_SIGN], arm[FOURTH_SIGN]
    for over in range(2):
        for down in range(2):
            way, sign, flip = (_LOWER if down else _UPPER) + over, 1.0 - 2.0 * down, 1.0 - 2.0 * over
            row = (_JOINT + 6 * (2 * over + down)) * WIDTH
            for i in range(WIDTH):
                base, bent = tile[(_SINE + _BASE) * WIDTH + i], tile[(_SINE + _WRIST) * WIDTH + i]
                last, plane = tile[(_SINE + _WRIST + 1) * WIDTH + i], tile[(_SINE + _WRIST + 2) * WIDTH + i]
                second = tile[(_SINE + way) * WIDTH + i] - arm[UPPER_ANGLE]
                bend = sign * tile[(_SINE + _ELBOW + over) * WIDTH + i] - arm[FORE_ANGLE]
                tile[row + i], tile[row + WIDTH + i], tile[row + 2 * WIDTH + i] = base, second, third * bend
                tile[row + 3 * WIDTH + i] = fourth * (plane + over * math.pi - second - bend)
                tile[row + 4 * WIDTH + i] = flip * bent - arm[WRIST_ANGLE]
                tile[row + 5 * WIDTH + i] = last + over * math.pi
    for i in range(WIDTH):
        tile[_REAL * WIDTH + i] *= tile[_SIDE * WIDTH + i]
        tile[(_REAL + 1) * WIDTH + i] *= tile[_SIDE * WIDTH + i]


@kernel
def _spherical_joints(tile: Floats, arm: Floats) -> None:
    """The joints of four solutions out of their angles: wrist unturned and over, each with both elbows."""
    third = arm[ELBOW_SIGN]
    for over in range(2):
        for down in range(2):
            way, wrist = (_LOWER if down else _UPPER), (_OTHER if down else _WRIST)
            sign, flip = 1.0 - 2.0 * down, 1.0 - 2.0 * over
            row = (_JOINT + 6 * (2 * over + down)) * WIDTH
            for i in range(WIDTH):
                tile[row + i] = tile[(_SINE + _BASE) * WIDTH + i]
                tile[row + WIDTH + i] = tile[(_SINE + way) * WIDTH + i] - arm[UPPER_ANGLE]
                tile[row + 2 * WIDTH + i] = third * (sign * tile[(_SINE + _ELBOW) * WIDTH + i] - arm[FORE_ANGLE])
                tile[row + 3 * WIDTH + i] = tile[(_SINE + wrist + 2) * WIDTH + i] + over * math.pi
                tile[row + 4 * WIDTH + i] = flip * tile[(_SINE + wrist) * WIDTH + i] - arm[WRIST_ANGLE]
                tile[row + 5 * WIDTH + i] = tile[(_SINE + wrist + 1) * WIDTH + i] + over * math.pi
    for i in range(WIDTH):
        tile[_REAL * WIDTH + i] *= tile[_SIDE * WIDTH + i]
        tile[(_REAL + 1) * WIDTH + i] = tile[_REAL * WIDTH + i]


@kernel
def _wrap(tile: Floats) -> None:
    """Whole turns off, to -π … π."""
    for i in range(24 * WIDTH):
        angle = tile[_JOINT * WIDTH + i]
        # Adding and taking away 1.5 * 2**52 rounds to the nearest whole number.
        turns = (angle * (0.5 / math.pi) + 6755399441055744.0) - 6755399441055744.0
        tile[_JOINT * WIDTH + i] = angle - turns * (2.0 * math.pi)


@kernel
def _scatter(tile: Floats, first: int, count: int, branch: int, joints: Floats, real: Flags) -> None:
    """Four solutions of each pose out of a tile."""
    for i in range(count):
        for way in range(4):
            for joint in range(6):
                joints[first + i, branch + way, joint] = tile[(_JOINT + 6 * way + joint) * WIDTH + i]
            real[first + i, branch + way] = tile[(_REAL + way // 2) * WIDTH + i] > 0.0
