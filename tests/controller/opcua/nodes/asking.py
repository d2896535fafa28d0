"""Asks services for views as a client does: the requests are encoded and the answers decoded by asyncua."""

import asyncio
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import struct_from_binary, struct_to_binary

from controller.opcua.access import NOBODY, Who
from controller.opcua.asked import Asked
from controller.opcua.names import standard
from controller.opcua.nodes.store import Nodes
from controller.opcua.roles import TABLE, May
from controller.opcua.view import View
from controller.users import Role


@dataclass(eq=False)
class Someone:
    """A session, as far as views look at it."""

    role: Role = Role.OBSERVER
    locales: tuple[str, ...] = ()
    alive: bool = True
    who: Who = NOBODY
    on_close: list[Callable[[], None]] = field(default_factory=list)

    def may(self, rule: int, wanted: May) -> bool:
        """As a session."""
        return TABLE[rule][self.role - 1] & wanted == wanted


class Client:
    """Browses.

    Attributes:
        turns: how often others had their turn during the last answer.
    """

    def __init__(self, nodes: Nodes, session: Someone | None = None, view: View | None = None) -> None:
        self.session: Any = session or Someone()
        self.view = view or View(nodes)
        self.services = self.view.services()
        self.turns = 0

    def ask(self, service: str, content: bytes) -> Buffer:
        """The response's fields."""
        late: list[Any] = []
        asked = Asked(self.session, 1, content, 0, 0, lambda *_: None, lambda _, work: late.append(work))  # type: ignore[arg-type]
        answer, self.turns = self.services[service](asked), 0
        return Buffer(asyncio.run(self._whole(late[0])) if answer is None else answer)

    async def _whole(self, work: Any) -> bytes:
        async def others() -> None:
            while True:
                self.turns += 1
                await asyncio.sleep(0)

        beside = asyncio.get_running_loop().create_task(others())
        answer: bytes = await work
        beside.cancel()
        return answer

    def _results(self, answer: Buffer, kind: type) -> list[Any]:
        (count,) = struct.unpack("<i", answer.read(4))
        results: list[Any] = [struct_from_binary(kind, answer) for _ in range(count)]
        assert answer.read(4) == bytes(4) and len(answer) == 0
        return results

    def browse(self, *wanted: Any, most: int = 0, view: Any = None) -> list[Any]:
        """BrowseResults."""
        asked = ua.BrowseParameters(view or ua.ViewDescription(), most, list(wanted))
        return self._results(self.ask("Browse", struct_to_binary(asked)), ua.BrowseResult)

    def browse_next(self, *points: bytes, release: bool = False) -> list[Any]:
        """BrowseResults."""
        asked = ua.BrowseNextParameters(release, list(points))
        return self._results(self.ask("BrowseNext", struct_to_binary(asked)), ua.BrowseResult)

    def translate(self, *paths: Any) -> list[Any]:
        """BrowsePathResults."""
        asked = ua.TranslateBrowsePathsToNodeIdsParameters(list(paths))
        return self._results(self.ask("TranslateBrowsePathsToNodeIds", struct_to_binary(asked)), ua.BrowsePathResult)

    def whole(self, wanted: Any, most: int) -> list[Any]:
        """All references, however many answers that takes."""
        (result,) = self.browse(wanted, most=most)
        found = list(result.References)
        while result.ContinuationPoint:
            assert len(result.References) <= (most or 1_000)
            (result,) = self.browse_next(result.ContinuationPoint)
            found += result.References
        return found


def of(node: Any, direction: int = 2, kind: Any = None, subtypes: bool = True, classes: int = 0, results: int = 63) -> Any:
    """A BrowseDescription."""
    node = node if isinstance(node, ua.NodeId) else standard(node)
    kind = ua.NodeId() if kind is None else standard(kind)
    return ua.BrowseDescription(node, ua.BrowseDirection(direction), kind, subtypes, classes, results)


def path(start: Any, *names: Any, kind: int | None = 33, inverse: bool = False, subtypes: bool = True) -> Any:
    """A BrowsePath along hierarchical references; names are of namespace 0 or (name, namespace)."""
    reference = ua.NodeId() if kind is None else standard(kind)
    wanted = [ua.QualifiedName(*((name, 0) if isinstance(name, str) else name)) for name in names]
    step: Any = ua.RelativePathElement
    elements = [step(reference, inverse, subtypes, name) for name in wanted]
    start = start if isinstance(start, ua.NodeId) else standard(start)
    return ua.BrowsePath(start, ua.RelativePath(elements))
