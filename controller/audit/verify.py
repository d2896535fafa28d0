"""Whether an audit log is as it was written: any record that was altered, left out, put in or moved is found.

What is not found is a tail that was cut off whole records behind the newest head; how many records those can be is told.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from controller.audit.chain import ACCEPTED, BROKEN, GENESIS, OPENING, RETIRED, ChainError, Line, read
from controller.audit.files import CONSOLE, AuditError, Head, Place, key_of, last_line, read_head, writers


@dataclass(frozen=True, slots=True)
class Verified:
    """A log in which nothing was found.

    Attributes:
        files, records: how many were looked at.
        unvouched: records behind the newest head of their chain: if more of them had been cut off, nobody could know.
        head: hash of the last record.
        before: files that lie before a break that an administrator has accepted; they were not looked at.
    """

    files: int
    records: int
    unvouched: int
    head: str = GENESIS
    before: int = 0


@dataclass(frozen=True, slots=True)
class Broken:
    """What was found, first.

    Attributes:
        line: counted from 1; 0 where it is the file as a whole.
    """

    file: str
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.file}{f':{self.line}' if self.line else ''}: {self.what}"


class _Found(Exception):
    def __init__(self, path: Path, line: int, what: str) -> None:
        self.broken = Broken(path.name, line, what)
        super().__init__(what)


def verify(folder: Path) -> Verified | Broken:
    """Read all of a folder's chains."""
    whole = Verified(0, 0, 0)
    try:
        names = writers(folder)
        key = key_of(folder) if names else b""
        accepted = breaks_accepted(folder, key) if names else frozenset()
        for writer in names:
            one = _verify(Place(folder, writer), key, accepted)
            whole = Verified(
                whole.files + one.files,
                whole.records + one.records,
                whole.unvouched + one.unvouched,
                one.head,
                whole.before + one.before,
            )
    except _Found as found:
        return found.broken
    except AuditError as unusable:
        return Broken("key", 0, str(unusable))
    return whole


def verify_chain(place: Place, key: bytes, quick: bool = False) -> Verified | Broken:
    """Read one chain.

    Args:
        quick: of the files before the last one only the ends.
    """
    try:
        return _verify(place, key, breaks_accepted(place.folder, key), quick)
    except _Found as found:
        return found.broken


def breaks_accepted(folder: Path, key: bytes) -> frozenset[str]:
    """Hashes of the first records of files from which on the log was accepted; an acceptance counts by its own hash."""
    found = set()
    place = Place(folder, CONSOLE)
    for number in place.numbers():
        for line in _with(place.file(number), ACCEPTED):
            try:
                found.add(read(line, key).record.target)
            except ChainError:
                continue
    return frozenset(found)


def _with(path: Path, action: str) -> Iterator[bytes]:
    """The lines of a file that say they are of an action."""
    content, wanted = path.read_bytes(), f'"action":"{action}"'.encode()
    at = content.find(wanted)
    while at >= 0:
        begin, end = content.rfind(b"\n", 0, at) + 1, content.find(b"\n", at)
        yield content[begin : end if end >= 0 else len(content)]
        at = content.find(wanted, at + 1)


@dataclass
class _Walked:
    """What is known of a chain while it is read."""

    last: Line | None = None
    records: int = 0
    retired: dict[int, str] = field(default_factory=dict)
    """Heads of files that were deleted, by their last number."""
    hashes: dict[int, str] = field(default_factory=dict)
    """Of the records that heads speak of."""


def _verify(place: Place, key: bytes, accepted: frozenset[str], quick: bool = False) -> Verified:
    heads = _heads(place, key)
    numbers = place.numbers()
    if not numbers or not heads:
        raise _Found(place.heads if numbers else place.file(1), 0, "it is missing")
    begin = _begin(place, numbers, key, accepted)
    walked = _Walked()
    wanted = {head.number for head in heads}
    for number, following in zip(numbers[begin:], [*numbers[begin + 1 :], None], strict=True):
        if following is not None and following != number + 1:
            raise _Found(place.file(number + 1), 0, "it is missing")
        if quick and following is not None:
            _skim(place.file(number), key, walked, wanted)
            continue
        _walk(place.file(number), _lines(place.file(number), key), walked, wanted)
    assert walked.last is not None, "each file has a record"
    opening = _first(place.file(numbers[begin]), key)
    newest = _judge_heads(place, heads, walked, opening.number)
    if opening.hash not in accepted:
        _judge_first(place.file(numbers[begin]), opening, walked)
    return Verified(len(numbers) - begin, walked.records, walked.last.number - newest, walked.last.hash, begin)


def _begin(place: Place, numbers: list[int], key: bytes, accepted: frozenset[str]) -> int:
    """Where the files begin that are looked at: at the newest one from which on an administrator has accepted the log."""
    for at in range(len(numbers) - 1, -1, -1):
        try:
            first = _first(place.file(numbers[at]), key)
        except _Found:
            continue
        if first.hash in accepted:
            return at
        if first.record.action == BROKEN:
            raise _Found(place.file(numbers[at]), 1, f"a break was found at a start: {first.record.text}")
    return 0


def _first(path: Path, key: bytes) -> Line:
    with path.open("rb") as file:
        line = file.readline()
    try:
        if not line.endswith(b"\n"):
            raise ChainError("it has no record")
        return read(line[:-1], key)
    except ChainError as broken:
        raise _Found(path, 1, str(broken)) from broken


def _lines(path: Path, key: bytes) -> Iterator[tuple[int, Line]]:
    """The records of a file."""
    lines = path.read_bytes().split(b"\n")
    rest = lines.pop()
    for count, line in enumerate(lines, 1):
        try:
            yield count, read(line, key)
        except ChainError as broken:
            raise _Found(path, count, str(broken)) from broken
    if rest:
        raise _Found(path, len(lines) + 1, "the last record is unfinished: it was cut off, by a crash or by hand")


def _walk(path: Path, lines: Iterator[tuple[int, Line]], walked: _Walked, wanted: set[int]) -> None:
    """Follow the chain through a file."""
    opened = False
    for count, line in lines:
        _judge_opening(path, count, line, opened)
        before = walked.last
        if before is not None and (line.previous != before.hash or line.number != before.number + 1):
            raise _Found(path, count, "it does not follow the record before it: one was left out, put in or moved")
        opened, walked.last = True, line
        walked.records += 1
        _learn(line, walked, wanted)
    if not opened:
        raise _Found(path, 0, "it has no record")


def _judge_opening(path: Path, count: int, line: Line, opened: bool) -> None:
    """That a file begins as files do, under its own name, and only there."""
    opens = line.record.action in OPENING
    if opened and opens:
        raise _Found(path, count, "a file begins in its middle")
    if not opened and (not opens or line.record.target != path.name):
        raise _Found(path, count, f"it begins with a record of {line.record.target or 'another sort'}")


def _learn(line: Line, walked: _Walked, wanted: set[int]) -> None:
    if line.number in wanted:
        walked.hashes[line.number] = line.hash
    if line.record.action == RETIRED:
        walked.retired[int(line.record.old)] = line.record.new


def _skim(path: Path, key: bytes, walked: _Walked, wanted: set[int]) -> None:
    """Look at a file's ends, and at what it says of deleted files."""
    first = _first(path, key)
    _walk(path, iter([(1, first)]), walked, wanted)
    try:
        last, rest = last_line(path, key)
        retired = [read(line, key) for line in _with(path, RETIRED)]
    except ChainError as broken:
        raise _Found(path, 0, str(broken)) from broken
    if rest:
        raise _Found(path, 0, "the last record is unfinished")
    for line in (*retired, *([last] if last is not None else [])):
        _learn(line, walked, wanted)
    walked.last = last
    walked.records += 0 if last is None else last.number - first.number


def _heads(place: Place, key: bytes) -> list[Head]:
    """All heads of a chain, which are a chain of their own."""
    found: list[Head] = []
    if not place.heads.exists():
        return found
    previous = GENESIS
    lines = place.heads.read_bytes().split(b"\n")
    if lines.pop():
        raise _Found(place.heads, len(lines) + 1, "the last head is unfinished: it was cut off, by a crash or by hand")
    for count, line in enumerate(lines, 1):
        try:
            head, before, digest = read_head(line, key)
        except ChainError as broken:
            raise _Found(place.heads, count, str(broken)) from broken
        if before != previous or head.writer != place.writer:
            raise _Found(place.heads, count, "it does not follow the head before it")
        previous = digest
        found.append(head)
    return found


def _judge_heads(place: Place, heads: list[Head], walked: _Walked, first: int) -> int:
    """That the chain has what its heads say; the number of the newest."""
    last = walked.last
    assert last is not None, "each file has a record"
    for count, head in enumerate(heads, 1):
        if head.number > last.number:
            what = f"the log ends at record {last.number}, and had come to {head.number}: its end was cut off"
            raise _Found(place.heads, count, what)
        known = walked.hashes.get(head.number)
        if head.number >= first and known is not None and known != head.head:
            raise _Found(place.heads, count, f"record {head.number} is another one")
    return heads[-1].number


def _judge_first(path: Path, opening: Line, walked: _Walked) -> None:
    """That what came before the oldest file was deleted by the log itself."""
    before = GENESIS if opening.number == 1 else walked.retired.get(opening.number - 1)
    if opening.previous != before:
        raise _Found(path, 1, f"the records before number {opening.number} are missing")
