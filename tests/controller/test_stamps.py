"""Times: a node's clock as seen from here, UTC across steps of the wall clock, and the order of what several nodes told."""

import asyncio
import random
from itertools import pairwise
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from controller.core import run
from controller.feed import Changes, Told, feed_signals, follow
from controller.image import blank
from controller.rows import Rows
from controller.scan import State
from controller.stamps import STEP, ClockStepped, NodeClock, SteadyWall, before, heard, in_order
from controller.times import Lateness, Times
from tests.controller import virtual
from tests.controller.factories import SHOP, with_ports
from tests.controller.fakenode import FakeNode, NodeServer
from twin.clock import MS, US, LoopClock, Ns, S
from twin.factory import read

U32 = 1 << 32
TICK = 10 * MS
HOUR = 3600 * S


class Board:
    """A node whose quartz runs `ppm` fast; its uptime is what it was at its last tick, in whole milliseconds."""

    def __init__(self, ppm: int, started: int, uptime: int = 0, phase: int = 0) -> None:
        self.ppm, self.started, self.first, self.phase = ppm, started, uptime, phase

    def at_tick(self, now: int) -> tuple[int, int]:
        """Its uptime in a reply at `now`, and when that was true."""
        tick = now - (now - self.phase) % TICK
        elapsed = (tick - self.started) * (1_000_000 + self.ppm) // 1_000_000
        return (self.first + elapsed // MS) % U32, tick


def listen(board: Board, instants: list[tuple[int, int, int]], clock: NodeClock | None = None) -> list[tuple[NodeClock, int]]:
    """What is known after each burst (asked, read by the node, came), and when what was read was true."""
    found = []
    for asked, reading, came in instants:
        uptime, truth = board.at_tick(reading)
        clock = heard(clock, "n", 1, uptime, 0, Ns(asked), Ns(came))
        found.append((clock, truth))
    return found


def bursts(rng: random.Random, count: int, slowest: int = 240 * MS) -> list[tuple[int, int, int]]:
    found = []
    for number in range(count):
        asked = 10 * S + number * slowest + rng.randrange(3 * MS)
        there, back = rng.choice((1, 1, 1, 20, slowest // 2 // MS)), rng.choice((1, 1, 20, slowest // 2 // MS))
        reading = asked + rng.randrange(50 * US, there * MS)
        found.append((asked, reading, reading + rng.randrange(50 * US, back * MS)))
    return found


@given(st.integers(-200, 200), st.integers(0, U32 - 1), st.integers(0, TICK - 1), st.integers(0, 10**9))
@settings(max_examples=60, deadline=None)
def test_a_samples_time_is_as_near_to_when_it_was_true_as_its_bound_says(
    ppm: int, uptime: int, phase: int, seed: int
) -> None:
    said = listen(Board(ppm, 3 * S, uptime, phase), bursts(random.Random(seed), 80))
    assert not any(clock.jumped for clock, _ in said)
    for clock, truth in said:
        assert abs(clock.stamp.at - truth) <= clock.stamp.bound
    assert all(a.stamp.at <= b.stamp.at and a.stamp.sequence + 1 == b.stamp.sequence for (a, _), (b, _) in pairwise(said))


def test_replies_of_up_to_240_ms_tell_the_time_to_a_few_ms_after_a_while() -> None:
    for seed in range(20):
        rng = random.Random(seed)
        said = listen(Board(rng.randint(-200, 200), 3 * S, phase=rng.randrange(TICK)), bursts(rng, 100))
        raw = [burst[2] for burst in bursts(random.Random(seed), 100)]
        assert len(raw) == 100 and said[-1][0].stamp.bound <= 12 * MS
        assert all(abs(clock.stamp.at - truth) <= 12 * MS for clock, truth in said[50:])


def test_an_uptime_that_wraps_goes_on_however_long_the_node_was_silent() -> None:
    board = Board(150, 0, uptime=U32 - 5_000)
    around = [(t, t + MS, t + 2 * MS) for t in range(S, 12 * S, S)]
    silent = [(t, t + MS, t + 2 * MS) for t in (60 * 86_400 * S, 60 * 86_400 * S + S)]  # more than one wrap later
    said = [clock for clock, _ in listen(board, around + silent)]
    uptimes = [clock.stamp.uptime_ms for clock in said]
    assert uptimes == sorted(uptimes) and uptimes[0] < U32 < uptimes[10] and uptimes[-1] > 2 * U32
    assert not any(clock.jumped for clock in said)


def test_another_start_of_a_node_begins_anew_and_a_clock_that_jumps_is_not_believed() -> None:
    clock = heard(None, "n", 7, 5_000, 0, Ns(10 * S), Ns(10 * S + 2 * MS))
    clock = heard(clock, "n", 7, 6_000, 0, Ns(11 * S), Ns(11 * S + 2 * MS))
    again = heard(clock, "n", 8, 100, 0, Ns(12 * S), Ns(12 * S + 2 * MS))
    assert clock.stamp.sequence == 2 and (again.stamp.boot, again.stamp.sequence, again.stamp.uptime_ms) == (8, 1, 100)
    assert not again.jumped
    ahead = heard(clock, "n", 7, 9_000, 0, Ns(12 * S), Ns(12 * S + 2 * MS))
    assert ahead.jumped and abs(ahead.stamp.at - 12 * S) <= ahead.stamp.bound


def test_a_node_whose_clock_stands_still_is_believed_no_longer_than_its_reply_allows() -> None:
    clock = None
    for number in range(20):
        asked = Ns(10 * S + number * 100 * MS)
        clock = heard(clock, "n", 1, 4_000, 0, asked, Ns(asked + 2 * MS))
    assert clock is not None and asked - 12 * MS <= clock.stamp.at <= asked + 2 * MS


def test_utc_follows_the_wall_clock_slowly_and_a_step_is_told_once() -> None:
    wall = SteadyWall(1_000 * HOUR, Ns(0))
    slewed = [wall.look(1_000 * HOUR + t + 50 * MS, Ns(t)) for t in range(S, 60 * S, S)]
    assert not any(slewed) and wall.utc(Ns(60 * S)) - 1_000 * HOUR - 60 * S == 59 * 500 * US
    for step in (HOUR, -HOUR, 12 * 365 * 24 * HOUR):
        shown = wall.utc(Ns(60 * S)) + step
        assert abs(wall.look(shown, Ns(60 * S)) - step) < STEP and wall.look(shown, Ns(60 * S)) == 0
        assert wall.utc(Ns(61 * S)) == shown + S


def told(at: int, node: str = "", boot: int = 0, sequence: int = 0, bound: int = 0) -> Told:
    return Told(0, "Happened", node, {}, at, bound, node, boot, 0, sequence)


@given(st.lists(st.tuples(st.integers(0, 50), st.sampled_from("abc"), st.integers(0, 5)), max_size=30), st.integers(0, 10**9))
@settings(max_examples=60, deadline=None)
def test_events_of_several_nodes_have_one_order_that_keeps_each_nodes_own(
    heard_of: list[tuple[int, str, int]], seed: int
) -> None:
    sequences, events = dict.fromkeys("abc", 0), []
    for at, node, bound in sorted(heard_of, key=lambda one: one[0]):
        sequences[node] += 1
        events.append(told(at, node, 1, sequences[node], bound))
    shuffled = events[:]
    random.Random(seed).shuffle(shuffled)
    ordered = in_order(shuffled)
    assert ordered == in_order(events)
    for node in "abc":
        assert [e.sequence for e in ordered if e.node == node] == list(range(1, sequences[node] + 1))
    for first, second in pairwise(ordered):
        assert before(second, first) is not True


def test_what_lies_within_each_others_bounds_has_no_order() -> None:
    early, late = told(100, "a", 1, 1, bound=10), told(115, "b", 1, 1, bound=10)
    assert before(early, late) is None and before(late, early) is None
    assert before(told(100, "a", 1, 1, 2), late) is True and before(late, told(100, "a", 1, 1, 2)) is False
    assert before(told(100, "a", 1, 4, 50), told(100, "a", 1, 5, 50)) is True, "one node's own order is known"


@given(st.lists(st.integers(0, 2 * S), min_size=1, max_size=200))
@settings(max_examples=60, deadline=None)
def test_the_lateness_of_99_scans_of_100_is_known_to_one_part_in_eight(late: list[int]) -> None:
    found = Lateness()
    for one in late:
        found.add(Ns(one))
    for share in (0.5, 0.99, 1.0):
        exact = sorted(late)[max(0, -(-int(share * len(late) * 1000) // 1000) - 1)]
        assert exact - US <= found.percentile(share) + US and found.percentile(share) <= max(exact * 9 // 8, exact + 2 * US) + US
    assert found.most == max(late)


def test_counters_are_shown_once_a_second_of_the_cores_clock_whatever_the_wall_clock_does() -> None:
    shop = read(SHOP)
    signals, late = feed_signals(shop), Lateness()
    rows = Rows(shop, signals, late=late)
    counter = next(index for index, signal in enumerate(signals) if signal.path == "factory/scan/scans")
    shown = []
    for scan in range(30):
        late.add(Ns(0))
        found = rows.update(blank(shop), State(1), random.Random(scan).randrange(2**60), Ns(scan * 100 * MS))
        shown += [scan for row in found if row.index == counter]
    assert shown == [0, 10, 20]


def commanded(folder: Path, steps: dict[int, int]) -> tuple[list[tuple[str, int, tuple[int, ...]]], list[Told]]:
    """Every register that the nodes of a core were ever written, with the time, while the wall clock is set; and its Events."""
    written: list[tuple[str, int, tuple[int, ...]]] = []

    async def main(clock: LoopClock) -> list[Told]:
        events: list[Told] = []
        nodes = {name: FakeNode(read(SHOP), name) for name in ("printer-1", "belt-1")}
        for name, node in nodes.items():
            plain = node.write

            def write(peer: object, address: int, words: list[int], name: str = name, plain=plain) -> None:  # type: ignore[no-untyped-def]
                written.append((name, clock.now(), (address, *words)))
                plain(peer, address, words)

            node.write = write  # type: ignore[method-assign, assignment]
        servers = [NodeServer(node, clock) for node in nodes.values()]
        factory = with_ports(dict(zip(nodes, [await server.start() for server in servers], strict=True)))

        def wall() -> int:
            return 1_800_000_000 * S + clock.now() + sum(step for at, step in steps.items() if clock.now() >= at)

        times = Times(factory, SteadyWall(wall(), clock.now()), wall)
        core = asyncio.create_task(run(factory, folder, clock, seed=7, times=times))
        await clock.until(Ns(clock.now() + MS))
        nodes["printer-1"].show("printer-1", filament=True)
        (folder / "programs" / "part.gcode").write_text("G28\nG1 X50 Y50 F6000\nG1 X60 F1200\nG4 S2\n")
        async with follow(folder / "feed.sock", whole=True) as follower:
            async for message in follower:
                if isinstance(message, Changes):
                    events += message.events
                    if message.at_ns > 4 * S and not any(e.kind == "OrderPlaced" for e in events):
                        await follower.ask("place_order", {"recipe": "print-and-convey", "program": "part.gcode"}, "tester")
                    if message.at_ns > 12 * S:
                        break
        core.cancel()
        await asyncio.gather(core, return_exceptions=True)
        for server in servers:
            await server.stop()
        return events

    folder.mkdir()
    (folder / "programs").mkdir()
    return written, virtual.run(main)


def test_a_wall_clock_that_is_set_changes_no_command_and_is_told(tmp_path: Path) -> None:
    to_2038 = (2**31 - 1_800_000_000 - 8) * S  # the 32-bit second overflows in the middle of the run
    quiet, plain = commanded(tmp_path / "plain", {})
    stepped, events = commanded(tmp_path / "stepped", {5 * S: HOUR, 6 * S: -HOUR, 7 * S: to_2038})
    assert len(quiet) > 100 and stepped == quiet
    steps = [event.fields["step_ms"] for event in events if event.kind == ClockStepped.__name__]
    assert steps == [3_600_000, -3_600_000, to_2038 // MS] and not any(e.kind == ClockStepped.__name__ for e in plain)
    assert [(e.kind, e.subject) for e in events if e.kind != "ClockStepped"] == [(e.kind, e.subject) for e in plain]


def test_events_of_a_node_are_numbered_within_its_start_and_carry_its_time(tmp_path: Path) -> None:
    _, events = commanded(tmp_path / "state", {})
    mine = [event for event in events if event.node == "printer-1"]
    assert [event.sequence for event in mine] == list(range(1, len(mine) + 1)) and mine
    assert all(event.boot and event.at_ns and event.bound_ns < 25 * MS for event in mine)
    assert all(event.node == "" and event.at_ns for event in events if event.kind.startswith("Order"))
