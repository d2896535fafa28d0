"""Three-vectors and 3 × 3 matrices of terms."""

from twin.kinematics.generate.graph import Term

Vector = tuple[Term, Term, Term]
Matrix = tuple[Vector, Vector, Vector]  # rows


def plus(a: Vector, b: Vector) -> Vector:
    return a[0] + b[0], a[1] + b[1], a[2] + b[2]


def minus(a: Vector, b: Vector) -> Vector:
    return a[0] - b[0], a[1] - b[1], a[2] - b[2]


def times(a: Vector, factor: Term) -> Vector:
    return a[0] * factor, a[1] * factor, a[2] * factor


def dot(a: Vector, b: Vector) -> Term:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def cross(a: Vector, b: Vector) -> Vector:
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


def transposed(m: Matrix) -> Matrix:
    return (m[0][0], m[1][0], m[2][0]), (m[0][1], m[1][1], m[2][1]), (m[0][2], m[1][2], m[2][2])


def applied(m: Matrix, v: Vector) -> Vector:
    return dot(m[0], v), dot(m[1], v), dot(m[2], v)


def product(a: Matrix, b: Matrix) -> Matrix:
    columns = transposed(b)
    return transposed((applied(a, columns[0]), applied(a, columns[1]), applied(a, columns[2])))


def added(a: Matrix, b: Matrix) -> Matrix:
    return plus(a[0], b[0]), plus(a[1], b[1]), plus(a[2], b[2])
