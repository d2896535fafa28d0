"""`lockstep export` and `import`: all that a factory's state holds, in files that anybody can read, with their SHA-256.

    manifest.json                format, when it was made, and of each file its bytes and SHA-256
    book/*.jsonl                 orders, operations, commands, counters: one JSON object a line; schema.json says what they are
    history/*.jsonl, cold/*      catalogue and Events; samples as Parquet segments
    events.jsonl                 every Event with its times, for people
    users.jsonl                  names and roles; password hashes only where asked for
    files/...                    as they are: programs, calibrations, factory.toml, owner; with --secrets whatever else lies there

Never in it: `epoch`. Nodes have gone on since, and a core that knows of no epoch finds that out and starts nothing again.
"""

import contextlib
import hashlib
import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import Any

from controller.folder import CoreError, held
from controller.history import FOLDER
from controller.history.cold import cool
from controller.history.door import Door
from controller.history.hot import Hot
from controller.history.kept import HistoryError
from controller.history.tables import COLD, FILE
from controller.orders.book import Book, BookError
from controller.orders.generations import newest
from controller.users import UserError, Users

FORMAT = 1
MANIFEST = "manifest.json"
BOOK = "book.sqlite"
USERS = "users.json"
FAR = 2**62
TRIES = 5
_TAKEN_APART = (BOOK, USERS, FOLDER)
_NEVER = ("lock", "nodes", "jobs", "epoch", "reserve")
_OPEN = ("programs", "calibration", "factory.toml", "owner", "trials.json", "setpoints.json")
"""What holds no secret. Anything else may: keys and passwords lie in files of any name."""


class ArchiveError(Exception):
    """Nothing was exported or imported, and why."""


# ---- out


def export(state: Path, out: Path, secrets: bool, now_utc_ns: int) -> dict[str, Any]:
    """Write a state into a new folder; a core and a recorder may go on meanwhile. Its manifest comes back.

    Args:
        secrets: with password hashes and private keys.

    Raises:
        ArchiveError: there is no state, the folder is there already, or something cannot be read or written.
    """
    if not newest(state / BOOK).is_file():
        raise ArchiveError(f"{state}: there is no state of a factory: {BOOK} is missing")
    if out.exists():
        raise ArchiveError(f"{out}: is there already")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}-"))
        try:
            _write_all(state, beside, secrets)
            made = _seal(beside, now_utc_ns)
            os.replace(beside, out)
            _sync(out.parent)
        except BaseException:
            shutil.rmtree(beside, ignore_errors=True)
            raise
    except (OSError, sqlite3.Error, HistoryError, UserError) as failed:
        raise ArchiveError(f"{out}: {failed}") from failed
    return made


def _write_all(state: Path, out: Path, secrets: bool) -> None:
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".copy-") as folder:
        copy = Path(folder)
        _copied(newest(state / BOOK), copy / BOOK)
        _dump(copy / BOOK, out / "book")
        if (state / FOLDER / FILE).exists():
            _write_history(state / FOLDER, copy / FOLDER, out)
    _write_users(state, out, secrets)
    for path in _others(state, secrets):
        target = out / "files" / path.relative_to(state)
        target.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):  # it has gone meanwhile
            shutil.copyfile(path, target)


def _others(state: Path, secrets: bool) -> Iterator[Path]:
    """The files that go along as they are."""
    for first in sorted(state.iterdir()):
        name = first.name
        if name in (*_TAKEN_APART, *_NEVER) or name.startswith((".", f"{BOOK}-", f"{BOOK}.")) or not (secrets or name in _OPEN):
            continue
        for path in (first, *sorted(first.rglob("*"))):
            if path.is_file() and not path.is_symlink() and path.suffix not in (".new", ".sock"):
                yield path


def _copied(source: Path, target: Path) -> None:
    """A database as it is at one moment, though it is written to."""
    with closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as file, closing(sqlite3.connect(target)) as copy:
        file.backup(copy)


def _write_history(source: Path, copy: Path, out: Path) -> None:
    """All of History as segments: what is hot is cooled in a copy."""
    for left in reversed(range(TRIES)):
        shutil.rmtree(copy, ignore_errors=True)
        try:
            _copy_history(source, copy)
            break
        except FileNotFoundError:  # retention has dropped a segment since the catalogue was copied
            if not left:
                raise
    hot = Hot(copy)
    try:
        cool(hot, FAR)
    finally:
        hot.close()
    with closing(Door(copy)) as door:
        events = [json.dumps(asdict(event), ensure_ascii=False) for event in door.events(0, FAR)]
    (out / "events.jsonl").write_text("".join(f"{line}\n" for line in events), encoding="utf-8")
    _dump(copy / FILE, out / "history")
    (out / "cold").mkdir()
    for path in sorted((copy / COLD).iterdir()):
        shutil.move(path, out / "cold" / path.name)


def _copy_history(source: Path, copy: Path) -> None:
    (copy / COLD).mkdir(parents=True)
    _copied(source / FILE, copy / FILE)
    with closing(sqlite3.connect(copy / FILE)) as file:
        names = [name for (name,) in file.execute("SELECT file FROM segments")]
    for name in names:
        shutil.copyfile(source / COLD / name, copy / COLD / name)


def _write_users(state: Path, out: Path, secrets: bool) -> None:
    users = Users(state / USERS).all
    lines = [json.dumps({"name": name, "role": user.role}, ensure_ascii=False) + "\n" for name, user in users.items()]
    (out / "users.jsonl").write_text("".join(lines), encoding="utf-8")
    if secrets and users:
        (out / "secrets").mkdir(mode=0o700)
        shutil.copyfile(state / USERS, out / "secrets" / USERS)
        (out / "secrets" / USERS).chmod(0o600)


def _dump(source: Path, out: Path) -> None:
    """A database's tables, one JSON object a line; bytes as {"hex": ...}."""
    out.mkdir()
    with closing(sqlite3.connect(source)) as file:
        schema = _schema(file)
        (out / "schema.json").write_text(json.dumps(schema, indent=1) + "\n", encoding="utf-8")
        for table in schema["tables"]:
            found = file.execute(f'SELECT * FROM "{table}"')
            names = [column[0] for column in found.description]
            with (out / f"{table}.jsonl").open("w", encoding="utf-8") as lines:
                for row in found:
                    cells = {n: {"hex": v.hex()} if isinstance(v, bytes) else v for n, v in zip(names, row, strict=True)}
                    lines.write(json.dumps(cells, ensure_ascii=False, separators=(",", ":")) + "\n")


def _schema(file: sqlite3.Connection) -> dict[str, Any]:
    rows = file.execute("SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'").fetchall()
    (version,) = file.execute("PRAGMA user_version").fetchone()
    (application,) = file.execute("PRAGMA application_id").fetchone()
    tables = sorted(name for kind, name, _ in rows if kind == "table")
    statements = sorted(sql for _, _, sql in rows)
    return {"version": version, "application": application, "tables": tables, "statements": statements}


def _seal(out: Path, now_utc_ns: int) -> dict[str, Any]:
    """Write the manifest, and see to it that everything is on disk."""
    files = {}
    for path in sorted(p for p in out.rglob("*") if p.is_file()):
        files[path.relative_to(out).as_posix()] = {"bytes": path.stat().st_size, "sha256": _sha256(path)}
    made = {"format": FORMAT, "made_utc_ns": now_utc_ns, "files": files}
    (out / MANIFEST).write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    _sync_all(out)
    return made


def _sync_all(folder: Path) -> None:
    """A folder and everything in it, on disk."""
    for path in (*folder.rglob("*"), folder):
        _sync(path)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# ---- in


def verify(source: Path) -> dict[str, Any]:
    """The manifest of an export, every file of which is as it says.

    Raises:
        ArchiveError: something is missing, more, or not as it was written.
    """
    try:
        manifest = json.loads((source / MANIFEST).read_text(encoding="utf-8"))
        files, form = manifest["files"], manifest["format"]
    except (OSError, ValueError, KeyError, TypeError) as broken:
        raise ArchiveError(f"{source / MANIFEST}: {broken}") from broken
    if form != FORMAT:
        raise ArchiveError(f"{source}: format {form}; this version reads {FORMAT}")
    there = {p.relative_to(source).as_posix() for p in source.rglob("*") if p.is_symlink() or not p.is_dir()} - {MANIFEST}
    for name in sorted({*there, *files}):
        path = source / name
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or path.is_symlink():
            raise ArchiveError(f"{name!r}: leads out of the export")
        if name not in there or name not in files:
            raise ArchiveError(f"{name}: " + ("is in the manifest and missing" if name in files else "is not in the manifest"))
        if path.stat().st_size != files[name]["bytes"] or _sha256(path) != files[name]["sha256"]:
            raise ArchiveError(f"{name}: is not as it was written: its SHA-256 differs from the manifest's")
    return dict(manifest)


def load(source: Path, state: Path) -> list[str]:
    """Make a state of an export; all of it is checked before anything is touched. The users that still need a password come back.

    Raises:
        ArchiveError: the export is damaged or of another version, or the state is in use or not empty. Nothing was changed.
    """
    verify(source)
    if state.exists() and (not state.is_dir() or any(path.name != "lock" for path in state.iterdir())):
        raise ArchiveError(f"{state}: is not empty: an import makes a new state")
    try:
        state.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(dir=state.parent, prefix=f".{state.name}-"))
        try:
            waiting = _read_all(source, beside)
            _sync_all(beside)
            with held(state):  # the lock moves along, so nobody else can begin here meanwhile
                (state / "programs").rmdir()
                os.replace(state / "lock", beside / "lock")
                os.replace(beside, state)
            _sync(state.parent)
        except BaseException:
            shutil.rmtree(beside, ignore_errors=True)
            raise
    except (OSError, ValueError, KeyError, sqlite3.Error, HistoryError, BookError, UserError, CoreError) as failed:
        raise ArchiveError(f"{state}: {failed}") from failed
    return waiting


def _read_all(source: Path, state: Path) -> list[str]:
    if (source / "files").is_dir():
        shutil.copytree(source / "files", state, dirs_exist_ok=True)
    (state / "epoch").unlink(missing_ok=True)
    state.chmod(0o700)
    (state / "programs").mkdir(exist_ok=True)
    for path in state.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
    Book(state / BOOK).close()
    _undump(source / "book", state / BOOK)
    with tempfile.TemporaryDirectory(dir=state) as folder:  # to take it up changes a book, so a copy tells whether it can be
        _copied(state / BOOK, Path(folder) / BOOK)
        with Book(Path(folder) / BOOK) as book:
            book.load()
    if (source / "history").is_dir():
        (state / FOLDER).mkdir(mode=0o700)
        Hot(state / FOLDER).close()
        _undump(source / "history", state / FOLDER / FILE)
        for path in (source / "cold").iterdir():
            shutil.copyfile(path, state / FOLDER / COLD / path.name)
        with closing(Door(state / FOLDER)) as door:
            door.events(0, FAR)
    names = [json.loads(line)["name"] for line in _lines(source / "users.jsonl")]
    if not (source / "secrets" / USERS).exists():
        return names
    shutil.copyfile(source / "secrets" / USERS, state / USERS)
    (state / USERS).chmod(0o600)
    return [name for name in names if name not in Users(state / USERS).all]


def _undump(source: Path, target: Path) -> None:
    """Fill a new database; it must be of the kind that this version makes."""
    wanted = json.loads((source / "schema.json").read_text(encoding="utf-8"))
    with closing(sqlite3.connect(target, isolation_level=None)) as file:
        if _schema(file) != wanted:
            raise ArchiveError(f"{source}: was made by another version of the software")
        file.execute("PRAGMA foreign_keys=OFF")
        file.execute("BEGIN IMMEDIATE")
        for table in wanted["tables"]:
            file.execute(f'DELETE FROM "{table}"')
            for line in _lines(source / f"{table}.jsonl"):
                cells = json.loads(line)
                values = [bytes.fromhex(v["hex"]) if isinstance(v, dict) else v for v in cells.values()]
                columns, marks = ", ".join(f'"{name}"' for name in cells), ", ".join("?" for _ in cells)
                file.execute(f'INSERT INTO "{table}" ({columns}) VALUES ({marks})', values)
        file.execute("COMMIT")


def _lines(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8") as lines:
        yield from lines
