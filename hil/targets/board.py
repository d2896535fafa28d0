"""Target `board`: an ESP32 with MicroPython at a serial port, in factory time. Never run on silicon so far.

LOCKSTEP_BOARD names the port, as pyserial wants it: `/dev/ttyUSB0`; or one for each node: `belt=/dev/ttyUSB0,lamp=/dev/ttyUSB1`.
"""

import abc
import hashlib
import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from hil.targets import Absent, TargetError
from hil.targets.serial import PATIENCE_S, SERIAL_STAND_INS, Port, Serial
from hil.targets.vm import STAND_INS
from twin.clock import wall_sleep

NAMED_BY = "LOCKSTEP_BOARD"
BAUD = 115_200
FLASHING_S = 600.0
RIG, CELL = "rig", "cell"
"""Folders on the board: the stand-ins, and the node's own. Nothing there starts by itself at power-on."""

_PROMPT = b"raw REPL; CTRL-B to exit\r\n"
_PIECE, _PAUSE_S = 64, 0.01  # a console's receive buffer is small while the REPL reads from it
_CODE = """\
import os, sys
sys.path[:] = ["/{rig}", ".frozen", "/{cell}"]
sys.argv[:] = ["boot_serial.py", "/{cell}/main.py", {costs}]
os.chdir("/{cell}")
exec(open("/{rig}/boot_serial.py").read())
"""


def image(firmware: Path, config: str) -> dict[str, bytes]:
    """What lies on a board, by path: the stand-ins, the firmware and its node.json."""
    files = {f"{RIG}/{file.name}": file.read_bytes() for place in (STAND_INS, SERIAL_STAND_INS) for file in place.glob("*.py")}
    sources = [file for file in firmware.rglob("*.py") if "__pycache__" not in file.parts]
    files |= {f"{CELL}/{file.relative_to(firmware).as_posix()}": file.read_bytes() for file in sources}
    return {**files, f"{CELL}/node.json": config.encode()}


class Repl(Serial, abc.ABC):
    """A MicroPython with a file system and a raw REPL: it is brought up to date, and started by its REPL."""

    @abc.abstractmethod
    def _where(self) -> str:
        """The port, as mpremote wants it."""

    @abc.abstractmethod
    def _connect(self) -> Port:
        """The line to it.

        Raises:
            Absent: there is nothing there.
        """

    def open(self) -> None:
        """Get hold of it.

        Raises:
            Absent: it is not to be had here.
        """
        if importlib.util.find_spec("mpremote") is None:
            raise Absent("it takes mpremote: pip install 'lockstep-factory[hil]'")

    def _start(self) -> Port:
        self.open()
        self._bring_up_to_date()
        port = self._connect()
        try:
            self._run(port)
        except TargetError:
            port.close()
            raise
        return port

    def _bring_up_to_date(self) -> None:
        files = image(self.firmware, (self.folder / "node.json").read_text(encoding="utf-8"))
        wanted = hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()
        told = self.folder / "flashed.txt"
        if told.exists() and told.read_text() == wanted:
            return
        with tempfile.TemporaryDirectory(prefix="lockstep-board-") as place:
            _lay_out(files, Path(place))
            if not told.exists():  # another node may have left its counters there
                self._mpremote(Path(place), "fs", "rm", "-r", f":{CELL}", may_fail=True)
            self._mpremote(Path(place), "fs", "cp", "-r", RIG, CELL, ":")
        told.write_text(wanted)

    def _mpremote(self, place: Path, *command: str, may_fail: bool = False) -> None:
        whole = [sys.executable, "-m", "mpremote", "connect", self._where(), *command]
        try:
            done = subprocess.run(whole, cwd=place, capture_output=True, text=True, timeout=FLASHING_S, check=False)
        except subprocess.TimeoutExpired:
            raise TargetError(f"{self.name}: mpremote has not ended after {FLASHING_S:g} s") from None
        if done.returncode and not may_fail:
            raise TargetError(f"{self.name}: mpremote {' '.join(command)}: {(done.stderr or done.stdout).strip()[-400:]}")

    def _run(self, port: Port) -> None:
        """Soft reset, so that nothing of before is left, then the boot file."""
        costs = (self.costs.switch_us, self.costs.exchange_us, self.costs.collect_us, self.costs.byte_ns)
        code = _CODE.format(rig=RIG, cell=CELL, costs=", ".join(f'"{cost}"' for cost in costs))
        port.write(b"\r\x03\x03\r\x01")
        self._expect(port, _PROMPT)
        port.write(b"\x04")
        self._expect(port, b"soft reboot")
        self._expect(port, _PROMPT + b">")
        for at in range(0, len(code), _PIECE):
            port.write(code[at : at + _PIECE].encode())
            wall_sleep(_PAUSE_S)
        port.write(b"\x04")
        self._expect(port, b"OK")

    def _expect(self, port: Port, ending: bytes) -> None:
        said = b""
        while not said.endswith(ending):
            if not (one := port.read(1)):
                raise TargetError(f"{self.name}: no REPL answers within {PATIENCE_S:g} s: {said[-200:]!r}")
            said += one


def _lay_out(files: Mapping[str, bytes], place: Path) -> None:
    for path, data in files.items():
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        (place / path).write_bytes(data)


class _PyserialPort:
    """A serial port of this machine."""

    def __init__(self, where: str) -> None:
        import serial

        try:
            self._serial = serial.serial_for_url(where, baudrate=BAUD, timeout=PATIENCE_S, exclusive=True)
        except (serial.SerialException, ValueError) as missing:
            raise Absent(f"board: no port {where}: {missing}") from missing

    def read(self, size: int = 1) -> bytes:
        first: bytes = self._serial.read(1)
        waiting = min(size - 1, self._serial.in_waiting) if first else 0
        rest: bytes = self._serial.read(waiting) if waiting > 0 else b""
        return first + rest

    def write(self, data: bytes) -> int | None:
        written: int | None = self._serial.write(data)
        return written

    def close(self) -> None:
        self._serial.write(b"\x03\x03")  # what runs there ends; the console is the REPL again
        self._serial.close()


class Board(Repl):
    """A node on an ESP32 at a serial port of this machine. Never run on silicon so far."""

    def open(self) -> None:
        """Get hold of it, or of any other board where none is named for this node.

        Raises:
            Absent: no port is named, it cannot be opened, or a tool is missing.
        """
        if importlib.util.find_spec("serial") is None:
            raise Absent("board: it takes pyserial: pip install 'lockstep-factory[hil]'")
        super().open()
        ports = _named()
        if not ports:
            raise Absent(f"board: {NAMED_BY} names no serial port")
        _PyserialPort(ports.get(self.name) or next(iter(ports.values()))).close()

    def _where(self) -> str:
        ports = _named()
        where = ports.get(self.name) or ports.get("", "")
        if not where:
            raise Absent(f"board: {NAMED_BY} names no serial port for {self.name}")
        return where

    def _connect(self) -> Port:
        return _PyserialPort(self._where())


def _named() -> dict[str, str]:
    """Ports by node; by no name where one is for all."""
    named = os.environ.get(NAMED_BY, "")
    if "=" not in named:
        return {"": named} if named else {}
    return dict(pair.split("=", 1) for pair in named.split(",") if "=" in pair)
