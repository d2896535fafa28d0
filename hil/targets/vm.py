"""The default target: the node's firmware in the MicroPython VM, in factory time, with real sockets."""

import contextlib
import fcntl
import os
import select
import struct
import subprocess
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hil import micropython
from hil.targets import FramesQueued, Inject, Output, PinSet, SerialSent, StreamCut, Target, TargetError, WatchdogFed
from twin.clock import US, Ns

STAND_INS = Path(__file__).resolve().parents[1] / "vm"
HEAP = "336K"
"""As many objects as 160 KB hold on a board, whose words are half as long, and the stand-ins that a board has in C (48 KB). What
a board's heap really has room for is seen on the target `narrow`."""

_RECORD = struct.Struct("<QBBHI")
_GRANT = struct.Struct("<QQBB?xI")
_INPUT = struct.Struct("<BxH")
_INPUTS = 16
_NO_INPUTS = struct.Struct("<QQBB?xI64x")
_PIPE_BYTES = 1 << 20
MOST_INJECTED = 64
PATIENCE_S = 60.0  # wall time: a loop that never waits stops factory time
_WAIT, _LEVEL, _DUTY, _FRAMES, _CUT, _FED, _SENT = range(7)


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


class Vm(Target):
    """One virtual board: a MicroPython VM and two pipes.

    Attributes:
        costs: the cost model of the board.
    """

    def __init__(self, name: str, folder: Path, costs: Costs = FREE) -> None:
        super().__init__(name, folder)
        self.costs = costs
        self.process: subprocess.Popen[bytes] | None = None
        self._pending = b""
        self._early: list[Output] = []
        self._got: list[Output] = []
        self._injected: deque[tuple[Inject, int]] = deque()

    @property
    def alive(self) -> bool:
        """Whether the board has power and its firmware has not ended."""
        return self.process is not None

    def power_on(self) -> None:
        """Start the firmware; it runs until it first waits."""
        assert self.process is None, f"{self.name} is on"
        to_vm, self._to_vm = os.pipe()
        self._from_vm, from_vm = os.pipe()
        for end in (self._to_vm, self._from_vm):
            os.set_inheritable(end, False)
        _widen(self._from_vm)
        costs = [str(c) for c in (self.costs.switch_us, self.costs.exchange_us, self.costs.collect_us, self.costs.byte_ns)]
        command = [*self._interpreter(), str(STAND_INS / "boot_vm.py")]
        path = f"{STAND_INS}:.frozen:{self.firmware}"
        log = (self.folder / "console.log").open("ab")
        self.process = subprocess.Popen(
            [*command, str(self.firmware / "main.py"), *costs],
            cwd=self.folder,
            env={
                **_plain_environment(),
                "MICROPYPATH": path,
                "LOCKSTEP_RIG": f"{to_vm},{from_vm}", **self._quiet(),
                "LOCKSTEP_RESET": str(int(self.reset_cause)),
            },
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(to_vm, from_vm),
        )
        if self.processors is not None:
            os.sched_setaffinity(self.process.pid, self.processors)
        log.close()
        os.close(to_vm)
        os.close(from_vm)
        self._pending = b""
        self.collect()

    def _interpreter(self) -> list[str]:
        """The VM, with its heap."""
        return [*micropython.command(), "-X", f"heapsize={HEAP}"]

    def _quiet(self) -> dict[str, str]:
        return {"LOCKSTEP_QUIET": " ".join(map(str, self.quiet))} if self.quiet else {}

    def power_off(self) -> None:
        """Take the power away, at once."""
        if self.process is None:
            return
        self.process.kill()
        self.process.wait()
        self.process = None
        os.close(self._to_vm)
        os.close(self._from_vm)

    def inject(self, what: Inject, argument: int = 0) -> None:
        """Break it from inside, at its next grant."""
        assert len(self._injected) < MOST_INJECTED, f"{self.name}: {MOST_INJECTED} faults wait for its next grant"
        self._injected.append((what, argument))

    def grant(self, now: Ns, until: Ns, inputs: Mapping[int, int], through: bool = False) -> None:
        """Let it run to `now`, and alone on to `until`; see Target."""
        self.now = now
        if not inputs and not self._injected:
            self._tell(_NO_INPUTS.pack(self._node_us(now), self._node_us(until), 0, 0, through, 0))
            return
        changes = list(inputs.items())
        for at in range(0, max(1, len(changes)), _INPUTS):
            part = changes[at : at + _INPUTS]
            body = b"".join(_INPUT.pack(pin, value) for pin, value in part)
            op, argument = self._injected.popleft() if self._injected else (0, 0)
            last = at + _INPUTS >= len(changes)  # before that, time does not go on
            alone_us = self._node_us(until if last else now)
            message = _GRANT.pack(self._node_us(now), alone_us, len(part), op, through, argument) + body
            self._tell(message.ljust(_NO_INPUTS.size, b"\0"))
            if not last:
                self._early = self.collect()

    def _tell(self, message: bytes) -> None:
        with contextlib.suppress(BrokenPipeError):  # collect() tells
            os.write(self._to_vm, message)

    def _node_us(self, time: Ns) -> int:
        """The node's clock at a moment."""
        elapsed_us = time // US
        drifted_us = elapsed_us * self.drift_ppm // 1_000_000 if self.drift_ppm else 0
        return self.clock_start_us + elapsed_us + drifted_us

    def _time(self, node_us: int) -> Ns:
        """The moment at which the node's clock says so, at the earliest."""
        elapsed_us = node_us - self.clock_start_us
        if self.drift_ppm:
            elapsed_us = -(-elapsed_us * 1_000_000 // (1_000_000 + self.drift_ppm))
        return Ns(elapsed_us * US)

    def collect(self) -> list[Output]:
        """What it did until it waited.

        Raises:
            TargetError: it ended; the text holds the end of its console.
        """
        outputs, self._early = self._early, []
        self._got = outputs
        data = self._pending
        at = 0
        while True:
            while len(data) - at < _RECORD.size:
                data, at = data[at:] + self._read(), 0
            time_us, kind, pin, value, length = _RECORD.unpack_from(data, at)
            at += _RECORD.size
            while len(data) - at < length:
                data, at = data[at:] + self._read(), 0
            time = self._time(time_us)
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
            elif kind == _SENT:
                outputs.append(SerialSent(time, pin, value))
            else:
                raise TargetError(f"{self.name}: sent a record of unknown kind {kind}")
            at += length

    def _read(self) -> bytes:
        if not select.select([self._from_vm], [], [], PATIENCE_S)[0]:
            raise TargetError(f"{self.name}: does not wait: its firmware has been busy for {PATIENCE_S:.0f} s of wall time")
        data = os.read(self._from_vm, _PIPE_BYTES)
        if not data:
            self._early = self._got
            raise TargetError(f"{self.name}: its firmware ended: {self.console()}")
        return data

    def leftover(self) -> Sequence[Output]:
        """What it did before it ended."""
        left, self._early = self._early, []
        return left

    def console(self, characters: int = 800) -> str:
        """The end of what the firmware printed."""
        return (self.folder / "console.log").read_text(errors="replace")[-characters:].strip()


def _widen(pipe: int) -> None:
    """Room for the frames of a whole grant, so that a VM seldom waits for the rig to read."""
    fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)


def _plain_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")}
