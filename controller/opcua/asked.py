"""One request as a service sees it."""

import enum
import struct
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final

from asyncua.common.utils import Buffer, ServiceError
from asyncua.ua.status_codes import StatusCodes
from asyncua.ua.ua_binary import struct_from_binary
from asyncua.ua.uaerrors import UaError

from controller.opcua import guard
from controller.opcua.guard import Refused
from twin.clock import Ns

if TYPE_CHECKING:
    from controller.opcua.access import Who
    from controller.opcua.sessions import Session

MOST_OPERATIONS = 2_000
"""How many nodes, items or paths one request may name; told in OperationLimits."""
MOST_CALLS: Final = 100
MOST_WRITES: Final = 500
"""The same for methods and for values to write, each of which costs far more."""
THEIRS: Final = (UaError, ValueError, struct.error, IndexError, TypeError, OverflowError)
"""What decoding raises when a peer's bytes make no sense. Round anything but decoding, it would hide mistakes of ours."""


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
        who: the session's user when this was asked; None for services that need no session.
        handle: the client's, which comes back in the answer.
        content, at: the message, and where the request's own fields begin in it, behind the header.
        received: when it came.
        audit: AuditEntryId of the header.
        timeout_ms: TimeoutHint of the header, 0 for none.
        diagnostics: ReturnDiagnostics of the header, bits of Part 4 §7.32.
        channel: the secure channel it came over, `link.channel.Channel`.
        unbegun: called when work that was to answer later ended before its first step.
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
        "unbegun",
        "who",
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
        self.who: Who | None = getattr(session, "who", None)
        self.unbegun: Callable[[], None] | None = None
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
            ServiceError: the guard refuses them, or they are none.
        """
        try:
            self.end(guard.check(kind, self.content, self.at))
            return struct_from_binary(kind, Buffer(self.content[self.at :]))
        except Refused as refused:
            raise ServiceError(refused.code) from refused
        except ServiceError:
            raise
        except THEIRS as broken:
            raise ServiceError(StatusCodes.BadDecodingError) from broken

    def operations(self, kind: type, field: str, most: int) -> Any:
        """The array that the request's fields begin with, which is counted before anything is made of it.

        Raises:
            ServiceError: there are none in it, or more than `most`, or they make no sense.
        """
        count = int.from_bytes(self.content[self.at : self.at + 4], "little", signed=True)
        if most < count <= len(self.content) - self.at - 4:  # where it can be true: each takes a byte at least
            raise ServiceError(StatusCodes.BadTooManyOperations)
        return few(getattr(self.decoded(kind), field))

    def end(self, at: int) -> None:
        """That the request's fields end where the message does.

        Raises:
            ServiceError: more follows, or they were cut off.
        """
        if at != len(self.content):
            raise ServiceError(StatusCodes.BadDecodingError)

    @property
    def stands(self) -> bool:
        """Whether its session lives, and is still the user's who asked."""
        return self.session.alive and self.session.who == self.who

    def reply(self, body: bytes) -> None:
        """Answer: the response's own fields, encoded."""
        self._reply(self, 0, body)

    def fault(self, code: int) -> None:
        """Answer with a ServiceFault."""
        self._reply(self, code, b"")

    def later(self, work: Coroutine[Any, Any, bytes], unbegun: Callable[[], None] | None = None) -> None:
        """Answer with what some work comes to, meanwhile other requests go on; a ServiceError becomes a fault.

        Args:
            unbegun: called when the work was ended before its first step.

        Raises:
            ServiceError: too much of this session is at work already.
        """
        self.unbegun = unbegun
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
