"""The core end to end in virtual time: orders, Feed, links and disk are real; the nodes are plain ones behind real sockets."""

import asyncio
import sqlite3
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from controller.core import CoreError, held, run
from controller.feed import Answered, Changes, Follower, Snapshot, Told, feed_signals, follow
from controller.orders.book import Book
from tests.controller import virtual
from tests.controller.factories import DEMO, SHOP, with_ports
from tests.controller.fakenode import FakeNode, NodeServer
from twin import node as n
from twin.clock import MS, LoopClock, Ns, S
from twin.factory import Factory, read

PROGRAM = """G28
M104 S200
M109 S200
G1 X50 Y50 F6000
G1 X60 E1 F1200
G1 X80 Y20 E2
G4 S1
"""
GOOD, STALE, BAD = 0, 1, 2
MINUTE = Ns(60 * S)


class House:
    """A factory of plain nodes, its core, and a face that remembers what it was told.

    Attributes:
        told: (value, quality, cause) by path.
    """

    def __init__(self, folder: Path, clock: LoopClock, file: Path = SHOP) -> None:
        self.folder, self.clock, self.file = folder, clock, file
        self.told: dict[str, tuple[Any, int, str]] = {}
        self.events: list[Told] = []
        self.core: asyncio.Task[None] | None = None
        self.options: dict[str, Any] = {"seed": 77}

    async def open(self) -> None:
        """Nodes first: the factory must know their ports."""
        plain = read(self.file)
        self.nodes = {name: FakeNode(plain, name) for name in plain.nodes}
        self.servers = {name: NodeServer(node, self.clock) for name, node in self.nodes.items()}
        ports = {name: await server.start() for name, server in self.servers.items()}
        self.factory: Factory = with_ports(ports, file=self.file)
        self.signals = feed_signals(self.factory)
        (self.folder / "programs").mkdir(parents=True)
        (self.folder / "programs" / "part.gcode").write_text(PROGRAM)
        self.nodes["printer-1"].show("printer-1", filament=True)
        await self.start()

    async def start(self) -> None:
        """Start the core, and follow it."""
        self.core = asyncio.create_task(run(self.factory, self.folder, self.clock, **self.options))
        await self.clock.until(Ns(self.clock.now() + 1))
        self.following = asyncio.create_task(self._follow())
        await self.until(lambda: hasattr(self, "follower"))

    async def stop(self) -> None:
        assert self.core is not None
        self.core.cancel()
        await asyncio.gather(self.core, return_exceptions=True)
        await self.following
        del self.follower

    async def close(self) -> None:
        if self.core is not None and not self.core.done():
            await self.stop()
        for server in self.servers.values():
            await server.stop()

    async def _follow(self) -> None:
        async with follow(self.folder / "feed.sock") as follower:
            self.follower: Follower = follower
            async for message in follower:
                if isinstance(message, (Snapshot, Changes)):
                    for row in message.rows:
                        self.told[self.signals[row.index].path] = row.value, row.quality, row.cause
                if isinstance(message, Changes):
                    self.events += message.events

    async def until(self, holds: Callable[[], bool], patience: Ns = MINUTE) -> None:
        """Let time pass until something holds."""
        end = self.clock.now() + patience
        while not holds():
            assert self.core is None or not self.core.done(), self.core
            assert self.clock.now() < end, {k: v for k, v in self.told.items() if "order" in k or "link" in k}
            await self.clock.until(Ns(self.clock.now() + 50 * MS))

    async def until_told(self, path: str, value: Any) -> None:
        await self.until(lambda: self.told.get(path, (None,))[0] == value)

    async def ask(self, kind: str, **args: Any) -> Answered:
        return await self.follower.ask(kind, args, "tester")

    async def order(self) -> None:
        answer = await self.ask("place_order", recipe="print-and-convey", program="part.gcode")
        assert answer.ok, answer.text


def in_house(folder: Path, test: Callable[[House], Awaitable[None]], file: Path = SHOP, **options: Any) -> None:
    async def main(clock: LoopClock) -> None:
        house = House(folder, clock, file)
        house.options |= options
        await house.open()
        try:
            await test(house)
        finally:
            await house.close()

    virtual.run(main)


def test_an_order_goes_its_whole_way_and_the_feed_shows_it(tmp_path: Path) -> None:
    async def test(house: House) -> None:
        await house.until_told("node:printer-1/link", "ours")
        await house.order()
        await house.until_told("printer-1/job/state", "RUNNING")
        value, quality, _ = house.told["printer-1/job/duration"]
        assert quality == GOOD and 1 < value < 10 and house.told["printer-1/job/program"][0] == "part.gcode"
        assert house.told["printer-1/command/run"][0] is True
        await house.until_told("printer-1/job/progress", 1.0)
        await house.until_told("factory/order/operation", "convey")
        house.nodes["belt-1"].show("belt-1", at_entry=True)
        await house.until_told("belt-1/command/speed", 0.1)
        house.nodes["belt-1"].show("belt-1", at_exit=True, parts=1)
        await house.until_told("factory/order/state", "DONE")
        assert house.told["printer-1/job/time_left"][0] == 0 and house.told["belt-1/status/parts"][0] == 1
        kinds = [event.kind for event in house.events]
        assert kinds.count("OrderPlaced") == 1 and kinds[-1] == "OrderChanged"

    in_house(tmp_path / "state", test)


def test_a_job_larger_than_may_be_stored_is_streamed(tmp_path: Path) -> None:
    async def test(house: House) -> None:
        await house.order()
        await house.until_told("printer-1/job/state", "RUNNING")
        node = house.nodes["printer-1"]
        assert node.kind is n.TransferKind.STREAMED_JOB and node.status["transfer_state"] == n.TransferState.STORED

    in_house(tmp_path / "state", test, stored_bytes=100)


def test_a_node_without_room_gets_its_job_streamed(tmp_path: Path) -> None:
    async def test(house: House) -> None:
        house.nodes["printer-1"].room = 50
        await house.order()
        await house.until_told("printer-1/job/state", "RUNNING")
        assert house.nodes["printer-1"].kind is n.TransferKind.STREAMED_JOB

    in_house(tmp_path / "state", test)


def test_a_broken_program_holds_its_order_names_its_lines_and_sends_nothing(tmp_path: Path) -> None:
    async def test(house: House) -> None:
        program = house.folder / "programs" / "part.gcode"
        program.write_text("G28\nG1 X500 F600\nG1 X10 E5\nG1 Xten\n")
        await house.order()
        await house.until_told("factory/order/state", "HELD")
        reason = house.told["factory/order/reason"][0]
        assert "line 2: " in reason and "500" in reason and "line 3: " in reason and "line 4: " in reason
        node = house.nodes["printer-1"]
        assert node.status["transfer_state"] == n.TransferState.IDLE and node.executed == []
        refused = await house.ask("place_order", recipe="print-and-convey", program="none.gcode")
        assert not refused.ok and "there are: part.gcode" in refused.text

    in_house(tmp_path / "state", test)


def test_a_cut_link_makes_everything_behind_it_stale_and_good_again_when_it_is_back(tmp_path: Path) -> None:
    async def test(house: House) -> None:
        await house.until_told("node:belt-1/link", "ours")
        assert house.told["belt-1/status/at_entry"] == (False, GOOD, "")
        house.servers["belt-1"].cut = True
        await house.until(lambda: house.told["belt-1/status/at_entry"][1] == STALE, Ns(S))
        assert house.told["belt-1/status/at_entry"][2] == "no reply for 250 ms"
        assert house.told["printer-1/status/filament"] == (True, GOOD, "")
        assert house.told["node:belt-1/link"][0].startswith("lost: ")
        await house.clock.until(Ns(house.clock.now() + 20 * S))
        house.servers["belt-1"].cut = False
        await house.until(lambda: house.told["belt-1/status/at_entry"][1] == GOOD)
        await house.until_told("node:belt-1/link", "ours")
        await house.clock.until(Ns(house.clock.now() + 10 * S))
        house.servers["belt-1"].hang_up()
        await house.until(lambda: house.told["belt-1/status/at_entry"][1] == STALE, Ns(S))
        assert house.told["belt-1/status/at_entry"][2].startswith(("closed by the node", "connection lost: "))
        await house.until(lambda: house.told["belt-1/status/at_entry"][1] == GOOD, Ns(S))

    in_house(tmp_path / "state", test)


def test_a_node_with_another_map_shows_both_values_and_is_not_written(tmp_path: Path) -> None:
    async def test(house: House) -> None:
        await house.until(lambda: house.told.get("belt-1/status/at_entry", (0, 0))[1] == BAD)
        cause = house.told["belt-1/status/at_entry"][2]
        assert cause.startswith("map differs: node says 0x0badcafe, factory 0x")
        await house.clock.until(Ns(house.clock.now() + 5 * S))
        node = house.nodes["belt-1"]
        assert node.status["owner"] == 0 and node.status["refused"] == 0
        assert [e.subject for e in house.events if e.kind == "NodeRefused"] == ["belt-1"]

    async def main(clock: LoopClock) -> None:
        house = House(tmp_path / "state", clock)
        original = FakeNode.__post_init__

        def other(node: FakeNode) -> None:
            original(node)
            if node.name == "belt-1":
                node.set(map_hash=0x0BADCAFE)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(FakeNode, "__post_init__", other)
            await house.open()
        try:
            await test(house)
        finally:
            await house.close()

    virtual.run(main)


def test_of_two_cores_on_the_same_nodes_the_second_only_reads_and_says_whose_they_are(tmp_path: Path) -> None:
    async def test(house: House) -> None:
        await house.until_told("node:belt-1/link", "ours")
        owner = house.nodes["belt-1"].status["owner"]
        second = House(tmp_path / "second", house.clock)
        second.factory, second.signals, second.servers = house.factory, house.signals, {}
        second.options["seed"] = 78
        await second.start()
        await second.until(lambda: str(second.told.get("node:belt-1/link", ("",))[0]).startswith("read-only"))
        assert second.told["node:belt-1/link"][0].startswith(f"read-only: commanded by owner {owner:#010x}, epoch ")
        assert second.told["belt-1/status/at_entry"] == (False, GOOD, "")
        answer = await second.ask("reset", machine="belt-1")
        assert not answer.ok and "commanded by owner" in answer.text
        await house.clock.until(Ns(house.clock.now() + 3 * S))
        assert house.nodes["belt-1"].status["owner"] == owner and house.nodes["belt-1"].status["leases_lost"] == 0
        await house.stop()
        await second.until_told("node:belt-1/link", "ours")
        await second.stop()

    in_house(tmp_path / "state", test)


def test_a_core_that_comes_back_finds_its_order_where_it_stands(tmp_path: Path) -> None:
    async def test(house: House) -> None:
        await house.order()
        await house.until_told("printer-1/job/state", "RUNNING")
        await house.stop()
        await house.clock.until(Ns(house.clock.now() + 3 * S))
        house.nodes["printer-1"].tick(house.clock.now())
        house.told.clear()
        await house.start()
        await house.until_told("factory/order/state", "HELD")
        assert "latched: silence" in house.told["factory/order/reason"][0]
        assert (await house.ask("reset", machine="printer-1")).ok
        refused = await house.ask("start", machine="printer-1")
        assert not refused.ok and "broke off" in refused.text
        assert (await house.ask("stop", machine="printer-1")).ok
        await house.until_told("factory/order/state", "CANCELLED")
        assert [op for op, _ in house.nodes["printer-1"].executed] == [n.Op.START, n.Op.RESET, n.Op.STOP]

    in_house(tmp_path / "state", test)


def test_an_order_given_at_the_start_is_placed_once(tmp_path: Path) -> None:
    async def test(house: House) -> None:
        await house.until_told("printer-1/job/state", "RUNNING")
        await house.stop()
        await house.start()
        await house.clock.until(Ns(house.clock.now() + 2 * S))
        with Book(house.folder / "copy.sqlite", 1):
            pass
        assert house.told["factory/order/id"][0] == "1"

    in_house(tmp_path / "state", test, first={"recipe": "print-and-convey", "program": "part.gcode"})


def test_a_plan_that_breaks_down_holds_its_order_and_the_scan_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(factory: object, folder: object, work: object) -> None:
        raise ZeroDivisionError("a mistake of ours")

    async def test(house: House) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, about: None)
        await house.order()
        await house.until_told("factory/order/state", "HELD")
        assert "internal error: ZeroDivisionError: a mistake of ours" in house.told["factory/order/reason"][0]
        await house.until_told("node:printer-1/link", "ours")

    monkeypatch.setattr("controller.jobs.make", broken)
    in_house(tmp_path / "state", test)


def test_the_state_directory_is_the_users_alone_and_has_room_for_one_core(tmp_path: Path) -> None:
    async def test(house: House) -> None:
        for path in (house.folder, house.folder / "book.sqlite", house.folder / "feed.sock", house.folder / "owner"):
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
        with pytest.raises(CoreError, match="another core runs here"), held(house.folder):
            pass

    in_house(tmp_path / "state", test)


def test_while_the_book_cannot_be_written_the_core_stays_takes_on_nothing_new_and_goes_on_once_it_can(tmp_path: Path) -> None:
    async def test(house: House, patch: pytest.MonkeyPatch) -> None:
        await house.until_told("node:printer-1/link", "ours")
        with patch.context() as broken:

            def refuse(*_: object) -> None:
                raise sqlite3.OperationalError("disk I/O error")

            broken.setattr(Book, "_count", refuse)
            for _ in range(2):
                answer = await house.ask("place_order", recipe="print-and-convey", program="part.gcode")
                assert not answer.ok and "the order book can't be written" in answer.text and "disk I/O error" in answer.text
            assert (await house.ask("stop", machine="printer-1")).ok, "a stop needs no disk"
            refused = await house.ask("reset", machine="printer-1")
            assert not refused.ok and "can't be written" in refused.text
            await house.clock.until(Ns(house.clock.now() + 20 * S))
            assert house.told["node:printer-1/link"][0] == "ours", "what it has it keeps"
        await house.until(lambda: [e.fields["cause"] for e in house.events if e.kind == "BookShut"][-1] == "")
        await house.order()
        await house.until_told("printer-1/job/state", "RUNNING")
        with Book(house.folder / "copy.sqlite", 1):
            pass
        placed = [event.subject for event in house.events if event.kind == "OrderPlaced"]
        assert placed == ["order 1", "order 2"] and house.told["factory/order/id"][0] == "2"
        told = [event.fields["reason"] for event in house.events if (event.kind, event.subject) == ("OrderChanged", "order 1")]
        assert told[-1] == "stopped by the order book"

    with pytest.MonkeyPatch.context() as patch:
        in_house(tmp_path / "state", lambda house: test(house, patch))
    with sqlite3.connect(tmp_path / "state" / "book.sqlite") as raw:
        assert raw.execute("SELECT id, state FROM orders").fetchall()[0] == (1, "CANCELLED")
        assert raw.execute("SELECT what, state FROM commands").fetchall() == [("stop", "done")]


WAVE = "home\nspeed 0.3\njoints -170 -90 90 -90 -90 0\njoints -150 -90 90 -90 -90 0\n"
AT_REST = {"base": -2.6, "shoulder": -1.57, "elbow": 1.57, "wrist_1": -1.57, "wrist_2": -1.57}


def with_an_arm(house: House, **programs: str) -> None:
    house.nodes["arm-1"].set(homed=1)
    house.nodes["arm-1"].show("arm-1", **AT_REST)
    for name, text in programs.items():
        (house.folder / "programs" / name).write_text(text)


def test_an_operator_s_arm_program_is_refused_when_its_order_is_placed(tmp_path: Path) -> None:
    async def test(house: House) -> None:
        with_an_arm(house, far="joints 0 -90 400 0 0 0\n", low="speed 0.5\njoints -150 20 0 0 0 0\n", typo="home\njionts 0\n")
        await house.until_told("node:arm-1/link", "ours")
        far = await house.ask("place_order", recipe="move-arm", program="far")
        assert not far.ok and "line 1" in far.text and "elbow_joint" in far.text
        low = await house.ask("load_job", machine="arm-1", program="low")
        assert not low.ok and "line 2" in low.text and "table" in low.text
        typo = await house.ask("place_order", recipe="move-arm", program="typo")
        assert not typo.ok and "line 2: 'jionts' is no command" in typo.text
        assert house.told["factory/order/id"][0] == "", "no order was made of them"
        assert not house.nodes["arm-1"].jobs

    in_house(tmp_path / "state", test, DEMO)


def test_an_operator_s_arm_program_that_is_sound_becomes_an_order_and_the_tool_point_is_shown(tmp_path: Path) -> None:
    async def test(house: House) -> None:
        with_an_arm(house, wave=WAVE)
        await house.until_told("node:arm-1/link", "ours")
        answer = await house.ask("place_order", recipe="move-arm", program="wave")
        assert answer.ok and answer.text == "order 1 placed"
        await house.until_told("arm-1/job/state", "RUNNING")
        assert house.told["arm-1/command/run"][0] is True
        x, y, z = (house.told[f"arm-1/tool/{axis}"][0] for axis in "xyz")
        assert (x**2 + y**2) ** 0.5 == pytest.approx(0.5096, abs=2e-3), "0.4919 m out, 0.1333 m aside"
        assert z == pytest.approx(0.488 - 0.150, abs=2e-3) and house.told["arm-1/tool/x"][1] == GOOD

    in_house(tmp_path / "state", test, DEMO)


def test_an_arm_program_that_reaches_into_a_printer_s_space_is_refused_with_both_bodies(tmp_path: Path) -> None:
    async def test(house: House) -> None:
        with_an_arm(house, into="speed 0.5\njoints -120 -90 90 -90 -90 0\n")
        await house.until_told("node:arm-1/link", "ours")
        answer = await house.ask("load_job", machine="arm-1", program="into")
        assert not answer.ok and "line 2: " in answer.text and "printer-1/travel overlap by" in answer.text

    in_house(tmp_path / "state", test, DEMO)
