"""Processor in the loop: a node's firmware on a real MicroPython elsewhere, in factory time, over a serial line.

The stand-ins for a board's modules run there too, so its pins, its clock and its sockets are the rig's. What a VM says through
two pipes goes over its console, as `hil/vm/serial/serial_link.py` describes; a listener here takes the node's TCP clients.
"""

import abc
import binascii
import contextlib
import json
import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

from hil.targets import TargetError
from hil.targets.vm import FREE, STAND_INS, Costs, Vm
from twin.clock import Ns

SERIAL_STAND_INS = STAND_INS / "serial"
PATIENCE_S = 20.0
PIECE = 90
"""Bytes in a line to the board: with their head and in base64 they fit into what its console holds, 128 characters or more."""
MOST_AT_ONCE = 1024
KEPT_TEXT = 64 * 1024

_TO_BOARD, _FROM_BOARD = b"\x1f", b"\x1e"
_OPENED, _DATA, _CLOSED = range(3)
_GRANT_BYTES = 88
_CHECK_BYTES = 4


class Port(Protocol):
    """A line to a board: what pyserial gives, with a time-out."""

    def read(self, size: int = 1) -> bytes:
        """At least one byte and at most `size`, or nothing when the time-out has passed."""
        ...

    def write(self, data: bytes) -> int | None:
        """Send bytes."""
        ...

    def close(self) -> None:
        """Give it back."""
        ...


class DamagedLine(ValueError):
    """A line whose checksum is wrong."""


def encode_line(letter: bytes, data: bytes = b"") -> bytes:
    """A line to a board."""
    check = binascii.crc32(data).to_bytes(_CHECK_BYTES, "little")
    return _TO_BOARD + letter + binascii.b2a_base64(data + check)


class Lines:
    """A board's lines out of what its console says, however it was cut; the text between them is kept."""

    def __init__(self) -> None:
        self._rest = b""
        self.text = b""

    def feed(self, data: bytes) -> list[tuple[bytes, bytes]]:
        """The letter and data of each line that is complete now.

        Raises:
            DamagedLine: its bytes are not those that were sent.
        """
        *whole, self._rest = (self._rest + data).split(b"\n")
        found = []
        for line in whole:
            if line.startswith(_FROM_BOARD):
                found.append((line[1:2], _checked(line[2:])))
            elif line.strip():
                self.text = (self.text + line.rstrip() + b"\n")[-KEPT_TEXT:]
        return found


def _checked(encoded: bytes) -> bytes:
    try:
        data = binascii.a2b_base64(encoded.strip(), strict_mode=True)
    except binascii.Error as broken:
        raise DamagedLine(str(broken)) from broken
    if binascii.crc32(data[:-_CHECK_BYTES]).to_bytes(_CHECK_BYTES, "little") != data[-_CHECK_BYTES:]:
        raise DamagedLine("its checksum is wrong")
    return data[:-_CHECK_BYTES]


class Net:
    """The clients of a node whose sockets are elsewhere, by number."""

    def __init__(self, host: str, port: int) -> None:
        self._server = socket.create_server((host, port))
        self._server.setblocking(False)
        self._clients: dict[int, socket.socket] = {}
        self._number = 0

    def came(self) -> Iterator[bytes]:
        """What has happened on sockets, as the data of lines to the board."""
        while (link := self._accepted()) is not None:
            self._number = self._number % 255 + 1
            self._clients[self._number] = link
            yield bytes([self._number, _OPENED])
        for number, link in list(self._clients.items()):
            data = _received(link)
            if data == b"":
                self._drop(number)
                yield bytes([number, _CLOSED])
            for at in range(0, len(data or b""), PIECE):
                yield bytes([number, _DATA]) + (data or b"")[at : at + PIECE]

    def _accepted(self) -> socket.socket | None:
        try:
            link, _ = self._server.accept()
        except BlockingIOError:
            return None
        link.setblocking(False)
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return link

    def goes(self, message: bytes) -> None:
        """Something comes from the board for a client that may have gone."""
        number, what = message[0], message[1]
        if number not in self._clients:
            return
        if what == _CLOSED:
            self._drop(number)
            return
        try:
            self._clients[number].sendall(message[2:])
        except OSError:  # it does not read, or has gone: the board hears of it when its socket is looked at next
            self._clients[number].close()

    def _drop(self, number: int) -> None:
        self._clients.pop(number).close()

    def close(self) -> None:
        """Close everything."""
        self._server.close()
        for number in list(self._clients):
            self._drop(number)


def _received(link: socket.socket) -> bytes | None:
    """What has come; empty when it has closed, None when nothing has happened."""
    try:
        return link.recv(MOST_AT_ONCE)
    except BlockingIOError:
        return None
    except OSError:
        return b""


class Serial(Vm, abc.ABC):
    """A node on a MicroPython at the other end of a line. Who extends it says how the line is had and its boot file started."""

    def __init__(self, name: str, folder: Path, costs: Costs = FREE) -> None:
        super().__init__(name, folder, costs)
        self._port: Port | None = None
        self._net: Net | None = None
        self._lines = Lines()
        self._heard: list[tuple[bytes, bytes]] = []
        self._granted = False

    @abc.abstractmethod
    def _start(self) -> Port:
        """Start boot_serial.py afresh on what is there; the line to it.

        Raises:
            Absent: there is nothing there.
        """

    def _stop(self) -> None:
        """End what runs there, after its line was closed."""

    @property
    def alive(self) -> bool:
        """Whether its firmware was started and has not ended."""
        return self._port is not None

    def power_on(self) -> None:
        """Start the firmware; it runs until it first waits."""
        config = json.loads((self.folder / "node.json").read_text(encoding="utf-8"))
        self._lines, self._heard, self._pending, self._granted = Lines(), [], b"", False
        self._net = Net(config["link"]["host"], config["link"]["port"])
        with contextlib.ExitStack() as failing:
            failing.callback(self._net.close)
            self._port = self._start()
            failing.pop_all()
        self._grants, self._to_vm = os.pipe()
        try:
            self.collect()
        except TargetError:
            self.power_off()
            raise

    def power_off(self) -> None:
        """End its firmware. Nothing real loses its power: its pins are the rig's."""
        if self._port is None:
            return
        self._port.close()
        self._port = None
        self._stop()
        assert self._net is not None
        self._net.close()
        os.close(self._grants)
        os.close(self._to_vm)
        with (self.folder / "console.log").open("ab") as log:
            log.write(self._lines.text)

    def grant(self, now: Ns, until: Ns, inputs: Mapping[int, int], through: bool = False) -> None:
        """Let it run to `now`, and alone on to `until`; see Target."""
        self._granted = True
        super().grant(now, until, inputs, through)

    def _read(self) -> bytes:
        """One exchange: what came on sockets and the grant go there, the records until it listens again come back."""
        if self._granted:
            self._granted = False
            assert self._net is not None
            for message in self._net.came():
                self._say(b"S", message)
                self._until(b"K")
            self._say(b"G", os.read(self._grants, _GRANT_BYTES))
        return self._until(b"W")

    def _say(self, letter: bytes, data: bytes) -> None:
        assert self._port is not None
        self._port.write(encode_line(letter, data))

    def _until(self, wanted: bytes) -> bytes:
        """The records that come before a line of this letter."""
        assert self._net is not None
        records = b""
        while True:
            letter, data = self._hear()
            if letter == wanted:
                return records
            if letter == b"R":
                records += data
            elif letter == b"T":
                self._net.goes(data)
            elif letter == b"E":
                raise TargetError(f"{self.name}: its firmware ended: {self.console()}")
            else:
                raise TargetError(f"{self.name}: sent a line of unknown letter {letter!r}")

    def _hear(self) -> tuple[bytes, bytes]:
        assert self._port is not None
        while not self._heard:
            data = self._port.read(4096)
            if not data:
                raise TargetError(f"{self.name}: says nothing for {PATIENCE_S:g} s: {self.console()}")
            try:
                self._heard += self._lines.feed(data)
            except DamagedLine as damaged:
                raise TargetError(f"{self.name}: a line from it was damaged: {damaged}") from damaged
        return self._heard.pop(0)

    def console(self, characters: int = 800) -> str:
        """The end of what the firmware printed."""
        log = self.folder / "console.log"
        before = log.read_bytes() if log.exists() and self._port is None else b""
        return (before + self._lines.text).decode(errors="replace")[-characters:].strip()
