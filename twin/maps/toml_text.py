"""TOML as cells."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from twin import toml
from twin.maps.columns import HEAD, METHOD, ROW
from twin.maps.document import MOST_ROWS, Cell, Document, Notes, Row
from twin.maps.toml_lines import Spot, spots

_LINE = re.compile(r"at line (\d+)")


def load(text: str, notes: Notes) -> tuple[dict[str, Any], Spot]:
    """The tables of a text, and where they are; none, and a mistake, where it is no TOML."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    try:
        return toml.loads(text), spots(text)
    except ValueError as broken:
        found = _LINE.search(str(broken))
        notes.wrong(int(found[1]) if found else text.count("\n") + 1, f"not TOML: {broken}")
        return {}, Spot(1)


def read(text: str, notes: Notes) -> Document:
    """The cells of a TOML file."""
    made = Document()
    tables, where = load(text, notes)
    for key, value in tables.items():
        line = where.line_of(key)
        if key in ("signals", "methods"):
            allowed = ROW if key == "signals" else METHOD
            rows = made.rows if key == "signals" else made.methods
            rows.extend(_rows(key, value, allowed, where, notes))
        elif key not in HEAD:
            notes.wrong(line, f"{key}: unknown key; allowed are {', '.join((*HEAD, 'signals', 'methods'))}")
        elif (found := cell(key, value, line, notes)) is not None:
            made.head[key] = found
    return made


def _rows(table: str, value: Any, allowed: Mapping[str, str], where: Spot, notes: Notes) -> Iterator[Row]:
    if not isinstance(value, list) or any(not isinstance(row, dict) for row in value):
        notes.wrong(where.line_of(table), f"{table}: must be a list of tables: [[{table}]]")
        return
    if len(value) > MOST_ROWS:
        notes.wrong(where.line_of(table), f"more than {MOST_ROWS} {table}")
    for index, row in enumerate(value[:MOST_ROWS]):
        cells = {}
        for key, item in row.items():
            line = where.line_of(table, index, key)
            if key not in allowed:
                notes.wrong(line, f"{key}: unknown key; allowed are {', '.join(allowed)}")
            elif (found := cell(key, item, line, notes)) is not None:
                cells[key] = found
        title = f"{table[:-1]} {cells['name'].text}" if "name" in cells else f"a {table[:-1]} without a name"
        yield Row(cells, where.line_of(table, index), notes, title)


def cell(key: str, value: Any, line: int, notes: Notes) -> Cell | None:
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
