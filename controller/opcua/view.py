"""The View services (Part 4 §5.9): Browse, BrowseNext, TranslateBrowsePathsToNodeIds, RegisterNodes, UnregisterNodes.

Answers are joined from the columns as they lie. What a request may cost is bounded, and a long one is answered in slices, between
which others are served.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from asyncua.common.utils import ServiceError
from asyncua.ua.status_codes import StatusCodes

from controller.opcua.asked import Asked, Handle
from controller.opcua.encoding import NULL_NODE, NULL_STRING, octets
from controller.opcua.nodes.browsing import Description, Path, Rest, Walk
from controller.opcua.nodes.requests import byte_strings, counted, descriptions, ended, node_at, paths, uint32
from controller.opcua.nodes.store import Nodes
from controller.opcua.sessions import Session
from controller.opcua.slices import Work, sliced

MOST_PER_NODE: Final = 1_000
"""References of one node in one answer."""
MOST_POINTS: Final = 10
"""Continuation points of a session; told in ServerCapabilities.MaxBrowseContinuationPoints."""
SLICE: Final = 5_000
"""References that are looked at or told before others get their turn."""
NOTHING: Final = struct.pack("<i", 0)
_WHOLE_PATH: Final = struct.pack("<I", 0xFFFF_FFFF)


@dataclass(slots=True)
class Points:
    """A session's continuation points, the oldest first."""

    held: dict[bytes, Rest] = field(default_factory=dict)
    given: int = 0


class View:
    """Serves the address space's structure."""

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes
        self._points: dict[Session, Points] = {}

    def services(self) -> dict[str, Handle]:
        """What is served."""
        return {
            "Browse": self.browse,
            "BrowseNext": self.browse_next,
            "TranslateBrowsePathsToNodeIds": self.translate,
            "RegisterNodes": self.register,
            "UnregisterNodes": self.unregister,
        }

    def browse(self, asked: Asked) -> bytes | None:
        """Results, one for each node.

        Raises:
            ServiceError: BadViewIdUnknown: we have no views; BadNothingToDo, BadTooManyOperations, BadDecodingError.
        """
        content = asked.content
        view, at = node_at(content, asked.at)
        at += 12  # timestamp and version, of the view that there is not
        most = uint32(content, at)
        wanted = list(descriptions(content, at + 4))
        if view != NULL_NODE:
            raise ServiceError(StatusCodes.BadViewIdUnknown)
        return sliced(asked, self._browse(asked.session, wanted, min(most or MOST_PER_NODE, MOST_PER_NODE)))

    def browse_next(self, asked: Asked) -> bytes | None:
        """What comes next of each continuation point, or nothing where they are released.

        Raises:
            ServiceError: BadNothingToDo, BadTooManyOperations, BadDecodingError.
        """
        content, at = asked.content, asked.at
        count = uint32(content, at + 1)
        tokens = list(byte_strings(content, at + 5, counted(count)))
        points = self._of(asked.session)
        if content[at]:
            for token in tokens:
                points.held.pop(token, None)
            return NOTHING + NOTHING
        return sliced(asked, self._next(asked.session, points, tokens))

    def translate(self, asked: Asked) -> bytes | None:
        """The nodes that each path leads to.

        Raises:
            ServiceError: BadNothingToDo, BadTooManyOperations, BadDecodingError.
        """
        return sliced(asked, self._translate(asked.session, list(paths(asked.content, asked.at))))

    def register(self, asked: Asked) -> bytes:
        """The same NodeIds: any is as quick as another here, so nothing needs to be remembered.

        Whether there is such a node is not looked at: Part 4 §5.9.5 has only NodeIds refused that are no NodeIds.

        Raises:
            ServiceError: BadNothingToDo, BadTooManyOperations, BadNodeIdInvalid.
        """
        count = uint32(asked.content, asked.at)
        at, keys = asked.at + 4, []
        for _ in range(counted(count)):
            key, at = node_at(asked.content, at)
            if key == NULL_NODE:
                raise ServiceError(StatusCodes.BadNodeIdInvalid)
            keys.append(key)
        ended(asked.content, at)
        return struct.pack("<i", len(keys)) + b"".join(keys)

    def unregister(self, asked: Asked) -> bytes:
        """Nothing: NodeIds that are not registered are ignored (Part 4 §5.9.6).

        Raises:
            ServiceError: BadNothingToDo, BadTooManyOperations.
        """
        count = uint32(asked.content, asked.at)
        at = asked.at + 4
        for _ in range(counted(count)):
            _, at = node_at(asked.content, at)
        ended(asked.content, at)
        return b""

    # ---- browse

    def _browse(self, session: Session, wanted: Sequence[Description], most: int) -> Work:
        walk = Walk(self._nodes, session)
        points = self._of(session)
        fresh: set[bytes] = set()
        results = []
        for asked in wanted:
            if walk.is_long(SLICE):
                yield
            results.append(self._tell(walk, Rest(asked, most), points, fresh))
        return struct.pack("<i", len(results)) + b"".join(results) + NOTHING

    def _next(self, session: Session, points: Points, tokens: Sequence[bytes]) -> Work:
        walk = Walk(self._nodes, session)
        fresh: set[bytes] = set()
        results = []
        for token in tokens:
            if walk.is_long(SLICE):
                yield
            rest = points.held.pop(token, None)
            if rest is None:
                results.append(_result(StatusCodes.BadContinuationPointInvalid))
                continue
            results.append(self._tell(walk, rest, points, fresh))
        return struct.pack("<i", len(results)) + b"".join(results) + NOTHING

    def _tell(self, walk: Walk, rest: Rest, points: Points, fresh: set[bytes]) -> bytes:
        """A BrowseResult."""
        told = walk.tell(rest)
        if isinstance(told, int):
            return _result(told)
        token = b"" if rest.is_over else self._keep(points, rest, fresh)
        return _result(StatusCodes.BadNoContinuationPoints) if token is None else _result(0, token, told)

    def _keep(self, points: Points, rest: Rest, fresh: set[bytes]) -> bytes | None:
        """A continuation point; None when all there can be are of this same request.

        The oldest of an earlier request is given up for it (Part 4 §7.9).
        """
        if len(points.held) >= MOST_POINTS:
            oldest = next((token for token in points.held if token not in fresh), None)
            if oldest is None:
                return None
            del points.held[oldest]
        points.given += 1
        token = struct.pack("<Q", points.given)
        points.held[token] = rest
        fresh.add(token)
        return token

    def _of(self, session: Session) -> Points:
        points = self._points.get(session)
        if points is None:
            points = Points()
            if session.alive:
                self._points[session] = points
                session.on_close.append(lambda: self._forget(session))
        return points

    def _forget(self, session: Session) -> None:
        self._points.pop(session, None)

    # ---- paths

    def _translate(self, session: Session, wanted: Sequence[Path]) -> Work:
        walk = Walk(self._nodes, session)
        results = []
        for path in wanted:
            if walk.is_long(SLICE):
                yield
            found = walk.follow(path)
            if isinstance(found, int):
                results.append(struct.pack("<I", found) + NOTHING)
            else:
                targets = (self._nodes.keys[number] + _WHOLE_PATH for number in found)
                results.append(struct.pack("<Ii", 0, len(found)) + b"".join(targets))
        return struct.pack("<i", len(results)) + b"".join(results) + NOTHING


def _result(status: int, token: bytes = b"", references: bytes = NOTHING) -> bytes:
    """A BrowseResult."""
    return struct.pack("<I", status) + (octets(token) if token else NULL_STRING) + references
