"""A node's turns in a time that stands in the test's hands: who is asked, in which order, how often, and what is off at the end."""

import asyncio
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from tests.firmware.alone import Ticks, load
from twin import node as n
from twin.node import Fault, NodeCommand, NodeStatus
from twin.wire import decode, encode, layout

BELT = 256
MACHINE = ("ADC", "I2S", "PWM", "WDT", "Pin", "UART", "SoftI2C", "SPI", "reset")
RUN_BIT, PERMITS = 3, ((BELT, 9), (BELT + 1, 2))


class TurnEnded(Exception):
    """Enough."""


class Board:
    """A node whose pins, Motion and heaters note what they are asked.

    Attributes:
        told: (who, what), in order.
        took_ms: how long each tick takes; the last one goes on for ever.
        complaint: what a heater or the Motion says next.
    """

    def __init__(self, *, motion: bool = True, heaters: int = 2) -> None:
        self.ticks = Ticks()
        self.told: list[tuple[str, Any]] = []
        self.took_ms = [0]
        self.complaint = [0, 0]
        self.left = 10_000
        self.collected = 0
        machine = {**dict.fromkeys(MACHINE), "reset_cause": lambda: 1, "unique_id": lambda: b"\0\0\0\0\0\1"}
        shims: dict[str, dict[str, Any]] = {
            "machine": machine,
            "gc": {"collect": self._collect, "mem_free": lambda: 60_000 + self.collected},
            "asyncio": {"sleep_ms": self._sleep},
            "os": {"ilistdir": lambda: ()},
        }
        app, safety, use, modbus = load("app", "safety", "use", "modbus", ticks=self.ticks, **shims)
        app._server = lambda link: modbus.Server
        for module in (app, safety, use):
            module.read_counter, module.write_counter = {"boot": 5, "epoch": 0}.__getitem__, lambda name, value: True
        use._marked = lambda: False
        config = {
            "node": "n", "uid": 77, "map_hash": 0x12345678,
            "link": {"kind": "tcp", "host": "", "port": 0, "unit": 1}, "blocks": [], "interlocks": [],
            "commands": [[BELT, [0, 0]]], "motion": None,
        }  # fmt: skip
        self.node = made = app.Node(config)
        made.reads.append(lambda: self.told.append(("input", None)))
        made.writes.append(lambda silent: self.told.append(("output", bool(silent))))
        made.fans.append(SimpleNamespace(set=lambda duty: self.told.append(("fan", duty))))
        for k in range(heaters):
            off = partial(self.told.append, (f"heater {k}", "off"))
            made.heaters.append(SimpleNamespace(sample=lambda: None, tick=self._heater(k), off=off, wanted=False))
            made._heated.append(k)
            made.permits.append(PERMITS[k])
        self.motion = SimpleNamespace(running=False, finishes=False, fault=0, stop=lambda: self.told.append(("motion", "stop")))
        self.motion.tick = lambda *asked: self.told.append(("motion", asked))
        if motion:
            made.motion = made.safety._motion = self.motion
            made._moves, made._run = True, (BELT, RUN_BIT)

    def _heater(self, k: int) -> Callable[[int, int], int]:
        def tick(permit: int, elapsed_ms: int) -> int:
            self.told.append((f"heater {k}", (bool(permit), elapsed_ms)))
            return self.complaint[k]

        return tick

    def _collect(self) -> None:
        self.collected += 1

    async def _sleep(self, ms: int) -> None:
        assert ms >= 0
        self.ticks.us += 1000 * ms
        self.left -= 1
        if self.left < 0:
            raise TurnEnded
        await asyncio.sleep(0)

    def hold(self, *words: int) -> None:
        """Claim it, with the longest lease, and command its machine."""
        made = NodeCommand(owner=1, epoch=1, lease=5000, heartbeat=1)
        assert self.node.safety.write(9, n.COMMAND_AT, b"".join(word.to_bytes(2, "big") for word in encode(made))) == 0
        assert self.node.safety.write(9, BELT, b"".join(word.to_bytes(2, "big") for word in words)) == 0

    def turn(self, times: int = 1) -> list[tuple[str, Any]]:
        """What it does in so many ticks."""
        self.told.clear()
        for _ in range(times):
            self.ticks.us += 10_000
            self.node.tick()
        return list(self.told)

    def heated(self, times: int) -> list[Any]:
        """What the first heater is asked in so many ticks."""
        return [what for who, what in self.turn(times) if who == "heater 0"]

    @property
    def status(self) -> NodeStatus:
        return decode(NodeStatus, [self.node.bank.u16(at) for at in range(layout(NodeStatus).size)])

    def loops(self, sleeps: int) -> list[int]:
        """Run its loop for so many sleeps; returns when it ticked, in ms."""
        began: list[int] = []
        took = list(self.took_ms)
        tick = self.node.tick

        def noted() -> None:
            began.append(self.ticks.ms)
            tick()
            self.ticks.us += 1000 * (took.pop(0) if len(took) > 1 else took[0])

        self.node.tick = noted
        self.left = sleeps
        with pytest.raises(TurnEnded):
            asyncio.run(self.node.loop())
        return began


def test_a_turn_reads_then_judges_then_writes_then_moves() -> None:
    board = Board()
    board.hold(1 << RUN_BIT, 0)
    assert board.turn() == [
        ("input", None),
        ("output", False),
        ("motion", (10_000, 1, 5_000_000)),
    ]


def test_the_motion_is_told_whether_it_may_run_and_where_the_lease_ends() -> None:
    board = Board()
    assert board.turn()[-1] == ("motion", (10_000, 0, 10_000)), "no lease: it ends now"
    board.hold(1 << RUN_BIT, 0)
    assert board.turn()[-1] == ("motion", (20_000, 1, 5_010_000))


def test_outputs_are_written_while_the_node_is_silent_and_told_so() -> None:
    board = Board(motion=False, heaters=0)
    for _ in range(3):
        assert board.turn() == [("input", None), ("output", True)]


def test_a_node_without_motion_asks_none() -> None:
    assert not [who for who, _ in Board(motion=False).turn(20) if who == "motion"]
    nothing = Board(motion=False).node.motion
    assert (nothing.running, nothing.finishes, nothing.fault) == (False, False, Fault.NONE)


def test_heaters_are_asked_every_tenth_tick_with_the_time_between_and_their_own_permits() -> None:
    board = Board()
    assert board.heated(9) == []
    assert board.heated(1) == [(False, 100)]
    assert len(board.heated(1000)) == 100
    for permit, words in ((0, (1 << 9, 0)), (1, (0, 1 << 2))):
        board = Board()
        board.hold(*words)
        asked = dict(told for told in board.turn(10) if told[0].startswith("heater"))
        assert asked == {f"heater {k}": (k == permit, 100) for k in range(2)}


def test_the_first_heater_that_complains_latches_and_a_reset_waits_until_none_does() -> None:
    board = Board()
    board.hold(0, 0)
    board.complaint[:] = [0, int(Fault.HEATER_STUCK)]
    board.turn(10)
    assert (board.status.latched, board.status.fault) == (True, Fault.HEATER_STUCK)
    assert board.node.safety.heater_fault == Fault.HEATER_STUCK
    board.complaint[:] = [int(Fault.SENSOR), int(Fault.HEATER_STUCK)]
    board.turn(10)
    assert board.node.safety.heater_fault == Fault.SENSOR and board.status.fault is Fault.HEATER_STUCK
    board.complaint[:] = [0, 0]
    board.turn(10)
    assert board.node.safety.heater_fault == Fault.NONE and board.status.latched


def test_a_fault_of_the_motion_latches_once() -> None:
    board = Board()
    board.hold(1, 0)
    board.motion.fault = int(Fault.HOMING)
    told = board.turn()
    assert board.status.fault is Fault.HOMING and board.motion.fault == Fault.NONE
    assert ("motion", "stop") in told and ("heater 0", "off") in told and ("fan", 0) in told
    assert board.turn()[1] == ("output", False), "and the outputs follow at the next tick"


def test_whoever_rests_has_everything_at_its_default_and_off() -> None:
    board = Board()
    board.hold(1, 2)
    board.turn()
    assert board.node.effective.u16(BELT) == 1
    board.told.clear()
    board.node.rest()
    assert [board.node.effective.u16(BELT + k) for k in range(2)] == [0, 0]
    assert board.told == [("output", False), ("heater 0", "off"), ("heater 1", "off"), ("fan", 0)]


def test_a_period_is_ten_milliseconds_however_long_a_tick_takes() -> None:
    board = Board()
    board.took_ms = [0, 3, 9, 2, 0]
    assert board.loops(6) == [10, 20, 30, 40, 50, 60]
    assert board.status.late == 0


def test_a_late_tick_is_made_up_for_but_a_missed_one_is_not() -> None:
    board = Board()
    board.took_ms = [14, 0, 0, 29, 0]
    # 10 takes until 24, so the one of 20 comes at 24; the one of 40 takes until 69: that of 50 has been missed.
    assert board.loops(7) == [10, 24, 30, 40, 69, 70, 80]
    assert board.status.late == 9000


def test_a_tick_that_ends_when_the_one_after_next_is_due_misses_one() -> None:
    board = Board()
    board.took_ms = [20, 0]
    assert board.loops(4) == [10, 30, 40, 50]
    assert board.status.late == 0


def test_a_loop_that_ends_leaves_everything_off() -> None:
    board = Board()
    board.loops(2)
    assert board.told[-4:] == [("output", False), ("heater 0", "off"), ("heater 1", "off"), ("fan", 0)]


def test_memory_is_collected_every_hundredth_tick_and_what_is_left_is_shown() -> None:
    board = Board()
    made = board.collected
    board.loops(101)
    assert board.collected == made + 1 and board.status.heap_free == 60_000 + board.collected
    board = Board()
    board.loops(99)
    assert board.collected == made


@pytest.mark.parametrize("alive", [(True, True), (True, False), (False, True)])
def test_the_watchdog_is_fed_only_while_both_the_tick_and_the_server_live(alive: tuple[bool, bool]) -> None:
    board = Board()
    fed: list[int] = []

    def feed() -> None:
        fed.append(board.ticks.ms)
        assert not (board.node.beat or board.node.server.beat), "each must show itself again"
        board.node.beat, board.node.server.beat = alive

    board.node.beat, board.node.server.beat = alive
    board.left = 4
    with pytest.raises(TurnEnded):
        asyncio.run(board.node.supervisor.watch(SimpleNamespace(feed=feed)))
    assert fed == ([500, 1000, 1500, 2000] if all(alive) else [])


def test_a_tick_shows_that_it_lives() -> None:
    board = Board()
    assert not board.node.beat
    board.turn()
    assert board.node.beat


def test_a_node_says_who_it_is() -> None:
    status = Board().status
    assert (status.magic, status.version, status.map_hash, status.uid) == (n.MAGIC, n.VERSION, 0x12345678, 77)
    assert (status.boot_id, status.heap_free) == (6, 60_001)


# ---- what blocks find wrong, and the tasks that the watchdog hangs on


def watched(board: Board, *faults: int) -> list[list[int]]:
    """Blocks 4, 5, … that find what stands in these lists."""
    found = [[fault] for fault in faults]
    for number, block in enumerate(found):
        board.node.watches.append(lambda k=number, block=block: (board.told.append(("watch", k)), block[0])[1])
        board.node._watched.append(4 + number)
    return found


def test_what_a_block_finds_wrong_latches_before_anything_is_written_and_says_which_it_was() -> None:
    board = Board(motion=False, heaters=0)
    found = watched(board, 0, 0)
    board.hold(1 << RUN_BIT, 0)
    assert board.turn() == [("input", None), ("watch", 0), ("watch", 1), ("output", False)]
    assert board.node.effective.u16(BELT) == 1 << RUN_BIT
    found[0][0], found[1][0] = int(Fault.STALL), int(Fault.OUTPUT)
    assert [who for who, _ in board.turn()] == ["input", "watch", "fan", "watch", "output"]
    assert (board.status.fault, board.status.fault_block) == (Fault.STALL, 4)
    assert board.node.effective.u16(BELT) == 0, "what it writes in this very tick is the safe state"


def test_a_job_whose_heat_is_no_longer_permitted_is_stopped_and_one_that_needs_none_is_not() -> None:
    board = Board()
    board.hold(1 << RUN_BIT | 1 << 9, 1 << 2)
    board.motion.running = True
    board.node.heaters[1].wanted = True
    assert ("motion", "stop") not in board.turn(20)
    board.node.safety.write(9, BELT, b"\2\10\0\0")
    assert ("motion", "stop") in board.turn(20)
    board.node.heaters[1].wanted = False
    assert ("motion", "stop") not in board.turn(20)


def test_a_part_that_fails_to_rest_keeps_no_other_from_it() -> None:
    board = Board()

    def fails(*what: Any) -> None:
        raise OSError("pin")

    board.node.writes.insert(0, fails)
    board.node.heaters[0].off = fails
    board.node.rests.append(lambda: board.told.append(("rest", None)))
    board.told.clear()
    board.node.rest()
    assert board.told == [("output", False), ("heater 1", "off"), ("fan", 0), ("rest", None)]
