"""A part's source, ready to stand in a robot's file: what it imports from other parts is written out before it."""

import ast
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "parts"
_PACKAGE = "twin.kinematics.parts"
_KERNEL = re.compile(r"^def ([a-zA-Z]\w*)\(", re.MULTILINE)
_NEED = re.compile(rf"^from {re.escape(_PACKAGE)}\.(?!core\b)(\w+) import", re.MULTILINE)


class PartError(ValueError):
    """A part that cannot stand in a robot's file: names the part and what it imports."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part's whole text, and what can be told of it without parsing: a second process has no time for that.

    Attributes:
        public: names of its kernels, those without an underscore in front.
        needs: other parts that it imports from.
    """

    name: str
    text: str
    public: tuple[str, ...]
    needs: tuple[str, ...]


@cache
def parts() -> dict[str, Part]:
    """All parts of the package by name. Raises PartError where two have a kernel of the same name."""
    found = {path.stem: _part(path) for path in sorted(FOLDER.glob("*.py")) if path.stem not in ("core", "__init__")}
    owners: dict[str, str] = {}
    for part in found.values():
        for name in part.public:
            if name in owners:
                raise PartError(f"part {part.name!r}: {name!r} is already a kernel of part {owners[name]!r}")
            owners[name] = part.name
    return found


def needed(name: str) -> tuple[Part, ...]:
    """A part and all that it needs, what is needed first. Raises PartError."""
    known = parts()
    order: list[Part] = []

    def visit(current: str, above: tuple[str, ...]) -> None:
        if current in above:
            raise PartError(f"part {current!r} needs itself, over {' -> '.join(above)}")
        if current not in known:
            raise PartError(f"part {(*above, name)[-1]!r} needs {current!r}, which is no part")
        for need in known[current].needs:
            visit(need, (*above, current))
        if known[current] not in order:
            order.append(known[current])

    visit(name, ())
    return tuple(order)


def stripped(part: Part) -> tuple[str, frozenset[str]]:
    """A part's source without its first words and without what the robot's file has anyway, and what it wants of the core.

    Raises:
        PartError: it imports something of ours whose changes Numba's cache would not notice.
    """
    tree = ast.parse(part.text)
    lines: list[str | None] = list(part.text.splitlines())
    wanted: set[str] = set()
    for node in tree.body:
        module = (node.module or "") if isinstance(node, ast.ImportFrom) else ""
        if isinstance(node, ast.ImportFrom) and module.startswith(("twin", "__future__")):
            if module == f"{_PACKAGE}.core":
                wanted |= {alias.name for alias in node.names}
            elif module not in ("__future__", "twin.kernel") and not module.startswith(f"{_PACKAGE}."):
                raise PartError(f"part {part.name!r}: imports {module}, whose changes Numba's cache would not notice")
        elif not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            continue
        for number in range(node.lineno - 1, node.end_lineno or node.lineno):
            lines[number] = None
    return "\n".join(line for line in lines if line is not None).strip("\n") + "\n", frozenset(wanted)


def _part(path: Path) -> Part:
    text = path.read_text(encoding="utf-8")
    return Part(path.stem, text, tuple(_KERNEL.findall(text)), tuple(_NEED.findall(text)))
