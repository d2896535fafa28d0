"""What forces do: inverse and forward dynamics, joint-space inertia, energy.

Inverse dynamics is the recursive Newton-Euler scheme in link frames with regrouped masses. Forward dynamics solves the
equation of motion with the joint-space inertia, factored as L D Lᵀ: for eight axes and fewer that is less arithmetic than
the articulated-body recursion, with the same result.
"""

from dataclasses import dataclass

from twin.kinematics.generate.graph import Graph, Term
from twin.kinematics.generate.model import Step
from twin.kinematics.generate.motion import Chain, Poses
from twin.kinematics.generate.vectors import Matrix, Vector, added, applied, cross, dot, plus, times

Column = list[Term]


@dataclass(frozen=True, slots=True)
class _Body:
    """Mass, first and second moments of one or of several links, in a link's frame."""

    mass: Term
    first: Vector
    second: Matrix


def torques(chain: Chain, speeds: Column, accelerations: Column) -> Column:
    """Inverse dynamics: one term a joint."""
    steps = chain.model.steps
    still = (chain.graph.number(0.0),) * 3
    spin, spin_rate, push = still, still, chain.vector(-chain.model.gravity)
    across = _across(spin, spin_rate)
    forces: list[tuple[Vector, Vector]] = []
    for i, step in enumerate(steps):
        push = chain.down(i, plus(push, applied(across, chain.offset(i))))
        spin, spin_rate = chain.down(i, spin), chain.down(i, spin_rate)
        if step.slides:
            twice = 2.0 * speeds[i]
            push = plus(push, (spin[1] * twice, -(spin[0] * twice), accelerations[i]))
        else:
            spin_rate = (
                spin_rate[0] + spin[1] * speeds[i],
                spin_rate[1] - spin[0] * speeds[i],
                spin_rate[2] + accelerations[i],
            )
            spin = (spin[0], spin[1], spin[2] + speeds[i])
        across = _across(spin, spin_rate)
        forces.append(_force(_body(chain, step), push, across))
    return _carried(chain, forces)


def gravity(chain: Chain) -> Column:
    """Torques of the arm at rest."""
    still = [chain.graph.number(0.0)] * len(chain.model.steps)
    return torques(chain, still, still)


def accelerations(chain: Chain, speeds: Column, given: Column) -> Column:
    """Forward dynamics: one term a joint."""
    still = [chain.graph.number(0.0)] * len(chain.model.steps)
    bias = torques(chain, speeds, still)
    return _solved(chain.graph, inertia(chain), [tau - lost for tau, lost in zip(given, bias, strict=True)])


def inertia(chain: Chain) -> list[Column]:
    """Joint-space inertia, rows of columns; below and above the diagonal are the same terms."""
    steps = chain.model.steps
    found: list[Column] = [[chain.graph.number(0.0)] * len(steps) for _ in steps]
    whole = _body(chain, steps[-1])
    for i in reversed(range(len(steps))):
        force, moment = _unit(chain.graph, steps[i], whole)
        for j in reversed(range(i + 1)):
            found[i][j] = found[j][i] = force[2] if steps[j].slides else moment[2]
            if j:
                force, moment = _handed(chain, j, force, moment)
        if i:
            whole = _joined(_body(chain, steps[i - 1]), _moved(chain, i, whole))
    return found


def energy(chain: Chain, speeds: Column) -> Column:
    """Kinetic, then potential energy."""
    graph, model = chain.graph, chain.model
    half = graph.number(0.0)
    for i, row in enumerate(inertia(chain)):
        shared = graph.number(0.0)
        for j in range(i + 1, len(row)):
            shared = shared + row[j] * speeds[j]
        half = half + speeds[i] * (0.5 * row[i] * speeds[i] + shared)
    poses = Poses(chain)
    down = chain.vector(-model.gravity)
    height = dot(down, chain.vector(model.base_first))
    for step, rotation, origin in zip(model.steps, poses.rotations, poses.origins, strict=True):
        body = _body(chain, step)
        height = height + dot(down, plus(times(origin, body.mass), applied(rotation, body.first)))
    return [half, height]


def _body(chain: Chain, step: Step) -> _Body:
    return _Body(chain.graph.number(step.mass), chain.vector(step.first), chain.matrix(step.second))


def _across(spin: Vector, rate: Vector) -> Matrix:
    """What a body's points accelerate by, per metre from its frame's origin: [rate×] + [spin×]²."""
    (x, y, z), (dx, dy, dz) = spin, rate
    xx, yy, zz, xy, xz, yz = x * x, y * y, z * z, x * y, x * z, y * z
    return (-(yy + zz), xy - dz, xz + dy), (xy + dz, -(xx + zz), yz - dx), (xz - dy, yz + dx, -(xx + yy))


def _force(body: _Body, push: Vector, u: Matrix) -> tuple[Vector, Vector]:
    """Force and moment at the frame's origin which move a body so."""
    force = plus(times(push, body.mass), applied(u, body.first))
    (xx, xy, xz), (_, yy, yz), (_, _, zz) = body.second
    moment = (
        yy * u[2][1] - zz * u[1][2] + yz * (u[2][2] - u[1][1]) + xy * u[2][0] - xz * u[1][0],
        zz * u[0][2] - xx * u[2][0] + xz * (u[0][0] - u[2][2]) + yz * u[0][1] - xy * u[2][1],
        xx * u[1][0] - yy * u[0][1] + xy * (u[1][1] - u[0][0]) + xz * u[1][2] - yz * u[0][2],
    )
    return force, plus(moment, cross(body.first, push))


def _carried(chain: Chain, forces: list[tuple[Vector, Vector]]) -> Column:
    """What each joint carries of the forces on all links from it to the flange."""
    steps = chain.model.steps
    found: Column = []
    force, moment = forces[-1]
    for i in reversed(range(len(steps))):
        found.insert(0, force[2] if steps[i].slides else moment[2])
        if i:
            force, moment = _handed(chain, i, force, moment)
            force, moment = plus(forces[i - 1][0], force), plus(forces[i - 1][1], moment)
    return found


def _handed(chain: Chain, i: int, force: Vector, moment: Vector) -> tuple[Vector, Vector]:
    """Force and moment at frame i, as felt at the frame before."""
    force = chain.up(i, force)
    return force, plus(chain.up(i, moment), cross(chain.offset(i), force))


def _unit(graph: Graph, step: Step, body: _Body) -> tuple[Vector, Vector]:
    """Force and moment that give the body an acceleration of 1 along or about z."""
    zero = graph.number(0.0)
    (xx, _, xz), (_, yy, yz), _ = body.second
    if step.slides:
        return (zero, zero, body.mass), (body.first[1], -body.first[0], zero)
    return (-body.first[1], body.first[0], zero), (-xz, -yz, xx + yy)


def _moved(chain: Chain, i: int, body: _Body) -> _Body:
    """A body of frame i in the frame before."""
    offset = chain.offset(i)
    second = chain.up_twice(i, body.second)
    first = chain.up(i, body.first)
    outer = tuple(times(first, value) for value in offset)
    square = tuple(times(offset, value * body.mass) for value in offset)
    shift: list[list[Term]] = [[outer[a][b] + outer[b][a] + square[a][b] for b in range(3)] for a in range(3)]
    moved = tuple((row[0], row[1], row[2]) for row in shift)
    first = plus(first, times(offset, body.mass))
    return _Body(body.mass, first, added(second, (moved[0], moved[1], moved[2])))


def _joined(a: _Body, b: _Body) -> _Body:
    return _Body(a.mass + b.mass, plus(a.first, b.first), added(a.second, b.second))


def _solved(graph: Graph, matrix: list[Column], right: Column) -> Column:
    """x of matrix · x = right for a symmetric positive definite matrix, eliminated from the last row."""
    count = len(right)
    rows, values = [list(row) for row in matrix], list(right)
    inverse: Column = [graph.number(1.0)] * count
    for k in reversed(range(count)):
        inverse[k] = graph.number(1.0) / rows[k][k]
        for i in reversed(range(k)):
            factor = rows[i][k] * inverse[k]
            values[i] = values[i] - factor * values[k]
            for j in range(i + 1):
                rows[i][j] = rows[i][j] - factor * rows[j][k]
                rows[j][i] = rows[i][j]
    found: Column = []
    for k in range(count):
        rest = values[k]
        for j in range(k):
            rest = rest - rows[k][j] * found[j]
        found.append(rest * inverse[k])
    return found
