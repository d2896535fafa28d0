"""A connection's bytes -> chunks -> messages, each within its bounds before it is kept (Part 6 §6.7.2, §7.1)."""

import struct
from dataclasses import dataclass, field
from typing import Final

from asyncua.ua.status_codes import StatusCodes

from controller.opcua.guard import Refused

MOST_CHUNK: Final = 65_535
LEAST_CHUNK: Final = 8_192
MOST_MESSAGE: Final = 512 * 1024
MOST_CHUNKS: Final = 64
MOST_BEFORE_SESSION: Final = 16 * 1024
LAST_SEQUENCE: Final = 2**32 - 1024
"""From here on sequence numbers may begin anew, below FIRST_SEQUENCES."""
FIRST_SEQUENCES: Final = 1024

_LEAST: Final = {b"HEL": 8, b"OPN": 12, b"MSG": 24, b"CLO": 24}
_HEAD: Final = struct.Struct("<3scI")


class Cutter:
    """Cuts bytes as they come into whole chunks."""

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        self._kept = bytearray()

    def __len__(self) -> int:
        return len(self._kept)

    def feed(self, content: bytes) -> None:
        """More bytes."""
        self._kept += content

    def whole(self, content: bytes) -> bool:
        """Whether bytes that have just come are one chunk by themselves, so that nothing need be kept.

        Raises:
            Refused: it will not be waited for.
        """
        return not self._kept and 0 < _size(content) == len(content)

    def ready(self) -> bool:
        """Whether there is a whole chunk, or one that will be refused."""
        try:
            return 0 < _size(self._kept) <= len(self._kept)
        except Refused:
            return True

    def next(self) -> bytes:
        """The next chunk, empty while it is not all there.

        Raises:
            Refused: it will not be waited for: of an unknown kind, malformed, or too long.
        """
        size = _size(self._kept)
        if not 0 < size <= len(self._kept):
            return b""
        chunk = bytes(memoryview(self._kept)[:size])
        del self._kept[:size]
        return chunk


def _size(content: bytes | bytearray) -> int:
    """Bytes of the chunk that begins here, 0 while that is not known."""
    if len(content) < 8:
        return 0
    kind, final, size = _HEAD.unpack_from(content)
    least = _LEAST.get(kind)
    if least is None:
        raise Refused(StatusCodes.BadTcpMessageTypeInvalid, "no message of that type is served")
    if size < least or final not in (b"FCA" if kind == b"MSG" else b"F"):
        raise Refused(StatusCodes.BadTcpMessageTypeInvalid, "a malformed header")
    if size > MOST_CHUNK:
        raise Refused(StatusCodes.BadTcpMessageTooLarge, f"{size} bytes are claimed; {MOST_CHUNK} are allowed")
    return int(size)


def follows(sequence: int, last: int) -> bool:
    """Whether a sequence number may come after another (Part 6 §6.7.2.4)."""
    return sequence == last + 1 or (last >= LAST_SEQUENCE and sequence < FIRST_SEQUENCES)


def after(last: int) -> int:
    """The sequence number that we send after another."""
    return last + 1 if last < LAST_SEQUENCE else 1


@dataclass(slots=True)
class Pile:
    """The chunks of a message that is not whole yet.

    Attributes:
        most: bytes that a message may have.
    """

    most: int = MOST_BEFORE_SESSION
    _parts: list[bytes] = field(default_factory=list)
    _size: int = 0
    _request: int = 0

    def add(self, final: int, request: int, body: bytes) -> bytes | None:
        """A chunk's body; the message when it is whole.

        Args:
            final: the letter F, C or A in the chunk's header.

        Raises:
            Refused: too much, or chunks of two messages mixed.
        """
        if final == 0x46 and not self._parts:
            if len(body) > self.most:
                raise self._too_large(len(body))
            return body
        if self._parts and request != self._request:
            raise Refused(StatusCodes.BadTcpMessageTypeInvalid, "a message begins before the last one's end")
        if final == 0x41:
            self._forget()
            return None
        self._request = request
        self._size += len(body)
        self._parts.append(body)
        if self._size > self.most or len(self._parts) > MOST_CHUNKS:
            raise self._too_large(self._size)
        if final == 0x43:
            return None
        whole = b"".join(self._parts)
        self._forget()
        return whole

    def _too_large(self, size: int) -> Refused:
        self._forget()
        return Refused(StatusCodes.BadRequestTooLarge, f"a message of {size} bytes or more; {self.most} are allowed now")

    def _forget(self) -> None:
        self._parts, self._size = [], 0
