"""A node on a serial line in the real interpreter and in real time: the line is a pseudo-terminal."""

import json
import os
import pty
import select
import struct
import threading
import time
import tty
from pathlib import Path

from tests.firmware.rig import PATIENCE_S, Client, Node

UNIT = 3
SILENCE_S = 0.016  # long enough for a node at 115200 baud to give up a frame


def crc(data: bytes) -> bytes:
    """CRC-16 of the serial line, bit by bit, from the specification's text."""
    word = 0xFFFF
    for byte in data:
        word ^= byte
        for _ in range(8):
            word = word >> 1 ^ (0xA001 if word & 1 else 0)
    return struct.pack("<H", word)


class Line:
    """A serial line with one node on it, and this test as its master.

    Attributes:
        turn: held by whoever is asking; a reply is read by nobody else.
    """

    def __init__(self, folder: Path, text: str) -> None:
        self.turn = threading.Lock()
        self.master, self._slave = pty.openpty()
        tty.setraw(self.master)
        tty.setraw(self._slave)
        config = json.loads(text)
        config["link"] = {"kind": "rtu", "uart": 1, "tx": 4, "rx": 5, "de": 18, "baud": 115200, "unit": UNIT}
        self.node = Node(folder, json.dumps(config))
        (folder / "uart1").symlink_to(os.ttyname(self._slave))
        self.node.start()

    def stop(self) -> None:
        """Take the node's power away."""
        self.node.stop()
        os.close(self._slave)
        os.close(self.master)

    def receive(self, count: int, patience_s: float = PATIENCE_S) -> bytes:
        """Up to `count` bytes, fewer where no more come in time."""
        got = b""
        while len(got) < count and select.select([self.master], [], [], patience_s)[0]:
            got += os.read(self.master, count - len(got))
        return got


class SerialClient(Client):
    """A master that sends what it is told, right or wrong. Between a reply and the next request it is silent, as it has to be."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._beat = self._sequence = 0

    def close(self) -> None:
        pass

    def send(self, *parts: bytes) -> None:
        """Bytes as they are, in one go each."""
        time.sleep(SILENCE_S / 4)
        for part in parts:
            os.write(self._line.master, part)

    def framed(self, pdu: bytes, unit: int = UNIT) -> bytes:
        """A whole frame."""
        return bytes([unit]) + pdu + crc(bytes([unit]) + pdu)

    def heard(self) -> bytes:
        """The PDU of the next reply, whose frame must hold."""
        frame = b""
        while len(frame) < _length(frame):
            more = self._line.receive(_length(frame) - len(frame))
            assert more, f"no reply, or half of one: {frame.hex()}"
            frame += more
        assert frame[-2:] == crc(frame[:-2]) and frame[0] == UNIT, frame.hex()
        return frame[1:-2]

    def ask(self, pdu: bytes, unit: int = UNIT) -> bytes:
        with self._line.turn:
            self.send(self.framed(pdu, unit))
            return self.heard()

    def unanswered(self, *parts: bytes) -> None:
        """Bytes that get no reply."""
        self.send(*parts)
        got = self._line.receive(1, SILENCE_S)
        assert not got, f"answered: {(got + self._line.receive(300, 0.01)).hex()}"


def _length(frame: bytes) -> int:
    """Bytes that a reply has at least, as far as its beginning tells."""
    if len(frame) < 3:
        return 5
    function = frame[1]
    if function in (1, 2, 3, 4, 0x17):
        return 5 + frame[2]
    if function == 0x2B:
        return _length_of_identification(frame)
    return 5 if function & 0x80 else 10 if function == 0x16 else 8


def _length_of_identification(frame: bytes) -> int:
    end = 8
    for _ in range(frame[7] if len(frame) > 7 else 0):
        if len(frame) <= end + 1:
            return end + 2
        end += 2 + frame[end + 1]
    return end + 2


class Terminal:
    """The other end of a line as a terminal of its own, for masters that want one."""

    def __init__(self, line: Line) -> None:
        self._own, self._theirs = pty.openpty()
        tty.setraw(self._own)
        tty.setraw(self._theirs)
        self.path = os.ttyname(self._theirs)
        self._ends = {self._own: line.master, line.master: self._own}
        self._turn = line.turn
        self._over, self._end = os.pipe()
        self._thread = threading.Thread(target=self._carry)
        self._thread.start()

    def _carry(self) -> None:
        while True:
            ready = select.select([*self._ends, self._over], [], [])[0]
            if self._over in ready:
                return
            with self._turn:
                for end in select.select([*self._ends], [], [], 0)[0]:  # what a client of the test's has not taken meanwhile
                    os.write(self._ends[end], os.read(end, 512))

    def close(self) -> None:
        """Let go of the line."""
        os.write(self._end, b".")
        self._thread.join()
        for end in (self._own, self._theirs, self._over, self._end):
            os.close(end)
