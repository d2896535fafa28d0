"""`lockstep audit`: who did what, and whether the log is as it was written."""

import asyncio
import heapq
import json
import os
import pwd
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

from controller.audit.chain import ACCEPTED, BROKEN, ChainError, Line, Record, read
from controller.audit.files import CONSOLE, AuditError, Place, key_of, writers
from controller.audit.log import Log
from controller.audit.verify import Broken, verify, verify_chain
from twin.clock import utc_ns

UNITS = {"s": "seconds", "min": "minutes", "h": "hours", "d": "days"}


def verify_log(state: Path) -> int:
    """Say whether the log is whole; 1 where it is not."""
    found = verify(state / "audit")
    if isinstance(found, Broken):
        print(f"broken: {found}", file=sys.stderr)
        return 1
    print(f"whole: {found.records} records in {found.files} files; {found.unvouched} of them came after the newest head")
    if found.before:
        print(f"not looked at: {found.before} files before a break that was accepted")
    return 0


def show(state: Path, since: str | None, who: str | None, action: str | None, as_json: bool) -> int:
    """Print records, oldest first.

    Raises:
        AuditError: the log cannot be read, or `since` is no time.
    """
    after = _since(since, utc_ns()) if since else 0
    for writer, line in records(state / "audit"):
        record = line.record
        if line.utc_ns < after or (who is not None and record.who != who) or (action is not None and record.action != action):
            continue
        if as_json:
            print(json.dumps({"writer": writer, "number": line.number, "utc_ns": line.utc_ns, **asdict(record), "hash": line.hash}))
        else:
            print(_line(line))
    return 0


def records(folder: Path) -> Iterator[tuple[str, Line]]:
    """All records that are whole, by their time; lines that are not are left to `verify`.

    Raises:
        AuditError: there is no key.
    """
    names = writers(folder)
    key = key_of(folder) if names else b""
    yield from heapq.merge(*(_chain(Place(folder, writer), key) for writer in names), key=lambda each: each[1].utc_ns)


def _chain(place: Place, key: bytes) -> Iterator[tuple[str, Line]]:
    for number in place.numbers():
        for line in _whole(place.file(number), key):
            yield place.writer, line


def _whole(path: Path, key: bytes) -> Iterator[Line]:
    for line in path.read_bytes().split(b"\n"):
        try:
            yield read(line, key)
        except (ChainError, ValueError):
            continue


def accept(state: Path) -> int:
    """Write down that the breaks there are have been looked at; from then on the log is verified from the newest one on.

    Raises:
        AuditError: it cannot be written.
    """
    folder = state / "audit"
    if not writers(folder):
        raise AuditError(f"{folder}: there is no audit log")
    return asyncio.run(_accept(folder))


async def _accept(folder: Path) -> int:
    log = Log(folder, CONSOLE)
    try:
        said = [opening async for opening in _accepting(folder, log)]
    finally:
        log.close()
    for line in said:
        print(f"accepted: {line}")
    found = verify(folder)
    if isinstance(found, Broken):
        print(f"{found}\nThe file is still written to: it can be accepted after the next start of who writes it.", file=sys.stderr)
        return 1
    return 0


async def _accepting(folder: Path, log: Log) -> AsyncIterator[str]:
    """Accept each chain that is broken from its newest file on, as long as the break lies before that file."""
    key = key_of(folder)
    for writer in writers(folder):
        found = verify_chain(Place(folder, writer), key)
        numbers = Place(folder, writer).numbers()
        if not isinstance(found, Broken) or not numbers:
            continue
        opening = next(_whole(Place(folder, writer).file(numbers[-1]), key), None)
        if opening is None or (opening.record.action != BROKEN and found.file == opening.record.target):
            continue
        await log.append(Record(ACCEPTED, target=opening.hash, who=_user(), where="console", text=f"{writer}: {found}"))
        yield str(found)


def _user() -> str:
    uid = os.getuid()
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _since(text: str, now_ns: int) -> int:
    """A time as UTC [ns]: a moment, or so long ago.

    Raises:
        AuditError: it is neither.
    """
    number = text.rstrip("abcdefghijklmnopqrstuvwxyz")
    unit = UNITS.get(text[len(number) :])
    try:
        if unit is not None:
            return now_ns - int(timedelta(**{unit: float(number)}).total_seconds() * 1e9)
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except (ValueError, OverflowError):
        raise AuditError(f"--since {text}: a time is 2026-11-22T08:00 in UTC, or 3h, 10min, 2d ago") from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1e9)


def _line(line: Line) -> str:
    record = line.record
    time = datetime.fromtimestamp(line.utc_ns / 1e9, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
    who = f"{record.who or '-'} ({record.role})" if record.role else record.who or "-"
    change = f" {record.old} -> {record.new}" if record.old and record.new else f" {record.new or record.old}".rstrip()
    said = "".join(f" | {part}" for part in (record.status, record.text) if part)
    return _plain(f"{time} {who:24} {record.where or '-':22} {record.action:10} {record.target}{change}{said}")


def _plain(text: str) -> str:
    """Without what would move a terminal's cursor: much of it was chosen by clients."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def run(what: Callable[[], int]) -> int:
    """Do it, and say in one line what prevents it."""
    try:
        return what()
    except (AuditError, OSError) as unusable:
        print(f"lockstep audit: {unusable}", file=sys.stderr)
        return 1
