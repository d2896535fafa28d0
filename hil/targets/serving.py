"""A Modbus TCP server's answers, by the specification: what a node's bytes must be for each request. No I/O."""

import struct
from collections.abc import Sequence
from typing import Protocol

from controller.modbus.pdu import (
    MEI_IDENTITY,
    MOST_READ,
    MOST_WRITTEN,
    READ_HOLDING,
    READ_IDENTITY,
    READ_INPUT,
    WRITE_MANY,
    WRITE_ONE,
)

UNITS = (0, 1, 255)
ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE, FAILED, NOT_REACHED = 1, 2, 3, 4, 11
_CONFORMITY = 0x81  # basic identification, streamed or object by object
_STREAMS, _ONE_OBJECT = (1, 2, 3), 4


class Registers(Protocol):
    """What lies behind a server."""

    size: int
    identity: tuple[bytes, bytes, bytes]

    def read(self, first: int, count: int) -> Sequence[int]:
        """Registers, all of which there are."""
        ...

    def write(self, peer: int, first: int, words: Sequence[int]) -> int:
        """Write registers of one connection; 0, or the exception code."""
        ...


def answer(registers: Registers, peer: int, unit: int, pdu: bytes) -> bytes:
    """The reply's PDU to a request's PDU of at least one byte."""
    function = pdu[0]
    if unit not in UNITS:
        return _refused(function, NOT_REACHED)
    if function in (READ_HOLDING, READ_INPUT):
        return _read(registers, pdu)
    if function == WRITE_ONE:
        return _write_one(registers, peer, pdu)
    if function == WRITE_MANY:
        return _write_many(registers, peer, pdu)
    if function == READ_IDENTITY and pdu[1:2] == bytes([MEI_IDENTITY]):
        return _identity(registers.identity, pdu)
    return _refused(function, ILLEGAL_FUNCTION)


def _refused(function: int, code: int) -> bytes:
    return bytes([function | 0x80, code])


def _read(registers: Registers, pdu: bytes) -> bytes:
    function = pdu[0]
    if len(pdu) != 5:
        return _refused(function, ILLEGAL_VALUE)
    first, count = struct.unpack_from(">HH", pdu, 1)
    if not 1 <= count <= MOST_READ:
        return _refused(function, ILLEGAL_VALUE)
    if first + count > registers.size:
        return _refused(function, ILLEGAL_ADDRESS)
    return bytes([function, 2 * count]) + struct.pack(f">{count}H", *registers.read(first, count))


def _write_one(registers: Registers, peer: int, pdu: bytes) -> bytes:
    if len(pdu) != 5:
        return _refused(WRITE_ONE, ILLEGAL_VALUE)
    first, word = struct.unpack_from(">HH", pdu, 1)
    code = registers.write(peer, first, [word])
    return _refused(WRITE_ONE, code) if code else pdu


def _write_many(registers: Registers, peer: int, pdu: bytes) -> bytes:
    if len(pdu) < 6:
        return _refused(WRITE_MANY, ILLEGAL_VALUE)
    first, count, size = struct.unpack_from(">HHB", pdu, 1)
    if not 1 <= count <= MOST_WRITTEN or size != 2 * count or len(pdu) != 6 + size:
        return _refused(WRITE_MANY, ILLEGAL_VALUE)
    code = registers.write(peer, first, struct.unpack_from(f">{count}H", pdu, 6))
    return _refused(WRITE_MANY, code) if code else pdu[:5]


def _identity(identity: tuple[bytes, bytes, bytes], pdu: bytes) -> bytes:
    if len(pdu) != 4 or pdu[2] not in (*_STREAMS, _ONE_OBJECT):
        return _refused(READ_IDENTITY, ILLEGAL_VALUE)
    code, first = pdu[2], pdu[3]
    known = first < len(identity)
    if code == _ONE_OBJECT and not known:
        return _refused(READ_IDENTITY, ILLEGAL_ADDRESS)
    told = [first] if code == _ONE_OBJECT else range(first if known else 0, len(identity))
    objects = b"".join(bytes([number, len(identity[number])]) + identity[number] for number in told)
    return bytes([READ_IDENTITY, MEI_IDENTITY, code, _CONFORMITY, 0, 0, len(told)]) + objects
