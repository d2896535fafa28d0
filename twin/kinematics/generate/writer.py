"""From terms to readable straight-line Python."""

from collections.abc import Sequence

from twin.kinematics.generate.graph import Graph, Node, Term

# A term that is used once stays within its line until the line gets this long.
_LONGEST = 50
_STRENGTH = {"+": 1, "-": 1, "*": 2, "/": 2, "-1": 3}


class Writer:
    """Lines that compute some terms of a graph, each shared one once.

    Attributes:
        lines: without indentation; sines and cosines of an input are one line, as `s1, c1 = sincos(q1)`.
    """

    def __init__(self, graph: Graph, outputs: Sequence[Term]) -> None:
        self._nodes = graph.nodes
        self._uses = _uses(graph.nodes, [term.index for term in outputs])
        self._texts: dict[int, tuple[str, int]] = {}
        self._count = 0
        self.lines: list[str] = []
        for index, uses in enumerate(self._uses):
            if uses:
                self._write(index, self._nodes[index], uses)

    def text(self, term: Term) -> str:
        """An expression for a term, in the names of the lines."""
        return self._texts[term.index][0]

    def _write(self, index: int, node: Node, uses: int) -> None:
        if node.operator == "number":
            self._texts[index] = (repr(node.value), 4 if node.value >= 0.0 else 3)
        elif node.operator == "input":
            self._texts[index] = (node.name, 4)
        elif node.operator in ("sin", "cos"):
            self._turn(index, node)
        else:
            text = self._expression(node)
            if uses > 1 or len(text) > _LONGEST:
                self._count += 1
                self.lines.append(f"t{self._count} = {text}")
                self._texts[index] = (f"t{self._count}", 4)
            else:
                self._texts[index] = (text, _STRENGTH[node.operator])

    def _turn(self, index: int, node: Node) -> None:
        angle = self._nodes[node.operands[0]].name
        line = f"s{angle[1:]}, c{angle[1:]} = sincos({angle})"
        if line not in self.lines:
            self.lines.append(line)
        self._texts[index] = (f"{node.operator[0]}{angle[1:]}", 4)

    def _expression(self, node: Node) -> str:
        strength = _STRENGTH[node.operator]
        texts = [self._texts[operand] for operand in node.operands]
        if node.operator == "-1":
            return f"-{_wrapped(texts[0], 3)}"
        # a - (b - c) and a / (b / c) are not (a - b) - c; a sum's second operand keeps its order as well.
        return f"{_wrapped(texts[0], strength)} {node.operator} {_wrapped(texts[1], strength + 1)}"


def _wrapped(text: tuple[str, int], least: int) -> str:
    return text[0] if text[1] >= least else f"({text[0]})"


def _uses(nodes: Sequence[Node], outputs: Sequence[int]) -> list[int]:
    """How often each node is used by what the outputs need."""
    uses = [0] * len(nodes)
    for index in outputs:
        uses[index] += 1
    for index in range(len(nodes) - 1, -1, -1):
        if uses[index]:
            for operand in nodes[index].operands:
                uses[operand] += 1
    return uses


def wrapped(line: str) -> str:
    """A line with brackets in it, broken after its commas where it is long."""
    indent = " " * (len(line) - len(line.lstrip()) + 8)
    lines = [""]
    for piece in line.split(", "):
        if len(lines[-1]) + len(piece) > 118:
            lines.append(indent)
        lines[-1] += piece + ", "
    return "\n".join(lines).removesuffix(", ").replace(", \n", ",\n")
