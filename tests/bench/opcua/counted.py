"""What a Publish or a Read response holds, counted exactly and without an object for each value.

Fast where all values are Doubles laid out alike: one mask and one type at each stride prove that they tile the bytes. Anything else
is walked value by value, arrays and structures by asyncua's decoder.
"""

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import struct_from_binary

VALUE, STATUS, SOURCE, SERVER, SOURCE_PICO, SERVER_PICO = 1, 2, 4, 8, 16, 32
REST = (
    (STATUS, "status", "<u4"),
    (SOURCE, "source", "<i8"),
    (SOURCE_PICO, "p", "<u2"),
    (SERVER, "server", "<i8"),
    (SERVER_PICO, "q", "<u2"),
)
DOUBLE = 11
SIZES = {0: 0, 1: 1, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 4, 8: 8, 9: 8, 10: 4, 11: 8, 13: 8, 19: 4}
"""Bytes of a scalar by its built-in type."""
EPOCH = 116_444_736_000_000_000
"""Ticks of 100 ns from 1601 to 1970."""
RESPONSE_PUBLISH, RESPONSE_READ, CHANGES = 829, 634, 811


class Malformed(ValueError):
    """What came is not what the standard says it is."""


@dataclass(frozen=True, slots=True)
class Values:
    """(n,) each: handles (0 where there are none), values (NaN for what is no Double), status codes, source times in ticks or 0."""

    handles: Any
    values: Any
    status: Any
    source: Any


@dataclass(frozen=True, slots=True)
class Published:
    """A Publish response. `sequence` is 0 where it is a keep-alive."""

    subscription: int
    sequence: int
    more: bool
    changes: tuple[Values, ...]


def _layout(mask: int, lead: int) -> np.dtype[Any]:
    fields: list[tuple[str, str]] = [("handle", "<u4")] if lead else []
    fields += [("mask", "u1"), ("type", "u1"), ("value", "<f8")]
    return np.dtype(fields + [(name, kind) for bit, name, kind in REST if mask & bit])


LAYOUTS = {(mask, lead): _layout(mask, lead) for mask in range(1, 64, 2) for lead in (0, 4)}


def values(body: bytes, at: int, count: int, lead: int) -> tuple[Values, int]:
    """`count` DataValues from `at`, each after `lead` bytes of handle, and where they end.

    Raises:
        Malformed: they do not fit.
    """
    shape = LAYOUTS.get((body[at + lead], lead)) if count and at + lead + 1 < len(body) else None
    if shape is not None and body[at + lead + 1] == DOUBLE and at + count * shape.itemsize <= len(body):
        found = np.frombuffer(body, shape, count, at)
        if (found["mask"] == found["mask"][0]).all() and (found["type"] == DOUBLE).all():
            nothing = np.zeros(count, np.int64)
            names = shape.names or ()
            parts = [found[name] if name in names else nothing for name in ("handle", "value", "status", "source")]
            return Values(*parts), at + count * shape.itemsize
    return _walked(body, at, count, lead)


def _walked(body: bytes, at: int, count: int, lead: int) -> tuple[Values, int]:
    rows = []
    try:
        for _ in range(count):
            row, at = _one(body, at, lead)
            rows.append(row)
    except (struct.error, IndexError) as short:
        raise Malformed(f"{count} values do not fit into {len(body)} bytes") from short
    columns = zip(*rows, strict=True) if rows else ((), (), (), ())
    kinds = (np.int64, np.float64, np.int64, np.int64)
    return Values(*(np.array(column, kind) for column, kind in zip(columns, kinds, strict=True))), at


def _one(body: bytes, at: int, lead: int) -> tuple[tuple[int, float, int, int], int]:
    handle = struct.unpack_from("<I", body, at)[0] if lead else 0
    at += lead
    mask, begin = body[at], at
    at += 1
    value = np.nan
    if mask & VALUE:
        kind = body[at]
        if kind not in SIZES:
            return _decoded(body, begin, handle)
        if kind == DOUBLE:
            (value,) = struct.unpack_from("<d", body, at + 1)
        at += 1 + SIZES[kind]
    told = {"status": 0, "source": 0}
    for bit, name, form in REST:
        if mask & bit:
            form = form.replace("u4", "I").replace("i8", "q").replace("u2", "H")
            (told[name],) = struct.unpack_from(form, body, at)
            at += struct.calcsize(form)
    return (handle, value, told["status"], told["source"]), at


def _decoded(body: bytes, at: int, handle: int) -> tuple[tuple[int, float, int, int], int]:
    buffer = Buffer(body, at)
    read = struct_from_binary(ua.DataValue, buffer)
    return (handle, np.nan, read.StatusCode.value if read.StatusCode else 0, 0), buffer.cur_pos


def header(body: bytes) -> tuple[int, int, int]:
    """Of a response: the number of its type (namespace 0), its ServiceResult, and where its parameters begin."""
    kind, at = _kind(body, 0)
    (result,) = struct.unpack_from("<I", body, at + 12)
    at += 16
    if body[at] != 0:
        raise Malformed("a response with diagnostics that nobody asked for")
    at = _strings(body, at + 1)
    _, at = _kind(body, at)
    if body[at]:
        at += 4 + max(0, struct.unpack_from("<i", body, at + 1)[0])
    return kind, result, at + 1


def _kind(body: bytes, at: int) -> tuple[int, int]:
    if body[at] == 0:
        return body[at + 1], at + 2
    if body[at] == 1:
        return struct.unpack_from("<H", body, at + 2)[0], at + 4
    if body[at] == 2:
        return struct.unpack_from("<I", body, at + 3)[0], at + 7
    raise Malformed(f"a type's NodeId begins with {body[at]}")


def _strings(body: bytes, at: int) -> int:
    (count,) = struct.unpack_from("<i", body, at)
    at += 4
    for _ in range(max(0, count)):
        at += 4 + max(0, struct.unpack_from("<i", body, at)[0])
    return at


def _end(body: bytes, at: int, what: str) -> int:
    """Past an array of DiagnosticInfos, which must be empty."""
    (count,) = struct.unpack_from("<i", body, at)
    if count > 0 and any(body[at + 4 : at + 4 + count]):
        raise Malformed(f"{what} with diagnostics that nobody asked for")
    return at + 4 + max(0, count)


def published(body: bytes, at: int) -> Published:
    """A Publish response's parameters.

    Raises:
        Malformed: not all bytes are accounted for.
    """
    subscription, available = struct.unpack_from("<Ii", body, at)
    at += 8 + 4 * max(0, available)
    more, sequence = body[at] != 0, struct.unpack_from("<I", body, at + 1)[0]
    (count,) = struct.unpack_from("<i", body, at + 13)
    at += 17
    found = []
    for _ in range(max(0, count)):
        kind, at = _kind(body, at)
        (size,) = struct.unpack_from("<i", body, at + 1)
        at += 5
        if kind == CHANGES:
            (items,) = struct.unpack_from("<i", body, at)
            told, end = values(body, at + 4, max(0, items), 4)
            if _end(body, end, "a DataChangeNotification") != at + size:
                raise Malformed(f"a DataChangeNotification of {size} bytes holds something else than {items} items")
            found.append(told)
        at += size
    (results,) = struct.unpack_from("<i", body, at)
    if _end(body, at + 4 + 4 * max(0, results), "a Publish response") != len(body):
        raise Malformed("a Publish response goes on after its end")
    return Published(subscription, sequence if found else 0, more, tuple(found))


def read(body: bytes, at: int) -> Values:
    """A Read response's values.

    Raises:
        Malformed: not all bytes are accounted for.
    """
    (count,) = struct.unpack_from("<i", body, at)
    told, end = values(body, at + 4, max(0, count), 0)
    if _end(body, end, "a Read response") != len(body):
        raise Malformed("a Read response goes on after its end")
    return told
