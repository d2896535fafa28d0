"""A node in the real interpreter and in real time, its pins in a file, its clients on sockets."""

import json
import mmap
import os
import shutil
import socket
import struct
import subprocess
import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from hil import micropython
from hil.ports import free_port
from twin.export import sealed
from twin.node import COMMAND_AT, TRANSFER_AT, NodeCommand, NodeStatus, Reason, Transfer, TransferKind, TransferOp
from twin.wire import decode, encode, layout

FIRMWARE = Path(__file__).resolve().parents[2] / "firmware"
STANDINS = Path(__file__).resolve().parent / "standins"
PATIENCE_S = 30.0
STATUS_SIZE = layout(NodeStatus).size
INPUTS, VOLTAGES, OUTPUTS, FED = 0, 64, 144, 248


def eventually(true: Callable[[], bool], what: str = "it never came true") -> None:
    """Wait until something is true; how long that takes is nobody's business here, but for ever is too long."""
    end = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.002)


class Client:
    """A Modbus TCP client that sends what it is told, right or wrong."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._transaction = 0
        self._beat = 0
        self._sequence = 0

    def close(self) -> None:
        self.socket.close()

    def frame(self, pdu: bytes, unit: int = 1) -> bytes:
        """A request's bytes under the next transaction id."""
        self._transaction = self._transaction + 1 & 0xFFFF
        return struct.pack(">HHHB", self._transaction, 0, len(pdu) + 1, unit) + pdu

    def receive(self, count: int) -> bytes:
        """Exactly `count` bytes, fewer where the node closes."""
        got = b""
        while len(got) < count:
            more = self.socket.recv(count - len(got))
            if not more:
                return got
            got += more
        return got

    def reply(self) -> tuple[int, int, bytes]:
        """Transaction id, unit and PDU of the next reply."""
        head = self.receive(7)
        assert len(head) == 7, "the node closed the connection"
        transaction, protocol, length, unit = struct.unpack(">HHHB", head)
        assert protocol == 0
        return transaction, unit, self.receive(length - 1)

    def ask(self, pdu: bytes, unit: int = 1) -> bytes:
        """The reply to one request."""
        self.socket.sendall(self.frame(pdu, unit))
        transaction, answered, got = self.reply()
        assert (transaction, answered) == (self._transaction, unit)
        return got

    def closed(self) -> bool:
        """Whether the node has closed, with nothing more to say."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def read(self, first: int, count: int) -> list[int]:
        """Registers."""
        got = self.ask(struct.pack(">BHH", 3, first, count))
        assert got[:2] == bytes([3, 2 * count]), got.hex()
        return list(struct.unpack(f">{count}H", got[2:]))

    def write(self, first: int, words: Iterable[int]) -> int:
        """Write registers; returns 0 or the exception code."""
        data = b"".join(struct.pack(">H", word) for word in words)
        got = self.ask(struct.pack(">BHHB", 0x10, first, len(data) // 2, len(data)) + data)
        if got[0] == 0x90:
            return got[1]
        assert got == struct.pack(">BHH", 0x10, first, len(data) // 2)
        return 0

    def status(self) -> NodeStatus:
        """What the node says of itself."""
        return decode(NodeStatus, self.read(0, STATUS_SIZE))

    def grant(self, owner: int, epoch: int, *, lease: int = 5000, beat: bool = True, **command: Any) -> int:
        """Write the Grant, with a changed heartbeat unless told otherwise; a command gets the next sequence."""
        if beat:
            self._beat = self._beat + 1 & 0xFFFF
        if command:
            self._sequence = command.get("sequence", self._sequence + 1 & 0xFFFF)
        fields = {"sequence": self._sequence, "not_after": 2**32 - 1 >> 1, **command}
        made = NodeCommand(owner=owner, epoch=epoch, lease=lease, heartbeat=self._beat, **fields)
        return self.write(COMMAND_AT, encode(made))

    def let_lapse(self, owner: int, epoch: int) -> None:
        """Leave the node alone until it has noticed."""
        lost = self.status().leases_lost
        assert self.grant(owner, epoch, lease=50) == 0
        eventually(lambda: self.status().leases_lost == lost + 1, "the lease has not ended")

    def settle(self) -> None:
        """Let some ticks pass."""
        until = self.status().uptime + 40
        eventually(lambda: self.status().uptime >= until)

    def transfer(
        self, op: TransferOp, body: bytes = b"", *, crc: int | None = None, offset: int = 0, id: int = 7,
        kind: TransferKind = TransferKind.STORED_JOB,
    ) -> int:  # fmt: skip
        """Write into the transfer window; returns 0 or the exception code."""
        crc = zlib.crc32(body) if crc is None else crc
        head = Transfer(op=op, kind=kind, id=id, offset=offset, length=len(body), crc=crc)
        padded = body + bytes(len(body) % 2)
        return self.write(TRANSFER_AT, [*encode(head), *struct.unpack(f">{len(padded) // 2}H", padded)])

    def begin(self, data: bytes, **what: Any) -> int:
        """Announce a transfer of `data`."""
        return self.transfer(TransferOp.BEGIN, struct.pack(">I", len(data)) + sha256(data).digest(), **what)

    def send(self, data: bytes, block: int = 224, **what: Any) -> None:
        """All of `data` in order, then its end; each block is accepted at once."""
        for offset in range(0, len(data), block):
            assert self.transfer(TransferOp.DATA, data[offset : offset + block], offset=offset, **what) == 0
            assert self.status().transfer_reason is Reason.NONE
        assert self.transfer(TransferOp.END, **what) == 0


class Node:
    """A node of a `node.json`'s text in a folder of its own.

    Args:
        main: started instead of the firmware's main file: one of the stand-ins, by its name.
        voltages: what analogue inputs read, by pin.
    """

    def __init__(self, folder: Path, text: str, *, main: str | None = None, voltages: Mapping[int, int] | None = None) -> None:
        self.folder = folder
        self.port = free_port()
        config = json.loads(text)
        config["link"]["port"] = self.port
        folder.mkdir(exist_ok=True)
        (folder / "node.json").write_text(sealed(config))
        self.commands: list[tuple[int, list[int]]] = [(first, words) for first, words in config["commands"]]
        self._voltages = dict(voltages or {})
        self._main = STANDINS / main if main else FIRMWARE / "main.py"
        self._pins: mmap.mmap | None = None
        self._process: subprocess.Popen[str] | None = None
        self.said = ""
        self._clients: list[Client] = []

    def start(self) -> "Node":
        """Start it, with all digital pins low, and wait until it listens."""
        levels = bytearray(256)
        for pin, voltage in self._voltages.items():
            struct.pack_into("<H", levels, VOLTAGES + 2 * pin, voltage)
        pins = self.folder / "pins.bin"
        pins.write_bytes(levels)
        with pins.open("r+b") as file:
            self._pins = mmap.mmap(file.fileno(), 256)
        self._process = launch(self.folder, self._main)
        assert self._process.stdout is not None
        before = ""
        while "listens" not in (said := self._process.stdout.readline()):
            assert said, before  # it has ended
            before += said
        self.said = said
        return self

    def stop(self) -> None:
        """Take its power away."""
        for client in self._clients:
            client.close()
        self._clients.clear()
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None
        if self._pins is not None:
            self._pins.close()
            self._pins = None

    def client(self) -> Client:
        """A new connection."""
        made = Client(self.port)
        self._clients.append(made)
        return made

    def put(self, pin: int, level: int) -> None:
        """Set an input's level."""
        assert self._pins is not None
        self._pins[INPUTS + pin] = level

    def put_voltage(self, pin: int, value: int) -> None:
        """Set what an analogue input reads."""
        assert self._pins is not None
        struct.pack_into("<H", self._pins, VOLTAGES + 2 * pin, value)

    def ended(self) -> str:
        """Wait until it has ended by itself; what it said."""
        assert self._process is not None
        said, _ = self._process.communicate(timeout=PATIENCE_S)
        return said

    def out(self, pin: int) -> int:
        """What the node puts out at a pin: a level or a duty."""
        return self._word(OUTPUTS + 2 * pin)

    @property
    def fed(self) -> int:
        """How often it has fed its watchdog."""
        return self._word(FED)

    def _word(self, at: int) -> int:
        assert self._pins is not None
        value: int = struct.unpack_from("<H", self._pins, at)[0]
        return value


def interpreter() -> list[str]:
    """A VM with a board's words and heap; where there is none, the wide one with as many objects' room."""
    try:
        return [*micropython.narrow(), "-X", "heapsize=160K"]
    except micropython.MicroPythonError:
        return [*micropython.command(), "-X", "heapsize=288K"]


def launch(folder: Path, main: Path) -> "subprocess.Popen[str]":
    """The interpreter with a board's heap, running a main file in a folder."""
    path = f"{STANDINS}:.frozen:{FIRMWARE}"
    return subprocess.Popen(
        [*interpreter(), str(main)],
        cwd=folder,
        env={**os.environ, "MICROPYPATH": path},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def fresh(folder: Path) -> Path:
    """An empty folder in the place of whatever was there."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
