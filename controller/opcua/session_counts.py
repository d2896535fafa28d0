"""What a session has done, as the standard tells it (Part 5 §12.11, SessionDiagnosticsDataType).

Laid out by hand: all sessions are told at once, and asyncua's codec takes a millisecond and more for each.
"""

import struct
from dataclasses import dataclass, fields
from typing import Any, Final

from asyncua import ua
from asyncua.ua.object_ids import ObjectIds

from controller.opcua.encoding import string, structure, ticks
from controller.opcua.names import standard
from controller.opcua.sessions import Counter, Session

_COUNTED: Final = tuple(
    field.name.removesuffix("Count")
    for field in fields(ua.SessionDiagnosticsDataType)
    if field.type == "'ua.ServiceCounterDataType'" and field.name != "TotalRequestCount"
)
"""Services, in the order in which their counters stand."""
_NUMBERS: Final = struct.Struct("<dIqqIIIIII")
_PAIR: Final = struct.Struct("<II")
_NEVER: Final = Counter()


@dataclass(frozen=True, slots=True)
class SessionCounts:
    """A session and what its counters do not tell.

    Attributes:
        since_ns, heard_ns: UTC of its first activation, and of its last request.
        subscriptions, items, waiting: how many it has, and how many of its Publish requests wait.
    """

    session: Session
    server_uri: str
    since_ns: int
    heard_ns: int
    subscriptions: int
    items: int
    waiting: int

    def whole(self) -> Any:
        """All of it, as what a Variant holds."""
        s = self.session
        every = s.counts.values()
        locales = (string(locale) for locale in s.locales)
        content = (
            s.key,
            string(s.name),
            structure(s.description or ua.ApplicationDescription(ApplicationUri=s.client_uri)),
            string(self.server_uri),
            string(s.endpoint_url),
            struct.pack("<i", len(s.locales)),
            *locales,
            _NUMBERS.pack(
                s.timeout_ms, s.max_response, ticks(self.since_ns), ticks(self.heard_ns),
                self.subscriptions, self.items, self.waiting,
                sum(one.total for one in every), sum(one.errors for one in every), s.unauthorized,
            ),
            *(_PAIR.pack(one.total, one.errors) for one in (s.counts.get(name, _NEVER) for name in _COUNTED)),
        )  # fmt: skip
        made: Any = ua.ExtensionObject
        return made(standard(ObjectIds.SessionDiagnosticsDataType_Encoding_DefaultBinary), b"".join(content))
