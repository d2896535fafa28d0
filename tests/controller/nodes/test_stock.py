"""MicroPython's own image: what it is taken for, and every way in which it can be a wrong one."""

import hashlib
import struct
from pathlib import Path

import pytest
from esptool.targets import CHIP_DEFS
from hypothesis import given
from hypothesis import strategies as st

from controller.nodes import image, stock
from controller.nodes.chips import CHIPS, Chip

SHIPPED = stock.read(None)
FILES_AT = 0x20000
SIZE = 512 * 4096


def program(chip: Chip, body: bytes) -> bytes:
    """A program with its head, checksum and hash, as Espressif's page on image formats has it."""
    body += bytes(-len(body) % 4)
    head = struct.pack("<BBBBI4xHB8xB", 0xE9, 1, 2, 0x20, 0x40080000, chip.id, 0, 1).ljust(24, b"\0")
    head = head[:23] + b"\1"
    data = head + struct.pack("<II", 0x3F400020, len(body)) + body
    check = 0xEF
    for byte in body:
        check ^= byte
    data += bytes(15 - len(data) % 16) + bytes([check])
    return data + hashlib.sha256(data).digest()


def entry(name: str, kind: int, offset: int, size: int) -> bytes:
    return struct.pack("<2sBBII16s4x", b"\xaa\x50", kind, 0, offset, size, name.encode())


def built(
    chip: Chip = CHIPS["esp32"],
    says: bytes = b"MicroPython v1.26.1 on 2026-01-01; and more",
    files: str = "vfs",
    size: int = SIZE,
    boot: Chip | None = None,
) -> bytes:
    """A small image for a chip."""
    table = entry("nvs", 1, 0x9000, 0x6000) + entry("factory", 0, 0x10000, 0x10000) + entry(files, 1, FILES_AT, size)
    table += b"\xeb\xeb" + b"\xff" * 14 + hashlib.md5(table).digest()
    pieces = {chip.offset: program(boot or chip, b"boot"), 0x8000: table, 0x10000: program(chip, says)}
    data = b""
    for at, piece in pieces.items():
        data = data.ljust(at - chip.offset, b"\xff") + piece
    return data


def test_the_image_that_comes_along_is_micropython_for_an_esp32_of_4_mb() -> None:
    assert (SHIPPED.chip.name, SHIPPED.version, SHIPPED.sha256) == ("esp32", "1.25.0", stock.SHIPPED_SHA256)
    assert SHIPPED.files == stock.Partition("vfs", 1, 0x200000, 0x200000)


@pytest.mark.parametrize("chip", CHIPS.values(), ids=lambda chip: chip.name)
def test_each_chip_is_known_by_what_esptool_knows_of_it(chip: Chip) -> None:
    theirs = CHIP_DEFS[chip.name]
    assert (chip.id, chip.offset, chip.title) == (theirs.IMAGE_CHIP_ID, theirs.BOOTLOADER_FLASH_OFFSET, theirs.CHIP_NAME)


@pytest.mark.parametrize("chip", CHIPS.values(), ids=lambda chip: chip.name)
def test_an_image_for_each_chip_gets_its_files_where_its_own_table_says(chip: Chip) -> None:
    found = stock.parse("x.bin", built(chip))
    assert (found.chip, found.version, found.files.offset) == (chip, "1.26.1", FILES_AT)
    whole = image.merged(found, b"files")
    assert whole[FILES_AT - chip.offset :].startswith(b"files\xff") and len(whole) == FILES_AT - chip.offset + SIZE


WRONG = {
    "empty": (b"", "not an image for an ESP32"),
    "text": (b"hello " * 100, "not an image for an ESP32"),
    "for an update": (built()[0xF000:], "it has no partition table: take the whole .bin"),
    "another chip's boot loader": (built(boot=CHIPS["esp32s3"]), "for an"),
    "no such chip": (built()[:12] + b"\x63" + built()[13:], r"for none of the chips .* \(its chip id is 99\)"),
    "cut in the boot loader": (built()[:20], "not an image for an ESP32"),
    "cut in the program": (built()[:-1], "cut short: its program ends beyond its"),
    "cut before the program": (built()[:0xF000], "its program is missing"),
    "no place for files": (built(files="storage"), "its partition table has no vfs, only nvs, factory, storage"),
    "not MicroPython": (built(says=b"Tasmota"), "its program is not MicroPython"),
    "too old": (built(says=b"MicroPython v1.19.1 on"), "MicroPython 1.19.1 is too old: it takes 1.25 or later"),
    "made already": (image.merged(SHIPPED, b"files"), "is it one that was made already"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_image_is_told_in_a_line(case: str) -> None:
    data, told = WRONG[case]
    with pytest.raises(stock.ImageError, match=told) as found:
        stock.parse("x.bin", data)
    assert "\n" not in str(found.value)


def test_a_damaged_byte_is_found_wherever_it_counts() -> None:
    for at, what in ((0x30, "boot loader"), (0x7045, "partition table"), (0x50000, "program"), (0x19F000, "program")):
        data = bytearray(SHIPPED.data)
        data[at] ^= 0x01
        with pytest.raises(stock.ImageError, match=f"damaged: .* {what}"):
            stock.parse("x.bin", bytes(data))
    data = bytearray(SHIPPED.data)
    data[0x50000] ^= 0x01  # twice the same bit in the same column: the checksum cannot see it
    data[0x50001] ^= 0x01
    with pytest.raises(stock.ImageError, match="damaged: the hash of its program is wrong"):
        stock.parse("x.bin", bytes(data))


SMALL = built()


@given(st.lists(st.tuples(st.integers(0, len(SMALL) - 1), st.integers(0, 255)), max_size=6), st.integers(0, len(SMALL)))
def test_whatever_a_file_holds_it_is_an_image_or_a_line_says_why_not(edits: list[tuple[int, int]], end: int) -> None:
    data = bytearray(SMALL)
    for at, value in edits:
        data[at] = value
    for broken in (bytes(data), bytes(data[:end])):
        try:
            stock.parse("x.bin", broken)
        except stock.ImageError as why:
            assert "\n" not in str(why)


def test_a_place_too_small_for_two_slots_is_refused() -> None:
    with pytest.raises(image.ImageError, match=r"its file system has 20 blocks of 4096 bytes; it takes 22, for updates too"):
        image.file_system({"a": bytes(3 * 4096)}, 20 * 4096)
    image.file_system({"a": bytes(3 * 4096)}, 22 * 4096)


def test_an_image_in_the_place_of_the_one_that_comes_along_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "other.bin").write_bytes(SMALL)
    monkeypatch.setattr(stock, "_shipped", lambda: tmp_path / "other.bin")
    with pytest.raises(stock.ImageError, match="is not the image that it should be"):
        stock.read(None)
    assert stock.read(tmp_path / "other.bin").version == "1.26.1", "given by name it is the user's own affair"
