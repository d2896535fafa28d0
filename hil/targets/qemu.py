"""Target `qemu`: the same over an emulated ESP32, where a qemu-system-xtensa that knows one is on PATH. Never run so far.

LOCKSTEP_ESP32_IMAGE names a flash image of 4 MB with MicroPython in it; docs/how-to/run-on-a-board.md says how to get both.
"""

import os
import shutil
import socket
import subprocess
from pathlib import Path

from hil.targets import Absent, TargetError
from hil.targets.board import Repl
from hil.targets.serial import PATIENCE_S, Port
from hil.targets.vm import FREE, Costs
from twin.clock import Ns, S, wall_ns, wall_sleep

PROGRAM = "qemu-system-xtensa"
MACHINE = "esp32"
NAMED_BY = "LOCKSTEP_ESP32_IMAGE"
IMAGE_BYTES = 4 << 20
BOOT_S = 60.0
_ANSWER_S = 20.0


def find() -> tuple[str, Path]:
    """The emulator and the flash image.

    Raises:
        Absent: one of them is not there, or is not what it must be.
    """
    program = shutil.which(PROGRAM)
    if program is None:
        raise Absent(f"qemu: no {PROGRAM} on PATH")
    try:
        known = subprocess.run([program, "-machine", "help"], capture_output=True, text=True, timeout=_ANSWER_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as failed:
        raise Absent(f"qemu: {program} does not say which machines it knows: {failed}") from failed
    if not any(line.split()[:1] == [MACHINE] for line in known.stdout.splitlines()):
        raise Absent(f"qemu: {program} knows no machine {MACHINE}; Espressif's own does")
    named = os.environ.get(NAMED_BY)
    if not named:
        raise Absent(f"qemu: {NAMED_BY} names no flash image")
    image = Path(named)
    if not image.is_file() or image.stat().st_size != IMAGE_BYTES:
        raise Absent(f"qemu: {NAMED_BY}={named} is no file of {IMAGE_BYTES} bytes; merge the image to 4 MB")
    return program, image


class _TcpPort:
    """The emulator's serial port."""

    def __init__(self, number: int) -> None:
        self._link = socket.create_connection(("127.0.0.1", number), timeout=PATIENCE_S)
        self._link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def read(self, size: int = 1) -> bytes:
        try:
            return self._link.recv(size)
        except OSError:
            return b""

    def write(self, data: bytes) -> int | None:
        self._link.sendall(data)
        return len(data)

    def close(self) -> None:
        self._link.close()


class Qemu(Repl):
    """A node on an emulated ESP32. Its flash is a copy of the image in the node's folder."""

    def __init__(self, name: str, folder: Path, costs: Costs = FREE) -> None:
        super().__init__(name, folder, costs)
        self._emulator: subprocess.Popen[bytes] | None = None
        self._number = 0

    def open(self) -> None:
        """Get hold of it.

        Raises:
            Absent: there is no emulator, no image, or a tool is missing.
        """
        find()
        super().open()

    def _start(self) -> Port:
        program, image = find()
        flash = self.folder / "flash.bin"
        if not flash.exists():
            shutil.copyfile(image, flash)
        self._number = _free_number()
        drive = f"file={flash},if=mtd,format=raw"
        serial = f"tcp:127.0.0.1:{self._number},server=on,wait=off"
        log = (self.folder / "qemu.log").open("ab")
        self._emulator = subprocess.Popen(
            [program, "-nographic", "-machine", MACHINE, "-drive", drive, "-serial", serial, "-monitor", "none",
             "-icount", "shift=3,sleep=off"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
        log.close()
        try:
            self._wait_for_boot()
            return super()._start()
        except (Absent, TargetError):
            self._stop()
            raise

    def _wait_for_boot(self) -> None:
        """Until its REPL answers to a line end."""
        port = self._connect()
        end = Ns(wall_ns() + round(BOOT_S * S))
        said = b""
        try:
            while b">>> " not in said:
                if wall_ns() > end:
                    raise TargetError(f"{self.name}: no REPL {BOOT_S:g} s after power-on: {said[-200:]!r}")
                port.write(b"\r\n")
                wall_sleep(0.2)
                said += port.read(4096)
        finally:
            port.close()

    def _stop(self) -> None:
        if self._emulator is not None:
            self._emulator.kill()
            self._emulator.wait()
            self._emulator = None

    def _where(self) -> str:
        return f"socket://127.0.0.1:{self._number}"

    def _connect(self) -> Port:
        end = Ns(wall_ns() + round(PATIENCE_S * S))
        while True:
            try:
                return _TcpPort(self._number)
            except OSError as refused:
                if wall_ns() > end or self._emulator is None or self._emulator.poll() is not None:
                    raise TargetError(f"{self.name}: the emulator has no serial port: {refused}") from refused
            wall_sleep(0.1)


def _free_number() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        number: int = probe.getsockname()[1]
        return number
