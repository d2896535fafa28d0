"""The firmware's Safety alone, and what it speaks to, in a time that stands in a test's hands."""

import struct
from collections.abc import Iterable
from typing import Any

from tests.firmware.alone import Ticks, load
from twin import node as n
from twin.node import NodeCommand, NodeStatus, Reason, Result
from twin.wire import decode, encode, layout

US, THEM = 0x01020304, 0xA0B0C0D0
HERE, THERE = 1, 2  # connections
NOBODY, LINE = 0, -1  # who sends a broadcast; whoever is on a serial line
BELT, LAMPS = 256, 300
SENSOR_AT = 290
RECORDS = ([BELT, [0, 0]], [LAMPS, [0, 7]])
TICKS = Ticks()
bank, safety = load("bank", "safety", ticks=TICKS)


class Motion:
    """A Motion that does as it is told.

    Attributes:
        told: what it was told, in order.
    """

    def __init__(self) -> None:
        self.running = self.finishes = False
        self.refuses = self.cause = 0
        self.told: list[Any] = []

    def start(self, job_id: int) -> int:
        self.told.append(job_id)
        self.running = not self.refuses
        return self.refuses

    def stop(self) -> None:
        self.told.append("stop")
        self.running = False


class Heat:
    """A heater or a fan, and what was done to it."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def off(self) -> None:
        self.told.append("off")

    def set(self, duty: int) -> None:
        self.told.append(duty)


class Window:
    def __init__(self) -> None:
        self.writes: list[bytes] = []

    def write(self, data: bytes) -> int:
        self.writes.append(bytes(data))
        return 6


class Store:
    """Jobs that lie in flash."""

    def __init__(self) -> None:
        self.jobs: set[int] = set()

    def stored(self, job_id: int) -> bool:
        return job_id in self.jobs


class Bench:
    """One Safety and what it speaks to, one at a time: a new one sets the clock. Its counters are kept nowhere."""

    def __init__(self, *rules: tuple[tuple[int, int], tuple[int, int]], ms: int = 0, epoch: int = 0, run: Any = None) -> None:
        self.ticks = TICKS
        self.ticks.ms = ms
        self.kept = [epoch]
        safety.read_counter = lambda name: self.kept[-1]
        safety.write_counter = lambda name, value: self.kept.append(value)
        self.bank, self.effective = bank.Bank(n.REGISTERS), bank.Bank(310)
        self.motion, self.heater, self.fan, self.window, self.store = Motion(), Heat(), Heat(), Window(), Store()
        commands = safety.Commands(RECORDS, self.bank, self.effective)
        interlocks = [{"output": list(output), "when": list(when)} for output, when in rules]
        rest = (commands, self.store, self.window, self.motion, [self.heater], [self.fan])
        self.safety = safety.Safety(interlocks, self.bank, *rest, run=run)
        self._beat = 0
        self._sequence = 0

    def write(self, first: int, words: Iterable[int], peer: int = HERE, touched: tuple[int, int, int] | None = None) -> int:
        words = list(words)
        code: int = self.safety.write(peer, first, struct.pack(f">{len(words)}H", *words), touched)
        return code

    def grant(self, owner: int = US, epoch: int = 1, *, lease: int = 500, peer: int = HERE, beat: int = 1, **command: Any) -> int:
        """Write the Grant; a command gets the next sequence."""
        self._beat = self._beat + beat & 0xFFFF
        self._sequence = self._sequence + bool(command) & 0xFFFF
        fields = {"sequence": self._sequence, "not_after": self.status.uptime + 1000 & 0xFFFFFFFF, **command}
        made = NodeCommand(owner=owner, epoch=epoch, lease=lease, heartbeat=self._beat, **fields)
        return self.write(n.COMMAND_AT, encode(made), peer)

    @property
    def status(self) -> NodeStatus:
        return decode(NodeStatus, [self.bank.u16(at) for at in range(n.STATUS_AT, n.STATUS_AT + layout(NodeStatus).size)])

    def judged(self, **command: Any) -> tuple[Result, Reason, int]:
        """What became of a command."""
        assert self.grant(**command) == 0
        status = self.status
        return status.result, status.reason, status.executions

    def tick(self, ms: int = 0) -> None:
        """Time passes; then the node's turn comes."""
        self.ticks.us += 1000 * ms
        self.safety.tick(self.ticks.ms)

    def effect(self, first: int, count: int = 2) -> list[int]:
        """The words that take effect."""
        return [self.effective.u16(first + k) for k in range(count)]
