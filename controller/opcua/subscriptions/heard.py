"""Event filters as clients send them, made ready once for all items that have the same."""

import struct
from typing import Final

from asyncua import ua
from asyncua.common.utils import Buffer, ServiceError
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.status_codes import StatusCodes
from asyncua.ua.ua_binary import struct_from_binary

from controller.opcua import filters as event_filters
from controller.opcua import guard
from controller.opcua.asked import THEIRS
from controller.opcua.encoding import NULL_NODE, node_key, structure
from controller.opcua.guard import Refused
from controller.opcua.sessions import Session
from controller.opcua.subscriptions.decoding import Parameters
from controller.opcua.subscriptions.engine import Engine
from controller.opcua.subscriptions.filters import EVENT
from controller.opcua.subscriptions.limits import MOST_NEW_CLAUSES

_RESULT: Final = node_key(0, ObjectIds.EventFilterResult_Encoding_DefaultBinary) + b"\x01"
MOST_FILTERS: Final = 100
"""Filters that are kept ready for a session."""
MOST_FILTER_BYTES: Final = 16_384
"""Longer ones are not kept."""


class Filters:
    """The filters of one request."""

    def __init__(self, engine: Engine, session: Session) -> None:
        self._nodes = engine.nodes
        self._left = MOST_NEW_CLAUSES
        client = engine.of(session)
        if client.changes != engine.nodes.changes:
            client.filters.clear()
            client.changes = engine.nodes.changes
        self._ready = client.filters

    def ready(self, wanted: Parameters) -> tuple[event_filters.Compiled, bytes]:
        """An event filter, checked, and its EventFilterResult as an ExtensionObject.

        Raises:
            ServiceError: the status of this one item: its filter is none, or there are too many different ones in this request.
        """
        if wanted.kind == NULL_NODE:
            raise ServiceError(StatusCodes.BadEventFilterInvalid)
        if wanted.kind != EVENT:
            raise ServiceError(StatusCodes.BadMonitoredItemFilterUnsupported)
        found = self._ready.get(wanted.filter)
        if found is None:
            found = self._made(wanted.filter)
            if len(self._ready) >= MOST_FILTERS:
                del self._ready[next(iter(self._ready))]
            if len(wanted.filter) <= MOST_FILTER_BYTES:
                self._ready[wanted.filter] = found
        return found

    def _made(self, encoded: bytes) -> tuple[event_filters.Compiled, bytes]:
        asked = _decoded(encoded)
        try:
            self._left -= len(asked.SelectClauses or ()) + len(asked.WhereClause.Elements or ())
            if self._left < 0:
                raise ServiceError(StatusCodes.BadTooManyMonitoredItems)
            compiled = event_filters.compile(asked, self._nodes)
        except Refused as broken:
            raise ServiceError(StatusCodes.BadMonitoredItemFilterInvalid) from broken
        if compiled.status:
            raise ServiceError(compiled.status)
        body = structure(compiled.result)
        return compiled, _RESULT + struct.pack("<i", len(body)) + body


def _decoded(encoded: bytes) -> ua.EventFilter:
    """The filter that a client's bytes are, if they make sense."""
    try:
        guard.check(ua.EventFilter, encoded, 0)
        made: ua.EventFilter = struct_from_binary(ua.EventFilter, Buffer(encoded))
        return made
    except THEIRS as broken:
        raise ServiceError(StatusCodes.BadMonitoredItemFilterInvalid) from broken
