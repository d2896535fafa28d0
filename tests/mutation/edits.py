"""All edits of one operator each that a source allows, and how each is told from all others."""

import ast
import copy
import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

COMPARED: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
COMBINED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
SIGNS: dict[type[ast.AST], str] = {
    ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!=",
    ast.Is: "is", ast.IsNot: "is not", ast.In: "in", ast.NotIn: "not in",
    ast.Add: "+", ast.Sub: "-", ast.BitAnd: "&", ast.BitOr: "|", ast.LShift: "<<", ast.RShift: ">>",
    ast.And: "and", ast.Or: "or",
}  # fmt: skip

BARE = ast.Name | ast.Attribute | ast.Subscript | ast.Call  # conditions without an operator of their own


@dataclass(frozen=True, slots=True)
class Edit:
    """One edit. What it is known by does not change when other lines do.

    Attributes:
        file: of the repository.
        function: the class and function it lies in; empty at the top of a module.
        line: the source line, without its indent.
        edit: what it does: "< to <=", "drop", ...
        nth: which one, where a function has the same edit in the same line more than once.
        number: of the line now.
        span: bytes of the source to replace.
        text: what goes there.
    """

    file: str
    function: str
    line: str
    edit: str
    nth: int = 0
    number: int = field(default=0, compare=False)
    span: tuple[int, int] = field(default=(0, 0), compare=False)
    text: str = field(default="", compare=False)

    @property
    def key(self) -> tuple[str, str, str, str, int]:
        """What it is known by."""
        return self.file, self.function, self.line, self.edit, self.nth

    def apply(self, source: str) -> str:
        """The source with this edit."""
        data = source.encode()
        first, last = self.span
        return (data[:first] + self.text.encode() + data[last:]).decode()

    def __str__(self) -> str:
        which = f" (the {self.nth + 1}th)" if self.nth else ""
        return f"{self.file}:{self.number} {self.function or 'top'}: {self.edit}{which}: {self.line}"


def edits(file: str, source: str, within: Iterable[str] = ()) -> list[Edit]:
    """The edits of a source in their order; only in functions and classes of these names where some are given."""
    lines = source.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line.encode()))
    wanted = tuple(within)
    found: list[Edit] = []
    seen: Counter[tuple[str, str, str, str, int]] = Counter()
    texts = {source}
    for function, node, edit, text in _walk(ast.parse(source), ""):
        if wanted and not any(function == name or function.startswith(name + ".") for name in wanted):
            continue
        span = starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset  # type: ignore
        made = Edit(file, function, lines[node.lineno - 1].strip(), edit, 0, node.lineno, span, text)
        seen[made.key] += 1
        made = replace(made, nth=seen[made.key] - 1)
        result = made.apply(source)
        if result not in texts:
            texts.add(result)
            found.append(made)
    return found


def drawn(found: Iterable[Edit], count: int, seed: int) -> list[Edit]:
    """So many of the edits, all for 0; an edit's luck does not depend on what other edits there are."""

    def luck(edit: Edit) -> bytes:
        return hashlib.sha256(repr((seed, *edit.key)).encode()).digest()

    found = list(found)
    lucky = set(sorted(found, key=luck)[: count or None])
    return [edit for edit in found if edit in lucky]


Found = Iterator[tuple[str, ast.expr | ast.stmt, str, str]]


def _walk(node: ast.AST, function: str) -> Found:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        name = f"{function}.{node.name}" if function else node.name
        inside = [*node.body] if isinstance(node, ast.ClassDef) else [*node.args.defaults, *_given(node), *node.body]
        for child in inside:
            yield from _walk(child, name)
        return
    if isinstance(node, ast.Assert | ast.JoinedStr | ast.Import | ast.ImportFrom):
        return  # an assert is for readers and checkers; inside an f-string Python 3.11 does not know the places
    if isinstance(node, ast.AnnAssign):
        if node.value is not None:
            yield from _walk(node.value, function)
        return
    if isinstance(node, ast.expr | ast.stmt):
        for edit, text in _of(node, function):
            yield function, node, edit, text
    if isinstance(node, ast.If | ast.While | ast.IfExp) and isinstance(node.test, BARE):
        yield function, node.test, "negate", f"(not {ast.unparse(node.test)})"
    for child in ast.iter_child_nodes(node):
        yield from _walk(child, function)


def _given(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.expr]:
    return [default for default in node.args.kw_defaults if default is not None]


def _of(node: ast.expr | ast.stmt, function: str) -> Iterator[tuple[str, str]]:
    """The edits of one node itself, each with the text that takes its place."""
    match node:
        case ast.Compare():
            yield from _compare(node)
        case ast.BoolOp():
            other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
            yield _said(node.op, other), _with(node, op=other)
        case ast.BinOp() if type(node.op) in COMBINED:
            combined = COMBINED[type(node.op)]()
            yield _said(node.op, combined), _with(node, op=combined)
        case ast.AugAssign() if type(node.op) in COMBINED:
            combined = COMBINED[type(node.op)]()
            yield _said(node.op, combined, "="), ast.unparse(_changed(node, op=combined))
        case ast.UnaryOp(op=ast.Not() | ast.Invert()):
            yield "drop not", f"({ast.unparse(node.operand)})"
        case ast.Constant(value=bool(value)):
            yield f"{value} to {not value}", str(not value)
        case ast.Constant(value=int(value)):
            for near in (value + 1, value - 1):
                yield f"{value} to {near}", f"({near})" if near < 0 else str(near)
        case ast.Return(value=ast.expr() as value) if not isinstance(value, ast.Constant):
            yield "return None", "return None"
        case ast.Expr(value=ast.Call() | ast.Await()):
            yield "drop", "pass"
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]) if not function.endswith("__init__"):
            yield "drop", "pass"


def _compare(node: ast.Compare) -> Iterator[tuple[str, str]]:
    for k, op in enumerate(node.ops):
        for other in COMPARED[type(op)]:
            changed = [*node.ops]
            changed[k] = other()
            yield _said(op, changed[k]), _with(node, ops=changed)


def _said(before: ast.AST, after: ast.AST, more: str = "") -> str:
    return f"{SIGNS[type(before)]}{more} to {SIGNS[type(after)]}{more}"


def _changed(node: ast.AST, **fields: object) -> ast.AST:
    made = copy.copy(node)
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def _with(node: ast.expr, **fields: object) -> str:
    return f"({ast.unparse(_changed(node, **fields))})"
