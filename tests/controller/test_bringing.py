"""What other processes bring to the Feed: only what is theirs, never more than fits, and what is wanted of them once."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from controller.brought import Mirror, Shown, mirror_blocks
from controller.brought import bringers as made_bringers
from controller.feed import (
    Answered,
    Bringers,
    Bringing,
    Desk,
    Done,
    Feed,
    FeedLost,
    FeedSignal,
    Follower,
    NotBrought,
    Row,
    Told,
    Wanted,
    feed_signals,
    follow,
    serve,
)
from controller.feed.bringers import MOST_ROWS, MOST_TEXT, MOST_WANTED, SILENCE
from controller.feed.messages import Brings, Brought, Pending
from tests.controller.virtual import run
from twin.clock import LoopClock, Ns, S
from twin.factory import parse
from twin.trace import Quality
from twin.units import ONE


def signal(owner: str, group: str, name: str, kind: type = float) -> FeedSignal:
    return FeedSignal(f"{owner}/{group}/{name}", owner, group, name, kind, ONE, None, "")


SIGNALS = (
    signal("press-1", "status", "speed"),
    signal("press-1", "status", "mode", int),
    signal("press-1", "status", "program", str),
    signal("press-1", "command", "speed"),
    signal("arm-1", "residual", "x"),
    signal("arm-1", "residual", "y"),
)
PRESS, ARM = "press-1/status", "arm-1/residual"


@dataclass
class Core:
    """A core's end of the seam."""

    bringers: Bringers
    path: Path
    clock: LoopClock

    async def beat(self) -> None:
        """One scan, and time for everybody."""
        await self.clock.until(Ns(self.clock.now() + S // 10))
        self.bringers.beat(self.clock.now())
        for _ in range(20):
            await asyncio.sleep(0)

    async def until(self, holds: Callable[[], bool]) -> None:
        for _ in range(200):
            if holds():
                return
            await self.beat()
        raise AssertionError("never")


def with_core(folder: Path, test: Callable[[Core], Awaitable[None]]) -> None:
    async def main(clock: LoopClock) -> None:
        bringers = Bringers(SIGNALS, (PRESS, ARM))
        async with serve(folder / "feed.sock", Feed(SIGNALS), Desk(), bringers):
            await test(Core(bringers, folder / "feed.sock", clock))

    run(main)


async def next_of(follower: Follower, kind: type) -> object:
    async for message in follower:
        if isinstance(message, kind):
            return message
    raise AssertionError(f"no {kind.__name__}")


def test_what_a_face_brings_is_there_at_the_next_beat_and_the_latest_wins(tmp_path: Path) -> None:
    async def test(core: Core) -> None:
        async with follow(core.path) as face:
            assert (await face.bring([PRESS])).ok
            await face.brought([Row(0, 0.1, 0, "", 5), Row(0, 0.2, 0, "", 6), Row(1, 3, 1, "old", 7)])
            await core.until(lambda: core.bringers._rows != {})
            assert core.bringers.take([PRESS]) == [Row(0, 0.2, 0, "", 6), Row(1, 3, 1, "old", 7)]
            assert core.bringers.take([PRESS]) == [] and core.bringers.cause(PRESS) == ""

    with_core(tmp_path, test)


def test_what_is_not_declared_not_claimed_of_a_wrong_type_or_brought_twice_is_refused_with_the_reason(tmp_path: Path) -> None:
    async def test(core: Core) -> None:
        async with follow(core.path) as face, follow(core.path) as second:
            assert (await face.bring(["press-1/command"])).text == "'press-1/command' is not brought by any process of this factory"
            assert (await face.bring([PRESS])).ok
            assert (await second.bring([PRESS])).text == "press-1/status is brought by another process already"
            wrong = (
                Row(3, 0.5, 0, "", 5), Row(4, 0.5, 0, "", 5), Row(9, 0.5, 0, "", 5), Row(0, 1, 0, "", 5), Row(0, True, 0, "", 5),
                Row(0, float("nan"), 0, "", 5), Row(0, None, 0, "", 5), Row(0, 0.5, 3, "", 5), Row(0, 0.5, 0, "", -5),
                Row(1, 0.5, 0, "", 5), Row(1, 2**63, 0, "", 5), Row(2, "x" * (MOST_TEXT + 1), 0, "", 5), Row(2, 5, 0, "", 5),
            )  # fmt: skip
            await face.brought(wrong, [Told(5, "Pressed", "arm-1", {})])
            await core.until(lambda: core.bringers.refused >= len(wrong) + 3)
            assert core.bringers.take([PRESS, ARM]) == [] and core.bringers.events() == []

    with_core(tmp_path, test)


def test_when_who_brings_has_gone_or_is_silent_it_shows_and_another_may_take_over(tmp_path: Path) -> None:
    async def test(core: Core) -> None:
        shown = Shown(SIGNALS, core.bringers)
        async with follow(core.path) as face, follow(core.path) as second:
            assert (await face.bring([ARM])).ok
            await face.brought([Row(4, 0.5, 0, "", 5)])
            await core.until(lambda: core.bringers._rows != {})
            assert shown.take(9) == [Row(4, 0.5, 0, "", 5)]
            until = core.clock.now() + SILENCE + S
            await core.until(lambda: core.clock.now() > until)
            silent = "the process that brings it has said nothing for 5 s"
            assert shown.take(10) == [Row(4, 0.5, 1, silent, 10)] and shown.take(11) == []
            await face.brought([])
            await core.until(lambda: core.bringers.cause(ARM) == "")
            assert shown.take(12) == [Row(4, 0.5, 0, "", 5)]
            until = core.clock.now() + SILENCE + S
            await core.until(lambda: core.clock.now() > until)
            assert (await second.bring([ARM])).ok
        await core.until(lambda: core.bringers.cause(ARM) == "the process that brings it has gone")
        assert shown.take(13)[0].quality == 1

    with_core(tmp_path, test)


def test_what_a_process_before_brought_is_never_good_again(tmp_path: Path) -> None:
    nothing = "the process that brings it has brought nothing yet"

    async def test(core: Core) -> None:
        shown = Shown(SIGNALS, core.bringers)
        async with follow(core.path) as first:
            assert (await first.bring([ARM])).ok
            await first.brought([Row(4, 0.5, 0, "", 5), Row(5, 0.6, 0, "", 5)])
            await core.until(lambda: core.bringers._rows != {})
            assert [row.quality for row in shown.take(9)] == [0, 0]
        await core.until(lambda: core.bringers.cause(ARM) == "the process that brings it has gone")
        async with follow(core.path) as second:
            assert (await second.bring([ARM])).ok
            assert shown.take(10) == [Row(4, 0.5, 1, nothing, 10), Row(5, 0.6, 1, nothing, 10)]
            await second.brought([Row(4, 0.7, 0, "", 11)])
            await core.until(lambda: core.bringers._rows != {})
            assert shown.take(12) == [Row(4, 0.7, 0, "", 11), Row(5, 0.6, 1, nothing, 12)]

    with_core(tmp_path, test)


PRESS_MAP = """
name = "press"
[[signals]]
name = "speed"
node = "i=1"
[[signals]]
name = "force"
node = "i=2"
"""
PRESS_SHOP = """
[factory]
name = "shop"
[cells.c]
[nodes.server]
kind = "opcua"
url = "opc.tcp://127.0.0.1:4841"
policy = "None"
[machines.b]
type = "opcua"
cell = "c"
node = "server"
map = "press.toml"
"""


def test_a_machine_s_old_values_are_stale_until_a_new_mirror_has_read_them(tmp_path: Path) -> None:
    (tmp_path / "press.toml").write_text(PRESS_MAP)
    factory = parse(PRESS_SHOP, tmp_path)
    signals = feed_signals(factory)
    speed, force = (next(i for i, s in enumerate(signals) if s.path == f"b/status/{name}") for name in ("speed", "force"))

    async def main(clock: LoopClock) -> None:
        bringers = made_bringers(factory, signals)
        mirror, first, second = Mirror(factory, signals, bringers, clock), Pending(), Pending()
        bringers.hear(first, Brings(1, list(mirror_blocks(factory))))
        bringers.hear(first, Brought([Row(speed, 0.5, 0, "", 5), Row(force, 3.0, 0, "", 5)], []))
        assert mirror.take()["b"].good
        bringers.forget(first)
        bringers.hear(second, Brings(1, list(mirror_blocks(factory))))
        assert mirror.take()["b"].every.quality is Quality.STALE and mirror.link("server")
        bringers.hear(second, Brought([Row(speed, 0.6, 0, "", 6)], []))
        sample = mirror.take()["b"]
        assert sample.status == (0.6, None) and sample.doubts["force"].cause == "never heard"

    run(main)


def test_an_event_that_was_on_its_way_to_a_core_that_has_gone_is_told_to_the_next(tmp_path: Path) -> None:
    happened = Told(5, "Pressed", "press-1", {})

    async def main(clock: LoopClock) -> None:
        bringing = Bringing(SIGNALS, [PRESS], clock)
        for core in range(2):
            bringers = Bringers(SIGNALS, (PRESS, ARM))
            async with contextlib.AsyncExitStack() as there:
                await there.enter_async_context(serve(tmp_path / "feed.sock", Feed(SIGNALS), Desk(), bringers))
                face = await there.enter_async_context(follow(tmp_path / "feed.sock"))
                running = asyncio.create_task(bringing.run(face))
                for _ in range(50):
                    await asyncio.sleep(0)
                if core == 0:
                    assert bringers.events() == []
                    face._outgoing.close()
                    face._lost = FeedLost("the core has gone")
                    bringing.event(happened)
                    assert isinstance((await asyncio.gather(running, return_exceptions=True))[0], FeedLost)
                else:
                    assert bringers.events() == [happened] and bringing.lost == 0
                    running.cancel()

    run(main)


def test_a_face_that_floods_is_read_no_further_until_the_next_beat(tmp_path: Path) -> None:
    async def test(core: Core) -> None:
        async with follow(core.path) as face, follow(core.path) as other:
            assert (await face.bring([PRESS])).ok and (await other.bring([ARM])).ok
            flood = asyncio.create_task(face.brought([Row(0, float(n), 0, "", n) for n in range(20 * MOST_ROWS)]))
            for _ in range(500):
                await asyncio.sleep(0)
            (row,) = core.bringers.take([PRESS])
            assert row.value is not None and row.value < MOST_ROWS + 500
            await other.brought([Row(4, 0.5, 0, "", 5)])
            await core.until(lambda: core.bringers.take([ARM]) != [])
            last: list[Row] = [row]

            def all_there() -> bool:
                last.extend(core.bringers.take([PRESS]))
                return last[-1].value == 20 * MOST_ROWS - 1

            await core.until(all_there)
            await flood

    with_core(tmp_path, test)


def test_what_is_wanted_is_asked_once_and_unknown_where_who_was_asked_has_gone(tmp_path: Path) -> None:
    async def test(core: Core) -> None:
        try:
            core.bringers.want(PRESS, "write", {})
            raise AssertionError("nobody is there")
        except NotBrought as nobody:
            assert str(nobody) == "no process brings it"
        async with follow(core.path) as face:
            assert (await face.bring([PRESS])).ok
            first = core.bringers.want(PRESS, "write", {"signal": "speed", "value": 0.5})
            second = core.bringers.want(PRESS, "call", {"method": "stroke"})
            wanted = await next_of(face, Wanted)
            assert isinstance(wanted, Wanted) and (wanted.block, wanted.kind, wanted.args["value"]) == (PRESS, "write", 0.5)
            await face.done(wanted.wanted, "confirmed", "so")
            assert await first == Done(wanted.wanted, "confirmed", "so")
            await face.done(wanted.wanted, "confirmed")
            await core.until(lambda: core.bringers.refused == 1)
            given = [core.bringers.want(PRESS, "write", {}) for _ in range(MOST_WANTED - 1)]
            try:
                core.bringers.want(PRESS, "write", {})
                raise AssertionError("too many")
            except NotBrought as full:
                assert str(full).startswith(f"{MOST_WANTED} requests are under way")
            for one in given:
                one.cancel()
        assert (await second).state == "unknown"

    with_core(tmp_path, test)


def test_a_bringing_tells_a_new_core_everything_and_one_that_refuses_why(tmp_path: Path) -> None:
    async def test(core: Core) -> None:
        bringing = Bringing(SIGNALS, [PRESS], core.clock)
        bringing.put("press-1/status/speed", 0.5, 0, "", 5)
        bringing.put("press-1/status/program", "x" * (MOST_TEXT + 1), 0, "", 6)
        for _ in range(2):
            async with follow(core.path) as face:
                running = asyncio.create_task(bringing.run(face))
                await core.until(lambda: core.bringers._rows != {})
                assert [row.value for row in core.bringers.take([PRESS])] == [0.5, None]
                async with follow(core.path) as other:
                    second = Bringing(SIGNALS, [PRESS], core.clock)
                    try:
                        await second.run(other)
                    except FeedLost as refused:
                        assert str(refused) == "press-1/status is brought by another process already" == second.refused
                running.cancel()
            await core.until(lambda: core.bringers.cause(PRESS) != "")

    with_core(tmp_path, test)


def test_an_answer_says_how_many_were_refused(tmp_path: Path) -> None:
    async def test(core: Core) -> None:
        async with follow(core.path) as face:
            face._asked[0] = answer = asyncio.get_running_loop().create_future()
            await face.brought([Row(0, 0.5, 0, "", 5)])
            found: Answered = await answer
            assert (found.ok, found.text) == (False, "say first what you bring")

    with_core(tmp_path, test)
