"""Commands through a channel that loses, doubles, delays and reorders, over connections reset and restarts: at most once."""

import heapq
import itertools
import random
import struct
from collections import Counter
from dataclasses import dataclass

import pytest

from tests.firmware.safety_alone import THEM, US, Bench
from twin import node as n
from twin.node import Op

_GRANT = struct.Struct(">IIHHHHIII")
LEASE_MS = 200


@dataclass(frozen=True, slots=True)
class Meant:
    """A command as its owner meant it: in which run of the node, and until which of its uptimes [ms]."""

    run: int
    not_after: int


class Channel:
    """A node behind a bad channel, and the owner that commands it.

    Attributes:
        executed: how often each command ran; late: those that ran after their time, or in another run of the node;
            overtaken: how many ran after a younger one.
        refused: what the node has counted, over all its runs.
    """

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.flying: list[tuple[int, int, int, bytes]] = []
        self.order = itertools.count()
        self.meant: dict[int, Meant] = {}
        self.executed: Counter[int] = Counter()
        self.late: list[int] = []
        self.overtaken = self.newest = 0
        self.refused: Counter[str] = Counter()
        self.now = self.run = self.peer = 0
        self.epoch = self.claimed = self.sequence = self.beat = 0
        self.last: tuple[int, int, int] = (0, 0, 0)
        self.bench = self._started()

    def _started(self) -> Bench:
        bench = Bench(epoch=self.epoch)
        self.born = self.now
        bench.motion.start = self._start  # type: ignore[method-assign]
        return bench

    def _start(self, number: int) -> int:
        self.executed[number] += 1
        meant = self.meant[number]
        self.overtaken += number < self.newest
        self.newest = max(self.newest, number)
        if meant.run != self.run or self.bench.bank.u32(8) > meant.not_after:
            self.late.append(number)
        return 0

    # ---- the channel

    def send(self, frame: bytes, peer: int) -> None:
        chance = self.chance.random
        for _ in range(2 if chance() < 0.1 else 1):
            if chance() > 0.1:
                delay = int(1000 ** chance()) if chance() < 0.3 else 1
                heapq.heappush(self.flying, (self.now + delay, next(self.order), peer, frame))

    def pass_ms(self, ms: int) -> None:
        """Time passes; what is due arrives, however old it is."""
        until = self.now + ms
        while self.flying and self.flying[0][0] <= until:
            due, _, peer, frame = heapq.heappop(self.flying)
            self._tick(due)
            self.bench.safety.write(peer, n.COMMAND_AT, frame)
        self._tick(until)

    def _tick(self, until: int) -> None:
        self.bench.tick(until - self.now)
        self.now = until

    # ---- what happens

    def restart(self) -> None:
        self._count()
        self.epoch = self.bench.kept[-1]
        self.run += 1
        self.bench = self._started()

    def _count(self) -> None:
        status = self.bench.status
        for kind in ("late_refused", "repeated", "foreign", "old_epochs"):
            self.refused[kind] += getattr(status, kind)

    def speak(self) -> None:
        """The owner's turn: it reads the node, which may fail; it claims, keeps its lease, or commands."""
        if self.chance.random() < 0.2:
            return
        bank = self.bench.bank
        leased, epoch = bank.bit(11, 0), bank.u32(12)
        if not leased:
            self.claimed, self.sequence = epoch + 1, bank.u16(18)
            self.last, self.seen_run = (0, 0, 0), self.run
        elif epoch != self.claimed or self.seen_run != self.run:
            return
        elif self.last[1] and self.chance.random() < 0.1:
            self.sequence = self.sequence + 1 & 0xFFFF  # in doubt it asks again, under the same id
        elif self.chance.random() < 0.7:
            number = len(self.meant) + 1
            self.meant[number] = Meant(self.run, bank.u32(8) + self.chance.randrange(5, 200))
            self.sequence = self.sequence + 1 & 0xFFFF
            self.last = (Op.START, number, self.meant[number].not_after)
        self.beat = self.beat + 1 & 0xFFFF
        op, number, not_after = self.last
        frame = _GRANT.pack(US, self.claimed, LEASE_MS, self.beat, self.sequence, op, number, number, not_after)
        self.send(frame, self.peer)

    def turn(self) -> None:
        self.speak()
        happens = self.chance.random()
        if happens < 0.002:
            self.restart()
        elif happens < 0.01:
            self.peer += 1  # the connection is reset; what is still on its way in the old one arrives, or does not
        elif happens < 0.03:
            self.send(_GRANT.pack(THEM, self.chance.randrange(1, 9999), 500, 1, 5, Op.START, 1, 1, 2**31), -1)
        self.pass_ms(self.chance.choice((1, 5, 20, 60)))


def flood(commands: int, seed: int) -> Channel:
    channel = Channel(seed)
    while len(channel.meant) < commands:
        channel.turn()
    channel.pass_ms(2000)
    channel._count()
    return channel


def assert_at_most_once(channel: Channel) -> None:
    assert [number for number, times in channel.executed.items() if times > 1] == []
    assert (channel.late, channel.overtaken) == ([], 0)
    assert sum(channel.executed.values()) > 0.5 * len(channel.meant), "most commands do arrive"
    assert channel.run > 10 and all(channel.refused[kind] for kind in ("late_refused", "repeated", "foreign", "old_epochs"))


def test_no_command_runs_twice_or_late_whatever_the_channel_does_to_it() -> None:
    assert_at_most_once(flood(10_000, seed=1))


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(2, 12))
def test_of_a_million_commands_none_runs_twice_or_late(seed: int) -> None:
    assert_at_most_once(flood(100_000, seed))
