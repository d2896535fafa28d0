"""The Grant and the latch against a model of a dozen lines, through whatever clients, time and faults come to."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.firmware.safety_alone import BELT, HERE, LAMPS, RECORDS, SENSOR_AT, THEM, THERE, US, Bench
from twin.node import Fault, Op

OWNERS, PEERS = st.sampled_from([US, THEM]), st.sampled_from([HERE, THERE])
SEVERITIES = {Fault.SILENCE: 0, Fault.SENSOR: 2, Fault.INTERLOCK: 2}
DEFAULTS = {first: list(words) for first, words in RECORDS}


class GrantMachine(RuleBasedStateMachine):
    """What a node does, and beside it what the documents say that it does."""

    @initialize(lease=st.sampled_from([50, 200, 500]))
    def begin(self, lease: int) -> None:
        self.bench = Bench(((BELT, 0), (SENSOR_AT, 0)))
        self.lease = lease
        self.now = self.heard = 0
        self.owner, self.epoch, self.peer = 0, 0, 0
        self.fault = Fault.NONE
        self.told = {first: list(words) for first, words in DEFAULTS.items()}
        self.armed = dict.fromkeys(DEFAULTS, True)
        self.sensor = 0
        self.resets_refused = 0

    def lapse(self) -> None:
        if self.owner and self.now - self.heard >= self.lease:
            self.owner, self.peer = 0, 0
            self.give_up()

    def give_up(self) -> None:
        if self.told != DEFAULTS:
            self.latch(Fault.SILENCE)

    def latch(self, fault: Fault) -> None:
        if SEVERITIES.get(fault, 1) > (SEVERITIES.get(self.fault, 1) if self.fault else -1):
            self.fault = fault

    def arm(self) -> None:
        for first, words in self.told.items():
            self.armed[first] = self.armed[first] or words == DEFAULTS[first]

    def acts(self, first: int) -> list[int]:
        obeyed = self.owner and not self.fault and self.armed[first]
        return self.told[first] if obeyed else DEFAULTS[first]

    # ---- what happens

    @rule(ms=st.sampled_from([0, 1, 10, 49, 50, 60, 199, 600]))
    def time_passes(self, ms: int) -> None:
        self.bench.tick(ms)
        self.now += ms
        self.tick()

    def tick(self) -> None:
        self.lapse()
        if self.sensor and self.acts(BELT)[0] & 1:
            self.latch(Fault.INTERLOCK)

    @rule(ms=st.sampled_from([10, 40]), words=st.sampled_from([[0, 0], [1, 5]]))
    def we_command(self, ms: int, words: list[int]) -> None:
        self.time_passes(ms)
        self.somebody_claims(US, HERE, 0 if self.owner == US else 1)
        self.somebody_commands(HERE, BELT, words)

    @rule(owner=OWNERS, peer=PEERS, ahead=st.sampled_from([1, 0, -1]))
    def somebody_claims(self, owner: int, peer: int, ahead: int) -> None:
        epoch = max(0, self.epoch + ahead)
        self.bench.grant(owner, epoch, lease=self.lease, peer=peer)
        self.lapse()
        if self.owner:
            if (owner, epoch) == (self.owner, self.epoch):
                self.peer, self.heard = peer, self.now
            elif peer == self.peer:
                self.peer = 0  # somebody else speaks there, too
        elif epoch > self.epoch:
            self.owner, self.epoch, self.peer, self.heard = owner, epoch, peer, self.now

    @rule(peer=PEERS, first=st.sampled_from([BELT, LAMPS]), words=st.sampled_from([[0, 0], [1, 5], [0, 7], [1, 7]]))
    def somebody_commands(self, peer: int, first: int, words: list[int]) -> None:
        code = self.bench.write(first, words, peer)
        self.lapse()
        assert code == (0 if self.owner and peer == self.peer else 4)
        if not code:
            self.told[first] = list(words)
            self.arm()

    @rule(level=st.sampled_from([0, 1]))
    def a_sensor_changes(self, level: int) -> None:
        self.bench.bank.put_bit(SENSOR_AT, 0, level)
        self.sensor = level

    @rule(fault=st.sampled_from([Fault.SENSOR, Fault.TRAVEL]))
    def a_block_complains_once(self, fault: Fault) -> None:
        self.bench.safety.latch(int(fault))
        self.latch(fault)

    def ask(self, op: Op) -> bool:
        """The owner asks for a command; whether it still is the owner."""
        self.peer = self.peer or HERE
        self.bench.grant(self.owner, self.epoch, lease=self.lease, peer=self.peer, op=op, command_id=self.bench._sequence + 2)
        before = self.owner
        self.lapse()
        self.heard = self.now
        return bool(before and self.owner)

    @precondition(lambda self: self.owner and self.now - self.heard < self.lease)
    @rule()
    def its_owner_resets(self) -> None:
        assert self.ask(Op.RESET)
        if self.fault is Fault.INTERLOCK and self.sensor:
            self.resets_refused += 1
        elif self.fault:
            self.fault = Fault.NONE
            self.armed = dict.fromkeys(DEFAULTS, False)
            self.arm()

    @precondition(lambda self: self.owner and self.now - self.heard < self.lease)
    @rule()
    def its_owner_goes(self) -> None:
        assert self.ask(Op.RELEASE)
        self.owner, self.peer = 0, 0
        self.give_up()

    # ---- and how it stands

    @invariant()
    def they_agree(self) -> None:
        if not hasattr(self, "bench"):
            return
        self.bench.tick()
        self.tick()
        status = self.bench.status
        assert (status.owner, status.epoch, status.leased) == (self.owner, self.epoch, self.owner != 0)
        assert (status.latched, status.fault) == (self.fault is not Fault.NONE, self.fault)
        for first in DEFAULTS:
            assert self.bench.effect(first) == self.acts(first)
        counted = status.late_refused + status.repeated + status.foreign + status.old_epochs
        assert status.refused == counted + self.resets_refused, "what is refused is counted by its kind, too"


GrantMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=50, deadline=None)
TestGrantMachine = GrantMachine.TestCase
