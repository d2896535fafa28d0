"""Where everything is: transforms along the chain, and the Jacobian of its end."""

from twin.kernel import Floats
from twin.kinematics.generate.graph import Graph, Term
from twin.kinematics.generate.model import Model, Step
from twin.kinematics.generate.vectors import Matrix, Vector, applied, cross, minus, plus, product, times, transposed


class Chain:
    """A model's joints as terms: turns and offsets between neighbours, as functions of the positions q1 … qn."""

    def __init__(self, graph: Graph, model: Model) -> None:
        self.graph = graph
        self.model = model
        self.positions = graph.inputs("q", len(model.steps))
        self._turns = [
            None if step.slides else graph.turn(q) for step, q in zip(model.steps, self.positions, strict=True)
        ]

    def vector(self, values: Floats) -> Vector:
        x, y, z = (self.graph.number(float(value)) for value in values)
        return x, y, z

    def matrix(self, values: Floats) -> Matrix:
        return self.vector(values[0]), self.vector(values[1]), self.vector(values[2])

    def offset(self, i: int) -> Vector:
        """Origin of frame i in the frame before it."""
        step = self.model.steps[i]
        start = self.vector(step.offset)
        if not step.slides:
            return start
        return plus(start, times(self.vector(step.turn[:, 2]), self.positions[i]))

    def up(self, i: int, v: Vector) -> Vector:
        """A vector of frame i in the frame before it."""
        turn = self._turns[i]
        if turn is not None:
            cosine, sine = turn
            v = (v[0] * cosine - v[1] * sine, v[0] * sine + v[1] * cosine, v[2])
        return applied(self.matrix(self._step(i).turn), v)

    def down(self, i: int, v: Vector) -> Vector:
        """A vector of the frame before i in frame i."""
        x, y, z = applied(self.matrix(self._step(i).turn.T), v)
        turn = self._turns[i]
        if turn is None:
            return x, y, z
        cosine, sine = turn
        return x * cosine + y * sine, y * cosine - x * sine, z

    def up_twice(self, i: int, m: Matrix) -> Matrix:
        """A symmetric tensor of frame i in the frame before it."""
        (xx, xy, xz), (_, yy, yz), (_, _, zz) = m
        turn = self._turns[i]
        if turn is not None:
            cosine, sine = turn
            mixed = sine * (xx - yy) + cosine * (2.0 * xy)
            xx, yy, xy = xx - sine * mixed, yy + sine * mixed, cosine * mixed - xy
            xz, yz = xz * cosine - yz * sine, xz * sine + yz * cosine
        fixed = self.matrix(self._step(i).turn)
        (xx, xy, xz), (_, yy, yz), (_, _, zz) = product(
            product(fixed, ((xx, xy, xz), (xy, yy, yz), (xz, yz, zz))), transposed(fixed)
        )
        return (xx, xy, xz), (xy, yy, yz), (xz, yz, zz)

    def rotated(self, i: int, m: Matrix) -> Matrix:
        """A rotation whose columns are in frame i - 1's parent, continued to frame i."""
        turned = product(m, self.matrix(self._step(i).turn))
        turn = self._turns[i]
        if turn is None:
            return turned
        cosine, sine = turn
        x, y, z = transposed(turned)
        return transposed(
            (plus(times(x, cosine), times(y, sine)), minus(times(y, cosine), times(x, sine)), z)
        )

    def _step(self, i: int) -> Step:
        return self.model.steps[i]


class Poses:
    """Rotation and origin of every frame, then of the flange, in the base frame."""

    def __init__(self, chain: Chain) -> None:
        model, graph = chain.model, chain.graph
        zero, one = graph.number(0.0), graph.number(1.0)
        rotation: Matrix = ((one, zero, zero), (zero, one, zero), (zero, zero, one))
        origin: Vector = (zero, zero, zero)
        self.rotations: list[Matrix] = []
        self.origins: list[Vector] = []
        for i in range(len(model.steps)):
            origin = plus(origin, applied(rotation, chain.offset(i)))
            rotation = chain.rotated(i, rotation)
            self.rotations.append(rotation)
            self.origins.append(origin)
        self.flange = (
            product(rotation, chain.matrix(model.flange_turn)),
            plus(origin, applied(rotation, chain.vector(model.flange_offset))),
        )


def flange(chain: Chain) -> list[Term]:
    """Twelve terms: the upper three rows of the flange's transform."""
    return _rows(*Poses(chain).flange)


def frames(chain: Chain) -> list[Term]:
    """Twelve terms for each link in its own frame, then for the flange."""
    poses = Poses(chain)
    found: list[Term] = []
    for step, rotation, origin in zip(chain.model.steps, poses.rotations, poses.origins, strict=True):
        found += _rows(product(rotation, chain.matrix(step.back)), origin)
    return found + _rows(*poses.flange)


def jacobian(chain: Chain) -> list[Term]:
    """Six rows of a term a joint: linear, then angular velocity of the flange in the base frame."""
    poses = Poses(chain)
    end = poses.flange[1]
    zero = chain.graph.number(0.0)
    columns: list[tuple[Vector, Vector]] = []
    for step, rotation, origin in zip(chain.model.steps, poses.rotations, poses.origins, strict=True):
        axis = transposed(rotation)[2]
        still = (zero, zero, zero)
        columns.append((axis, still) if step.slides else (cross(axis, minus(end, origin)), axis))
    return [column[part][row] for part in (0, 1) for row in range(3) for column in columns]


def _rows(rotation: Matrix, origin: Vector) -> list[Term]:
    return [value for row, last in zip(rotation, origin, strict=True) for value in (*row, last)]
