"""A controller and a node with a bad channel between them, a disk that takes its time, and kills on both sides.

On the controller's side run the product's own Grant, its look at commands and its look-up of what is owed; the node is the
firmware's own Safety. The book is a dictionary: what was put into it is safe a few turns later, and what was not is lost in a kill.
"""

import heapq
import itertools
import random
import struct
from collections import Counter
from dataclasses import replace

from controller.nodes.grant import Errand, Grant, Standing, attend, stand, uptime, verdict
from controller.nodes.owed import looked_up
from controller.orders.intents import Intent, IntentState
from tests.firmware.safety_alone import THEM, Bench
from twin import node as n
from twin.clock import MS, Ns
from twin.node import JobState, NodeCommand, NodeStatus, Op
from twin.trace import Sample
from twin.wire import encode

HOUSE = 0x5EED
GRANT = struct.Struct(">14H")
LEASE_MS = 300
JOB_ID, JOB_STATE = 24, 26
OPS = (Op.START, Op.RESET, Op.STOP)


class Disk:
    """The book: epochs and commands, safe after a while."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self.epoch = 0
        self.safe: dict[int, Intent] = {}
        self.starts: dict[int, Errand] = {}
        self._coming: list[tuple[int, Intent]] = []

    def put(self, turn: int, intent: Intent) -> None:
        self._coming.append((turn + self._chance.choice((0, 1, 1, 4)), intent))

    def work(self, turn: int) -> None:
        """One commit takes everything that has come until its own time."""
        while self._coming and self._coming[0][0] <= turn:
            _, intent = self._coming.pop(0)
            self.safe[intent.id] = intent

    def lose(self) -> None:
        self._coming.clear()


class Story:
    """The two of them.

    Attributes:
        executed: how often each command ran. late: those that ran after their time or in another run of the node.
        unwritten: those that ran, no STOP, before they were on disk.
        answered: what somebody was told of each command.
    """

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.disk = Disk(self.chance)
        self.flying: list[tuple[int, int, int, bytes]] = []
        self.order = itertools.count()
        self.executed: Counter[int] = Counter()
        self.late: list[int] = []
        self.unwritten: list[int] = []
        self.answered: dict[int, str] = {}
        self.made: dict[int, Errand] = {}
        self.happened: Counter[str] = Counter()
        self.now = self.turn = self.run = self.runs = self.peer = self.number = 0
        self.cut = 0
        self.quiet = False
        self.bench = self._started(0)
        self._begin()

    # ---- the node

    def _started(self, epoch: int) -> Bench:
        bench = Bench(epoch=epoch)
        self.born = self.now
        carry_out = bench.safety._run

        def counted(op: int, number: int) -> int:
            reason = int(carry_out(op, number))
            if not reason:
                self._ran(number)
            if not reason and op == Op.START:
                bench.bank.put32(JOB_ID, number)
                bench.bank.put16(JOB_STATE, int(JobState.RUNNING))
            return reason

        bench.safety._run = counted
        return bench

    def _ran(self, number: int) -> None:
        self.executed[number] += 1
        meant = self.made[number]
        if meant.boot_id != self.run or self.bench.bank.u32(8) > meant.not_after:
            self.late.append(number)
        if meant.op is not Op.STOP and number not in self.disk.safe:
            self.unwritten.append(number)

    def restart_node(self) -> None:
        self.happened["node restarted"] += 1
        self.run += 1
        self.bench = self._started(self.bench.kept[-1])

    # ---- the channel

    def send(self, frame: bytes, peer: int) -> None:
        chance = self.chance.random
        for _ in range(2 if chance() < 0.1 else 1):
            if chance() > 0.1:
                delay = int(2000 ** chance()) if chance() < 0.2 else 1
                heapq.heappush(self.flying, (self.now + delay, next(self.order), peer, frame))

    def pass_ms(self, ms: int) -> None:
        until = self.now + ms
        while self.flying and self.flying[0][0] <= until:
            due, _, peer, frame = heapq.heappop(self.flying)
            self._tick(due)
            self.bench.safety.write(peer, n.COMMAND_AT, frame)
        self._tick(until)

    def _tick(self, until: int) -> None:
        self.bench.tick(until - self.now)
        self.now = until

    # ---- the controller

    def _begin(self) -> None:
        """A controller starts: what it knows is on disk."""
        self.runs += 1
        self.owner = (self.runs & 0x7FFF) << 16 | HOUSE
        self.grant = Grant()
        self.sample: Sample[NodeStatus] = Sample(None, Ns(0), 0)
        self.waiting: tuple[Errand, ...] = ()
        self.owed = {number: intent for number, intent in self.disk.safe.items() if intent.owed}
        self.start: Errand | None = None
        for number in [number for number in self.owed if self.made[number].op is Op.START]:
            self.start = self.made[number]  # its whole errand is in the order's own row
        self.disk.lose()

    def kill(self) -> None:
        self.happened["core killed"] += 1
        self.peer += 1
        self._begin()

    def scan(self) -> None:
        """One turn: it may hear the node, judges what it hears, and writes."""
        self.turn += 1
        self.disk.work(self.turn)
        now = Ns(self.now * MS)
        if self.cut:
            self.cut -= 1
        elif self.chance.random() > 0.15:
            status = replace(self.bench.status, boot_id=self.run)
            self.sample = Sample(status, now, 0)
        heard = self.sample.status if now - self.sample.at <= 250 * MS else None
        found = stand(self.grant, self.sample if heard else Sample(None, now, 0), "", self.owner, now)
        if heard is None:
            found = found._replace(standing=Standing.LOST)
        if found.standing is Standing.FREE and heard is not None:
            self.disk.epoch = max(self.disk.epoch, heard.epoch) + 1
            self.grant = self.grant.claim(self.disk.epoch, heard, now)
        self.grant = self.grant.beat()
        self._judge(heard, found.standing is Standing.OURS, now)
        if found.standing in (Standing.OURS, Standing.CLAIMING, Standing.FREE):
            written = replace(self.grant.command(self.owner), lease=LEASE_MS)
            if not self.cut:
                self.send(GRANT.pack(*encode(written)), self.peer)

    def _judge(self, heard: NodeStatus | None, ours: bool, now: Ns) -> None:
        if self.start is not None and heard is not None and (known := verdict(self.start, heard)) is not None:
            self._settle(self.owed.pop(self.start.command_id).settle(known.state, known.text))
            self.start = None
        if ours and not self.quiet and self.chance.random() < 0.75:
            self._ask(now)
        offered = self.start if self.start is not None and self.start.command_id in self.disk.safe else None
        self.grant, self.waiting, judged = attend(self.grant, self.waiting, offered, heard, ours, now, self.disk.safe)
        for errand, _, text in judged:
            self.answered[errand.command_id] = text
        busy = {errand.command_id for errand in self.waiting} | ({self.start.command_id} if self.start else set())
        still, known_now = looked_up(self.owed, {"n": heard}, busy)
        self.owed = dict(still)
        for intent in known_now:
            self._settle(intent)

    def _settle(self, intent: Intent) -> None:
        self.disk.put(self.turn, intent)

    def _ask(self, now: Ns) -> None:
        """Somebody wants something, or an order goes on."""
        op = self.chance.choices(OPS, (6, 3, 1))[0]
        if (op is Op.START and self.start is not None) or len(self.waiting) >= 4:
            return
        assert self.sample.status is not None
        self.number += 1
        not_after = uptime(self.sample, now) + self.chance.randrange(100, 1500)
        until = Ns(now + 3000 * MS)
        before = self.sample.status.command_id
        errand = Errand(op, self.number, self.run, not_after, argument=self.number, until=until, before=before)
        errand = replace(errand, boot_id=self.sample.status.boot_id)
        self.made[self.number] = errand
        intent = errand.intent("n", "ann", 0)
        self.owed[self.number] = intent
        self.disk.put(self.turn, intent)
        if op is Op.START:
            self.start = errand
        elif op is Op.STOP:
            self.waiting = (errand,)
        else:
            self.waiting = (*self.waiting, errand)

    # ---- what happens

    def go_on(self) -> None:
        """A turn, and whatever happens beside."""
        self.scan()
        happens = self.chance.random()
        if happens < 0.001:
            self.restart_node()
        elif happens < 0.003:
            self.kill()
        elif happens < 0.006:
            self.happened["half-open"] += 1
            self.cut = self.chance.randrange(3, 30)
            self.peer += 1
        elif happens < 0.02:
            self.happened["foreign"] += 1
            epoch = self.chance.randrange(1, 9999)
            theirs = NodeCommand(owner=THEM, epoch=epoch, heartbeat=1, sequence=5, op=Op.START, command_id=1, not_after=2**31)
            self.send(GRANT.pack(*encode(theirs)), -1)
        self.pass_ms(self.chance.choice((20, 50, 100)))

    def calm(self) -> None:
        """Nothing is asked any more and nothing is lost: what is owed comes in."""
        self.quiet, self.chance, self.disk._chance = True, _Calm(0), _Calm(0)
        for _ in range(60):
            self.scan()
            self.pass_ms(100)
        self.disk.work(self.turn + 100)


class _Calm(random.Random):
    def random(self) -> float:
        return 0.9


def told(story: Story) -> list[str]:
    """What is wrong with what the book says in the end of all commands that it had acknowledged."""
    wrong = []
    for number, intent in story.disk.safe.items():
        ran = story.executed[number]
        if intent.state is IntentState.OPEN:
            wrong.append(f"command {number} was forgotten")
        if (intent.state is IntentState.DONE and not ran) or (intent.state in (IntentState.VOID, IntentState.REFUSED) and ran):
            wrong.append(f"command {number} ran {ran} times, and the book says {intent.state}")
    return wrong
