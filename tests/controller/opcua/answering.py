"""Services asked in process, by a session of any role, with asyncua's codec at the client's end."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, cast

from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.ua_binary import from_binary, struct_to_binary

from controller.opcua.access import Access, Who
from controller.opcua.asked import Asked, Handle
from controller.opcua.encoding import node_key, qualified, text, variant
from controller.opcua.names import standard
from controller.opcua.nodes.store import DATA_TYPE, METHOD, OBJECT, OBJECT_TYPE, REFERENCE_TYPE, VARIABLE, VIEW, Nodes
from controller.opcua.plane import Plane
from controller.opcua.roles import Rule
from controller.opcua.sessions import Session
from controller.opcua.space import Kind, Method, Space
from controller.users import Role
from twin.clock import Ns


@dataclass
class _Fixed:
    """Whose users have one role."""

    given: Role

    def role(self, who: Who) -> Role:
        """That role."""
        return self.given


def session(role: Role = Role.OPERATOR, name: str = "otto") -> Session:
    """An activated session."""
    access = cast(Access, _Fixed(role))
    made = Session(node_key(1, 1), b"", "", b"", "", "", 1e6, access, Ns(0), Ns(0))
    made.who, made.activated = Who(name), True
    return made


def ask(handle: Handle, request: Any, by: Session, diagnostics: int = 0) -> bytes:
    """The response's fields; a service that answers later is waited for.

    Raises:
        ServiceError: a fault.
    """
    work: list[Coroutine[Any, Any, bytes]] = []
    content = b"...." + (request if isinstance(request, bytes) else struct_to_binary(request))
    asked = Asked(by, 1, content, 4, Ns(0), lambda *_: None, lambda _, late: work.append(late), "audit-1", diagnostics=diagnostics)
    made = handle(asked)
    if made is None:
        (late,) = work
        made = asyncio.run(_waited(late))
    return made


async def _waited(late: Coroutine[Any, Any, bytes]) -> bytes:
    return await late


def listed(content: bytes, kind: Any) -> tuple[list[Any], list[Any]]:
    """Results of a type, and the diagnostics; nothing may be left over."""
    rest = Buffer(content)
    results = from_binary(list[kind], rest)
    infos = from_binary(list[ua.DiagnosticInfo], rest)
    assert len(rest) == 0
    return results, infos


def our(path: str) -> ua.NodeId:
    """A NodeId of ours."""
    made: Any = ua.NodeId
    return cast(ua.NodeId, made(path, 2))


class Place:
    """A small address space with a plane."""

    def __init__(self) -> None:
        self.nodes, self.plane = Nodes(), Plane()
        for number, name in ((40, "HasTypeDefinition"), (45, "HasSubtype"), (46, "HasProperty"), (47, "HasComponent")):
            self.add(number, REFERENCE_TYPE, name)
        for number in (1, 6, 7, 11, 12, 22, 24, 29):
            self.add(number, DATA_TYPE, f"i{number}")

    def add(self, key: int | str, kind: int, name: str = "", rule: Rule = Rule.OPEN, **attributes: bytes) -> int:
        """A node; attributes by name."""
        at = node_key(0, key) if isinstance(key, int) else node_key(2, key)
        told = {AttributeIds[given].value: value for given, value in attributes.items()}
        title = name or str(key)
        namespace = 0 if isinstance(key, int) or title in ("InputArguments", "OutputArguments") else 2
        return self.nodes.add(at, kind, qualified(title, namespace), text(title), rule=rule, attributes=told)

    def refer(self, source: int, reference: int, target: int) -> None:
        """A reference by its type's number in the standard."""
        self.nodes.refer(source, self.nodes.standard(reference), target)

    def variable(self, path: str, kind: int, rule: Rule = Rule.OPEN, access: int = 1) -> tuple[int, int]:
        """A Variable with a row: node and row."""
        level = variant(access, ua.VariantType.Byte)
        node = self.add(path, VARIABLE, rule=rule, AccessLevel=level, DataType=variant(ua.NodeId(kind, 0)))  # type: ignore[arg-type]
        (row,) = self.plane.grow([kind])
        self.nodes.rows[node] = row
        return node, row

    def constant(self, path: str, value: Any, kind: ua.VariantType | None = None, name: str = "") -> int:
        """A Variable whose Value never changes."""
        return self.add(path, VARIABLE, name, Value=variant(value, kind))

    def show(self, space: Space) -> list[int]:
        """What a Space declares, without its types: the row of each of its variables."""
        tops = [*(machine for machine, _ in space.machines), *space.nodes, space.factory]
        for top in tops:
            self.add(top.path, OBJECT)
            for method in top.methods:
                for path in (method.path, f"{top.type}{method.path.removeprefix(top.path)}")[: 2 if top.type else 1]:
                    if self.nodes.find(node_key(2, path)) < 0:
                        self._method(path, method)
        rows = []
        for variable in space.variables:
            kind, rule = ua.VariantType[variable.kind.value].value, Rule.SETPOINT if variable.writable else Rule.OPEN
            rows.append(self.variable(variable.path, kind, rule, 3 if variable.writable else 1)[1])
        return rows

    def _method(self, path: str, method: Method) -> None:
        made = self.add(path, METHOD, method.name, Rule.COMMAND)
        inputs = [ua.Argument(Name=one.name, DataType=TYPES[one.kind]) for one in method.inputs.values()]
        listed_ = self.constant(f"{path}/in", inputs, ua.VariantType.ExtensionObject, "InputArguments")
        self.refer(made, 46, listed_)


TYPES: dict[Kind, Any] = {kind: standard(ua.VariantType[kind.value].value) for kind in Kind}
__all__ = ["METHOD", "OBJECT", "OBJECT_TYPE", "VARIABLE", "VIEW", "Place", "ask", "listed", "our", "session"]
