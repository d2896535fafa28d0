"""What a node can run on, behind one interface."""

import abc
import enum
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from twin.clock import Ns
from twin.kernel import Words
from twin.node import ResetCause

FIRMWARE = Path(__file__).resolve().parents[2] / "firmware"
CAPTURED = 10_000  # outputs kept for capture()


class Absent(Exception):
    """A target that cannot be had here, and why: tests on it are skipped with that reason."""


class TargetError(Exception):
    """The node ended, or said what it should not have."""


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


@dataclass(frozen=True, slots=True)
class SerialSent:
    """The node has written so many bytes to a UART; they lie in its tty."""

    time: Ns
    uart: int
    count: int


Output = PinSet | FramesQueued | StreamCut | WatchdogFed | SerialSent


class Inject(enum.IntEnum):
    """What can be done to a node from inside, with one number.

    Attributes:
        PAUSE: its processor is away for so many µs, once.
        LOAD: so many µs are added to each task switch; 0 takes them away again.
        HANG: nothing runs any more: the watchdog must bite.
        EAT: the heap is held but for so many bytes; 0 gives it back.
        READ_ONLY: while 1, files cannot be opened for writing.
        RAISE: the next so many readings of digital inputs raise OSError.
    """

    PAUSE = 1
    LOAD = 2
    HANG = 3
    EAT = 4
    READ_ONLY = 5
    RAISE = 6


class Target(abc.ABC):
    """One node on whatever runs it. Whoever holds it grants it time and is told what its pins did in it.

    A rig uses `grant` and `collect`, so that several nodes run at once; `advance`, `read`, `write` and `capture` are the same
    for a node that is driven alone.

    Attributes:
        name: of the node; folder: its flash, where that lies on this machine.
        firmware: the folder whose main.py it runs from its next power-on on.
        now: up to where it was last granted.
        wake: when it wants to be asked again.
        active: it met something on a socket when it was last asked.
        settling: its processor is busy with a request until `wake`.
        clock_start_us: what its clock says when the rig's says 0.
        drift_ppm: how much too fast its clock goes.
        reset_cause: what its next start is to be told by the processor, as machine.reset_cause() has it.
        quiet: pins whose changes reach nothing at once, so that they need not be told of at once.
        processors: those of this machine that it may use from its next power-on on, where it is a process; None for all.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        self.firmware = FIRMWARE
        self.now = Ns(0)
        self.wake = Ns(0)
        self.active = False
        self.settling = False
        self.clock_start_us = 0
        self.drift_ppm = 0
        self.reset_cause = ResetCause.POWER
        self.processors: set[int] | None = None
        self.quiet: tuple[int, ...] = ()
        self._staged: dict[int, int] = {}
        self._levels: dict[int, int] = {}
        self._captured: deque[Output] = deque(maxlen=CAPTURED)

    # ---- what every target has to do

    @property
    @abc.abstractmethod
    def alive(self) -> bool:
        """Whether it has power and its firmware has not ended."""

    @abc.abstractmethod
    def power_on(self) -> None:
        """Start the firmware; it runs until it first waits."""

    @abc.abstractmethod
    def power_off(self) -> None:
        """Take the power away, at once."""

    @abc.abstractmethod
    def grant(self, now: Ns, until: Ns, inputs: Mapping[int, int], through: bool = False) -> None:
        """Let it run to `now`, and alone on to `until`; `inputs` are the pins that changed.

        `through`: it may go on alone also when it has met something on a socket, for nobody will answer it before `until`.
        """

    @abc.abstractmethod
    def collect(self) -> Sequence[Output]:
        """What it did until it waited.

        Raises:
            TargetError: it ended, or said what it should not have.
        """

    @abc.abstractmethod
    def inject(self, what: Inject, argument: int = 0) -> None:
        """Break it from inside, at its next grant."""

    @abc.abstractmethod
    def console(self, characters: int = 800) -> str:
        """The end of what the firmware printed."""

    # ---- what some do more of

    def leftover(self) -> Sequence[Output]:
        """What it did after the last `collect`, before it ended by itself."""
        return ()

    def open(self) -> None:  # noqa: B027  (most need not do anything)
        """Get hold of it.

        Raises:
            Absent: it is not to be had here.
        """

    def flash(self, firmware: Path) -> None:
        """Give it the firmware of a folder, from its next power-on on.

        Raises:
            TargetError: there is no main.py in it.
        """
        if not (firmware / "main.py").is_file():
            raise TargetError(f"{self.name}: no main.py in {firmware}")
        self.firmware = firmware

    # ---- a node driven alone

    def power(self, on: bool) -> None:
        """Switch it on or off."""
        if on and not self.alive:
            self._levels.clear()
            self.power_on()
        elif not on and self.alive:
            self.power_off()
            self._levels.clear()

    def reset(self) -> None:
        """Off and on again."""
        self.power(False)
        self.power(True)

    def write(self, pin: int, value: int) -> None:
        """Give an input a level, or a reading of 0..65535, from the next `advance` on."""
        self._staged[pin] = value

    def read(self, pin: int) -> int:
        """What it last put out at a pin; 0 before it did."""
        return self._levels.get(pin, 0)

    def advance(self, until: Ns) -> None:
        """Let it run until `until`, with the inputs as they are.

        Raises:
            TargetError: it ended.
        """
        inputs, self._staged = self._staged, {}
        while True:
            self.grant(self.now, until, inputs)
            self._keep(self.collect())
            inputs = {}
            if self.now >= until and self.wake > until:
                return
            self.now = Ns(min(until, max(self.now, self.wake)))

    def capture(self) -> tuple[Output, ...]:
        """What its pins did since it was last asked this; the latest of it, where that is very much."""
        found = tuple(self._captured)
        self._captured.clear()
        return found

    def _keep(self, outputs: Sequence[Output]) -> None:
        self._captured.extend(outputs)
        for output in outputs:
            if isinstance(output, PinSet):
                self._levels[output.pin] = output.value
