"""Arithmetic written down instead of carried out: shared, folded and ordered, ready to become straight-line code."""

from __future__ import annotations

from dataclasses import dataclass

ZERO, ONE = 0.0, 1.0


@dataclass(frozen=True, slots=True)
class Node:
    """One operation of a graph; equal operations on equal operands are one node.

    Attributes:
        operator: `number`, `input`, `sin`, `cos`, `-1` (the negative) or one of + - * /.
        operands: numbers of nodes; of a sine or cosine, the input's.
    """

    operator: str
    operands: tuple[int, ...] = ()
    value: float = 0.0
    name: str = ""


class Graph:
    """The nodes, each after its operands."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self._known: dict[Node, int] = {}

    def add(self, node: Node) -> Term:
        if node not in self._known:
            self._known[node] = len(self.nodes)
            self.nodes.append(node)
        return Term(self, self._known[node])

    def number(self, value: float) -> Term:
        # Minus zero is zero here, so that both vanish from sums.
        return self.add(Node("number", value=value + 0.0))

    def input(self, name: str) -> Term:
        return self.add(Node("input", name=name))

    def inputs(self, letter: str, count: int) -> list[Term]:
        return [self.input(f"{letter}{i + 1}") for i in range(count)]

    def turn(self, angle: Term) -> tuple[Term, Term]:
        """Cosine and sine of an input."""
        return self.add(Node("cos", (angle.index,))), self.add(Node("sin", (angle.index,)))


@dataclass(frozen=True, slots=True)
class Term:
    """A node that can be calculated with; signs are pulled outwards and numbers folded."""

    graph: Graph
    index: int

    @property
    def node(self) -> Node:
        return self.graph.nodes[self.index]

    @property
    def number(self) -> float | None:
        return self.node.value if self.node.operator == "number" else None

    def _term(self, other: Term | float) -> Term:
        return other if isinstance(other, Term) else self.graph.number(float(other))

    def _positive(self) -> tuple[bool, Term]:
        """Whether this is a negative, and of what."""
        if self.number is not None and self.number < 0.0:
            return True, self.graph.number(-self.number)
        if self.node.operator == "-1":
            return True, Term(self.graph, self.node.operands[0])
        return False, self

    def __neg__(self) -> Term:
        if self.number is not None:
            return self.graph.number(-self.number)
        negative, positive = self._positive()
        if negative:
            return positive
        if self.node.operator == "-":
            return self.graph.add(Node("-", self.node.operands[::-1]))
        return self.graph.add(Node("-1", (self.index,)))

    def __add__(self, given: Term | float) -> Term:
        other = self._term(given)
        if self.number is not None and other.number is not None:
            return self.graph.number(self.number + other.number)
        if self.number == ZERO:
            return other
        if other.number == ZERO:
            return self
        (minus, a), (other_minus, b) = self._positive(), other._positive()
        if minus and other_minus:
            return -(a + b)
        if minus or other_minus:
            return self - b if other_minus else other - a
        return self.graph.add(Node("+", tuple(sorted((a.index, b.index)))))

    def __sub__(self, given: Term | float) -> Term:
        other = self._term(given)
        if self.number is not None and other.number is not None:
            return self.graph.number(self.number - other.number)
        if self.index == other.index:
            return self.graph.number(ZERO)
        if other.number == ZERO:
            return self
        if self.number == ZERO:
            return -other
        (minus, a), (other_minus, b) = self._positive(), other._positive()
        if other_minus:
            return self + b
        if minus:
            return -(a + b)
        return self.graph.add(Node("-", (a.index, b.index)))

    def __mul__(self, given: Term | float) -> Term:
        other = self._term(given)
        if self.number is not None and other.number is not None:
            return self.graph.number(self.number * other.number)
        if ZERO in (self.number, other.number):
            return self.graph.number(ZERO)
        (minus, a), (other_minus, b) = self._positive(), other._positive()
        if minus != other_minus:
            return -(a * b)
        if a.number == ONE:
            return b
        if b.number == ONE:
            return a
        return self.graph.add(Node("*", tuple(sorted((a.index, b.index)))))

    def __truediv__(self, other: Term) -> Term:
        return self.graph.add(Node("/", (self.index, other.index)))

    def __radd__(self, given: float) -> Term:
        return self + given

    def __rmul__(self, given: float) -> Term:
        return self * given

    def __rsub__(self, given: float) -> Term:
        return self._term(given) - self
