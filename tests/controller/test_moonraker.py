"""A Klipper printer behind Moonraker as a node: the real core and links, and a Moonraker in plain Python behind real sockets."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from controller.core import run
from controller.feed import Changes, Snapshot, feed_signals, follow
from controller.foreign import klipper, moonraker
from controller.foreign.moonraker import MoonrakerLink
from tests.controller.fakemoonraker import KEY, FakeMoonraker
from twin import motion
from twin.clock import MS, LoopClock, Ns
from twin.factory import Factory, FactoryError, parse
from twin.motion import lines
from twin.node import JobState

PROGRAM = "G28\nM140 S50\nM104 S200\nM190 S50\nM109 S200\nG1 X20 Y20 Z0.3 F6000\n; a wall\nG1 X60 E2 F1200\nG4 P400\nM104 S0\nM84\n"
FACTORY = """
[factory]
name = "k"
scan_ms = 20
[cells.shop]
[nodes.voron]
uid = 9
kind = "moonraker"
url = "http://127.0.0.1:{port}"
token_file = "key"
{more}
[machines.voron]
type = "gcode_printer"
cell = "shop"
node = "voron"
base = 256
[recipes.print]
operations = ["print"]
"""
FILE = "lockstep/job-{:08x}.gcode"


class Shop:
    """A core with one such printer, and what its Feed tells."""

    def __init__(self, folder: Path, more: str) -> None:
        self.folder, self.more = folder, more
        self.printer = FakeMoonraker()
        self.told: dict[str, Any] = {}
        self.quality: dict[str, int] = {}

    @contextlib.asynccontextmanager
    async def open(self) -> Any:
        self.folder.joinpath("key").write_text(KEY)
        self.folder.joinpath("key").chmod(0o600)
        (self.folder / "state" / "programs").mkdir(parents=True)
        (self.folder / "state" / "programs" / "p.gcode").write_text(PROGRAM)
        port = await self.printer.start()
        self.factory: Factory = parse(FACTORY.format(port=port, more=self.more), self.folder)
        clock = LoopClock(asyncio.get_running_loop())
        core = asyncio.create_task(run(self.factory, self.folder / "state", clock, seed=5))
        following = asyncio.create_task(self._follow())
        try:
            yield self
        finally:
            core.cancel()
            await asyncio.gather(core, return_exceptions=True)
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            await self.printer.stop()

    async def _follow(self) -> None:
        signals = feed_signals(self.factory)
        await self.eventually(lambda: (self.folder / "state" / "feed.sock").exists())
        async with follow(self.folder / "state" / "feed.sock") as self.follower:
            async for message in self.follower:
                if isinstance(message, (Snapshot, Changes)):
                    for row in message.rows:
                        self.told[signals[row.index].path] = row.value
                        self.quality[signals[row.index].path] = row.quality

    async def eventually(self, holds: Callable[[], bool], within: float = 10.0) -> None:
        loop = asyncio.get_running_loop()
        clock = LoopClock(loop)
        end = loop.time() + within
        while not holds():
            assert loop.time() < end, (
                self.printer.calls,
                {k: v for k, v in self.told.items() if "order" in k or "job" in k or "link" in k or "standing" in k},
            )
            await clock.until(Ns(clock.now() + 5 * MS))

    async def ask(self, kind: str, **args: Any) -> None:
        answer = await self.follower.ask(kind, args, "tester")
        assert answer.ok, answer.text

    async def printing(self) -> str:
        """An order's file, once it is being printed."""
        await self.eventually(lambda: self.told.get("voron/status/connected") is True)
        await self.ask("place_order", recipe="print", program="p.gcode")
        await self.eventually(lambda: self.printer.called("printer.print.start") == 1)
        return str(self.printer.objects["print_stats"]["filename"])


def in_shop(folder: Path, test: Callable[[Shop], Awaitable[None]], more: str = "", printing: str = "") -> None:
    async def main() -> None:
        made = Shop(folder, more)
        if printing:
            made.printer.objects["print_stats"].update(filename=printing, state="printing")
        async with made.open() as shop:
            await test(shop)

    asyncio.run(main())


def test_an_order_is_uploaded_checked_printed_held_and_done(tmp_path: Path) -> None:
    async def test(shop: Shop) -> None:
        name = await shop.printing()
        text = shop.printer.files[name].decode().splitlines()
        assert [line for line in text if line.startswith(("M109", "M190", "G4", "G28", "M84"))] == [
            "G28", "M190 S50", "M109 S200", "G4 P400", "M84"
        ]  # fmt: skip
        assert not any(line.startswith(("M201", "M203", "M205")) for line in text)
        at = shop.printer.files[name].index(b"G1 X60") + 3 if b"G1 X60" in shop.printer.files[name] else 0
        await shop.printer.show(
            extruder={"temperature": 199.5, "target": 200.0},
            toolhead={"position": [30.0, 20.0, 0.3, 1.0], "homed_axes": "xyz"},
            virtual_sdcard={"file_position": at or 200},
            print_stats={"filament_used": 0.75},
        )
        told = shop.told
        await shop.eventually(lambda: told.get("voron/status/hotend_temperature") == pytest.approx(199.5))
        assert told["voron/status/x"] == pytest.approx(0.03) and told["voron/status/e"] == pytest.approx(0.00075)
        await shop.ask("pause", machine="voron")
        await shop.eventually(lambda: shop.printer.objects["print_stats"]["state"] == "paused")
        await shop.ask("start", machine="voron")
        await shop.eventually(lambda: shop.printer.objects["print_stats"]["state"] == "printing")
        await shop.printer.show(print_stats={"state": "complete"})
        await shop.eventually(lambda: shop.printer.called("printer.gcode.script") == 1)
        assert shop.printer.calls[-1][1] == {"script": "TURN_OFF_HEATERS"}
        assert [name for name, _ in shop.printer.calls] == [
            "printer.print.start", "printer.print.pause", "printer.print.resume", "printer.gcode.script"
        ]  # fmt: skip

    in_shop(tmp_path, test)


def test_a_stop_cancels_and_where_it_is_declared_the_emergency_stop_follows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moonraker, "CANCEL", 200 * MS)

    async def test(shop: Shop) -> None:
        await shop.printing()
        shop.printer.refuse.add("printer.print.cancel")  # it waits for its heater, and hears nobody
        await shop.follower.ask("stop", {"machine": "voron"}, "tester")
        await shop.eventually(lambda: shop.printer.called("printer.emergency_stop") == 1)
        await shop.eventually(lambda: shop.told.get("voron/status/killed") is True)

    in_shop(tmp_path, test, "emergency_stop = true")


def test_silence_is_told_and_what_is_still_printing_is_found_again_or_cancelled(tmp_path: Path) -> None:
    for number, (more, cancelled) in enumerate((("", 0), ('on_link_loss = "stop"', 1))):

        async def test(shop: Shop, cancelled: int = cancelled) -> None:
            await shop.printing()
            port = shop.printer.port
            await shop.printer.stop()
            await shop.eventually(lambda: shop.quality.get("voron/status/x", 0) != 0)
            calls = len(shop.printer.calls)
            clock = LoopClock(asyncio.get_running_loop())
            await clock.until(Ns(clock.now() + 700 * MS))  # longer than the lease
            await shop.printer.start(port)
            await shop.eventually(lambda: shop.quality.get("voron/status/x", 0) == 0)
            if cancelled:
                await shop.eventually(lambda: shop.printer.called("printer.print.cancel") == 1)
            else:
                await shop.printer.show(print_stats={"state": "complete"})
                await shop.eventually(lambda: shop.printer.called("printer.gcode.script") == 1)
                assert {name for name, _ in shop.printer.calls[calls:]} == {"printer.gcode.script"}, "nothing was held or started"
                await shop.eventually(lambda: shop.told.get("factory/order/state") == "DONE")

        folder = tmp_path / str(number)
        folder.mkdir()
        in_shop(folder, test, more)


def test_a_klipper_that_shuts_down_ends_the_job_and_latches(tmp_path: Path) -> None:
    async def test(shop: Shop) -> None:
        await shop.printing()
        shop.printer.klippy = "shutdown"
        await shop.printer.notify("notify_klippy_shutdown", [])
        await shop.eventually(lambda: shop.told.get("voron/status/killed") is True)
        await shop.eventually(lambda: shop.told.get("voron/status/connected") is False)

    in_shop(tmp_path, test)


STRANGE = (
    "", "{", "[]", "7", '{"method": 5}', '{"method": "notify_status_update", "params": "x"}',
    '{"method": "notify_status_update", "params": [7]}', '{"id": 77, "result": 1}', '{"id": [], "result": 1}',
    '{"method": "notify_status_update", "params": [{"extruder": {"temperature": "hot", "target": NaN}, "fan": 3}]}',
    '{"method": "notify_status_update", "params": [{"toolhead": {"position": [1, null], "homed_axes": 5}}]}',
    '{"method": "notify_status_update", "params": [{"extruder": {"target": 1' + 400 * "0" + "}}]}",
    '{"method": "notify_status_update", "params": [{"virtual_sdcard": {"file_position": 1e300}}]}',
    '{"method": "notify_status_update", "params": [{"toolhead": {"position": [1e308, 0, 0]}, "fan": {"speed": 1e308}}]}',
    '{"method": "notify_status_update", "params": [{"webhooks": {"state_message": "\\ud800"}}]}',
    "[" * 200_000, '{"id": 1' + 5000 * "0" + "}",
)  # fmt: skip


def test_nonsense_from_moonraker_is_left_out(tmp_path: Path) -> None:
    async def test(shop: Shop) -> None:
        await shop.printing()
        first = shop.printer.sockets[0]
        for text in STRANGE:
            await shop.printer.say(text)
        await shop.printer.show(extruder={"temperature": 123.0})
        await shop.eventually(lambda: shop.told.get("voron/status/hotend_temperature") == pytest.approx(123.0))
        assert shop.told["voron/status/x"] == 0 and shop.printer.sockets == [first], "it costs nothing, not even the connection"

    in_shop(tmp_path, test)


def test_an_upload_that_is_not_what_was_sent_is_never_started(tmp_path: Path) -> None:
    async def test(shop: Shop) -> None:
        shop.printer.spoil = True
        await shop.eventually(lambda: shop.told.get("voron/status/connected") is True)
        await shop.ask("place_order", recipe="print", program="p.gcode")
        await shop.eventually(lambda: bool(shop.printer.files))
        shop.printer.spoil = False
        await shop.eventually(lambda: shop.printer.called("printer.print.start") == 1)
        name = shop.printer.objects["print_stats"]["filename"]
        assert shop.printer.files[name].endswith(b"M84\n"), "it was sent again until what is there was right"

    in_shop(tmp_path, test)


def test_what_a_person_pauses_at_the_printer_is_not_taken_up_again_by_us(tmp_path: Path) -> None:
    async def test(shop: Shop) -> None:
        await shop.printing()
        await shop.printer.show(print_stats={"state": "paused"})
        await shop.eventually(lambda: shop.told.get("node:voron/status/job_state") == JobState.HOLDING)
        beats = shop.told["node:voron/status/heartbeat"]
        await shop.eventually(lambda: shop.told["node:voron/status/heartbeat"] > beats + 10)
        assert [name for name, _ in shop.printer.calls] == ["printer.print.start"]

    in_shop(tmp_path, test)


def test_a_job_that_prints_already_is_known_by_its_file(tmp_path: Path) -> None:
    async def test(shop: Shop) -> None:
        await shop.eventually(lambda: shop.told.get("node:voron/status/job_id") == 7)
        assert shop.told["node:voron/status/job_state"] == JobState.RUNNING

    in_shop(tmp_path, test, printing=FILE.format(7))


def test_a_place_in_the_file_is_a_line_of_the_program() -> None:
    factory = parse(FACTORY.format(port=1, more=""), Path("."))
    machine = factory.machines["voron"]
    assert machine.type.limits is not None
    limits = machine.type.limits(machine.params)
    made = klipper.file(lines.encode(motion.plan(PROGRAM, limits), limits))
    text = made.text.decode()
    assert made.reached(0) == (0, 0)
    assert made.reached(len(text)) == (11, made.records[-1].chunks)
    assert made.reached(text.index("M109") + len("M109 S200\n"))[0] == 5


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ('port = 5', "nodes.voron.port: only a node with our firmware has it"),
        ('on_link_loss = "pray"', "nodes.voron.on_link_loss: must be one of finish, stop, not 'pray'"),
    ],
)  # fmt: skip
def test_mistakes_about_a_foreign_node_are_told(more: str, told: str) -> None:
    with pytest.raises(FactoryError) as wrong:
        parse(FACTORY.format(port=1, more=more), Path("."))
    assert told in wrong.value.mistakes


def test_a_key_that_others_can_read_is_not_used(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text(KEY)
    key.chmod(0o644)
    factory = parse(FACTORY.format(port=1, more=""), tmp_path)

    async def main() -> None:
        clock = LoopClock(asyncio.get_running_loop())
        printer = factory.nodes["voron"].foreign
        assert printer is not None
        link = MoonrakerLink(factory, "voron", printer, clock)
        running = asyncio.create_task(link.run())
        while "read by others" not in link.cause:
            await clock.until(Ns(clock.now() + MS))
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert not link.up

    asyncio.run(main())
