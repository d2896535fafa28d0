"""The Feed: what a face is told, what it may ask, and that a slow or ill-behaved one costs nobody else anything."""

import asyncio
import stat
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from controller.feed import (
    Answered,
    Changes,
    Desk,
    Feed,
    FeedLost,
    Follower,
    Gap,
    Hello,
    Message,
    Row,
    Snapshot,
    Told,
    ask_once,
    feed_signals,
    follow,
    schema_hash,
    serve,
)
from controller.feed.messages import MOST_EVENTS
from controller.feed.server import BEAT, MOST_FACES, MOST_REQUESTS
from controller.orders.turn import Answer
from tests.controller.factories import belts, shop
from tests.controller.virtual import run
from twin.clock import LoopClock
from twin.units import PERCENT

SIGNALS = feed_signals(shop())
Test = Callable[[Feed, Desk, Path], Awaitable[None]]


def row(index: int, value: float, cause: str = "") -> Row:
    return Row(index, value, 0, cause, 5)


def event(number: int) -> Told:
    return Told(number, "Happened", "printer-1", {"number": number})


def with_feed(folder: Path, test: Test) -> None:
    async def main(clock: LoopClock) -> None:
        feed, desk = Feed(SIGNALS), Desk()
        async with serve(folder / "feed.sock", feed, desk):
            await test(feed, desk, folder / "feed.sock")

    run(main)


async def take(follower: Follower, count: int) -> list[Message]:
    found: list[Message] = []
    async for message in follower:
        found.append(message)
        if len(found) == count:
            return found
    return found


def test_the_signals_are_those_of_the_factory_in_one_order() -> None:
    paths = [signal.path for signal in SIGNALS]
    assert len(set(paths)) == len(paths)
    assert paths[0] == "printer-1/status/x_endstop" and paths[-1] == "factory/order/reason"
    for wanted in ("printer-1/job/progress", "printer-1/order", "belt-1/command/run", "node:belt-1/link"):
        assert wanted in paths
    assert "belt-1/job/progress" not in paths and "belt-1/order" not in paths
    assert next(s for s in SIGNALS if s.path == "printer-1/job/progress").unit is PERCENT
    assert schema_hash(SIGNALS) == schema_hash(feed_signals(shop())) != schema_hash(feed_signals(belts([256])))


def test_a_face_gets_a_hello_a_snapshot_and_then_changes_with_events(tmp_path: Path) -> None:
    async def test(feed: Feed, desk: Desk, path: Path) -> None:
        feed.publish([row(0, 1.0), row(3, 2.0)])
        async with follow(path) as follower:
            hello, snapshot = await take(follower, 2)
            assert isinstance(hello, Hello) and hello.schema == schema_hash(SIGNALS)
            assert snapshot == Snapshot(1, [row(0, 1.0), row(3, 2.0)])
            feed.publish([row(3, 9.0)], [event(1)])
            assert await take(follower, 1) == [Changes(2, [row(3, 9.0)], [event(1)])]

    with_feed(tmp_path, test)


def test_the_socket_is_only_the_users_from_its_first_moment(tmp_path: Path) -> None:
    async def test(feed: Feed, desk: Desk, path: Path) -> None:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    with_feed(tmp_path, test)
    assert not (tmp_path / "feed.sock").exists()


def test_for_a_slow_face_the_latest_value_wins_and_lost_events_are_counted(tmp_path: Path) -> None:
    rounds = MOST_EVENTS + 3000

    async def test(feed: Feed, desk: Desk, path: Path) -> None:
        reader, writer = await asyncio.open_unix_connection(str(path), limit=1024)
        slow, quick = reader, 0
        async with follow(path) as other:
            await take(other, 2)
            for number in range(rounds):
                feed.publish([row(0, number), row(1, 7.0, "x" * 300)], [event(number)])
                if number % 50 == 0:
                    await asyncio.sleep(0.01)
            async for message in other:
                if isinstance(message, Changes) and any(r.value == rounds - 1 for r in message.rows):
                    break
                quick += 1
        values, events, lost, frames = [], 0, 0, 0
        decode = msgspec.msgpack.Decoder(Message).decode
        while not values or values[-1] != rounds - 1:
            (length,) = struct.unpack(">I", await slow.readexactly(4))
            message = decode(await slow.readexactly(length))
            frames += 1
            match message:
                case Changes(_, rows, told):
                    values += [r.value for r in rows if r.index == 0]
                    events += len(told)
                case Gap(_, count):
                    lost += count
                case _:
                    pass
        writer.close()
        assert values == sorted(values) and events + lost == rounds and lost > 0
        assert frames < rounds / 10 and quick > 0

    with_feed(tmp_path, test)


def test_a_consumer_that_is_slow_itself_gets_the_latest_values(tmp_path: Path) -> None:
    async def test(feed: Feed, desk: Desk, path: Path) -> None:
        async with follow(path) as follower:
            await take(follower, 2)
            for number in range(500):
                feed.publish([row(0, number)], [event(number)])
                await asyncio.sleep(0.001)
            (changes,) = await take(follower, 1)
            assert isinstance(changes, Changes) and [r.value for r in changes.rows] == [499]
            assert len(changes.events) == 500

    with_feed(tmp_path, test)


def test_there_is_a_sign_of_life_though_nothing_changes(tmp_path: Path) -> None:
    async def test(feed: Feed, desk: Desk, path: Path) -> None:
        async with follow(path) as follower:
            await take(follower, 2)
            for _ in range(BEAT):
                feed.publish([])
            assert await take(follower, 1) == [Changes(BEAT, [], [])]

    with_feed(tmp_path, test)


def test_a_request_waits_for_the_scan_and_is_answered_by_its_number(tmp_path: Path) -> None:
    async def test(feed: Feed, desk: Desk, path: Path) -> None:
        async with follow(path) as one, follow(path) as other:
            asked = [
                asyncio.create_task(one.ask("start", {"machine": "a"}, "ann")),
                asyncio.create_task(other.ask("pause", {"machine": "b"}, "bob")),
            ]
            await asyncio.sleep(0.01)
            requests = desk.take()
            assert [(r.kind, r.args["machine"], r.user) for r in requests] == [("start", "a", "ann"), ("pause", "b", "bob")]
            assert desk.take() == ()
            for request in reversed(requests):
                desk.answer(Answer(request.id, True, f"did {request.kind}", 7))
            replies = await asyncio.gather(*asked)
            assert [(r.ok, r.text, r.result) for r in replies] == [(True, "did start", 7), (True, "did pause", 7)]

    with_feed(tmp_path, test)


@pytest.mark.parametrize(
    ("kind", "args", "why"),
    [
        ("explode", {}, "unknown request 'explode'; there are: place_order, load_job"),
        ("start", {}, "start takes machine, not nothing"),
        ("start", {"machine": 5}, "machine must be a short str"),
        ("start", {"machine": "m" * 300}, "machine must be a short str"),
        ("start", {"machine": "m", "speed": 3}, "start takes machine, not machine, speed"),
    ],
)
def test_a_request_that_is_none_is_refused_at_once_and_says_why(
    tmp_path: Path, kind: str, args: dict[str, object], why: str
) -> None:
    async def test(feed: Feed, desk: Desk, path: Path) -> None:
        async with follow(path) as follower:
            answer = await follower.ask(kind, args)
            assert not answer.ok and why in answer.text and desk.take() == ()

    with_feed(tmp_path, test)


def test_the_queue_of_requests_has_a_bound_and_says_so(tmp_path: Path) -> None:
    async def test(feed: Feed, desk: Desk, path: Path) -> None:
        async with follow(path) as follower:
            asked = [asyncio.create_task(follower.ask("start", {"machine": "a"})) for _ in range(MOST_REQUESTS + 5)]
            await asyncio.sleep(0.05)
            refused = [task.result() for task in asked if task.done()]
            assert len(refused) == 5 and all("64 requests wait already" in answer.text for answer in refused)
            assert len(desk.take()) == MOST_REQUESTS
            for task in asked:
                task.cancel()

    with_feed(tmp_path, test)


async def raw(path: Path, content: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(content)
    return reader, writer


async def messages(reader: asyncio.StreamReader) -> list[Message]:
    found: list[Message] = []
    decode = msgspec.msgpack.Decoder(Message).decode
    try:
        while True:
            (length,) = struct.unpack(">I", await asyncio.wait_for(reader.readexactly(4), 1))
            found.append(decode(await reader.readexactly(length)))
    except (asyncio.IncompleteReadError, ConnectionError, TimeoutError):
        return found


def test_noise_is_answered_and_hurts_nobody(tmp_path: Path) -> None:
    async def test(feed: Feed, desk: Desk, path: Path) -> None:
        for noise in (b"\xc1" * 5, msgspec.msgpack.encode(["request", "x", 1, [], 5]), b""):
            reader, writer = await raw(path, struct.pack(">I", len(noise)) + noise)
            *_, last = await messages(reader)
            assert isinstance(last, Answered) and last.request == 0 and not last.ok and "not a request" in last.text
            writer.close()
        async with follow(path) as follower:
            assert len(await take(follower, 2)) == 2

    with_feed(tmp_path, test)


def test_a_frame_longer_than_any_request_ends_that_face_alone(tmp_path: Path) -> None:
    async def test(feed: Feed, desk: Desk, path: Path) -> None:
        reader, writer = await raw(path, struct.pack(">I", 2**31) + b"x" * 100)
        await messages(reader)
        assert reader.at_eof()
        writer.close()
        async with follow(path) as follower:
            assert len(await take(follower, 2)) == 2

    with_feed(tmp_path, test)


def test_there_may_be_so_many_faces_and_no_more(tmp_path: Path) -> None:
    async def test(feed: Feed, desk: Desk, path: Path) -> None:
        opened = [await asyncio.open_unix_connection(str(path)) for _ in range(MOST_FACES)]
        await asyncio.sleep(0.01)
        reader, writer = await asyncio.open_unix_connection(str(path))
        assert await reader.read() == b""
        for _, other in (*opened, (reader, writer)):
            other.close()
        await asyncio.sleep(0.01)
        async with follow(path) as follower:
            assert len(await take(follower, 2)) == 2

    with_feed(tmp_path, test)


def test_a_follower_ends_when_the_core_does_and_open_requests_fail(tmp_path: Path) -> None:
    async def main(clock: LoopClock) -> None:
        feed, desk = Feed(SIGNALS), Desk()
        served = serve(tmp_path / "feed.sock", feed, desk)
        await served.__aenter__()
        async with follow(tmp_path / "feed.sock") as follower:
            asked = asyncio.create_task(follower.ask("start", {"machine": "a"}))
            await asyncio.sleep(0.01)
            await served.__aexit__(None, None, None)
            with pytest.raises(FeedLost):
                await asked
            assert len(await take(follower, 99)) == 2
            with pytest.raises(FeedLost):
                await follower.ask("start", {"machine": "a"})
        with pytest.raises(FeedLost, match="no core at"):
            async with follow(tmp_path / "feed.sock"):
                pass

    run(main)
    with pytest.raises(FeedLost, match="no core at"):
        ask_once(tmp_path / "feed.sock", "start", {"machine": "a"})


def test_an_answer_to_a_face_that_has_gone_is_dropped(tmp_path: Path) -> None:
    async def test(feed: Feed, desk: Desk, path: Path) -> None:
        async with follow(path) as follower:
            asked = asyncio.create_task(follower.ask("start", {"machine": "a"}))
            await asyncio.sleep(0.01)
            asked.cancel()
        await asyncio.sleep(0.01)
        (request,) = desk.take()
        desk.answer(Answer(request.id, True, "too late"))

    with_feed(tmp_path, test)
