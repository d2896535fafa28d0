"""Files that clients open, as FileType has them (Part 20 §4.2): each handle is one session's, and is forgotten after a while."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from asyncua.common.utils import ServiceError
from asyncua.ua.status_codes import StatusCodes

from twin.clock import Clock, Ns, S

MOST_OPEN = 10
IDLE = Ns(60 * S)
"""For so long nothing needs to be asked of an open file (ActivityTimeout)."""
MOST_AT_ONCE = 64 * 1024
READ, WRITE_NEW = 1, 6
"""The modes there are: read; write and erase what is there."""


class Session(Protocol):
    """What is needed of a session."""

    key: bytes
    on_close: list[Callable[[], None]]


@dataclass
class Opened:
    """One open file.

    Attributes:
        at: the position that is read or written next.
        generation: of what is read; another one now means that it has changed meanwhile.
    """

    session: Session
    writes: bool
    content: bytearray
    generation: int
    used: Ns
    at: int = 0


@dataclass
class Files:
    """The handles of one file.

    Attributes:
        most: bytes that may be written.
    """

    clock: Clock
    most: int
    _open: dict[int, Opened] = field(default_factory=dict)
    _last: int = 0
    _sessions: set[Any] = field(default_factory=set)

    def __len__(self) -> int:
        self._forget()
        return len(self._open)

    @property
    def written(self) -> bool:
        """Whether somebody has it open to write."""
        self._forget()
        return any(one.writes for one in self._open.values())

    def open(self, session: Session, content: bytes, generation: int, writes: bool) -> int:
        """Open it: the handle.

        Raises:
            ServiceError: BadInvalidState while another one writes, BadTooManyOperations with ten open.
        """
        if self.written:
            raise ServiceError(StatusCodes.BadInvalidState)
        if len(self._open) >= MOST_OPEN:
            raise ServiceError(StatusCodes.BadTooManyOperations)
        self._last = self._last % 0xFFFFFFFF + 1
        self._open[self._last] = Opened(session, writes, bytearray(content), generation, self.clock.now())
        if session not in self._sessions:
            self._sessions.add(session)
            session.on_close.append(lambda: self._closed(session))
        return self._last

    def close(self, session: Session, handle: int) -> Opened:
        """Close it: what it was.

        Raises:
            ServiceError: see `of`.
        """
        found = self.of(session, handle)
        del self._open[handle]
        return found

    def of(self, session: Session, handle: int, writes: bool | None = None) -> Opened:
        """What a session has opened.

        Args:
            writes: how it must have been opened; None where that does not matter.

        Raises:
            ServiceError: BadInvalidArgument for a handle that is not this session's, BadInvalidState if opened otherwise.
        """
        self._forget()
        found = self._open.get(handle)
        if found is None or found.session is not session:
            raise ServiceError(StatusCodes.BadInvalidArgument)
        found.used = self.clock.now()
        if writes is not None and found.writes != writes:
            raise ServiceError(StatusCodes.BadInvalidState)
        return found

    def read(self, session: Session, handle: int, length: int, generation: int) -> bytes:
        """The next bytes, none at the end.

        Raises:
            ServiceError: see `of`; BadInvalidState if what is read has changed meanwhile.
        """
        found = self.of(session, handle, writes=False)
        if length < 0:
            raise ServiceError(StatusCodes.BadInvalidArgument)
        if found.generation != generation:
            raise ServiceError(StatusCodes.BadInvalidState)
        part = bytes(found.content[found.at : found.at + min(length, MOST_AT_ONCE)])
        found.at += len(part)
        return part

    def write(self, session: Session, handle: int, content: bytes) -> None:
        """Write at the position.

        Raises:
            ServiceError: see `of`; BadEncodingLimitsExceeded if it would be too much.
        """
        found = self.of(session, handle, writes=True)
        if found.at + len(content) > self.most:
            raise ServiceError(StatusCodes.BadEncodingLimitsExceeded)
        found.content[found.at : found.at + len(content)] = content
        found.at += len(content)

    def seek(self, session: Session, handle: int, position: int) -> None:
        """Go to a position; beyond the end is the end.

        Raises:
            ServiceError: see `of`.
        """
        found = self.of(session, handle)
        found.at = min(position, len(found.content))

    def _forget(self) -> None:
        old = self.clock.now() - IDLE
        for handle in [handle for handle, one in self._open.items() if one.used < old]:
            del self._open[handle]

    def _closed(self, session: Any) -> None:
        self._sessions.discard(session)
        for handle in [handle for handle, one in self._open.items() if one.session is session]:
            del self._open[handle]
