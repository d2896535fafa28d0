"""The serial loader of an ESP32 at a pseudo-terminal, for the real esptool: written from Espressif's page on the serial protocol.

It takes every command that esptool's `write-flash` needs, keeps a flash in memory, and cannot run code: the loader that esptool
puts into the chip's memory is thrown away, and what it would do is done here.
"""

import contextlib
import hashlib
import os
import pty
import select
import struct
import threading
import tty
import zlib
from collections.abc import Callable, Iterator

MAGIC_AT, CLOCK_AT, FLASH_ID_AT = 0x40001000, 0x3FF40014, 0x3FF42080
MAGICS = {"ESP32": 0x00F01D83, "ESP32-S2": 0x000007C6}
SIZES = {2: 0x15, 4: 0x16}  # MB -> the third byte of a flash chip's id
CLOCK = 40_000_000 // 115_200
SYNC, READ_REGISTER, SECURITY = 0x08, 0x0A, 0x14
RAM_END, BEGIN, PIECE, MD5, ERASE = 0x06, 0x10, 0x11, 0x13, 0xD0
END, ESCAPE = 0xC0, 0xDB


class Board:
    """A board with an erased flash.

    Attributes:
        port: the device that esptool opens.
        flash: its content.
        written: called once what was written has been asked back.
    """

    def __init__(self, chip: str = "ESP32", megabytes: int = 4) -> None:
        self.flash = bytearray(b"\xff" * (megabytes << 20))
        self.written: Callable[[], None] = lambda: None
        self._registers = {MAGIC_AT: MAGICS[chip], CLOCK_AT: CLOCK, FLASH_ID_AT: SIZES[megabytes] << 16 | 0x4020}
        self._at, self._inflate = 0, zlib.decompressobj()
        self._stub = False
        self._ours, theirs = pty.openpty()
        tty.setraw(theirs)
        self._theirs = theirs  # held open: a pty is gone with its last user
        self.port = os.ttyname(theirs)
        self._left = False
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._left = True
        self._thread.join(timeout=10)
        os.close(self._ours)
        os.close(self._theirs)

    def _serve(self) -> None:
        frame, inside = bytearray(), False
        while not self._left:
            if not select.select([self._ours], [], [], 0.05)[0]:
                continue
            try:
                data = os.read(self._ours, 65536)
            except OSError:
                return
            *whole, rest = data.split(bytes([END]))
            for piece in whole:
                frame += piece
                if inside and frame:
                    self._take(bytes(frame).replace(b"\xdb\xdc", b"\xc0").replace(b"\xdb\xdd", b"\xdb"))
                    inside = False
                else:
                    inside = True
                frame.clear()
            frame += rest

    def _take(self, request: bytes) -> None:
        _, command, size, _ = struct.unpack_from("<BBHI", request)
        body = request[8 : 8 + size]
        if command == SYNC:
            for _ in range(8):
                self._answer(command, value=0 if self._stub else 0x07122012)
        elif command == SECURITY:
            self._answer(command, status=b"\x01\x05")  # the ESP32 does not know it
        elif command == READ_REGISTER:
            (register,) = struct.unpack_from("<I", body)
            self._answer(command, value=self._registers.get(register, 0))
        elif command == BEGIN:
            (self._at,) = struct.unpack_from("<I", body, 12)
            self._inflate = zlib.decompressobj()
            self._answer(command)
        elif command == PIECE:
            self._answer(command)
            self._write(self._inflate.decompress(body[16:]))
        elif command == MD5:
            start, count = struct.unpack_from("<II", body)
            self._answer(command, hashlib.md5(self.flash[start : start + count], usedforsecurity=False).digest())
            self.written()
        else:
            if command == ERASE:
                self.flash[:] = b"\xff" * len(self.flash)
            self._answer(command)
            if command == RAM_END:
                self._stub = True
                self._send(b"OHAI")

    def _write(self, data: bytes) -> None:
        self.flash[self._at : self._at + len(data)] = data
        self._at += len(data)

    def _answer(self, command: int, data: bytes = b"", value: int = 0, status: bytes = b"\0\0") -> None:
        data += status if self._stub else status + b"\0\0"
        self._send(struct.pack("<BBHI", 1, command, len(data), value) + data)

    def _send(self, data: bytes) -> None:
        escaped = data.replace(b"\xdb", b"\xdb\xdd").replace(b"\xc0", b"\xdb\xdc")
        os.write(self._ours, bytes([END]) + escaped + bytes([END]))


@contextlib.contextmanager
def plugged(chip: str = "ESP32", megabytes: int = 4) -> Iterator[Board]:
    """A board that is plugged in for a while."""
    made = Board(chip, megabytes)
    yield made
    made.close()
