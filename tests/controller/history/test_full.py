"""A disk that fills or fails: what is offered stays in its order, nobody waits in vain, and History begins on a full disk too."""

import asyncio
import os
import sqlite3
from pathlib import Path
from types import SimpleNamespace

import pytest

from controller.feed import feed_signals
from controller.history import cold
from controller.history import recorder as module
from controller.history.bounds import kept
from controller.history.door import Door
from controller.history.hot import Hot, Size
from controller.history.kept import Happened, HistoryError, HistoryFull, Kept
from controller.history.recorder import Recorder
from controller.history.retention import MB, Reserve
from controller.history.tables import failed
from controller.history.taking import Portion
from controller.history.writer import Writer
from tests.controller.factories import shop
from twin.clock import LoopClock, S

T = 1_760_000_000 * S
SIGNALS = feed_signals(shop())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("where", ["commit", "begin_fold", "size"])
def test_whatever_ends_the_writers_thread_is_told_to_all_who_wait(tmp_path, monkeypatch, where) -> None:
    monkeypatch.setattr("controller.history.hot.FOLD_COMMITS", 1)
    writer = Writer(tmp_path, period_s=0.05)
    number = writer.declare([Kept("a", int)])["a"]
    monkeypatch.setattr(Hot, where, lambda *_: (_ for _ in ()).throw(ValueError("unforeseen")))
    offered, asked = writer.offer([(number, T, 1, 0, "")]), writer.ask(lambda hot: hot.size())
    assert offered is not None
    if where == "commit":
        with pytest.raises(HistoryError, match="has ended"):
            offered.result(10)
    if where != "begin_fold":
        with pytest.raises(HistoryError, match="has ended"):
            asked.result(10)
    writer._thread.join(10)
    with pytest.raises(HistoryError, match="has ended"):
        writer.offer([(number, T + S, 1, 0, "")])
    with pytest.raises(HistoryError, match="has ended"):
        writer.close()


def test_what_finds_the_disk_full_is_offered_again_in_its_order_whenever_it_came(tmp_path, monkeypatch) -> None:
    """Offers go on while commits fail, each in a commit of its own; few may wait at a time."""
    plain, turn = Hot.commit, [0]

    def commit(hot: Hot, *args):
        turn[0] += 1
        if turn[0] % 3:
            raise HistoryFull("no room")
        return plain(hot, *args)

    monkeypatch.setattr(Hot, "commit", commit)
    monkeypatch.setattr(module, "Writer", lambda folder: Writer(folder, period_s=0.002, most=5))

    async def main() -> None:
        recorder = Recorder(shop(), SIGNALS, tmp_path, LoopClock(asyncio.get_running_loop()), lambda _: 10_000 * MB)
        monkeypatch.setattr(recorder, "_make_room", lambda _: asyncio.sleep(0))
        number = recorder._taking._numbers[next(i for i, s in enumerate(SIGNALS) if s.path == "belt-1/status/parts")]
        for n in range(60):
            rows = [(number, T + (2 * n + i) * S, 2 * n + i, 0, "") for i in range(2)]
            await recorder._keep(Portion(rows, [], T + (2 * n + 1) * S))
            if n % 7 == 0:
                await asyncio.sleep(0.004)
        await recorder._settle()
        assert recorder.samples == 120
        await recorder.close()

    asyncio.run(main())
    door = Door(tmp_path / "history")
    assert [row[1] for row in door.raw("belt-1/status/parts", 0, 2**62).rows()] == list(range(120))
    door.close()


def test_behind_one_that_found_the_disk_full_nothing_is_taken_before_it_can_come_first(tmp_path, monkeypatch) -> None:
    writer = Writer(tmp_path, period_s=0.001)
    number = writer.declare([Kept("a", int)])["a"]
    with monkeypatch.context() as patch:
        patch.setattr(Hot, "commit", lambda *_: (_ for _ in ()).throw(HistoryFull("no room")))
        with pytest.raises(HistoryFull):
            writer.offer([(number, T, 1, 0, "")]).result(10)
    with pytest.raises(HistoryFull):
        writer.offer([(number, T + S, 2, 0, "")]).result(10)
    writer.resume()
    for n in range(2):
        assert writer.offer([(number, T + n * S, n + 1, 0, "")]).result(10).refused == 0
    writer.close()


def died(folder: Path) -> None:
    """A History whose writer was killed with a part of it in the journal."""
    hot = Hot(folder)
    numbers = hot.declare(kept(shop(), SIGNALS).values())
    number = numbers["belt-1/status/parts"]
    for n in range(200):
        hot.commit(hot.samples([(number, T + n * S, n * n, 0, "")]), [Happened(T + n * S, "Told", "x" * 500)], T + n * S)
    hot.fold()
    hot.commit(hot.samples([(number, T + 200 * S, 1, 0, "")]))
    os.close(hot._lock)


@pytest.mark.parametrize("frees", ["reserve", "oldest", "nothing is new"])
def test_a_recorder_starts_on_a_full_disk(tmp_path, monkeypatch, frees) -> None:
    """Where nothing is new nothing is written; else the reserve goes, and then the oldest."""
    died(tmp_path)
    reserve = Reserve(tmp_path)
    reserve.hold(MB)
    plain, shed = Hot.transaction, []

    def transaction(hot: Hot):
        full = reserve.held > 0 if frees == "reserve" else not shed if frees == "oldest" else True
        if full:
            raise HistoryFull("no room")
        return plain(hot)

    def forget(hot: Hot, before: int) -> None:
        shed.append(before)

    wanted = [*kept(shop(), SIGNALS).values(), *([] if frees == "nothing is new" else [Kept("new", int)])]
    with monkeypatch.context() as patch:
        patch.setattr(Hot, "transaction", transaction)
        patch.setattr(module, "forget", forget)
        writer, numbers = module._opened(tmp_path, reserve, wanted)
        assert "belt-1/status/parts" in numbers and ("new" in numbers) == (frees != "nothing is new")
        assert bool(shed) == (frees == "oldest") and (reserve.held > 0) == (frees == "nothing is new")
    writer.close()
    door = Door(tmp_path)
    assert len(door.raw("belt-1/status/parts", 0, 2**62)) == 201, "and what was in the journal is folded when there is room"
    door.close()


def test_a_cooling_that_fails_costs_nothing_but_an_hour_and_there_is_one_file_a_day(tmp_path, monkeypatch) -> None:
    asked, shrunk, fails = [], [0], [True]

    def cool(hot: Hot, before: int) -> int:
        asked.append(before)
        if fails[0]:
            raise HistoryError("the column value is not as it was written")
        return cold.cool(hot, before)

    monkeypatch.setattr(module, "cool", cool)
    monkeypatch.setattr(Hot, "shrink", lambda _: shrunk.__setitem__(0, shrunk[0] + 1))

    monkeypatch.setattr(module, "Writer", lambda folder: Writer(folder, period_s=0.001))

    async def main() -> None:
        now = [0]
        clock = SimpleNamespace(now=lambda: now[0], until=None)
        recorder = Recorder(shop(), SIGNALS, tmp_path, clock, lambda _: 10_000 * MB)
        number, begin = 1, T // (86_400 * S) * 86_400 * S
        for half in range(2 * 24 * 3):  # three days, tended every half hour
            recorder._taking.until, now[0] = begin + half * 1800 * S, now[0] + 1800 * S
            rows = [(number, recorder._taking.until, half * 1.0, 0, "")]
            await recorder._keep(Portion(rows, [Happened(rows[0][1], "Told", "x")], rows[0][1]))
            await recorder._settle()
            if half % 20 == 0:
                await recorder._ask(lambda hot: hot.fold())
            await recorder._turn(10_000 * MB)
            fails[0] = half < 2 * 50
        await recorder.close()

    asyncio.run(main())
    assert all(before % (86_400 * S) == 0 for before in asked) and 2 <= len(asked) < 20
    assert shrunk[0] <= 2 and len(list((tmp_path / "history" / "cold").iterdir())) <= 3


def test_errors_of_a_disk_that_is_full_are_told_from_others(tmp_path) -> None:
    for number in (28, 122, 27):
        assert type(failed(tmp_path, OSError(number, "x"))) is HistoryFull
    assert type(failed(tmp_path, OSError(5, "x"))) is HistoryError
    assert type(failed(tmp_path, sqlite3.OperationalError("x"))) is HistoryError
    assert Size(0, 0, None).spans == ()
