"""The book after a power cut at every moment, and on a disk that fails at every moment: what was acknowledged is there."""

import random
import re
import sqlite3
import tempfile
from pathlib import Path

import pytest

from controller.orders.book import Book, BookError
from controller.orders.turn import Orders
from tests.durability.disk import Disk
from tests.durability.story import BOOK, Kept, Tally, batches, intent_at, judge, recorded, replayed, shimmed, write

STORIES = 14


def played(place: Path, seed: int, saves: int, every: int, synchronous: str = "FULL") -> Tally:
    folder = place / f"recorded-{seed}-{synchronous}"
    folder.mkdir()
    ops = recorded(folder, seed, saves, synchronous)
    return replayed(ops, place / "image", seed, lambda number: number % every == seed % every)


def test_after_a_power_cut_everything_that_was_acknowledged_is_there_and_nothing_is_corrupt(place: Path) -> None:
    tally = played(place, seed=3, saves=20, every=8)
    assert tally.wrong == [] and tally.images > 200 and tally.after_ack > 160


def test_the_same_cuts_lose_acknowledged_orders_where_the_log_is_not_synced_with_each_commit(place: Path) -> None:
    """The harness itself: with synchronous=NORMAL a commit is acknowledged before it is on the disk."""
    tally = played(place, seed=3, saves=20, every=20, synchronous="NORMAL")
    assert sum("lost" in why for why in tally.wrong) > tally.after_ack // 4 and not any("corrupt" in why for why in tally.wrong)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(100, 100 + STORIES))
def test_after_fifty_thousand_power_cuts_nothing_is_lost(place: Path, seed: int) -> None:
    """Each of the 14 stories makes 3,600 images and more, over 60,000 in all."""
    tally = played(place, seed, saves=40, every=1)
    assert tally.wrong == [] and tally.images > 3600, tally.images
    loose = played(place, seed, saves=12, every=5, synchronous="NORMAL")
    assert any("lost" in why for why in loose.wrong)


# ---- a disk that fails


def failing(place: Path, seed: int, saves: int, disk: Disk) -> tuple[Kept, str]:
    """A story on a disk that fails: the book is mended and goes on, as its keeper has it. Returns what was acknowledged."""
    kept = Kept()
    missing: tuple[list[object], list[object]] = ([], [])
    with shimmed(disk) as shim:
        try:
            book = Book(place / BOOK, 1, shim.connect)
            book.load()
        except BookError:
            return kept, judge(place, kept)
        with book:
            for orders, commands, next_order in batches(seed, saves):
                owed = ([*missing[0], *orders], [*missing[1], *commands], next_order)
                try:
                    book.save(owed[0], Orders({}, next_order, 7), owed[1])
                except BookError:
                    with pytest.raises(BookError):
                        book.save((), Orders({}, next_order, 7))  # nothing is tried a second time
                    missing = owed[0], owed[1]
                    why = judge(_copied(place), kept)
                    assert not why, f"while the disk fails: {why}"
                    for _ in range(20):
                        try:
                            book.mend()
                            break
                        except BookError:
                            continue
                    continue
                missing = ([], [])
                kept.add(owed)
                disk.ack(owed)
    return kept, judge(place, kept)


def _copied(place: Path) -> Path:
    """What another process would find there now."""
    folder = place / "copy"
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    for path in place.glob("book.sqlite*"):
        if not path.name.endswith("-shm"):
            (folder / path.name).write_bytes(path.read_bytes())
    return folder


def ops_of(place: Path, saves: int) -> Disk:
    """The disk after a story without a failure."""
    disk = Disk()
    (place / "count").mkdir()
    failing(place / "count", 5, saves, disk)
    return disk


@pytest.mark.parametrize(("full", "lasts"), [(True, 1), (True, 6), (False, 1), (False, 4)])
def test_whichever_write_or_sync_fails_nothing_acknowledged_is_lost_and_the_book_goes_on(
    place: Path, full: bool, lasts: int
) -> None:
    count = ops_of(place, saves=7).count
    assert count > 90
    for number in range(0, count, 5):
        folder = place / str(number)
        folder.mkdir()
        disk = Disk(fails_at=number, lasts=lasts, full=full)
        kept, why = failing(folder, 5, 7, disk)
        assert why == "", f"op {number}: {why}"
        assert number < 60 or kept.orders, f"op {number}: it never went on"


@pytest.mark.soak
@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("lasts", [1, 2, 5, 20])
def test_every_single_write_and_sync_of_a_long_story_may_fail(place: Path, full: bool, lasts: int) -> None:
    for number in range(ops_of(place, saves=30).count):
        with tempfile.TemporaryDirectory(dir=place) as folder:
            kept, why = failing(Path(folder), 5, 30, Disk(fails_at=number, lasts=lasts, full=full))
            assert why == "" and (number < 60 or kept.orders), f"op {number}: {why}"


@pytest.mark.parametrize("which", [7, -3])
def test_a_power_cut_after_a_sync_that_failed_loses_nothing_that_was_acknowledged_since(place: Path, which: int) -> None:
    """The kernel takes pages that it has failed to write for clean: what is written behind them must not rest on them."""
    at = ops_of(place, saves=14).syncs[which]
    disk = Disk(fails_at=at)
    (place / "played").mkdir()
    kept, why = failing(place / "played", 5, 14, disk)
    assert why == "" and len(kept.orders) > 3 and [op.kind for op in disk.ops].count("failed") == 1
    tally = replayed(disk.ops, place / "image", at, lambda number: number % 12 == 0)
    assert tally.wrong == [] and tally.after_ack > 40


# ---- bits that rot


@pytest.mark.parametrize("flips", [150, pytest.param(10_000, marks=pytest.mark.soak)])
def test_a_flipped_bit_is_found_or_changes_nothing(place: Path, flips: int) -> None:
    (place / "rot").mkdir()
    with Book(place / "rot" / BOOK, 1) as book:
        book.load()
        write(book, Disk(), seed=9, saves=30)
        book.save((), Orders({}, 20, 7), [intent_at(number, False) for number in range(900, 906)])
        good = book.load().open, book.owed
    with sqlite3.connect(place / "rot" / BOOK) as raw:
        raw.execute("PRAGMA journal_mode=DELETE")
    sound = bytearray((place / "rot" / BOOK).read_bytes())
    chance, found = random.Random(flips), 0
    commands = [one.start() for one in re.finditer(b"reset", sound)]  # few bytes, and what is owed at machines
    assert commands and len(good[1]) == 6
    for number in range(flips):
        at = chance.choice(commands) + chance.randrange(-8, 12) if number % 3 == 0 else chance.randrange(len(sound))
        rotten = bytearray(sound)
        rotten[at] ^= 1 << chance.randrange(8)
        path = place / "flipped"
        for end in ("", "-wal", "-shm"):
            path.with_name(path.name + end).unlink(missing_ok=True)
        path.write_bytes(rotten)
        try:
            with Book(path, 1) as book:
                assert (book.load().open, book.owed) == good, f"byte {at}"
        except BookError:
            found += 1
    assert found > flips // 5
