"""CSV as cells. Before the table, lines `# key = value` say what is true of the whole Map; other lines with # are remarks."""

import csv
import re
from collections.abc import Iterator, Mapping

from twin.maps.columns import HEAD, ROW
from twin.maps.document import MOST_ROWS, Cell, Document, Notes, Row

_HEAD = re.compile(r"#[ \t]*([A-Za-z_]+)[ \t]*=[ \t]*(.*)")


def read(text: str, notes: Notes) -> Document:
    """The cells of a CSV file; commas or semicolons, as its head line has them."""
    made = Document()
    lines = _lines(text)
    columns: list[str] = []
    comma = ","
    for number, line in lines:
        if not line.strip(" \t,;"):
            continue
        if line.lstrip().startswith("#"):
            if not columns:
                _head(made, line.strip().rstrip(",;").rstrip(), number, notes)
            continue
        if not columns:
            comma = ";" if line.count(";") > line.count(",") else ","
            columns = _columns(_cells(line, number, comma, notes), number, notes)
            if not columns:
                return made
        else:
            _row(made, columns, _cells(line, number, comma, notes), number, notes)
    if not columns:
        notes.wrong(1, f"no head line with the names of the columns: {', '.join(ROW)}")
    return made


def _lines(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        yield number, line.removesuffix("\r")


def _head(made: Document, line: str, number: int, notes: Notes) -> None:
    found = _HEAD.fullmatch(line)
    if found is None:
        return
    key, text = found[1], found[2]
    if key not in HEAD:
        notes.wrong(number, f"# {key} = ...: unknown key; allowed are {', '.join(HEAD)}; a remark has no = after its first word")
    elif key in made.head:
        notes.wrong(number, f"# {key} = ...: said in line {made.head[key].line} already")
    elif text:
        made.head[key] = Cell(text, number)


def _cells(line: str, number: int, comma: str, notes: Notes) -> list[str]:
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=comma, strict=True))]
    except csv.Error as broken:
        notes.wrong(number, f"not CSV: {broken}; a cell cannot go on in the next line")
        return []


def _columns(cells: list[str], number: int, notes: Notes) -> list[str]:
    for name in cells:
        if name not in ROW:
            notes.wrong(number, f"column {name!r}: unknown; allowed are {', '.join(ROW)}")
        if cells.count(name) > 1:
            notes.wrong(number, f"column {name!r}: there are {cells.count(name)} of it")
    if "name" not in cells:
        notes.wrong(number, "column 'name' is missing")
    if "node" not in cells and "address" not in cells:
        notes.wrong(number, "column 'address' is missing; for an OPC UA server it is 'node'")
    return cells


def _row(made: Document, columns: list[str], cells: list[str], number: int, notes: Notes) -> None:
    if not cells:
        return
    if len(cells) != len(columns):
        notes.wrong(number, f"has {len(cells)} cells, the head line {len(columns)}: a comma too many or too few, or a line cut off")
        return
    if len(made.rows) == MOST_ROWS:
        notes.wrong(number, f"more than {MOST_ROWS} Signals")
    if len(made.rows) < MOST_ROWS:
        found = {key: Cell(text, number) for key, text in zip(columns, cells, strict=True) if text}
        made.rows.append(Row(found, number, notes, _title(found)))


def _title(cells: Mapping[str, Cell]) -> str:
    return f"signal {cells['name'].text}" if "name" in cells else "a signal without a name"
