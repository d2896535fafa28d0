"""The default target: the node's firmware in the MicroPython VM, in factory time, with real sockets."""

import fcntl
import os
import struct
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hil import micropython
from twin.clock import US, Ns
from twin.kernel import Words

ROOT = Path(__file__).resolve().parents[2]
FIRMWARE = ROOT / "firmware"
STAND_INS = ROOT / "hil" / "vm"
HEAP = "192K"  # 160 KB, as an ESP32 leaves to Python, and what the stand-ins take that a board has in C

_RECORD = struct.Struct("<QBBHI")
_GRANT = struct.Struct("<QQB7x")
_INPUT = struct.Struct("<BxH")
_INPUTS = 16
_PIPE_BYTES = 1 << 20
_WAIT, _LEVEL, _DUTY, _FRAMES, _CUT, _FED = range(6)


@dataclass(frozen=True, slots=True)
class Costs:
    """What a board's processor takes for what a host does for nothing.

    Attributes:
        switch_us: resuming a task.
        exchange_us: taking in a message of a socket.
        collect_us: a garbage collection.
        byte_ns: copying one byte into the step stream.
    """

    switch_us: int = 0
    exchange_us: int = 0
    collect_us: int = 0
    byte_ns: int = 0


FREE = Costs()
BOARD = Costs(switch_us=320, exchange_us=600, collect_us=5000, byte_ns=150)
"""An ESP32 at 240 MHz: switch and collection from public figures, the others estimates (ADR 0004); none measured on silicon."""


@dataclass(frozen=True, slots=True)
class PinSet:
    """A pin changed: a level or, for a duty, 0..65535."""

    time: Ns
    pin: int
    value: int


@dataclass(frozen=True, slots=True)
class FramesQueued:
    """Words of a step stream, one each 10 µs from `time` on."""

    time: Ns
    pin: int
    words: Words


@dataclass(frozen=True, slots=True)
class StreamCut:
    """The step stream was stopped; what would have been played later is dropped."""

    time: Ns
    pin: int


@dataclass(frozen=True, slots=True)
class WatchdogFed:
    """The node fed its watchdog, and is due again after the timeout."""

    time: Ns
    timeout_ms: int


Output = PinSet | FramesQueued | StreamCut | WatchdogFed


class VmError(Exception):
    """The VM ended, or said what it should not have."""


class Vm:
    """One virtual board.

    Attributes:
        wake: when it wants to be asked again.
        active: it met something on a socket when it was last asked.
        settling: its processor is busy with a request until `wake`.
    """

    def __init__(self, name: str, folder: Path, costs: Costs = FREE) -> None:
        self.name = name
        self.folder = folder
        self.costs = costs
        self.wake = Ns(0)
        self.active = False
        self.settling = False
        self.process: subprocess.Popen[bytes] | None = None
        self._pending = b""

    @property
    def alive(self) -> bool:
        """Whether the board has power and its firmware has not ended."""
        return self.process is not None

    def power_on(self) -> None:
        """Start the firmware; it runs until it first waits."""
        to_vm, self._to_vm = os.pipe()
        self._from_vm, from_vm = os.pipe()
        for end in (self._to_vm, self._from_vm):
            os.set_inheritable(end, False)
        _widen(self._from_vm)
        costs = [str(c) for c in (self.costs.switch_us, self.costs.exchange_us, self.costs.collect_us, self.costs.byte_ns)]
        command = [*micropython.command(), "-X", f"heapsize={HEAP}", str(STAND_INS / "boot_vm.py")]
        path = f"{STAND_INS}:.frozen:{FIRMWARE}"
        log = (self.folder / "console.log").open("ab")
        self.process = subprocess.Popen(
            [*command, str(FIRMWARE / "main.py"), *costs],
            cwd=self.folder,
            env={**_plain_environment(), "MICROPYPATH": path, "LOCKSTEP_RIG": f"{to_vm},{from_vm}"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(to_vm, from_vm),
        )
        log.close()
        os.close(to_vm)
        os.close(from_vm)
        self._pending = b""
        self.collect()

    def power_off(self) -> None:
        """Take the power away, at once."""
        if self.process is None:
            return
        self.process.kill()
        self.process.wait()
        self.process = None
        os.close(self._to_vm)
        os.close(self._from_vm)

    def grant(self, now: Ns, until: Ns, inputs: Mapping[int, int]) -> None:
        """Let it run to `now`, and alone on to `until`; `inputs` are the pins that changed."""
        changes = list(inputs.items())
        for at in range(0, max(1, len(changes)), _INPUTS):
            part = changes[at : at + _INPUTS]
            body = b"".join(_INPUT.pack(pin, value) for pin, value in part)
            message = _GRANT.pack(now // US, until // US, len(part)) + body
            try:
                os.write(self._to_vm, message.ljust(88, b"\0"))
            except BrokenPipeError:
                return  # collect() tells
            if at + _INPUTS < len(changes):
                self.collect()

    def collect(self) -> list[Output]:
        """What it did until it waited.

        Raises:
            VmError: it ended; the text holds the end of its console.
        """
        outputs: list[Output] = []
        data = self._pending
        at = 0
        while True:
            while len(data) - at < _RECORD.size:
                data, at = data[at:] + self._read(), 0
            time_us, kind, pin, value, length = _RECORD.unpack_from(data, at)
            at += _RECORD.size
            while len(data) - at < length:
                data, at = data[at:] + self._read(), 0
            time = Ns(time_us * US)
            if kind == _WAIT:
                self.wake, self.active, self.settling = time, bool(pin & 1), bool(pin & 2)
                self._pending = data[at:]
                return outputs
            if kind in (_LEVEL, _DUTY):
                outputs.append(PinSet(time, pin, value))
            elif kind == _FRAMES:
                outputs.append(FramesQueued(time, pin, np.frombuffer(data, np.uint32, length // 4, at)))
            elif kind == _CUT:
                outputs.append(StreamCut(time, pin))
            elif kind == _FED:
                outputs.append(WatchdogFed(time, value))
            else:
                raise VmError(f"{self.name}: sent a record of unknown kind {kind}")
            at += length

    def _read(self) -> bytes:
        data = os.read(self._from_vm, _PIPE_BYTES)
        if not data:
            raise VmError(f"{self.name}: its firmware ended: {self.console()}")
        return data

    def console(self, characters: int = 800) -> str:
        """The end of what the firmware printed."""
        return (self.folder / "console.log").read_text(errors="replace")[-characters:].strip()


def _widen(pipe: int) -> None:
    """Room for the frames of a whole grant, so that a VM seldom waits for the rig to read."""
    fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)


def _plain_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")}
