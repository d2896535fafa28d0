"""`lockstep history`, `export` and `import`: what they say, beside a recorder and without one, and what they refuse."""

import csv
import io
import json
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from controller import archive
from controller.__main__ import main
from controller.archive import BOOK, MANIFEST, ArchiveError, export, load, verify
from controller.core import CoreError, held
from controller.history.cold import cool, duckdb
from controller.history.commands import AskedWrong, iso, moment, period, span
from controller.history.door import Door
from controller.history.hot import Hot
from controller.history.kept import Happened, Kept
from controller.nodes.epochs import Epochs
from controller.orders.book import Book
from controller.users import Role, Users
from twin.clock import MS, S

START = 1_700_000_000 * S
TIMES = ("--from", iso(START), "--to", iso(START + 60 * S))


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state with a minute of History (a gap in it), an empty book, a program and users."""
    folder = tmp_path_factory.mktemp("made") / "state"
    (folder / "programs").mkdir(parents=True)
    (folder / "history").mkdir()
    Book(folder / BOOK, 5).close()
    (folder / "programs" / "part.gcode").write_text("G28\n")
    for name in ("epoch", "reserve", "jobs", "update.key", "plc.password", "book.sqlite.20261101"):
        (folder / name).write_text("17 secret\n")
    (folder / "lock").touch()
    (folder / "pki").mkdir()
    (folder / "pki" / "own.key").write_text("secret")
    Users(folder / "users.json").add("ann", Role.ADMINISTRATOR, "correct horse")
    hot = Hot(folder / "history")
    numbers = hot.declare([Kept("belt/status/speed", float, "C16", 0.001), Kept("belt/status/parts", int), Kept("belt/link", str)])
    speed, parts, link = (numbers[p] for p in ("belt/status/speed", "belt/status/parts", "belt/link"))
    for second in range(60):
        if 20 <= second < 30:
            continue
        if second == 30:
            hot.lost(START + 20 * S, START + 30 * S, "the core has gone")
        at = START + second * S
        rows = [(speed, at + i * 100 * MS, 0.1 * (second % 10), 0, "") for i in range(10)]
        rows += [(parts, at, second, 0, ""), (link, at, "ours", 0, "")]
        hot.commit(hot.samples(rows), [Happened(at, "Ticked", "belt", {"n": second})], at + S - 1)
        if second == 40:
            cool(hot, START + 15 * S)
    hot.close()
    return folder


def said(capsys: pytest.CaptureFixture[str], *words: object, code: int = 0) -> str:
    assert main([str(word) for word in words]) == code
    out, err = capsys.readouterr()
    return out if not code else err


def test_it_lists_the_signals_it_knows(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(capsys, "history", "--state", state).splitlines()
    assert [line.split()[0] for line in lines] == ["belt/link", "belt/status/parts", "belt/status/speed"]
    assert "mm/s   within 1" in lines[2] and "exactly" in lines[1]


def test_values_are_told_in_the_unit_that_their_signal_has(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = csv.DictReader(io.StringIO(said(capsys, "history", "--state", state, "belt/status/speed", *TIMES, "--csv")))
    found = [(round(float(row["value"])), row["unit"]) for row in table if row["quality"] == "good"]
    assert found[0] == (0, "mm/s") and max(found) == (900, "mm/s"), "0.9 m/s"


def test_values_are_told_with_their_gaps_and_causes(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = list(csv.DictReader(io.StringIO(said(capsys, "history", "--state", state, "belt/status/parts", *TIMES, "--csv"))))
    values = [int(row["value"]) for row in table if row["value"]]
    assert values == [*range(20), *range(30, 60)] and table[0]["time"] == iso(START)
    (gap,) = [row for row in table if row["quality"] == "none"]
    assert gap["cause"] == "the core has gone" and gap["value"] == "" and gap["time"] == iso(START + 20 * S)
    shown = said(capsys, "history", "--state", state, "belt/*", *TIMES)
    assert shown.startswith("belt/link\n") and "none: the core has gone" in shown


def test_a_window_is_told_by_what_was_asked_for_and_says_where_there_was_nothing(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ("belt/status/parts", *TIMES, "--every", "10s", "--aggregate", "min,max,count,good", "--json")
    rows = [json.loads(line) for line in said(capsys, "history", "--state", state, *asked).splitlines()]
    assert [(r["min"], r["max"], r["count"]) for r in rows] == [
        (0, 9, 10), (10, 19, 10), (None, None, 0), (30, 39, 10), (40, 49, 10), (50, 59, 10)
    ]  # fmt: skip
    assert [r["quality"] for r in rows][:4] == ["good", "good", "none", "good"]


def test_parquet_holds_the_same_as_the_terminal(state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "history", "--state", state, "belt/*", *TIMES, "--parquet", tmp_path / "a.parquet") == ""
    with closing(duckdb().connect()) as file:
        what = "count(*), epoch_us(min(time)), max(CAST(value AS INT))"
        where = "signal = 'belt/status/parts' AND value IS NOT NULL"
        assert file.execute(f"SELECT {what} FROM '{tmp_path / 'a.parquet'}' WHERE {where}").fetchone() == (50, START // 1000, 59)
    said(capsys, "history", "--state", state, "belt/status/speed", *TIMES, "--parquet", tmp_path / "b.parquet")
    with closing(duckdb().connect()) as file:
        described = f"SELECT column_name, column_type FROM (DESCRIBE SELECT * FROM '{tmp_path / 'b.parquet'}')"
        kinds = dict(file.execute(described).fetchall())
    assert kinds["value"] == "DOUBLE" and kinds["time"] == "TIMESTAMP WITH TIME ZONE"


def test_events_and_gaps_have_their_own_words(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    events = said(capsys, "history", "--state", state, "--events", "belt", *TIMES).splitlines()
    assert len(events) == 50 and events[0] == f"{iso(START)}  Ticked           belt         n=0"
    (gap,) = said(capsys, "history", "--state", state, "--gaps", *TIMES).splitlines()
    assert gap.startswith(iso(START + 20 * S)) and gap.endswith("the core has gone")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("belt/status/sped",), "'belt/status/sped' fits no Signal"),
        (("speed",), "'speed' fits no Signal; there are belt/status/speed"),
        (("belt/link", "--last", "3 weeks"), "'3 weeks' is no time"),
        (("belt/link", "--from", "2026-13-01"), "'2026-13-01' is no time"),
        (("belt/status/speed", "--every", "10s", "--aggregate", "mean"), "--aggregate mean: must be some of average"),
        (("belt/link", "--from", "1h", "--last", "1h"), "one of them"),
    ],
)
def test_what_cannot_be_answered_is_said_in_one_line(
    state: Path, words: tuple[str, ...], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    line = said(capsys, "history", "--state", state, *words, code=1)
    assert complaint in line and line.count("\n") == 1


def test_times_are_utc_or_how_long_ago() -> None:
    now = START
    assert moment("2023-11-14T22:13:20", now) == moment("2023-11-14T23:13:20+01:00", now) == START
    assert moment("90min", now) == START - 5400 * S and period("1.5h") == 5400 * S
    assert span(None, None, None, now) == (now + 1 - 3600 * S, now + 1)
    with pytest.raises(AskedWrong, match="there is nothing"):
        span("2023-11-14T22:13:20", "2023-11-14T22:13:20", None, now)


def everything_of_history(state: Path) -> tuple[object, ...]:
    with closing(Door(state / "history")) as door:
        rows = {path: list(door.raw(path, 0, 2**62).rows()) for path in door.signals()}
        return rows, door.signals(), door.events(0, 2**62), door.gaps()


def everything(state: Path) -> tuple[object, ...]:
    found = everything_of_history(state)
    with closing(sqlite3.connect(state / BOOK)) as file:
        counters = file.execute("SELECT * FROM counters ORDER BY name").fetchall()
    return *found, counters, (state / "programs" / "part.gcode").read_text()


def test_what_was_exported_and_imported_is_the_same(state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    writer = Hot(state / "history")  # a recorder is at work
    try:
        assert "files" in said(capsys, "export", "--state", state, tmp_path / "out")
    finally:
        writer.close()
    text = "".join(path.read_text(errors="replace") for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert "scrypt" not in text and "secret" not in text
    told = said(capsys, "import", tmp_path / "out", "--state", tmp_path / "new" / "state")
    assert "ann has no password yet" in told
    assert everything(tmp_path / "new" / "state") == everything(state)
    assert (tmp_path / "new" / "state").stat().st_mode & 0o777 == 0o700
    there = {path.name for path in (tmp_path / "new" / "state").iterdir()}
    assert there == {"book.sqlite", "history", "programs", "lock"}, "no key, and no epoch: its nodes have gone on since"
    said(capsys, "export", "--state", state, tmp_path / "with", "--secrets")
    assert not {"epoch", "reserve", "jobs"} & {path.name for path in (tmp_path / "with").rglob("*")}
    said(capsys, "import", tmp_path / "with", "--state", tmp_path / "other")
    assert Users(tmp_path / "other" / "users.json").verify("ann", "correct horse") is Role.ADMINISTRATOR
    assert (tmp_path / "other" / "pki" / "own.key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "other" / "update.key").exists() and not (tmp_path / "other" / "epoch").exists()


def test_an_epoch_in_an_export_of_an_earlier_version_is_not_brought_back(state: Path, tmp_path: Path) -> None:
    export(state, tmp_path / "out", False, START)
    (tmp_path / "out" / "files" / "epoch").write_text("17\n")
    (tmp_path / "out" / MANIFEST).unlink()
    archive._seal(tmp_path / "out", START)
    load(tmp_path / "out", tmp_path / "state")
    assert Epochs(tmp_path / "state" / "epoch").highest == 0


def test_an_export_takes_the_book_that_has_moved_and_goes_on_where_files_vanish(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(state, tmp_path / "state")
    os.replace(tmp_path / "state" / BOOK, tmp_path / "state" / f"{BOOK}.moved-3")
    copy, gone = shutil.copyfile, {".parquet", ".gcode"}

    def vanishing(source: Path, target: Path) -> None:
        if source.suffix in gone:
            gone.remove(source.suffix)
            raise FileNotFoundError(source)
        copy(source, target)

    monkeypatch.setattr(archive.shutil, "copyfile", vanishing)
    export(tmp_path / "state", tmp_path / "out", False, START)
    monkeypatch.undo()
    load(tmp_path / "out", tmp_path / "new")
    assert not gone and everything_of_history(tmp_path / "new") == everything_of_history(state)


def test_an_import_is_on_disk_before_it_takes_its_place_and_nobody_else_can_begin_there_meanwhile(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(state, tmp_path / "out", False, START)
    synced, move = set[int](), os.replace
    monkeypatch.setattr(archive, "_sync", lambda path: synced.add(path.stat().st_ino))

    def moved(source: Path, target: Path) -> None:
        if target == tmp_path / "state":
            inside = {path.stat().st_ino for path in (source, *source.rglob("*")) if path.name != "lock"}
            assert inside <= synced
            with pytest.raises(CoreError), held(source):
                pass
        move(source, target)

    monkeypatch.setattr(archive.os, "replace", moved)
    load(tmp_path / "out", tmp_path / "state")
    assert tmp_path.stat().st_ino in synced


def test_an_import_checks_everything_before_it_touches_anything(state: Path, tmp_path: Path) -> None:
    export(state, tmp_path / "out", False, START)
    names = list(verify(tmp_path / "out")["files"])
    target = tmp_path / "state"
    for name in names:
        shutil.rmtree(tmp_path / "bad", ignore_errors=True)
        shutil.copytree(tmp_path / "out", tmp_path / "bad")
        content = bytearray((tmp_path / "bad" / name).read_bytes() or b"x")
        content[len(content) // 2] ^= 4
        (tmp_path / "bad" / name).write_bytes(content)
        with pytest.raises(ArchiveError, match="not as it was written"):
            load(tmp_path / "bad", target)
    (tmp_path / "out" / "more").touch()
    with pytest.raises(ArchiveError, match="more: is not in the manifest"):
        load(tmp_path / "out", target)
    (tmp_path / "out" / "more").unlink()
    (tmp_path / "out" / names[0]).unlink()
    os.symlink("/etc/passwd", tmp_path / "out" / names[0])
    with pytest.raises(ArchiveError, match="leads out of the export"):
        load(tmp_path / "out", target)
    assert not target.exists() and not list(tmp_path.glob(".state*"))


def test_an_import_refuses_a_state_that_is_used_or_holds_anything_and_leaves_it_alone(state: Path, tmp_path: Path) -> None:
    export(state, tmp_path / "out", False, START)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "book.sqlite").write_text("mine")
    with pytest.raises(ArchiveError, match="is not empty"):
        load(tmp_path / "out", tmp_path / "full")
    assert (tmp_path / "full" / "book.sqlite").read_text() == "mine"
    with held(tmp_path / "used"), pytest.raises(ArchiveError, match="is not empty"):
        load(tmp_path / "out", tmp_path / "used")
    with pytest.raises(ArchiveError, match="is there already"):
        export(state, tmp_path / "out", False, START)
    with pytest.raises(ArchiveError, match="no state of a factory"):
        export(tmp_path / "nothing", tmp_path / "out2", False, START)
    manifest = json.loads((tmp_path / "out" / MANIFEST).read_text())
    assert manifest["made_utc_ns"] == START
