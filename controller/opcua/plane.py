"""The values that change: one row of arrays each, its DataValue laid out as it goes over the wire (Part 6 §5.2.2.17).

A row of numbers is always laid out in full: mask, type, value, status, source time, server time. So rows of one kind are equally
long, and a thousand of them are gathered, compared and sent without an object for each. With a bad status there is no value.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from controller.opcua.encoding import data_value, string

Rows = NDArray[np.int64]
Touched = Callable[[Rows], None]
Statuses = NDArray[np.uint32] | int
Times = NDArray[np.int64] | int

WIDTH: Final = 32
"""Bytes of room in a row; a Double takes 30."""
BOOLEAN, SBYTE, BYTE, INT16, UINT16, INT32, UINT32, INT64, UINT64, FLOAT, DOUBLE, STRING = range(1, 13)
TYPES: Final[dict[int, np.dtype[Any]]] = {
    BOOLEAN: np.dtype("u1"), SBYTE: np.dtype("i1"), BYTE: np.dtype("u1"), INT16: np.dtype("<i2"), UINT16: np.dtype("<u2"),
    INT32: np.dtype("<i4"), UINT32: np.dtype("<u4"), INT64: np.dtype("<i8"), UINT64: np.dtype("<u8"), FLOAT: np.dtype("<f4"),
    DOUBLE: np.dtype("<f8"),
}  # fmt: skip
ALL, NO_VALUE = 0x0F, 0x0E
AFTER: Final = 20
"""Bytes behind the value: status, source time, server time."""
UNKNOWN: Final = 0x7FFF_FFFF_FFFF_FFF1
"""`bits` where there is no value yet."""
BAD: Final = 30
"""A status whose bits from here on are 2 is bad: then there is no value (Part 4 §7.11)."""
WAITING: Final = 0x80320000
"""BadWaitingForInitialData."""
SOURCE, SERVER, BOTH, NEITHER = range(4)
"""TimestampsToReturn."""
_UNDATED: Final = np.array((NEITHER, SERVER, SERVER, NEITHER), np.uint8)
"""What is left of each where a value has no source time."""


class Plane:
    """Rows of values.

    Attributes:
        kinds: (n,) built-in type.
        numbers: (n,) float64: the value, as deadbands see it; NaN for texts and where there is none.
        known: (n,) whether there is a value.
        status: (n,) uint32.
        source, server: (n,) int64 DateTime; a source time of 0 is none, and is left out of what is told.
        encoded: (n, WIDTH) uint8: the DataValue, of which `sizes` bytes count; of a text nothing here does.
        sizes: (n,) uint8; 0 for texts.
        texts: encoded Variant of each row that is a text and has one.
        serial: (n,) int64: how often the row was put.
        bits: (n,) uint64: equal for equal values of a row; all NaN are, and both zeros. Of texts it counts the changes.
    """

    def __init__(self) -> None:
        self.kinds = np.zeros(0, np.uint8)
        self.numbers = np.zeros(0)
        self.known = np.zeros(0, bool)
        self.status = np.zeros(0, np.uint32)
        self.source = np.zeros(0, np.int64)
        self.server = np.zeros(0, np.int64)
        self.encoded = np.zeros((0, WIDTH), np.uint8)
        self.sizes = np.zeros(0, np.uint8)
        self.serial = np.zeros(0, np.int64)
        self.bits = np.zeros(0, np.uint64)
        self.texts: dict[int, bytes] = {}
        self.listeners: list[Touched] = []
        self._touched: list[Rows] = []

    def __len__(self) -> int:
        return len(self.kinds)

    def grow(self, kinds: Sequence[int], server: int = 0) -> range:
        """Add rows that wait for their first value: their numbers.

        Args:
            server: since when [DateTime].
        """
        first, more = len(self), len(kinds)
        self.kinds = np.append(self.kinds, np.array(kinds, np.uint8))
        self.numbers = np.append(self.numbers, np.full(more, np.nan))
        self.known = np.append(self.known, np.zeros(more, bool))
        self.status = np.append(self.status, np.full(more, WAITING, np.uint32))
        self.source = np.append(self.source, np.zeros(more, np.int64))
        self.server = np.append(self.server, np.full(more, server, np.int64))
        self.encoded = np.vstack((self.encoded, np.zeros((more, WIDTH), np.uint8)))
        self.sizes = np.append(self.sizes, np.zeros(more, np.uint8))
        self.serial = np.append(self.serial, np.zeros(more, np.int64))
        self.bits = np.append(self.bits, np.full(more, UNKNOWN, np.uint64))
        rows = np.arange(first, first + more)
        self._lay_empty(rows)
        self._stamp(rows)
        return range(first, first + more)

    def put(self, rows: Rows, values: "NDArray[Any]", status: Statuses, source: Times) -> None:
        """Put numbers of one or several kinds; they count from the next commit on.

        Args:
            rows: (k,) each once.
            values: (k,) numbers; integers beyond 2**53 come in an integer array.
            status: (k,) or one for all.
            source: (k,) DateTime, or one for all.
        """
        self.status[rows] = status
        self.source[rows] = source
        self.numbers[rows] = values
        good = self.status[rows] >> BAD != 2
        self.known[rows] = good
        self.serial[rows] += 1
        kinds = self.kinds[rows]
        for kind in np.unique(kinds).tolist():
            of_kind = (kinds == kind) & good
            self._lay(rows[of_kind], kind, values[of_kind])
        if not good.all():
            self._lay_empty(rows[~good])
        self._touched.append(rows)

    def put_text(self, row: int, value: str, status: int, source: int) -> None:
        """Put one text."""
        text = bytes((STRING,)) + string(value)
        if self.texts.get(row) != text:
            self.texts[row] = text
            self.bits[row] += np.uint64(1)
        self.status[row], self.source[row], self.known[row] = status, source, status >> BAD != 2
        if not self.known[row]:
            self._lay_empty(np.array([row]))
        self.serial[row] += 1
        self._touched.append(np.array([row]))

    def put_status(self, rows: Rows, status: Statuses, source: Times | None = None) -> None:
        """Say another status of the values there are; without `source` their times stay."""
        self.status[rows] = status
        if source is not None:
            self.source[rows] = source
        self.serial[rows] += 1
        self.known[rows] &= self.status[rows] >> BAD != 2
        known = self.known[rows] & (self.kinds[rows] != STRING)
        for kind in np.unique(self.kinds[rows[known]]).tolist():
            of_kind = rows[known & (self.kinds[rows] == kind)]
            self._lay_tail(of_kind, 2 + TYPES[kind].itemsize)
        self._lay_empty(rows[~self.known[rows]])
        self._touched.append(rows)

    def put_nothing(self, rows: Rows, status: Statuses, source: Times) -> None:
        """Say that there is no value, and why."""
        self.known[rows] = False
        self.numbers[rows] = np.nan
        self.put_status(rows, status, source)

    def commit(self, server: int) -> Rows:
        """Make what was put count: stamp it with the server's time, and tell the listeners which rows it was.

        Raises:
            Exception: the first that a listener raised, when all have been told.
        """
        if not self._touched:
            return np.zeros(0, np.int64)
        rows = np.unique(np.concatenate(self._touched)) if len(self._touched) > 1 else self._touched[0]
        self._touched.clear()
        self.server[rows] = server
        self._stamp(rows)
        failed: list[Exception] = []
        for tell in self.listeners:
            try:
                tell(rows)
            except Exception as wrong:  # whatever it is, those behind are told, and then whoever commits
                failed.append(wrong)
        if failed:
            raise failed[0]
        return rows

    def data_value(self, row: int) -> bytes:
        """One row's DataValue with both times, as far as there are two."""
        is_text = self.kinds[row] == STRING and self.known[row]
        if self.source[row] == 0:
            value = self.texts[row] if is_text else self.encoded[row, 1 : self.sizes[row] - AFTER].tobytes()
            return data_value(value or None, int(self.status[row]), 0, int(self.server[row]))
        if is_text:
            return bytes((ALL,)) + self.texts[row] + self._tail(row)
        return self.encoded[row, : self.sizes[row]].tobytes()

    def stamped(self, rows: Rows, stamps: "NDArray[np.uint8] | int") -> "tuple[NDArray[np.uint8], NDArray[np.uint8]]":
        """DataValues of rows of numbers with the times that are asked for and are there: (k, WIDTH) bytes, and how many count.

        Args:
            stamps: TimestampsToReturn, one for all or (k,).
        """
        laid, sizes = self.encoded[rows], self.sizes[rows]
        wanted = np.where(self.source[rows] == 0, _UNDATED[stamps], np.uint8(stamps) if isinstance(stamps, int) else stamps)
        for kind, mask, less in ((SOURCE, 0x08, 8), (SERVER, 0x04, 8), (NEITHER, 0x0C, 16)):
            which = np.flatnonzero(wanted == kind)
            if not len(which):
                continue
            if kind == SERVER:  # it gets where the other was
                column = sizes[which].astype(np.int64)[:, None] + np.arange(-8, 0)
                laid[which[:, None], column - 8] = laid[which[:, None], column]
            laid[which, 0] &= np.uint8(0xFF ^ mask)
            sizes[which] -= np.uint8(less)
        return laid, sizes

    def _tail(self, row: int) -> bytes:
        return b"".join((self.status[row].tobytes(), self.source[row].tobytes(), self.server[row].tobytes()))

    def _lay(self, rows: Rows, kind: int, values: "NDArray[Any]") -> None:
        size = TYPES[kind].itemsize
        encoded = self.encoded
        encoded[rows, 0], encoded[rows, 1] = ALL, kind
        raw = np.ascontiguousarray(values.astype(TYPES[kind]))
        encoded[rows, 2 : 2 + size] = raw.view(np.uint8).reshape(-1, size)
        self.bits[rows] = _bits(raw)
        self.sizes[rows] = 2 + size + AFTER
        self._lay_tail(rows, 2 + size)

    def _lay_empty(self, rows: Rows) -> None:
        self.encoded[rows, 0] = NO_VALUE
        self.sizes[rows] = 1 + AFTER
        self._lay_tail(rows, 1)

    def _lay_tail(self, rows: Rows, at: int) -> None:
        self.encoded[rows, at : at + 4] = _octets(self.status[rows], 4)
        self.encoded[rows, at + 4 : at + 12] = _octets(self.source[rows], 8)

    def _stamp(self, rows: Rows) -> None:
        stamped = _octets(self.server[rows], 8)
        at = self.sizes[rows].astype(np.int64) - 8
        for place in np.unique(at).tolist():
            here = at == place
            self.encoded[rows[here], place : place + 8] = stamped[here]


def _bits(raw: "NDArray[Any]") -> "NDArray[np.uint64]":
    if raw.dtype.kind != "f":
        return raw.view(f"<u{raw.dtype.itemsize}").astype(np.uint64)
    found = (raw + 0).view(f"<u{raw.dtype.itemsize}").astype(np.uint64)
    found[np.isnan(raw)] = UNKNOWN - 1
    return found


def _octets(numbers: "NDArray[Any]", size: int) -> "NDArray[np.uint8]":
    return np.ascontiguousarray(numbers).view(np.uint8).reshape(-1, size)


def put_each(plane: Plane, each: Iterable[tuple[int, Any, int, int]], whole_as: type[np.integer[Any]] = np.int64) -> None:
    """Put rows as they come from the Feed: row, value, status, source time.

    Args:
        whole_as: what holds them when all are whole numbers.
    """
    rows: list[int] = []
    values: list[Any] = []
    statuses: list[int] = []
    sources: list[int] = []
    whole = True
    for row, value, status, source in each:
        if isinstance(value, str):
            plane.put_text(row, value, status, source)
            continue
        whole = whole and not isinstance(value, float)
        rows.append(row)
        values.append(value)
        statuses.append(status)
        sources.append(source)
    if rows:
        found = np.array(values, whole_as if whole else np.float64)
        plane.put(np.array(rows), found, np.array(statuses, np.uint32), np.array(sources, np.int64))
