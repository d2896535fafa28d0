"""One request as a service sees it."""

import enum
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from asyncua.common.utils import Buffer, ServiceError
from asyncua.ua.status_codes import StatusCodes
from asyncua.ua.ua_binary import struct_from_binary

from controller.opcua import guard
from controller.opcua.guard import Refused
from twin.clock import Ns

if TYPE_CHECKING:
    from controller.opcua.sessions import Session

MOST_OPERATIONS = 2_000
"""How many nodes, items or paths one request may name; told in OperationLimits."""


class Needs(enum.Enum):
    """What a request must come with."""

    NOTHING = enum.auto()
    CHANNEL = enum.auto()
    """A channel that is signed, at least."""
    SESSION = enum.auto()
    """An activated session of this channel."""


class Asked:
    """One request.

    Attributes:
        session: who asks; for services that need no session an assertion stands in front of it.
        handle: the client's, which comes back in the answer.
        content, at: the message, and where the request's own fields begin in it, behind the header.
        received: when it came.
        audit: AuditEntryId of the header.
        timeout_ms: TimeoutHint of the header, 0 for none.
        diagnostics: ReturnDiagnostics of the header, bits of Part 4 §7.32.
        channel: the secure channel it came over, `link.channel.Channel`.
    """

    __slots__ = (
        "_later",
        "_reply",
        "at",
        "audit",
        "channel",
        "content",
        "diagnostics",
        "handle",
        "received",
        "session",
        "timeout_ms",
    )

    def __init__(
        self,
        session: "Session",
        handle: int,
        content: bytes,
        at: int,
        received: Ns,
        reply: Callable[["Asked", int, bytes], None],
        later: Callable[["Asked", Coroutine[Any, Any, bytes]], None],
        audit: str = "",
        timeout_ms: int = 0,
        channel: Any = None,
        diagnostics: int = 0,
    ) -> None:
        self.session = session
        self.handle = handle
        self.content = content
        self.at = at
        self.received = received
        self.audit = audit
        self.timeout_ms = timeout_ms
        self.channel = channel
        self.diagnostics = diagnostics
        self._reply = reply
        self._later = later

    def decoded(self, kind: type) -> Any:
        """The request's fields as a structure of asyncua's, after the guard has walked them.

        Raises:
            ServiceError: the guard refuses them.
        """
        try:
            guard.check(kind, self.content, self.at)
        except Refused as refused:
            raise ServiceError(refused.code) from refused
        return struct_from_binary(kind, Buffer(self.content[self.at :]))

    def reply(self, body: bytes) -> None:
        """Answer: the response's own fields, encoded."""
        self._reply(self, 0, body)

    def fault(self, code: int) -> None:
        """Answer with a ServiceFault."""
        self._reply(self, code, b"")

    def later(self, work: Coroutine[Any, Any, bytes]) -> None:
        """Answer with what some work comes to, meanwhile other requests go on; a ServiceError becomes a fault.

        Raises:
            ServiceError: too much of this session is at work already.
        """
        self._later(self, work)


Handle = Callable[[Asked], bytes | None]
"""A service: the response's fields, or None when it answers later. Raises ServiceError for a fault."""


def few(asked: Any) -> Any:
    """What is asked for at once, when it is something and not more than OperationLimits tell.

    Raises:
        ServiceError: nothing is asked for, or more.
    """
    if not asked:
        raise ServiceError(StatusCodes.BadNothingToDo)
    if len(asked) > MOST_OPERATIONS:
        raise ServiceError(StatusCodes.BadTooManyOperations)
    return asked
