"""The Feed for those who may miss nothing: every publication in its order, and for the slow a Gap that says what is missing."""

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

from controller.feed import Changes, Desk, Feed, Gap, Hello, Message, Row, Snapshot, Told, follow
from controller.feed.messages import decode_message, frame
from controller.feed.whole import MOST_AT_ONCE, MOST_PUBLICATIONS, Publications
from tests.controller.test_feed import with_feed


def publish(feed: Feed, number: int, words: str = "") -> None:
    feed.publish([Row(0, number, 0, words, number), Row(1, 7, 0, "", 5)], [Told(number, "Happened", "x", {})], number * 10, number)


async def some(messages: AsyncIterator[Message], count: int) -> list[Message]:
    return [await anext(messages) for _ in range(count)]


async def until(messages: AsyncIterator[Message], number: int) -> list[Message]:
    found: list[Message] = []
    while not found or not isinstance(found[-1], Changes) or found[-1].number < number:
        found.append(await anext(messages))
    return found


def test_a_reader_of_everything_gets_each_publication_once_and_in_order(tmp_path: Path) -> None:
    async def test(feed: Feed, desk: Desk, path: Path) -> None:
        publish(feed, 1)
        async with follow(path, whole=True) as one, follow(path) as another:
            everything, latest = aiter(one), aiter(another)
            hello, first = await some(everything, 2)
            assert isinstance(hello, Hello) and first == Snapshot(1, [Row(0, 1, 0, "", 1), Row(1, 7, 0, "", 5)], 10, 1, True)
            await some(latest, 2)
            for number in range(2, 402):
                publish(feed, number)
            found = await until(everything, 401)
            assert found == [
                Changes(n, [Row(0, n, 0, "", n), Row(1, 7, 0, "", 5)], [Told(n, "Happened", "x", {})], n * 10, n)
                for n in range(2, 402)
            ]
            assert [m.number for m in await until(latest, 401) if isinstance(m, Changes)] == [401], "the latest wins, as ever"

    with_feed(tmp_path, test)


def test_a_publication_without_changes_is_told_too(tmp_path: Path) -> None:
    async def test(feed: Feed, desk: Desk, path: Path) -> None:
        async with follow(path, whole=True) as one:
            follower = aiter(one)
            await some(follower, 2)
            feed.publish([], [], 50, 5)
            assert await some(follower, 1) == [Changes(1, [], [], 50, 5)]

    with_feed(tmp_path, test)


def test_one_who_stops_reading_is_told_what_it_lost_and_how_everything_stands_then(tmp_path: Path) -> None:
    rounds = MOST_PUBLICATIONS + 3000

    async def test(feed: Feed, desk: Desk, path: Path) -> None:
        async with follow(path, whole=True) as one, follow(path) as another:
            slow, other = aiter(one), aiter(another)
            await some(slow, 2)
            await some(other, 2)
            for number in range(1, rounds + 1):
                publish(feed, number, "x" * 1000)
                if number % 50 == 0:
                    await asyncio.sleep(0.01)
                    assert isinstance((await some(other, 1))[0], Changes)
            found: list[Message] = []
            while not any(isinstance(message, Gap) for message in found):
                found += await some(slow, 1)
            (after,) = await some(slow, 1)
            *before, gap = found
            numbers = [message.number for message in before if isinstance(message, Changes)]
            assert numbers == list(range(1, len(numbers) + 1)) and len(numbers) >= MOST_PUBLICATIONS
            assert isinstance(gap, Gap) and isinstance(after, Snapshot) and after.number == rounds
            lost = rounds - len(numbers)
            assert (gap.rows, gap.lost) == (2 * lost, lost)
            assert (gap.since_utc_ns, gap.until_utc_ns) == (10 * (len(numbers) + 1), 10 * rounds)
            publish(feed, rounds + 1)
            (again,) = await some(slow, 1)
            assert isinstance(again, Changes) and again.number == rounds + 1

    with_feed(tmp_path, test)


def test_what_waits_for_a_reader_is_bounded_in_bytes_and_goes_out_a_piece_at_a_time() -> None:
    waiting = Publications(lambda: Snapshot(0, [], whole=True), most_bytes=3 * MOST_AT_ONCE)
    for number in range(100):
        waiting.put(b"x" * (MOST_AT_ONCE // 10), number, 4, 1)
    pieces = []
    more = True
    while more:
        frames, more = waiting.take(99)
        pieces.append(sum(map(len, frames)))
    gap = decode_message(frames[-2][4:])
    assert all(size < MOST_AT_ONCE * 1.2 for size in pieces) and sum(pieces) <= 3 * MOST_AT_ONCE + 200
    kept = 100 - gap.lost if isinstance(gap, Gap) else 0
    assert kept == 29 and gap == Gap(99, 71, 4 * 71, 29, 99)
    assert waiting.take(99) == ([], False)


def test_events_and_rows_go_to_a_slow_consumer_without_loss_as_long_as_the_core_can_hold_them(tmp_path: Path) -> None:
    async def test(feed: Feed, desk: Desk, path: Path) -> None:
        async with follow(path, whole=True) as one:
            follower = aiter(one)
            await some(follower, 2)
            for number in range(1, 591):
                publish(feed, number, "y" * 2000)  # more than sockets hold
                if number % 100 == 0:
                    await asyncio.sleep(0)
            numbers = [message.number for message in await until(follower, 590) if isinstance(message, Changes)]
            assert numbers == list(range(1, 591)) and all(b == a + 1 for a, b in pairwise(numbers))

    with_feed(tmp_path, test)


def test_a_face_of_an_older_version_reads_what_it_knows() -> None:
    assert len(frame(Row(1, 2.0, 0, "", 5))) > 0 and decode_message(b"\x94\xa7changes\x01\x90\x90") == Changes(1, [], [])
