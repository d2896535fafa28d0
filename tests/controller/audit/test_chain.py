"""The audit log's chain: whatever is done to its files is found."""

import asyncio
import contextlib
import errno
import json
import os
import random
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.__main__ import main
from controller.audit import files
from controller.audit.chain import GENESIS, LONGEST_TEXT, ChainError, Record, lay, read
from controller.audit.files import CONSOLE, AuditError, Place, key_of
from controller.audit.log import Keep, Log
from controller.audit.verify import Broken, Verified, verify
from twin.clock import Ns, S

NOW = 1_800_000_000 * S
SMALL = Keep(file_mb=0.002)


class Times:
    """A wall clock and a steady one that stand still unless they are moved."""

    def __init__(self) -> None:
        self.passed = 0

    def utc(self) -> int:
        return NOW + self.passed

    def steady(self) -> Ns:
        return Ns(self.passed)


@contextlib.contextmanager
def writing(state: Path, times: Times | None = None, keep: Keep = SMALL, writer: str = "opcua", most: int = 100) -> Iterator[Log]:
    times = times or Times()
    log = Log(state / "audit", writer, keep=keep, utc=times.utc, steady=times.steady, most=most)
    try:
        yield log
    finally:
        log.close()


def write(log: Log, count: int) -> None:
    async def all_of_them() -> None:
        for number in range(count):
            await log.append(Record("call", f"belt-1/run{number}", "otto", "operator", "127.0.0.1:4711", new=str(number)))

    asyncio.run(all_of_them())


def whole(state: Path) -> Verified:
    found = verify(state / "audit")
    assert isinstance(found, Verified), str(found)
    return found


def broken(state: Path) -> Broken:
    found = verify(state / "audit")
    assert isinstance(found, Broken)
    return found


def log_files(state: Path) -> list[Path]:
    return [Place(state / "audit", "opcua").file(number) for number in Place(state / "audit", "opcua").numbers()]


# ---- what is written ---------------------------------------------------------------------------------------------------


def test_a_log_of_several_files_and_starts_is_whole_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    for _ in range(3):
        with writing(tmp_path) as log:
            write(log, 12)
    found = whole(tmp_path)
    assert found.files == len(log_files(tmp_path)) > 3
    assert found.records == 3 * 12 + found.files and found.unvouched == 0
    every = [path for folder in ("audit", "audit-heads") for path in (tmp_path / folder).rglob("*") if path.is_file()]
    assert len(every) > 5 and {path.stat().st_mode & 0o777 for path in every} == {0o600}


def test_a_record_is_on_disk_when_its_future_ends(tmp_path: Path) -> None:
    async def one() -> None:
        await log.append(Record("write", "printer-1/target", "anna", "administrator", old="200", new="210", entry="mine"))
        line = log_files(tmp_path)[-1].read_bytes().split(b"\n")[-2]
        record = read(line, key_of(tmp_path / "audit")).record
        assert (record.who, record.old, record.new, record.entry) == ("anna", "200", "210", "mine")

    with writing(tmp_path) as log:
        asyncio.run(one())


def test_records_of_one_moment_are_brought_to_disk_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced, gate = [], threading.Event()
    sync = os.fsync
    monkeypatch.setattr(files.os, "fsync", lambda handle: (gate.wait(20), synced.append(handle), sync(handle)))

    async def many() -> None:
        first = log.append(Record("call", "first"))
        rest = [log.append(Record("call", str(number))) for number in range(90)]
        gate.set()
        await asyncio.gather(first, *rest)

    gate.set()
    with writing(tmp_path, keep=Keep()) as log:
        before = len(synced)
        gate.clear()
        asyncio.run(many())
        assert len(synced) - before <= 3
    assert whole(tmp_path).records == 92


def test_heads_are_written_each_hour_at_each_roll_and_at_the_end(tmp_path: Path) -> None:
    times = Times()
    heads = Place(tmp_path / "audit", "opcua").heads

    def count() -> int:
        return len(heads.read_text().splitlines())

    with writing(tmp_path, times, Keep()) as log:
        assert count() == 1
        write(log, 5)
        assert count() == 1 and whole(tmp_path).unvouched == 5
        times.passed += 3_601 * S
        write(log, 2)
        while count() == 1:  # the writer looks once it has written
            write(log, 1)
        assert count() == 2
    assert count() == 3 and whole(tmp_path).unvouched == 0
    before = count()
    with writing(tmp_path, times) as log:
        write(log, 20)
    assert count() >= before + len(log_files(tmp_path)) - 1


def test_long_texts_are_cut_and_say_so() -> None:
    line, _ = lay(Record("call", text="x" * 5_000), 1, NOW, GENESIS, b"k" * 32)
    text = read(line[:-1], b"k" * 32).record.text
    assert text.startswith("x" * LONGEST_TEXT + "…") and "5000" in text and len(line) < 2_000


records = st.builds(Record, *(st.text(max_size=20) for _ in range(12)))


@given(record=records, number=st.integers(1, 10**12))
def test_a_record_comes_back_as_it_was(record: Record, number: int) -> None:
    line, digest = lay(record, number, NOW, GENESIS, b"k" * 32)
    assert line.endswith(b"\n") and b"\n" not in line[:-1]
    found = read(line[:-1], b"k" * 32)
    assert (found.record, found.number, found.hash) == (record, number, digest)
    assert json.loads(line)["previous"] == GENESIS
    with pytest.raises(ChainError):
        read(line[:-1], b"l" * 32)


# ---- what is done to it ------------------------------------------------------------------------------------------------

Harm = Callable[[Path, random.Random], str]


def _of(path: Path, change: Callable[[list[bytes]], None]) -> None:
    lines = path.read_bytes().split(b"\n")[:-1]
    change(lines)
    path.write_bytes(b"".join(line + b"\n" for line in lines))


def _any(state: Path, dice: random.Random) -> Path:
    return dice.choice([*log_files(state), Place(state / "audit", "opcua").heads])


def flip_a_bit(state: Path, dice: random.Random) -> str:
    path = _any(state, dice)
    content = bytearray(path.read_bytes())
    at = dice.randrange(len(content))
    content[at] ^= 1 << dice.randrange(8)
    path.write_bytes(content)
    return f"{path.name}: bit at {at}"


def leave_out(state: Path, dice: random.Random) -> str:
    path = dice.choice(log_files(state))
    lines = path.read_bytes().count(b"\n")
    first = dice.randrange(lines)
    last = dice.randrange(first, lines)
    _of(path, lambda every: every.__delitem__(slice(first, last + 1)))
    return f"{path.name}: records {first} to {last} left out"


def leave_out_a_head(state: Path, dice: random.Random) -> str:
    heads = Place(state / "audit", "opcua").heads
    at = dice.randrange(heads.read_bytes().count(b"\n") - 1)  # the last one left out is what nobody can know of
    _of(heads, lambda every: every.__delitem__(at))
    return f"{heads.name}: {at} left out"


def move(state: Path, dice: random.Random) -> str:
    path = dice.choice([one for one in log_files(state) if one.read_bytes().count(b"\n") > 1])
    first, second = dice.sample(range(path.read_bytes().count(b"\n")), 2)
    _of(path, lambda every: every.insert(second, every.pop(first)))
    return f"{path.name}: record {first} moved to {second}"


def put_in(state: Path, dice: random.Random) -> str:
    path = dice.choice(log_files(state))
    other = dice.choice(dice.choice(log_files(state)).read_bytes().split(b"\n")[:-1])
    if dice.random() < 0.5:
        other = lay(Record("call", "forged"), dice.randrange(1, 99), NOW, GENESIS, dice.randbytes(32))[0][:-1]
    at = dice.randint(0, path.read_bytes().count(b"\n"))
    _of(path, lambda every: every.insert(at, other))
    return f"{path.name}: a record put in at {at}"


def alter(state: Path, dice: random.Random) -> str:
    path = dice.choice(log_files(state))
    lines = path.read_bytes().split(b"\n")[:-1]
    at = dice.randrange(len(lines))
    content = json.loads(lines[at])
    name = dice.choice(sorted(content))
    content[name] = content[name] + 1 if isinstance(content[name], int) else content[name] + "x"
    lines[at] = json.dumps(content, sort_keys=dice.random() < 0.5, separators=(",", ":")).encode()
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return f"{path.name}: {name} of record {at}"


def cut_off(state: Path, dice: random.Random) -> str:
    path = _any(state, dice)
    size = dice.randrange(path.stat().st_size)
    heads = path.suffix == ".heads"
    if heads:  # whole heads cut off the end are what nobody can know of: the second place is where they must be safe
        content = path.read_bytes()
        size = content.rfind(b"\n", 0, size) + 2
        if size >= len(content):
            size = len(content) - 1
    os.truncate(path, size)
    return f"{path.name}: cut to {size}"


def append(state: Path, dice: random.Random) -> str:
    path = _any(state, dice)
    with path.open("ab") as file:
        file.write(dice.choice([b"\n", b"{}\n", dice.randbytes(30), path.read_bytes()[: dice.randrange(1, 900)]]))
    return f"{path.name}: something behind its end"


def remove_a_file(state: Path, dice: random.Random) -> str:
    path = _any(state, dice)
    path.unlink()
    return f"{path.name}: removed"


def exchange_files(state: Path, dice: random.Random) -> str:
    first, second = dice.sample(log_files(state), 2)
    content = first.read_bytes()
    if dice.random() < 0.5:
        first.write_bytes(second.read_bytes())
    second.write_bytes(content)
    return f"{first.name} and {second.name} exchanged"


def add_a_file(state: Path, dice: random.Random) -> str:
    last = log_files(state)[-1]
    copied = dice.choice(log_files(state))
    path = Place(state / "audit", "opcua").file(Place(state / "audit", "opcua").numbers()[-1] + dice.randint(1, 2))
    shutil.copy(copied, path)
    return f"{copied.name} copied behind {last.name}"


def another_key(state: Path, dice: random.Random) -> str:
    key = state / "audit" / "key"
    content = key.read_bytes()
    if dice.random() < 0.3:
        key.unlink()
    else:
        key.write_bytes(dice.choice([dice.randbytes(32), content[:-1], b""]))
    return "another key"


HARMS: list[Harm] = [
    flip_a_bit, flip_a_bit, alter, alter, leave_out, leave_out, move, put_in, cut_off, append, remove_a_file, exchange_files,
    add_a_file, another_key, leave_out_a_head,
]  # fmt: skip


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of several files and starts, with old files retired and a write that failed in the middle."""
    state = tmp_path_factory.mktemp("sound")
    with writing(state, keep=Keep(file_mb=0.002, mb=0.008)) as log:
        write(log, 40)
    with writing(state) as log:
        write(log, 6)
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(files.os, "fsync", _refuse)
            with pytest.raises(AuditError):
                write(log, 1)
        write(log, 2)
    assert whole(state).unvouched == 0 and log_files(state)[0].name != "opcua-00000001.log"
    return state


def _refuse(handle: int) -> None:
    raise OSError(errno.EIO, "Input/output error")


def harmed(sound: Path, folder: Path, seed: int) -> tuple[str, Verified | Broken]:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(sound, folder)
    dice = random.Random(seed)
    said = dice.choice(HARMS)(folder, dice)
    return said, verify(folder / "audit")


@pytest.mark.parametrize("seed", range(100))
def test_whatever_is_done_to_a_log_is_found(sound: Path, tmp_path: Path, seed: int) -> None:
    said, found = harmed(sound, tmp_path / "harmed", seed)
    assert isinstance(found, Broken), said


@pytest.mark.soak
def test_ten_thousand_alterations_are_found(sound: Path, tmp_path: Path) -> None:
    for seed in range(100, 10_100):
        said, found = harmed(sound, tmp_path / "harmed", seed)
        assert isinstance(found, Broken), f"{seed}: {said}"


def test_an_end_that_is_cut_off_whole_records_behind_the_newest_head_is_told_as_unvouched(tmp_path: Path) -> None:
    with writing(tmp_path, keep=Keep()) as log:
        write(log, 9)
        found = whole(tmp_path)
        assert (found.records, found.unvouched) == (10, 9)
        _of(log_files(tmp_path)[0], lambda every: every.__delitem__(slice(7, 10)))
        assert whole(tmp_path).unvouched == 6
        _of(log_files(tmp_path)[0], lambda every: every.__delitem__(slice(0, 7)))
        assert "has no record" in broken(tmp_path).what


def test_a_log_that_was_written_anew_with_the_key_is_not_the_one_that_the_heads_tell_of(tmp_path: Path) -> None:
    told, forged = tmp_path / "told", tmp_path / "forged"
    with writing(told, keep=Keep()) as log:
        write(log, 5)
    (forged / "audit").mkdir(parents=True)
    shutil.copy(told / "audit" / "key", forged / "audit" / "key")
    later = Times()
    later.passed = 1
    with writing(forged, later, Keep()) as log:
        write(log, 9)
    shutil.copy(told / "audit-heads" / "opcua.heads", forged / "audit-heads" / "opcua.heads")
    assert "is another one" in broken(forged).what


def test_the_chains_of_two_writers_cannot_be_exchanged(tmp_path: Path) -> None:
    for writer, count in (("opcua", 3), (CONSOLE, 4)):
        with writing(tmp_path, keep=Keep(), writer=writer) as log:
            write(log, count)
    for folder, name in (("audit", "{}-00000001.log"), ("audit-heads", "{}.heads")):
        first, second = (tmp_path / folder / name.format(writer) for writer in ("opcua", CONSOLE))
        content = first.read_bytes()
        first.write_bytes(second.read_bytes())
        second.write_bytes(content)
        assert isinstance(verify(tmp_path / "audit"), Broken)


def test_a_file_under_another_name_is_found(tmp_path: Path) -> None:
    with writing(tmp_path, keep=Keep()) as log:
        write(log, 3)
    (only,) = log_files(tmp_path)
    only.rename(only.with_name("opcua-00000002.log"))
    assert broken(tmp_path) == Broken("opcua-00000002.log", 1, "it begins with a record of opcua-00000001.log")


def test_a_whole_chain_that_is_gone_is_missed_by_its_heads(tmp_path: Path) -> None:
    for writer in ("opcua", CONSOLE):
        with writing(tmp_path, writer=writer) as log:
            write(log, 3)
    for path in log_files(tmp_path):
        path.unlink()
    assert broken(tmp_path) == Broken("opcua-00000001.log", 0, "it is missing")


# ---- after a break -----------------------------------------------------------------------------------------------------


def test_after_a_break_the_log_goes_on_and_is_restricted_until_it_is_accepted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with writing(tmp_path) as log:
        write(log, 20)
    alter(tmp_path, random.Random(1))
    said = str(broken(tmp_path))
    with writing(tmp_path) as log:
        assert str(log.broken) == said and log.restricted
        write(log, 2)
    with writing(tmp_path) as log:  # another start does not heal it
        assert log.restricted
        assert main(["audit", "--state", str(tmp_path), "verify"]) == 1
        assert said in capsys.readouterr().err
        assert main(["audit", "--state", str(tmp_path), "accept"]) == 0
        assert said in capsys.readouterr().out
        while log.restricted:
            write(log, 1)
    found = whole(tmp_path)
    assert found.before > 0 and found.unvouched == 0
    assert main(["audit", "--state", str(tmp_path), "verify"]) == 0
    assert f"not looked at: {found.before} files" in capsys.readouterr().out
    with writing(tmp_path) as log:
        assert not log.restricted and log.broken is None
    other = Place(tmp_path / "audit", "opcua").file(Place(tmp_path / "audit", "opcua").numbers()[-1])
    _of(other, lambda every: every.append(every[0]))
    assert main(["audit", "--state", str(tmp_path), "accept"]) == 1  # in the newest file: the next start begins another one
    assert "still written to" in capsys.readouterr().err


def test_a_large_log_is_read_at_its_ends_and_a_break_inside_is_found_by_verify_and_can_be_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controller.audit.log.READ_AT_START", 0)
    with writing(tmp_path, keep=Keep(file_mb=0.002, mb=0.008)) as log:
        write(log, 60)
    inside = log_files(tmp_path)[1]
    with writing(tmp_path) as log:
        assert log.broken is None
    _of(inside, lambda every: every.insert(1, every.pop(2)))
    with writing(tmp_path) as log:
        assert log.broken is None and broken(tmp_path).file == inside.name
        assert main(["audit", "--state", str(tmp_path), "accept"]) == 0
        write(log, 1)
    assert whole(tmp_path).before >= 2
    os.truncate(log_files(tmp_path)[-1], 10)
    with writing(tmp_path) as log:
        assert log.restricted


@pytest.mark.parametrize("cut", [1, 30, 300])
def test_an_end_cut_off_by_a_power_cut_is_no_break_but_is_told(tmp_path: Path, cut: int) -> None:
    with writing(tmp_path, keep=Keep()) as log:
        write(log, 5)
    kept = (tmp_path / "audit-heads" / "opcua.heads").read_bytes().split(b"\n")[0] + b"\n"
    (tmp_path / "audit-heads" / "opcua.heads").write_bytes(kept + b'{"half')
    path = log_files(tmp_path)[-1]
    os.truncate(path, path.stat().st_size - cut)
    with writing(tmp_path) as log:
        assert log.broken is None and not log.restricted
        write(log, 1)
    opening = read(log_files(tmp_path)[1].read_bytes().split(b"\n")[0], key_of(tmp_path / "audit")).record
    assert opening.action == "resumed" and "unfinished record" in opening.text
    assert whole(tmp_path).records == 1 + 4 + 2


def test_a_first_start_that_ended_before_its_first_head_is_no_break(tmp_path: Path) -> None:
    with writing(tmp_path):
        pass
    (tmp_path / "audit-heads" / "opcua.heads").unlink()
    with writing(tmp_path) as log:
        assert log.broken is None
    log_files(tmp_path)[0].write_bytes(b"")
    (tmp_path / "audit-heads" / "opcua.heads").unlink()
    with writing(tmp_path) as log:
        assert log.broken is None
    assert whole(tmp_path).records == 1


# ---- when it cannot be written -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("refusing", ["fsync", "write"])
def test_while_the_disk_refuses_appending_fails_and_afterwards_the_chain_goes_on_in_a_new_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusing: str
) -> None:
    def full(handle: int, *rest: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with writing(tmp_path) as log:
        write(log, 3)
        with monkeypatch.context() as patched:
            patched.setattr(files.os, refusing, full)
            for _ in range(3):
                with pytest.raises(AuditError, match="the audit log cannot be written: No space left on device"):
                    write(log, 1)
            assert log.note(Record("call", "unseen"))
            with pytest.raises(AuditError):
                write(log, 1)
        write(log, 2)
        assert not log.failed and log.lost == 0
    names = [read(path.read_bytes().split(b"\n")[0], key_of(tmp_path / "audit")).record.action for path in log_files(tmp_path)]
    assert names == ["started", "resumed"]
    text = log_files(tmp_path)[-1].read_text()
    assert '"action":"lost"' in text and "1 records before this one" in text
    whole(tmp_path)


@pytest.mark.parametrize("starts", [0, 1])
def test_on_a_disk_that_is_full_at_the_start_only_appending_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, starts: int
) -> None:
    for _ in range(starts):
        with writing(tmp_path) as log:
            write(log, 3)
    monkeypatch.setattr(files.os, "fsync", _refuse)
    with writing(tmp_path) as log:
        assert log.failed == "Input/output error" and not log.restricted
        with pytest.raises(AuditError, match="cannot be written: Input/output error"):
            write(log, 1)
        monkeypatch.undo()
        write(log, 2)
        assert not log.failed and log.broken is None
    assert whole(tmp_path).records == starts * 4 + 3


def test_a_full_queue_refuses_appending_and_counts_notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()
    sync = os.fsync

    async def crowd() -> None:
        waiting = [log.append(Record("call", str(number))) for number in range(20)]
        refused = [each for each in waiting if each.done() and each.exception()]
        assert 20 - 8 - 1 <= len(refused) <= 20 - 8
        assert "records wait for the disk" in str(refused[0].exception())
        assert not log.note(Record("call", "no room")) and log.lost == 1
        gate.set()
        await asyncio.gather(*(each for each in waiting if each not in refused))
        await log.append(Record("call", "room again"))
        assert log.lost == 0

    with writing(tmp_path, keep=Keep(), most=8) as log:
        monkeypatch.setattr(files.os, "fsync", lambda handle: (gate.wait(20), sync(handle)))
        asyncio.run(crowd())
    whole(tmp_path)
    assert "1 records before this one had no room" in log_files(tmp_path)[0].read_text()


def test_notes_leave_half_of_the_room_to_those_who_wait_for_their_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()
    sync = os.fsync

    async def crowd() -> None:
        taken = sum(log.note(Record("write", str(number))) for number in range(100))
        assert 10 <= taken <= 10 + 10 + 1  # what waits, and what the writer has already taken
        waiting = [log.append(Record("call", str(number))) for number in range(9)]
        gate.set()
        await asyncio.gather(*waiting)

    with writing(tmp_path, keep=Keep(), most=20) as log:
        monkeypatch.setattr(files.os, "fsync", lambda handle: (gate.wait(20), sync(handle)))
        asyncio.run(crowd())


def test_old_files_go_by_size_and_by_age_and_the_chain_says_so(tmp_path: Path) -> None:
    times = Times()
    with writing(tmp_path, times, Keep(file_mb=0.002, mb=0.009)) as log:
        write(log, 60)
    assert sum(path.stat().st_size for path in log_files(tmp_path)) < 16_000
    assert log_files(tmp_path)[0].name != "opcua-00000001.log"
    records = whole(tmp_path).records
    assert records < 60
    oldest = log_files(tmp_path)[0]
    for path in log_files(tmp_path):
        os.utime(path, ns=(NOW, NOW))
    times.passed += 500 * 86_400 * S
    with writing(tmp_path, times, Keep(file_mb=0.002)) as log:
        write(log, 8)
    assert not oldest.exists()
    whole(tmp_path)


def test_one_writes_a_chain_and_a_key_that_others_may_read_is_not_taken(tmp_path: Path) -> None:
    with writing(tmp_path), pytest.raises(AuditError, match="another one writes the audit log of opcua"):
        Log(tmp_path / "audit")
    (tmp_path / "audit" / "key").chmod(0o640)
    with pytest.raises(AuditError, match="chmod 600"):
        Log(tmp_path / "audit")
    assert "chmod 600" in broken(tmp_path).what


# ---- lockstep audit ----------------------------------------------------------------------------------------------------


def test_show_prints_who_did_what_and_no_control_letters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    times = Times()
    with writing(tmp_path, times, Keep()) as log:
        write(log, 2)
        times.passed += 60 * S
        log.note(Record("login", "", "\x1b[2J", "", "10.0.0.9:1", status="BadUserAccessDenied"))
    assert main(["audit", "--state", str(tmp_path), "show"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) == 4 and "2027-01-15T08:00:00.000Z otto (operator)" in shown[1] and "belt-1/run0" in shown[1]
    assert "\x1b" not in shown[3] and "\\x1b[2J" in shown[3]
    assert main(["audit", "--state", str(tmp_path), "show", "--who", "otto", "--action", "call", "--json"]) == 0
    assert [json.loads(line)["new"] for line in capsys.readouterr().out.splitlines()] == ["0", "1"]
    assert main(["audit", "--state", str(tmp_path), "show", "--since", "2027-01-15T08:00:30"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1
    assert main(["audit", "--state", str(tmp_path), "show", "--since", "soon"]) == 1
    assert "--since soon" in capsys.readouterr().err


def test_a_state_without_a_log_has_nothing_to_verify(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "--state", str(tmp_path), "verify"]) == 0
    assert "whole: 0 records" in capsys.readouterr().out
    assert main(["audit", "--state", str(tmp_path), "accept"]) == 1


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32))
def test_no_two_keys_are_the_same(seed: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    first, second = (key_of(tmp_path_factory.mktemp("k") / "audit", make=True) for _ in range(2))
    assert first != second and len(first) == 32
