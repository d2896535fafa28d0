"""Requests as raw bytes, and what a node has to say to each of them: by the specification, on every kind of link.

The node has lamps and a belt, and a machine's Command of 125 registers at WIDE. Nobody holds the lease unless it is said.
"""

import struct

from tests.firmware.factories import BELT_COMMAND, BELT_STATUS, LAMPS_COMMAND
from twin.node import COMMAND_AT, MAGIC, REGISTERS, TRANSFER_AT

WIDE = 600
READ_MAGIC = struct.pack(">BHH", 3, 0, 1)
MAGIC_REPLY = bytes([3, 2]) + struct.pack(">H", MAGIC)
BITS = 16 * REGISTERS


def reading(first: int, count: int, function: int = 3) -> bytes:
    return struct.pack(">BHH", function, first, count)


def writing(first: int, count: int, size: int | None = None) -> bytes:
    size = 2 * count & 0xFF if size is None else size
    return struct.pack(">BHHB", 16, first, count, size) + bytes(size)


def switching(first: int, count: int, size: int | None = None) -> bytes:
    """Write coils."""
    size = -(-count // 8) & 0xFF if size is None else size
    return struct.pack(">BHHB", 15, first, count, size) + bytes(size)


def exchanging(first: int, count: int, into: int, words: int, size: int | None = None) -> bytes:
    """Write and read registers."""
    size = 2 * words & 0xFF if size is None else size
    return struct.pack(">BHHHHB", 23, first, count, into, words, size) + bytes(size)


def one(function: int, first: int, value: int) -> bytes:
    return struct.pack(">BHH", function, first, value)


def masked(first: int) -> bytes:
    return struct.pack(">BHHH", 22, first, 0xF2, 0x25)


def pdu(text: str) -> bytes:
    return bytes.fromhex(text)


# Name: request and reply, function code and what follows it.
REFUSALS: dict[str, tuple[bytes, str]] = {
    "read no coils": (reading(0, 0, 1), "8103"),
    "read 2001 coils": (reading(0, 2001, 1), "8103"),
    "read coils beyond the end": (reading(BITS - 1, 2, 1), "8102"),
    "read coils far beyond the end": (reading(65535, 1, 1), "8102"),
    "read coils cut short": (pdu("010000"), "8103"),
    "read no discrete inputs": (reading(0, 0, 2), "8203"),
    "read 2001 discrete inputs": (reading(0, 2001, 2), "8203"),
    "read discrete inputs beyond the end": (reading(BITS, 1, 2), "8202"),
    "read nothing": (reading(0, 0), "8303"),
    "read 126": (reading(0, 126), "8303"),
    "read 126 inputs": (reading(0, 126, 4), "8403"),
    "read no inputs": (reading(0, 0, 4), "8403"),
    "read 65535": (reading(0, 65535), "8303"),
    "read beyond the end": (reading(REGISTERS - 1, 2), "8302"),
    "read inputs beyond the end": (reading(REGISTERS, 1, 4), "8402"),
    "read far beyond the end": (reading(65535, 1), "8302"),
    "quantity is judged before address": (reading(65535, 0), "8303"),
    "read cut short": (pdu("030000"), "8303"),
    "read without anything": (pdu("03"), "8303"),
    "read with something behind": (reading(0, 1) + b"\x00", "8303"),
    "write a coil with a value that is neither": (one(5, 16 * BELT_COMMAND, 0x1234), "8503"),
    "write a coil with FF": (one(5, 16 * BELT_COMMAND, 0x00FF), "8503"),
    "write a coil of the Status": (one(5, 0, 0xFF00), "8502"),
    "write a coil beyond the end": (one(5, BITS, 0xFF00), "8502"),
    "a coil's value is judged before its address": (one(5, 65535, 1), "8503"),
    "write a coil without a lease": (one(5, 16 * BELT_COMMAND, 0xFF00), "8504"),
    "write a coil cut short": (pdu("0500ff"), "8503"),
    "write one outside": (one(6, REGISTERS, 0), "8602"),
    "write one into the Status": (one(6, 0, 0), "8602"),
    "write one into a machine's Status": (one(6, BELT_STATUS, 0), "8602"),
    "write one cut short": (pdu("060100"), "8603"),
    "write one too long": (pdu("06010000ff00"), "8603"),
    "diagnostics without anything": (pdu("08"), "8803"),
    "diagnostics that restart communications": (pdu("08000100ff"), "8801"),
    "diagnostics that silence the node": (pdu("0800040000"), "8801"),
    "diagnostics beyond the last counter": (pdu("0800130000"), "8801"),
    "a counter is asked for with a value": (pdu("08000b0001"), "8803"),
    "write no coils": (switching(16 * WIDE, 0), "8f03"),
    "write 1969 coils": (switching(16 * WIDE, 1969, 246), "8f03"),
    "write coils with too few bytes": (switching(16 * WIDE, 9, 1), "8f03"),
    "write coils with too many bytes": (switching(16 * WIDE, 8, 2), "8f03"),
    "write coils into the Status": (switching(0, 8), "8f02"),
    "write coils over the end of a Command": (switching(16 * (WIDE + 120), 81), "8f02"),
    "write coils beyond the end": (switching(BITS - 1, 2), "8f02"),
    "write coils without a lease": (switching(16 * WIDE, 8), "8f04"),
    "write none": (writing(COMMAND_AT, 0), "9003"),
    "write 124, claiming 123's bytes": (writing(COMMAND_AT, 124, 246), "9003"),
    "write with a lying byte count": (struct.pack(">BHHB", 16, BELT_COMMAND, 2, 3) + bytes(4), "9003"),
    "write with bytes missing": (struct.pack(">BHHB", 16, BELT_COMMAND, 2, 4) + bytes(3), "9003"),
    "write without a byte count": (struct.pack(">BHH", 16, BELT_COMMAND, 2), "9003"),
    "write across two machines": (writing(BELT_COMMAND, LAMPS_COMMAND - BELT_COMMAND + 1), "9002"),
    "write over the Grant's end": (writing(COMMAND_AT, 64), "9002"),
    "write into the transfer window's middle": (writing(TRANSFER_AT + 10, 12), "9002"),
    "write a transfer window's head in part": (writing(TRANSFER_AT, 9), "9002"),
    "write beyond the transfer window": (writing(TRANSFER_AT, 123), "9002"),
    "write a machine's Command without a lease": (one(6, BELT_COMMAND, 1), "8604"),
    "write many of a machine's Command without a lease": (writing(WIDE, 123), "9004"),
    "write a transfer without a lease": (writing(TRANSFER_AT, 10), "9004"),
    "write the heartbeat without a lease": (one(6, COMMAND_AT + 5, 1), "8604"),
    "address is judged before permission": (writing(BELT_COMMAND + 1, 2), "9002"),
    "mask a register of the Status": (masked(0), "9602"),
    "mask a register beyond the end": (masked(REGISTERS), "9602"),
    "mask cut short": (masked(WIDE)[:6], "9603"),
    "mask with something behind": (masked(WIDE) + b"\x00", "9603"),
    "mask without a lease": (masked(WIDE), "9604"),
    "write and read nothing": (exchanging(0, 0, WIDE, 1), "9703"),
    "write nothing and read": (exchanging(0, 1, WIDE, 0), "9703"),
    "write and read 126": (exchanging(0, 126, WIDE, 1), "9703"),
    "write 122 and read": (exchanging(0, 1, WIDE, 122, 242), "9703"),
    "write and read with a lying byte count": (exchanging(0, 1, WIDE, 2, 2), "9703"),
    "write and read cut short": (exchanging(0, 1, WIDE, 1)[:8], "9703"),
    "write and read beyond the end": (exchanging(REGISTERS, 1, WIDE, 1), "9702"),
    "write into the Status and read": (exchanging(0, 1, 0, 1), "9702"),
    "write without a lease and read": (exchanging(0, 1, WIDE, 1), "9704"),
    "function 0": (pdu("00"), "8001"),
    "read exception status": (pdu("07"), "8701"),
    "report server id": (pdu("11"), "9101"),
    "read a file record": (pdu("1400"), "9401"),
    "a function of nobody's": (pdu("4200000000"), "c201"),
    "an exception as a request": (pdu("8302"), "8301"),
    "another encapsulated interface": (pdu("2b0d00"), "ab01"),
    "identification without anything": (pdu("2b"), "ab01"),
    "identification cut short": (pdu("2b0e01"), "ab03"),
    "identification of kind 0": (pdu("2b0e0000"), "ab03"),
    "identification of kind 5": (pdu("2b0e0500"), "ab03"),
    "one object that is not there": (pdu("2b0e0403"), "ab02"),
}

ANSWERS: dict[str, tuple[bytes, str]] = {
    "the first register": (READ_MAGIC, MAGIC_REPLY.hex()),
    "the same as an input": (reading(0, 1, 4), "0402" + MAGIC_REPLY.hex()[4:]),
    "its bits as coils": (reading(0, 16, 1), "0102" + struct.pack("<H", MAGIC).hex()),
    "its bits as discrete inputs": (reading(0, 16, 2), "0202" + struct.pack("<H", MAGIC).hex()),
    "one bit": (reading(1, 1, 1), f"0101{MAGIC >> 1 & 1:02x}"),
    "bits across registers": (reading(12, 8, 1), f"0101{MAGIC >> 12 | 0x20:02x}"),
    "bits that are unused are 0": (reading(4, 3, 1), f"0101{MAGIC >> 4 & 7:02x}"),
    "diagnostics give back what they got": (pdu("080000a537"), "080000a537"),
    "a counter of what cannot happen": (pdu("08000f0000"), "08000f0000"),
    "overruns": (pdu("0800120000"), "0800120000"),
    "one object": (pdu("2b0e0401"), "2b0e04810000010104" + b"node".hex()),
}

# What the longest requests and replies are, and the numbers of bytes of their data.
LONGEST: dict[str, tuple[bytes, int]] = {
    "125 registers": (reading(0, 125), 250),
    "125 inputs": (reading(REGISTERS - 125, 125, 4), 250),
    "the last register": (reading(REGISTERS - 1, 1), 2),
    "2000 coils": (reading(0, 2000, 1), 250),
    "2000 discrete inputs to the end": (reading(BITS - 2000, 2000, 2), 250),
    "the last coil": (reading(BITS - 1, 1, 1), 1),
}

# Bytes after which a connection is closed.
LIES = {
    "another protocol": "0001 0001 0006 01 0300000001",
    "a protocol of all ones": "0001 ffff 0006 01 0300000001",
    "length 0": "0001 0000 0000",
    "length 1": "0001 0000 0001 01",
    "length 255": "0001 0000 00ff 01 03",
    "length 256": "0001 0000 0100 01 03",
    "length 65535": "0001 0000 ffff 01 03",
    "a web browser": "474554202f20485454502f312e310d0a0d0a",
    "a serial frame": "010300000001840a",
    "zeros": "00" * 40,
    "ones": "ff" * 40,
    "TLS": "160301020001000001fc0303",
}
