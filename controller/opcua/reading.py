"""The Read service (Part 4 §5.10.2): values are gathered from the plane by row, and nothing is made for each of them.

A client reads the same nodes again and again: what a request's bytes come to is kept, and the second time only looked up.
"""

import struct
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from asyncua.common.utils import ServiceError
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.status_codes import StatusCodes
from numpy.typing import NDArray

from controller.opcua.asked import Asked, Handle
from controller.opcua.attributes import INVALID, UNKNOWN, VALUE, attribute, executable, refused
from controller.opcua.encoding import NULL_NODE, data_value, ticks, variant
from controller.opcua.listed import Encoding, Item, items
from controller.opcua.nodes.store import NO_NODE, VARIABLE, Nodes
from controller.opcua.plane import STRING, WIDTH, Plane, Rows
from controller.opcua.ranges import Bounds, parse, part
from controller.opcua.roles import TABLE, May, Rule
from controller.opcua.sessions import Session
from controller.opcua.slices import Work, sliced
from controller.users import Role
from twin.clock import utc_ns

SOURCE, SERVER, BOTH, NEITHER = range(4)
"""TimestampsToReturn."""
MOST_PLANS: Final = 256
MOST_PLAN_BYTES: Final = 4 << 20
OTHER_BYTES: Final = 450
"""What a plan keeps for each result that is in no row of numbers."""
SLICE: Final = 20_000
"""Bytes of values that are made or cut before others get their turn."""
MAKING: Final = 200
"""What making a value costs besides its bytes, in bytes."""
MOST_RESPONSE: Final = 16 << 20
NULL_VARIANT: Final = b"\x00"
_NO_DIAGNOSTICS: Final = b"\x00\x00\x00\x00"
_COLUMNS: Final = np.arange(WIDTH, dtype=np.uint8)
_KEPT: Final = (0x07, 0x0B, 0x0F, 0x03)
"""What is left of a DataValue's mask, by TimestampsToReturn."""
_BINARY: Final = (0, b"Default Binary")
_OTHERS: Final = ((0, b"Default XML"), (0, b"Default JSON"))
_STRUCTURE: Final = 22


@dataclass(slots=True)
class _Asking:
    """One request for values.

    Attributes:
        now: DateTime.
        made: values that were made for it, by node: one that is asked for twice is made once.
        cost: of what was made and cut, in bytes.
    """

    session: Session
    now: int
    made: dict[int, bytes] = field(default_factory=dict)
    cost: int = 0


Piece = Callable[[_Asking], bytes]
"""A result that is in no row of numbers."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """What a list of nodes comes to: rows of numbers, and what stands between them.

    Attributes:
        count: how many nodes there are.
        others: each with how many rows come before it.
        size: about how many bytes it keeps.
    """

    count: int
    rows: Rows
    others: tuple[tuple[int, Piece], ...]
    size: int


class Reading:
    """Reads attributes of nodes.

    Attributes:
        hindrances: what tells why a Method cannot be called now, by node, for those where that changes; nothing: it can be.
    """

    def __init__(self, nodes: Nodes, plane: Plane) -> None:
        self._nodes, self._plane = nodes, plane
        self._plans: OrderedDict[tuple[bytes, int, Role], _Plan] = OrderedDict()
        self._known: dict[Role, dict[bytes, int]] = {}
        self._bytes, self._changes = 0, nodes.changes
        self._born = ticks(utc_ns())
        self.hindrances: dict[int, Callable[[], str]] = {}

    def services(self) -> dict[str, Handle]:
        """What is served."""
        return {"Read": self.read}

    def read(self, asked: Asked) -> bytes | None:
        """Results and no diagnostics; later where making them takes long.

        Raises:
            ServiceError: BadDecodingError, BadMaxAgeInvalid, BadTimestampsToReturnInvalid, BadNothingToDo, BadTooManyOperations,
                BadResponseTooLarge.
        """
        content, at = asked.content, asked.at
        try:
            max_age, stamps = struct.unpack_from("<di", content, at)
        except struct.error as short:
            raise ServiceError(StatusCodes.BadDecodingError) from short
        if not max_age >= 0.0:  # what lies in the plane is as fresh as can be had, so any age that is one is met
            raise ServiceError(StatusCodes.BadMaxAgeInvalid)
        if not SOURCE <= stamps <= NEITHER:
            raise ServiceError(StatusCodes.BadTimestampsToReturnInvalid)
        session = asked.session
        plan = self._planned(content[at + 12 :], stamps, session.role)
        limit = min(session.max_response or MOST_RESPONSE, MOST_RESPONSE)
        if not plan.others:
            return b"".join((struct.pack("<i", plan.count), self._gathered(plan.rows, stamps)[0], _NO_DIAGNOSTICS))
        return sliced(asked, self._results(plan, session, stamps, limit))

    def read_value(self, session: Session, node: int, wanted: int = VALUE, bounds: tuple[Bounds, ...] | None = None) -> bytes:
        """One attribute as an encoded DataValue with both times, or with the status that says why not."""
        row = self._row(session.role, node, wanted)
        if row is not None and not bounds and self._plane.kinds[row] != STRING:
            return self._plane.data_value(row)
        return self._piece(node, wanted, bounds, BOTH, session.role)(_Asking(session, ticks(utc_ns())))

    # ---- what a request's bytes come to

    def _planned(self, listed: bytes, stamps: int, role: Role) -> _Plan:
        if self._changes != self._nodes.changes:
            self._plans.clear()
            self._known.clear()
            self._bytes, self._changes = 0, self._nodes.changes
        key = listed, stamps, role
        plan = self._plans.get(key)
        if plan is not None:
            self._plans.move_to_end(key)
            return plan
        plan = self._plans[key] = self._plan(listed, stamps, role)
        self._bytes += plan.size
        while len(self._plans) > MOST_PLANS or self._bytes > MOST_PLAN_BYTES:
            self._bytes -= self._plans.popitem(last=False)[1].size
        return plan

    def _plan(self, listed: bytes, stamps: int, role: Role) -> _Plan:
        rows: list[int] = []
        others: list[tuple[int, Piece]] = []
        find, kinds = self._nodes.find, self._plane.kinds.tobytes()
        known = self._known.setdefault(role, {})
        for item in items(listed):
            key, wanted, text, encoding = item
            is_plain = wanted == VALUE and not text and encoding is None
            if is_plain and key in known:
                rows.append(known[key])
                continue
            found = find(key)
            row = self._row(role, found, wanted) if is_plain else None
            if row is not None and kinds[row] != STRING:
                known[key] = row
                rows.append(row)
            else:
                others.append((len(rows), self._item(found, item, stamps, role)))
        size = len(listed) + 8 * len(rows) + OTHER_BYTES * len(others)
        return _Plan(len(rows) + len(others), np.array(rows, np.int64), tuple(others), size)

    def _row(self, role: Role, node: int, wanted: int) -> int | None:
        """The row that a Value is in, where this role reads it."""
        if wanted != VALUE or node == NO_NODE or node in self._nodes.reads or self._nodes.rules[node] == Rule.SECURITY:
            return None
        row = self._nodes.rows.get(node)
        return row if row is not None and not refused(self._nodes, node, wanted, role) else None

    def _item(self, node: int, item: Item, stamps: int, role: Role) -> Piece:
        key, wanted, text, encoding = item
        try:
            if node == NO_NODE:
                return _status(StatusCodes.BadNodeIdInvalid if key in (b"", NULL_NODE) else UNKNOWN)
            if not (code := refused(self._nodes, node, wanted, role)) and encoding is not None:
                code = self._encoding(node, wanted, encoding)
            return _status(code) if code else self._piece(node, wanted, _bounds(text), stamps, role)
        except ServiceError as wrong:
            return _status(wrong.code)

    def _encoding(self, node: int, wanted: int, encoding: Encoding) -> int:
        """Why a DataEncoding can't be had; 0 where it can. Only structures have one."""
        value = self._nodes.attributes[node].get(VALUE, NULL_VARIANT)
        structured = node in self._nodes.reads or value[0] & 0x3F == _STRUCTURE
        if wanted != VALUE or not structured or encoding not in (_BINARY, *_OTHERS):
            return StatusCodes.BadDataEncodingInvalid
        return 0 if encoding == _BINARY else StatusCodes.BadDataEncodingUnsupported

    # ---- results that are in no row of numbers

    def _piece(self, node: int, wanted: int, bounds: tuple[Bounds, ...] | None, stamps: int, role: Role) -> Piece:
        """What gives an attribute of a node.

        Raises:
            ServiceError: the range has nothing there.
        """
        if code := refused(self._nodes, node, wanted, role):
            return _status(code)
        if wanted == VALUE and self._nodes.classes[node] == VARIABLE:
            value = self._value(node, bounds, stamps)
            return _not_overheard(value) if self._nodes.rules[node] == Rule.SECURITY else value
        if node in self.hindrances and wanted in (AttributeIds.Executable, AttributeIds.UserExecutable):
            return self._executable(node, wanted, bounds, role, stamps)
        made = attribute(self._nodes, node, wanted, role)
        if made is None:
            return _status(INVALID)
        return _stamped(part(made, bounds) if bounds else made, stamps)

    def _executable(self, node: int, wanted: int, bounds: tuple[Bounds, ...] | None, role: Role, stamps: int) -> Piece:
        if bounds:
            return _status(StatusCodes.BadIndexRangeNoData)
        granted = wanted == AttributeIds.Executable or bool(TABLE[self._nodes.rules[node]][role - 1] & May.CALL)
        allowed, hindered = granted and executable(self._nodes, node), self.hindrances[node]
        is_stamped = stamps in (SERVER, BOTH)
        return lambda asking: data_value(variant(allowed and not hindered()), server=asking.now if is_stamped else 0)

    def _value(self, node: int, bounds: tuple[Bounds, ...] | None, stamps: int) -> Piece:
        read, row, plane = self._nodes.reads.get(node), self._nodes.rows.get(node), self._plane
        if read is not None:
            make = read

            def fresh(asking: _Asking) -> bytes:
                made = asking.made.get(node)
                if made is None:
                    made = asking.made[node] = make(asking.session)
                    asking.cost += MAKING + len(made)
                return _cut_out(asking, made, stamps, bounds)

            return fresh
        if row is not None:
            return lambda asking: _cut_out(asking, plane.data_value(row), stamps, bounds)
        attributes = self._nodes.attributes

        def constant(asking: _Asking) -> bytes:
            made = attributes[node].get(VALUE, NULL_VARIANT)
            return _cut_out(asking, data_value(made, 0, self._born, asking.now), stamps, bounds)

        return constant

    # ---- results

    def _results(self, plan: _Plan, session: Session, stamps: int, limit: int) -> Work:
        """The answer, where not all of it is in rows of numbers.

        Raises:
            ServiceError: BadResponseTooLarge.
        """
        numbers, ends = self._gathered(plan.rows, stamps) if len(plan.rows) else (b"", np.zeros(0, np.int64))
        size, done, found, asking = len(numbers), 0, [struct.pack("<i", plan.count)], _Asking(session, ticks(utc_ns()))
        for before, piece in plan.others:
            end = int(ends[before - 1]) if before else 0
            if end > done:
                found.append(numbers[done:end])
                done = end
            if asking.cost > SLICE:
                asking.cost = 0
                yield
            one = piece(asking)
            size += len(one)
            if size > limit:
                raise ServiceError(StatusCodes.BadResponseTooLarge)
            found.append(one)
        return b"".join((*found, numbers[done:], _NO_DIAGNOSTICS))

    def _gathered(self, rows: Rows, stamps: int) -> tuple[bytes, NDArray[np.int64]]:
        """The DataValues of some rows of numbers, and where each ends."""
        if not self._plane.source[rows].all():
            block, sizes = self._plane.stamped(rows, stamps)
            return block[sizes[:, None] > _COLUMNS].tobytes(), np.cumsum(sizes, dtype=np.int64)
        block, sizes = self._plane.encoded[rows], self._plane.sizes[rows]
        if stamps != BOTH:
            block[:, 0] &= _KEPT[stamps]
        size = int(sizes[0])
        if (sizes == size).all():
            made = _cut(block, size, stamps)
            return made.tobytes(), np.arange(1, len(rows) + 1) * made.shape[1]
        sizes = sizes[:, None]
        match stamps:
            case 2:  # BOTH
                kept = sizes > _COLUMNS
            case 3:  # NEITHER
                kept = sizes - np.uint8(16) > _COLUMNS
            case 0:  # SOURCE
                kept = sizes - np.uint8(8) > _COLUMNS
            case _:
                kept = (sizes - np.uint8(16) > _COLUMNS) | ((sizes - np.uint8(8) <= _COLUMNS) & (sizes > _COLUMNS))
        return block[kept].tobytes(), np.cumsum(kept.sum(axis=1))


def _not_overheard(piece: Piece) -> Piece:
    """A result that is told over an encrypted channel alone."""
    refused_with = _status(StatusCodes.BadSecurityModeInsufficient)
    return lambda asking: (refused_with if asking.session.overheard else piece)(asking)


def _cut(block: NDArray[np.uint8], size: int, stamps: int) -> NDArray[np.uint8]:
    """DataValues of one size without the times that nobody wants."""
    match stamps:
        case 2:  # BOTH
            return block[:, :size]
        case 3:  # NEITHER
            return block[:, : size - 16]
        case 0:  # SOURCE
            return block[:, : size - 8]
        case _:
            return np.concatenate((block[:, : size - 16], block[:, size - 8 : size]), axis=1)


def _fixed(made: bytes) -> Piece:
    return lambda _asking: made


def _stamped(made: bytes, stamps: int) -> Piece:
    """An attribute other than a Value: it has no source, and is the server's own at the moment it is told (Part 4 §7.11)."""
    if stamps not in (SERVER, BOTH):
        return _fixed(data_value(made))
    return lambda asking: data_value(made, server=asking.now)


def _cut_out(asking: _Asking, made: bytes, stamps: int, bounds: tuple[Bounds, ...] | None) -> bytes:
    """What is wanted of a DataValue; to cut a part out, all of it is looked at."""
    if bounds:
        asking.cost += len(made)
    return reshaped(made, stamps, bounds)


def _status(code: int) -> Piece:
    return _fixed(data_value(None, code))


def _bounds(text: bytes) -> tuple[Bounds, ...] | None:
    """Of a range's text; None for the whole.

    Raises:
        ServiceError: BadIndexRangeInvalid.
    """
    return parse(text.decode("ascii", "replace")) if text else None


def reshaped(made: bytes, stamps: int, bounds: tuple[Bounds, ...] | None) -> bytes:
    """An encoded DataValue with the times and the part of its value that are wanted. Picoseconds are dropped."""
    mask, at = made[0], len(made)
    cuts: dict[int, bytes] = {}
    for bit, size in ((0x20, 2), (0x08, 8), (0x10, 2), (0x04, 8), (0x02, 4)):  # from the end: the value's own size is not told
        if mask & bit:
            cuts[bit] = made[at - size : at]
            at -= size
    value = made[1:at]
    if bounds and mask & 1:
        try:
            value = part(value, bounds)
        except ServiceError as wrong:
            return data_value(None, wrong.code)
    mask &= _KEPT[stamps]
    return b"".join((bytes((mask,)), value, *(cuts[bit] for bit in (0x02, 0x04, 0x08) if mask & bit)))
