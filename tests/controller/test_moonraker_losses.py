"""What a Klipper printer is told once must reach it: calls that are refused, lost or forbidden, and texts that nobody expects."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from controller.foreign import again, klipper, moonraker
from tests.controller.fakemoonraker import KEY
from tests.controller.test_moonraker import FACTORY, FILE, Shop, in_shop
from twin.clock import MS, LoopClock, Ns
from twin.factory import parse
from twin.node import Fault

PAUSE, RESUME, CANCEL = "printer.print.pause", "printer.print.resume", "printer.print.cancel"
SCRIPT = "printer.gcode.script"


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(again, "AGAIN", Ns(100 * MS))


async def wait(ms: int) -> None:
    clock = LoopClock(asyncio.get_running_loop())
    await clock.until(Ns(clock.now() + ms * MS))


def state(shop: Shop) -> str:
    return str(shop.printer.objects["print_stats"]["state"])


async def break_link(shop: Shop) -> None:
    for socket in list(shop.printer.sockets):
        await socket.close()


def test_a_hold_that_was_refused_is_asked_again_and_a_persons_pause_is_still_a_persons(tmp_path: Path) -> None:
    async def test(shop: Shop) -> None:
        await shop.printing()
        shop.printer.refuse.add(PAUSE)
        await shop.ask("pause", machine="voron")
        await shop.eventually(lambda: shop.printer.called(PAUSE) >= 1)
        shop.printer.refuse.clear()
        await shop.eventually(lambda: state(shop) == "paused")
        asked = shop.printer.called(PAUSE)
        await shop.printer.show(print_stats={"state": "printing"})  # somebody at the screen, against the hold
        await shop.eventually(lambda: state(shop) == "paused" and shop.printer.called(PAUSE) > asked)
        await shop.ask("start", machine="voron")
        await shop.eventually(lambda: state(shop) == "printing")
        assert shop.printer.called(RESUME) == 1
        shop.printer.refuse.add(PAUSE)
        asked = shop.printer.called(PAUSE)
        await shop.ask("pause", machine="voron")
        await shop.eventually(lambda: shop.printer.called(PAUSE) > asked)
        await shop.ask("start", machine="voron")
        await wait(400)
        await shop.printer.show(print_stats={"state": "paused"})  # somebody at the screen
        await wait(500)
        assert shop.printer.called(RESUME) == 1 and state(shop) == "paused"

    in_shop(tmp_path, test)


def test_a_hold_that_was_asked_while_the_link_broke_is_asked_again(tmp_path: Path) -> None:
    async def test(shop: Shop) -> None:
        await shop.printing()
        shop.printer.mute = True
        await shop.ask("pause", machine="voron")
        await wait(300)
        await break_link(shop)
        shop.printer.mute = False
        await shop.eventually(lambda: state(shop) == "paused")

    in_shop(tmp_path, test)


def test_a_printer_that_is_too_hot_is_switched_off_until_its_targets_are_zero(tmp_path: Path) -> None:
    async def idle(shop: Shop) -> None:
        await shop.eventually(lambda: shop.told.get("voron/status/connected") is True)
        shop.printer.refuse.add(SCRIPT)
        await shop.printer.show(extruder={"temperature": 400.0, "target": 400.0})
        await shop.eventually(lambda: shop.printer.called(SCRIPT) >= 1)
        shop.printer.refuse.clear()
        await shop.eventually(lambda: shop.printer.objects["extruder"]["target"] == 0)
        assert shop.printer.calls[-1] == (SCRIPT, {"script": "TURN_OFF_HEATERS"}) and shop.printer.called(CANCEL) == 0
        await shop.eventually(lambda: shop.told.get("node:voron/status/fault") == Fault.OVER_TEMPERATURE)
        asked = len(shop.printer.calls)
        await wait(400)
        assert len(shop.printer.calls) == asked, "there is nothing more to be switched off"
        await shop.follower.ask("reset", {"machine": "voron"}, "tester")
        await wait(300)
        assert shop.told["node:voron/status/latched"], "it is still too hot"

    async def printing(shop: Shop) -> None:
        await shop.printing()
        shop.printer.refuse.add(CANCEL)
        await shop.printer.show(extruder={"temperature": 400.0, "target": 400.0})
        await shop.eventually(lambda: shop.printer.called(CANCEL) >= 1)
        shop.printer.refuse.clear()
        await shop.eventually(lambda: state(shop) == "cancelled" and shop.printer.objects["extruder"]["target"] == 0)

    for name, test in (("idle", idle), ("printing", printing)):
        (tmp_path / name).mkdir()
        in_shop(tmp_path / name, test)


def test_an_emergency_stop_that_was_refused_is_asked_again(tmp_path: Path) -> None:
    async def test(shop: Shop) -> None:
        await shop.eventually(lambda: shop.told.get("voron/status/connected") is True)
        shop.printer.refuse.add("printer.emergency_stop")
        await shop.printer.show(extruder={"temperature": 400.0, "target": 400.0})
        await shop.eventually(lambda: shop.printer.called("printer.emergency_stop") >= 1)
        shop.printer.refuse.clear()
        await shop.eventually(lambda: shop.printer.klippy == "shutdown")

    in_shop(tmp_path, test, "emergency_stop = true")


def test_heaters_are_switched_off_after_a_job_though_the_call_was_refused_or_we_have_started_anew(tmp_path: Path) -> None:
    async def refused(shop: Shop) -> None:
        await shop.printing()
        await shop.printer.show(extruder={"target": 200.0, "temperature": 200.0})
        shop.printer.refuse.add(SCRIPT)
        await shop.printer.show(print_stats={"state": "complete"})
        await shop.eventually(lambda: shop.printer.called(SCRIPT) >= 1)
        shop.printer.refuse.clear()
        await shop.eventually(lambda: shop.printer.objects["extruder"]["target"] == 0)

    async def anew(shop: Shop) -> None:
        await shop.eventually(lambda: shop.told.get("node:voron/status/job_id") == 7)
        await shop.printer.show(print_stats={"state": "complete"}, extruder={"target": 200.0, "temperature": 200.0})
        await shop.eventually(lambda: shop.printer.objects["extruder"]["target"] == 0)
        await shop.printer.show(extruder={"target": 60.0})  # somebody at the screen
        await wait(400)
        assert shop.printer.objects["extruder"]["target"] == 60, "that is no heat of ours"

    for name, test, printing in (("refused", refused, ""), ("anew", anew, FILE.format(7))):
        (tmp_path / name).mkdir()
        in_shop(tmp_path / name, test, printing=printing)


def test_a_link_that_breaks_during_an_upload_only_delays_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads, for the file is made in one."""
    real, broken = moonraker.file, []

    async def test(shop: Shop) -> None:
        loop = asyncio.get_running_loop()

        def slow(job: bytes) -> Any:
            if not broken:
                broken.append(True)
                asyncio.run_coroutine_threadsafe(break_link(shop), loop).result()
                asyncio.run_coroutine_threadsafe(wait(200), loop).result()
            return real(job)

        monkeypatch.setattr(moonraker, "file", slow)
        await shop.eventually(lambda: shop.told.get("voron/status/connected") is True)
        await shop.ask("place_order", recipe="print", program="p.gcode")
        await shop.eventually(lambda: shop.printer.called("printer.print.start") == 1, 20)

    in_shop(tmp_path, test)


def test_a_cancel_after_a_silence_that_was_refused_is_asked_again(tmp_path: Path) -> None:
    async def test(shop: Shop) -> None:
        await shop.printing()
        shop.printer.refuse.add(CANCEL)
        port = shop.printer.port
        await shop.printer.stop()
        await wait(800)  # longer than the lease
        await shop.printer.start(port)
        await shop.eventually(lambda: shop.printer.called(CANCEL) >= 1)
        shop.printer.refuse.clear()
        await shop.eventually(lambda: state(shop) == "cancelled")

    in_shop(tmp_path, test, 'on_link_loss = "stop"')


@pytest.mark.parametrize("method", ["take", "status"])
def test_what_even_breaks_our_reading_costs_the_connection_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    async def test(shop: Shop) -> None:
        await shop.printing()
        real = getattr(klipper.Told, method)

        def breaks(told: klipper.Told, status: object) -> None:
            monkeypatch.setattr(klipper.Told, method, real)
            raise ArithmeticError("nobody has thought of it")

        monkeypatch.setattr(klipper.Told, method, breaks)
        first = shop.printer.sockets[0]
        await shop.printer.show(extruder={"temperature": 77.0})
        await shop.eventually(lambda: bool(shop.printer.sockets) and shop.printer.sockets[0] is not first)
        await shop.eventually(lambda: shop.told.get("voron/status/hotend_temperature") == pytest.approx(77.0))

    in_shop(tmp_path, test)


@pytest.mark.parametrize("key", ["schlüssel".encode(), b"abc\ndef\n", b"\xff\xfe", b""])
def test_a_key_that_is_none_keeps_one_printer_away_and_is_named(tmp_path: Path, key: bytes) -> None:
    (tmp_path / "key").write_bytes(key)
    (tmp_path / "key").chmod(0o600)
    link_told(tmp_path, 1, f"{tmp_path / 'key'}: no key of one line")


def test_a_key_that_is_missing_is_named(tmp_path: Path) -> None:
    link_told(tmp_path, 1, f"{tmp_path / 'key'}: No such file or directory")


def link_told(folder: Path, port: int, cause: str) -> None:
    factory = parse(FACTORY.format(port=port, more=""), folder)

    async def main() -> None:
        clock = LoopClock(asyncio.get_running_loop())
        printer = factory.nodes["voron"].foreign
        assert printer is not None
        link = moonraker.MoonrakerLink(factory, "voron", printer, clock)
        running = asyncio.create_task(link.run())
        for _ in range(1000):
            if link.cause.startswith(cause) or running.done():
                break
            await clock.until(Ns(clock.now() + MS))
        assert not running.done() and link.cause.startswith(cause), link.cause
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(main())


def test_the_key_goes_to_the_printer_and_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(KEY)
    (tmp_path / "key").chmod(0o600)
    elsewhere: list[str | None] = []

    async def main() -> None:
        async def other(request: web.Request) -> web.Response:
            elsewhere.append(request.headers.get("X-Api-Key"))
            return web.Response()

        there = await serving(other)
        port = there.addresses[0][1]

        async def sends(request: web.Request) -> web.Response:
            raise web.HTTPTemporaryRedirect(f"http://127.0.0.1:{port}{request.path}")

        here = await serving(sends)
        factory = parse(FACTORY.format(port=here.addresses[0][1], more=""), tmp_path)
        clock = LoopClock(asyncio.get_running_loop())
        printer = factory.nodes["voron"].foreign
        assert printer is not None
        link = moonraker.MoonrakerLink(factory, "voron", printer, clock)
        running = asyncio.create_task(link.run())
        for _ in range(400):
            if "elsewhere" in link.cause or elsewhere:
                break
            await clock.until(Ns(clock.now() + MS))
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await here.cleanup()
        await there.cleanup()
        assert elsewhere == [] and "sends us elsewhere" in link.cause

    asyncio.run(main())


async def serving(answer: Any) -> web.AppRunner:
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner
