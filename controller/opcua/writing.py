"""The Write service (Part 4 §5.10.4): what is declared writable is asked of the core, and answered when the core has judged it.

A value is taken as it is or not at all: a scalar of exactly the type, finite, within its EURange, with no other status or time than
the server gives it. Nothing else of any node is ever written.
"""

import asyncio
import math
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from asyncua import ua
from asyncua.common.utils import ServiceError
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.status_codes import StatusCodes

from controller.opcua.asked import MOST_WRITES, Asked, Handle
from controller.opcua.attributes import CLASSES, CURRENT_WRITE, UNKNOWN, access_level
from controller.opcua.calling import BROKEN, NOT_BEGUN, UNSURE
from controller.opcua.diagnosis import infos
from controller.opcua.encoding import NULL_NODE, key_of
from controller.opcua.nodes.store import NO_NODE, Nodes
from controller.opcua.ranges import parse
from controller.opcua.reading import Reading
from controller.opcua.roles import May
from controller.opcua.sessions import Session
from controller.opcua.slices import Turn

Limits = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one write."""

    status: int
    text: str = ""


GOOD = Outcome(0)
SLICE = 50
"""Values that are judged before others get their turn."""
Set = Callable[[Session, Any], Awaitable[Outcome]]
"""Asks for a value, once, and tells what became of it."""


@dataclass(frozen=True, slots=True)
class Writable:
    """A Variable that can be written.

    Attributes:
        kind: built-in type.
        limits: lowest and highest value, or None.
    """

    kind: int
    limits: Limits | None
    set: Set


@dataclass(frozen=True, slots=True)
class Wrote:
    """A write that somebody asked for, and what became of it: for the audit.

    Attributes:
        key: of the node, as it was asked for.
        old: what was there before, an encoded DataValue; empty where that is not told.
    """

    session: Session
    audit: str
    key: bytes
    attribute: int
    range: str
    new: ua.Variant
    old: bytes
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class _Pending:
    """A write that may be asked for."""

    writable: Writable
    value: Any


class Writing:
    """Writes what is registered.

    Attributes:
        wrote: told of every write that was asked for, when it is judged.
    """

    def __init__(self, nodes: Nodes, reading: Reading) -> None:
        self._nodes, self._reading = nodes, reading
        self._writable: dict[int, Writable] = {}
        self.wrote: list[Callable[[Wrote], None]] = []

    def services(self) -> dict[str, Handle]:
        """What is served."""
        return {"Write": self.write}

    def register(self, node: int, writable: Writable) -> None:
        """Let a Variable be written; its AccessLevel says so, too."""
        self._writable[node] = writable

    def write(self, asked: Asked) -> bytes | None:
        """Results in order; several are asked for one after the other.

        Raises:
            ServiceError: BadDecodingError, BadNothingToDo, BadTooManyOperations.
        """
        wanted = asked.operations(ua.WriteParameters, "NodesToWrite", MOST_WRITES)
        if len(wanted) <= SLICE:
            judged = [self._judge(asked.session, one) for one in wanted]
            if not any(isinstance(one, _Pending) for one in judged):
                return self._told(asked, wanted, [self._done(asked, w, j) for w, j in zip(wanted, judged, strict=True)])
        asked.later(self._write(asked, wanted), lambda: self._unbegun(asked, wanted))
        return None

    async def _write(self, asked: Asked, wanted: list[Any]) -> bytes:
        """Each is judged when its turn comes: rights and limits may have changed while those before it were waited for."""
        done: list[Outcome] = []
        for at, one in enumerate(wanted, 1):
            try:
                done.append(await self._one(asked, one))
            except BaseException:
                self._unbegun(asked, wanted[at:])
                raise
            if not at % SLICE:
                await self._turn(asked, wanted[at:])
        return self._told(asked, wanted, done)

    async def _turn(self, asked: Asked, left: list[Any]) -> None:
        try:
            await Turn()
        except asyncio.CancelledError:
            self._unbegun(asked, left)
            raise

    async def _one(self, asked: Asked, one: Any) -> Outcome:
        verdict = self._judge(asked.session, one) if asked.stands else Outcome(StatusCodes.BadUserAccessDenied)
        if not isinstance(verdict, _Pending):
            return self._done(asked, one, verdict)
        old = self._old(asked.session, one)
        return self._done(asked, one, await self._set(asked, one, verdict, old), old)

    async def _set(self, asked: Asked, one: Any, wanted: _Pending, old: bytes) -> Outcome:
        try:
            return await wanted.writable.set(asked.session, wanted.value)
        except asyncio.CancelledError:
            self._done(asked, one, Outcome(StatusCodes.BadTimeout, UNSURE), old)
            raise
        except BaseException:
            self._done(asked, one, Outcome(StatusCodes.BadInternalError, BROKEN), old)
            raise

    def _unbegun(self, asked: Asked, left: list[Any]) -> None:
        """Tell of those whose turn never came."""
        for one in left:
            self._done(asked, one, Outcome(StatusCodes.BadOperationAbandoned, NOT_BEGUN))

    def _done(self, asked: Asked, one: Any, outcome: Any, old: bytes = b"") -> Outcome:
        for tell in self.wrote:
            key, value = key_of(one.NodeId), one.Value.Value or ua.Variant()
            tell(Wrote(asked.session, asked.audit, key, one.AttributeId, one.IndexRange or "", value, old, outcome))
        found: Outcome = outcome
        return found

    def _told(self, asked: Asked, wanted: list[Any], done: list[Outcome]) -> bytes:
        statuses = struct.pack(f"<i{len(wanted)}I", len(wanted), *(outcome.status for outcome in done))
        return statuses + infos([outcome.text for outcome in done], asked.diagnostics)

    def _old(self, session: Session, one: Any) -> bytes:
        return self._reading.read_value(session, self._nodes.find(key_of(one.NodeId)))

    # ---- judging

    def _judge(self, session: Session, one: Any) -> Outcome | _Pending:
        """Why a write is not asked for; or what is."""
        key = key_of(one.NodeId)
        node = self._nodes.find(key)
        if node == NO_NODE:
            return Outcome(StatusCodes.BadNodeIdInvalid if key == NULL_NODE else UNKNOWN)
        rule = self._nodes.rules[node]
        if not session.may(rule, May.BROWSE):
            return Outcome(UNKNOWN)
        if not CLASSES.get(one.AttributeId, 0) & self._nodes.classes[node]:
            return Outcome(StatusCodes.BadAttributeIdInvalid)
        writable = self._writable.get(node)
        if one.AttributeId != AttributeIds.Value or writable is None or not access_level(self._nodes, node) & CURRENT_WRITE:
            return Outcome(StatusCodes.BadNotWritable)
        if not session.may(rule, May.WRITE):
            return Outcome(StatusCodes.BadUserAccessDenied)
        return _fit(writable, one)


def _fit(writable: Writable, one: Any) -> Outcome | _Pending:
    """Whether a value is one that the Variable can take."""
    if one.IndexRange:
        try:
            parse(one.IndexRange)
        except ServiceError as wrong:
            return Outcome(wrong.code)
        return Outcome(StatusCodes.BadWriteNotSupported, "part of a value cannot be written")
    given = one.Value
    if given.SourceTimestamp or given.ServerTimestamp or (given.StatusCode and given.StatusCode.value):
        return Outcome(StatusCodes.BadWriteNotSupported, "status and times are the server's own: write the value without them")
    value = given.Value
    scalar = value is not None and not value.is_array and value.Dimensions is None
    if not scalar or value.VariantType.value != writable.kind or value.Value is None:
        return Outcome(StatusCodes.BadTypeMismatch, f"it must be one {ua.VariantType(writable.kind).name}")
    if why := _beyond(value.Value, writable.limits):
        return Outcome(StatusCodes.BadOutOfRange, why)
    return _Pending(writable, value.Value)


def _beyond(value: Any, limits: Limits | None) -> str:
    """Why a number is none that a machine is asked for; empty where it is one."""
    if isinstance(value, (bool, str)) or not isinstance(value, (int, float)):
        return ""
    if isinstance(value, float) and (not math.isfinite(value) or (value == 0.0 and math.copysign(1.0, value) < 0.0)):
        return f"{value} is no number that a machine can be set to"
    if limits is not None and not limits[0] <= value <= limits[1]:
        return f"{value:g} is outside {limits[0]:g} to {limits[1]:g}"
    return ""
