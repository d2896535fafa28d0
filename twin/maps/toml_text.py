"""TOML as cells. tomllib tells no lines, so they are found by walking over the text once more."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

from twin.maps.columns import HEAD, METHOD, ROW
from twin.maps.document import MOST_ROWS, Cell, Document, Notes, Row

_LINE = re.compile(r"at line (\d+)")
_HEADER = re.compile(r"[ \t]*(\[\[?)[ \t]*[\"']?([A-Za-z0-9_-]+)[\"']?[ \t]*\]")
_KEY = re.compile(r"[ \t]*[\"']?([A-Za-z0-9_-]+)[\"']?[ \t]*[=.]")
_TOKEN = re.compile(r'"""|\'\'\'|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'|#[^\n]*|[\[\]{}\n]')

Lines = Mapping[tuple[str, int, str], int]
"""Line of each key: by table ("" for none), which of them (0 the first), and the key ("" for the table itself)."""


def read(text: str, notes: Notes) -> Document:
    """The cells of a TOML file."""
    made = Document()
    text = text.replace("\r\n", "\n")
    try:
        tables = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as broken:
        found = _LINE.search(str(broken))
        notes.wrong(int(found[1]) if found else text.count("\n") + 1, f"not TOML: {broken}")
        return made
    lines = _lines(text)
    for key, value in tables.items():
        if key in ("signals", "methods"):
            allowed = ROW if key == "signals" else METHOD
            rows = made.rows if key == "signals" else made.methods
            rows.extend(_rows(key, value, allowed, lines, notes))
        elif key not in HEAD:
            line = _line(lines, key)
            notes.wrong(line, f"{key}: unknown key; allowed are {', '.join((*HEAD, 'signals', 'methods'))}")
        elif (cell := _cell(key, value, _line(lines, key), notes)) is not None:
            made.head[key] = cell
    return made


def _line(lines: Lines, key: str) -> int:
    return lines.get(("", 0, key)) or lines.get((key, 0, "")) or 1


def _rows(table: str, value: Any, allowed: Mapping[str, str], lines: Lines, notes: Notes) -> Iterator[Row]:
    if not isinstance(value, list) or any(not isinstance(row, dict) for row in value):
        notes.wrong(_line(lines, table), f"{table}: must be a list of tables: [[{table}]]")
        return
    if len(value) > MOST_ROWS:
        notes.wrong(_line(lines, table), f"more than {MOST_ROWS} {table}")
    for index, row in enumerate(value[:MOST_ROWS]):
        line = lines.get((table, index, "")) or _line(lines, table)
        cells = {}
        for key, item in row.items():
            at = lines.get((table, index, key), line)
            if key not in allowed:
                notes.wrong(at, f"{key}: unknown key; allowed are {', '.join(allowed)}")
            elif (cell := _cell(key, item, at, notes)) is not None:
                cells[key] = cell
        title = f"{table[:-1]} {cells['name'].text}" if "name" in cells else f"a {table[:-1]} without a name"
        yield Row(cells, line, notes, title)


def _cell(key: str, value: Any, line: int, notes: Notes) -> Cell | None:
    """A value as CSV would have it: a list between upright strokes, a table as `key=value` between them."""
    if isinstance(value, dict):
        parts = [(_word(item), name) for name, item in value.items()]
        bad = any(word is None or set(name) & set("|=") for word, name in parts)
        words = [f"{name}={word}" for word, name in parts]
        if key in ("enum", "bits"):  # here a name stands first, for TOML's keys are names; in CSV the number does
            words = [f"{word}={name}" for word, name in parts]
    else:
        found = [_word(item) for item in value] if isinstance(value, list) else [_word(value)]
        bad = any(word is None for word in found) or (isinstance(value, list) and any("|" in str(word) for word in found))
        words = [str(word) for word in found]
    if bad:
        notes.wrong(line, f"{key}: must be a text, a number, true or false, or a list or table of them, not {value!r}")
        return None
    text = "|".join(words)
    return Cell(text.strip(), line) if text.strip() else None


def _word(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    return value if isinstance(value, str) else None


def _lines(text: str) -> Lines:
    found: dict[tuple[str, int, str], int] = {}
    counts: dict[str, int] = {}
    table = ""
    for line, content in _starts(text):
        if header := _HEADER.match(content):
            table = header[2]
            index = counts.get(table, -1) + 1
            counts[table] = index
            found.setdefault((table, index, ""), line)
        elif key := _KEY.match(content):
            found.setdefault((table, counts.get(table, 0), key[1]), line)
    return found


def _starts(text: str) -> Iterator[tuple[int, str]]:
    """Lines that begin outside of a text of several lines and of brackets."""
    line, depth, at = 1, 0, 0
    yield line, text.partition("\n")[0]
    while match := _TOKEN.search(text, at):
        token, at = match[0], match.end()
        if token in ('"""', "'''"):
            end = _closing(text, token, at)
            line += text.count("\n", at, end)
            at = end
        elif token == "\n":
            line += 1
            if depth == 0:
                end = text.find("\n", at)
                yield line, text[at : end if end >= 0 else len(text)]
        elif token in "[{":
            depth += 1
        elif token in "]}":
            depth = max(0, depth - 1)


def _closing(text: str, token: str, at: int) -> int:
    """Behind the end of a text of several lines that begins at `at`."""
    while (end := text.find(token, at)) >= 0:
        first = end
        while text[first - 1] == "\\":
            first -= 1
        if token == "'''" or (end - first) % 2 == 0:
            return end + 3
        at = end + 1
    return len(text)
