"""Modbus requests and replies as bytes, and the check that a reply fits its request. No I/O.

A frame is transaction u16, protocol u16 (0), length u16 (2 to 254, of what follows), unit u8, then the PDU.
"""

import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

READ_COILS, READ_DISCRETE, WRITE_COIL, WRITE_COILS = 0x01, 0x02, 0x05, 0x0F
READ_HOLDING, READ_INPUT, WRITE_ONE, WRITE_MANY, WRITE_MASK, READ_IDENTITY = 0x03, 0x04, 0x06, 0x10, 0x16, 0x2B
MOST_READ, MOST_WRITTEN = 125, 123
MOST_BITS_READ, MOST_BITS_WRITTEN = 2000, 1968
SHORTEST, LONGEST = 2, 254
HEAD = struct.Struct(">HHHB")
MEI_IDENTITY = 0x0E

EXCEPTIONS = {
    1: "illegal function",
    2: "illegal address",
    3: "illegal value",
    4: "device failure",
    5: "acknowledged, not done yet",
    6: "busy",
    8: "memory parity error",
    10: "gateway path unavailable",
    11: "gateway target does not answer",
}


class ModbusError(Exception):
    """A request that got no usable reply."""


class Refused(ModbusError):
    """The node's exception reply, by its code."""

    def __init__(self, function: int, code: int) -> None:
        super().__init__(f"function {function:02X} refused: {code:02X} {EXCEPTIONS.get(code, 'unknown exception')}")
        self.function, self.code = function, code


class ProtocolError(ModbusError):
    """The peer broke the protocol: what follows on this connection can't be trusted."""


class NoReply(ModbusError):
    """The deadline passed. Whether a write was carried out is unknown."""


class NotAsked(NoReply):
    """Nothing was sent: a late reply to something else may still come. That says nothing about the unit."""


class LinkDown(ModbusError):
    """There is no connection, or it was lost before the reply."""


class QueueFull(ModbusError):
    """The link's queue is at its bound; nothing was sent."""


Words = tuple[int, ...]


class Request(Protocol):
    """What can be asked of a node."""

    @property
    def function(self) -> int:
        """Its function code."""
        ...

    def encode(self) -> bytes:
        """The PDU."""
        ...

    def decode(self, reply: bytes) -> Words:
        """The registers of a reply's PDU with the right function code; none for a write.

        Raises:
            ProtocolError: the reply isn't one to this request.
        """
        ...


@lru_cache(maxsize=256)
def _registers(count: int) -> struct.Struct:
    return struct.Struct(f">{count}H")


@dataclass(frozen=True, slots=True)
class Read:
    """Read `count` registers from `address` on: holding, or input with function 4."""

    address: int
    count: int
    function: int = READ_HOLDING

    def __post_init__(self) -> None:
        assert self.function in (READ_HOLDING, READ_INPUT), self
        assert 1 <= self.count <= MOST_READ and 0 <= self.address <= 0x10000 - self.count, self

    def encode(self) -> bytes:
        return struct.pack(">BHH", self.function, self.address, self.count)

    def decode(self, reply: bytes) -> Words:
        if len(reply) != 2 + 2 * self.count or reply[1] != 2 * self.count:
            claimed = reply[1] if len(reply) > 1 else 0
            raise ProtocolError(
                f"read of {self.count} registers: {len(reply)} bytes with a byte count of {claimed}, "
                f"not {2 + 2 * self.count} with {2 * self.count}"
            )
        return _registers(self.count).unpack_from(reply, 2)


@dataclass(frozen=True, slots=True)
class ReadBits:
    """Read `count` bits from `address` on: coils, or discrete inputs with function 2."""

    address: int
    count: int
    function: int = READ_COILS

    def __post_init__(self) -> None:
        assert self.function in (READ_COILS, READ_DISCRETE), self
        assert 1 <= self.count <= MOST_BITS_READ and 0 <= self.address <= 0x10000 - self.count, self

    def encode(self) -> bytes:
        return struct.pack(">BHH", self.function, self.address, self.count)

    def decode(self, reply: bytes) -> Words:
        """One word, 0 or 1, for each bit."""
        size = (self.count + 7) // 8
        if len(reply) != 2 + size or reply[1] != size:
            claimed = reply[1] if len(reply) > 1 else 0
            raise ProtocolError(
                f"read of {self.count} bits: {len(reply)} bytes with a byte count of {claimed}, not {2 + size} with {size}"
            )
        return tuple(reply[2 + i // 8] >> i % 8 & 1 for i in range(self.count))


@dataclass(frozen=True, slots=True)
class WriteCoil:
    """Write one coil."""

    address: int
    on: bool

    @property
    def function(self) -> int:
        return WRITE_COIL

    def encode(self) -> bytes:
        return struct.pack(">BHH", WRITE_COIL, self.address, 0xFF00 if self.on else 0)

    def decode(self, reply: bytes) -> Words:
        return _echo(reply, self.encode())


@dataclass(frozen=True, slots=True)
class WriteCoils:
    """Write coils from `address` on."""

    address: int
    bits: tuple[bool, ...]

    def __post_init__(self) -> None:
        assert 1 <= len(self.bits) <= MOST_BITS_WRITTEN and 0 <= self.address <= 0x10000 - len(self.bits), self

    @property
    def function(self) -> int:
        return WRITE_COILS

    def encode(self) -> bytes:
        count = len(self.bits)
        packed = sum(1 << i for i, bit in enumerate(self.bits) if bit).to_bytes((count + 7) // 8, "little")
        return struct.pack(">BHHB", WRITE_COILS, self.address, count, len(packed)) + packed

    def decode(self, reply: bytes) -> Words:
        return _echo(reply, struct.pack(">BHH", WRITE_COILS, self.address, len(self.bits)))


@dataclass(frozen=True, slots=True)
class WriteMask:
    """Change bits of one register: (what is there AND `keep`) OR (`put` AND NOT `keep`), done by the device in one step."""

    address: int
    keep: int
    put: int

    @property
    def function(self) -> int:
        return WRITE_MASK

    def encode(self) -> bytes:
        return struct.pack(">BHHH", WRITE_MASK, self.address, self.keep, self.put)

    def decode(self, reply: bytes) -> Words:
        return _echo(reply, self.encode())


@dataclass(frozen=True, slots=True)
class WriteOne:
    """Write one register."""

    address: int
    word: int

    @property
    def function(self) -> int:
        return WRITE_ONE

    def encode(self) -> bytes:
        return struct.pack(">BHH", WRITE_ONE, self.address, self.word)

    def decode(self, reply: bytes) -> Words:
        return _echo(reply, self.encode())


@dataclass(frozen=True, slots=True)
class Write:
    """Write registers from `address` on."""

    address: int
    words: Words

    def __post_init__(self) -> None:
        assert 1 <= len(self.words) <= MOST_WRITTEN and 0 <= self.address <= 0x10000 - len(self.words), self

    @property
    def function(self) -> int:
        return WRITE_MANY

    def encode(self) -> bytes:
        count = len(self.words)
        return struct.pack(">BHHB", WRITE_MANY, self.address, count, 2 * count) + _registers(count).pack(*self.words)

    def decode(self, reply: bytes) -> Words:
        return _echo(reply, struct.pack(">BHH", WRITE_MANY, self.address, len(self.words)))


def _echo(reply: bytes, wanted: bytes) -> Words:
    if reply != wanted:
        raise ProtocolError(f"write not echoed: {reply.hex(' ')}, not {wanted.hex(' ')}")
    return ()


@dataclass(frozen=True, slots=True)
class ReadIdentity:
    """Read the basic identification (0x2B/0x0E); `identity_of` makes texts of the reply's words."""

    code: int = 1
    object: int = 0

    @property
    def function(self) -> int:
        return READ_IDENTITY

    def encode(self) -> bytes:
        return struct.pack(">BBBB", READ_IDENTITY, MEI_IDENTITY, self.code, self.object)

    def decode(self, reply: bytes) -> Words:
        """The reply's bytes after the function code, one a word."""
        if len(reply) < 7 or reply[1] != MEI_IDENTITY or reply[2] != self.code:
            raise ProtocolError(f"not an identification with code {self.code}: {reply.hex(' ')}")
        at = 7
        for _ in range(reply[6]):
            if at + 2 > len(reply):
                raise ProtocolError(f"identification ends within an object: {reply.hex(' ')}")
            at += 2 + reply[at + 1]
        if at != len(reply):
            raise ProtocolError(f"identification's lengths add up to {at} bytes, not {len(reply)}")
        return tuple(reply[1:])


def identity_of(words: Words) -> dict[int, str]:
    """Object number -> text, out of what `ReadIdentity.decode` returned."""
    found: dict[int, str] = {}
    at = 6
    for _ in range(words[5]):
        number, size = words[at], words[at + 1]
        found[number] = bytes(words[at + 2 : at + 2 + size]).decode("ascii", "replace")
        at += 2 + size
    return found


def frame(transaction: int, unit: int, pdu: bytes) -> bytes:
    """A PDU with its head."""
    return HEAD.pack(transaction, 0, len(pdu) + 1, unit) + pdu


def reply_to(request: Request, pdu: bytes) -> Words:
    """The words of a reply's PDU.

    Raises:
        Refused: an exception reply to this request.
        ProtocolError: anything else that isn't its reply.
    """
    function = request.function
    if pdu[0] == function:
        return request.decode(pdu)
    if pdu[0] == function | 0x80 and len(pdu) == 2:
        raise Refused(function, pdu[1])
    raise ProtocolError(f"reply to function {function:02X} is {pdu[:8].hex(' ')} ({len(pdu)} bytes)")


class Frames:
    """Frames out of a byte stream, however it was cut into pieces. It holds no more than one frame and a piece."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    @property
    def held(self) -> int:
        """How many bytes of a frame that is not whole yet it holds."""
        return len(self._bytes)

    def feed(self, data: bytes) -> list[tuple[int, int, bytes]]:
        """(transaction, unit, PDU) of each frame completed by `data`.

        Raises:
            ProtocolError: a protocol number that is not 0, or a length outside 2 to 254. The stream is lost.
        """
        held = self._bytes
        held += data
        found: list[tuple[int, int, bytes]] = []
        at = 0
        while len(held) - at >= HEAD.size:
            transaction, protocol, length, unit = HEAD.unpack_from(held, at)
            if protocol != 0:
                raise ProtocolError(f"protocol number {protocol}, not 0")
            if not SHORTEST <= length <= LONGEST:
                raise ProtocolError(f"length {length} is outside {SHORTEST} to {LONGEST}")
            end = at + 6 + length
            if end > len(held):
                break
            found.append((transaction, unit, bytes(held[at + 7 : end])))
            at = end
        del held[:at]
        return found
