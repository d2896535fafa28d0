"""The service HistoryRead (Part 4 §5.11.3, Part 11 §6.5): raw, modified, at a time, processed. It changes nothing."""

import asyncio
import secrets
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import msgspec
from asyncua.common.utils import ServiceError
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.status_codes import StatusCodes

from controller.opcua.asked import Asked, Handle, few
from controller.opcua.encoding import TICKS_1970, node_key, octets, read_key
from controller.opcua.historic.aggregates import BY_NUMBER
from controller.opcua.historic.questions import (
    FOREVER,
    MOST_BYTES,
    MOST_VALUES,
    Answer,
    At,
    Processed,
    Question,
    Raw,
    Stamps,
)
from controller.opcua.nodes.store import NO_NODE, VARIABLE, Nodes
from controller.opcua.roles import May
from controller.opcua.sessions import Session

MOST_NODES = 100
"""How many nodes one request may name; told as MaxNodesPerHistoryReadData."""
MOST_TIMES = 100_000
"""How many values at a time one request may ask for, over all its nodes."""
MOST_POINTS = MOST_NODES
"""Continuation points of a session: each node of a request can have one; told as MaxHistoryContinuationPoints."""
MOST_WORK = 2
"""How many requests of a session gather answers at once; more of them wait."""
NO_BODY = b"\x00\x00\x00"
HISTORY_DATA = node_key(0, ObjectIds.HistoryData_Encoding_DefaultBinary)
MODIFIED_DATA = node_key(0, ObjectIds.HistoryModifiedData_Encoding_DefaultBinary)
_READS = ("ReadRawModified", "ReadAtTime", "ReadProcessed")
_RAW, _AT, _PROCESSED = (node_key(0, getattr(ObjectIds, f"{name}Details_Encoding_DefaultBinary")) for name in _READS)


class Asks(Protocol):
    """Whoever has History."""

    async def ask(self, question: Question) -> Answer:
        """The answer to a question; raises ServiceError where there is none."""
        ...

    def warm(self) -> None:
        """Somebody is there who may ask."""
        ...

    async def close(self) -> None:
        """Nobody asks any more."""
        ...


@dataclass(frozen=True, slots=True)
class Recorded:
    """A Variable that History keeps.

    Attributes:
        path: the Signal's.
        kind: built-in type that it is shown in.
        size: one of its declared unit in what History keeps.
    """

    path: str
    kind: int
    size: float


@dataclass(frozen=True, slots=True)
class _Wanted:
    """One entry of NodesToRead."""

    key: bytes
    index_range: str | None
    encoded: bool
    point: bytes


@dataclass(frozen=True, slots=True)
class _Details:
    """What is asked of every node: for each aggregate function its own, else one for all."""

    each: tuple[Raw | At | Processed, ...]
    modified: bool = False

    def of(self, i: int) -> Raw | At | Processed:
        return self.each[i] if len(self.each) > 1 else self.each[0]


class HistoryRead:
    """The service.

    Attributes:
        asks: whoever has History.
    """

    def __init__(self, nodes: Nodes, recorded: Mapping[int, Recorded], history: Asks) -> None:
        """`recorded`: by node number."""
        self._nodes = nodes
        self._recorded = recorded
        self.asks = history
        self._points: dict[Session, dict[bytes, Question]] = {}
        self._turns: dict[Session, asyncio.Semaphore] = {}
        self._number = 0

    def services(self) -> dict[str, Handle]:
        """Its services by name."""
        return {"HistoryRead": self.read}

    def read(self, asked: Asked) -> bytes | None:
        """Answers later, unless continuation points are only given back."""
        try:
            details, stamps, release, wanted = _request(asked)
        except (struct.error, IndexError, ValueError) as broken:
            raise ServiceError(StatusCodes.BadDecodingError) from broken
        if len(few(wanted)) > MOST_NODES:
            raise ServiceError(StatusCodes.BadTooManyOperations)
        points = self._points_of(asked.session)
        if release:
            known = [points.pop(one.point, None) is not None for one in wanted]
            invalid = _result(StatusCodes.BadContinuationPointInvalid)
            return _response([_result(0) if is_known else invalid for is_known in known])
        if details is None:
            raise ServiceError(StatusCodes.BadHistoryOperationInvalid)
        if len(details.each) > 1 and len(details.each) != len(wanted):
            raise ServiceError(StatusCodes.BadAggregateListMismatch)
        if sum(len(each.times_ns) * len(wanted) for each in details.each if isinstance(each, At)) > MOST_TIMES:
            raise ServiceError(StatusCodes.BadTooManyOperations)
        asked.later(self._answer(asked.session, details, stamps, wanted))
        return None

    async def _answer(self, session: Session, details: _Details, stamps: Stamps, wanted: list[_Wanted]) -> bytes:
        async with self._turns.setdefault(session, asyncio.Semaphore(MOST_WORK)):
            return await self._gathered(session, details, stamps, wanted)

    async def _gathered(self, session: Session, details: _Details, stamps: Stamps, wanted: list[_Wanted]) -> bytes:
        """The results. When there are MOST_BYTES of them, the other nodes get a continuation point, and no values yet."""
        results: list[bytes] = []
        for i, one in enumerate(wanted):
            try:
                question = self._question(session, details.of(i), stamps, one)
                if details.modified:
                    results.append(_result(StatusCodes.GoodNoData, b"", MODIFIED_DATA, struct.pack("<ii", 0, 0)))
                    continue
                if sum(map(len, results)) >= MOST_BYTES:
                    results.append(self._put_off(session, question))
                    continue
                answer = await self.asks.ask(question)
                results.append(self._told(session, question, answer))
            except ServiceError as refused:
                results.append(_result(refused.code))
        return _response(results)

    def _question(self, session: Session, details: Raw | At | Processed, stamps: Stamps, one: _Wanted) -> Question:
        number = self._nodes.find(one.key)
        if number == NO_NODE or not session.may(self._nodes.rules[number], May.BROWSE):
            raise ServiceError(StatusCodes.BadNodeIdUnknown)
        recorded = self._recorded.get(number)
        if recorded is None:
            is_variable = self._nodes.classes[number] == VARIABLE
            raise ServiceError(StatusCodes.BadHistoryOperationUnsupported if is_variable else StatusCodes.BadNodeIdInvalid)
        if not session.may(self._nodes.rules[number], May.READ_HISTORY):
            raise ServiceError(StatusCodes.BadUserAccessDenied)
        if one.point:
            kept = self._points_of(session).pop(one.point, None)
            if kept is None or kept.path != recorded.path:
                raise ServiceError(StatusCodes.BadContinuationPointInvalid)
            return kept
        if one.index_range:
            raise ServiceError(StatusCodes.BadIndexRangeNoData)
        if one.encoded:
            raise ServiceError(StatusCodes.BadDataEncodingUnsupported)
        self._number += 1
        return Question(self._number, recorded.path, recorded.kind, recorded.size, stamps, details)

    def _told(self, session: Session, question: Question, answer: Answer) -> bytes:
        point, details = b"", question.details
        if answer.next_ns is not None and not isinstance(details, At):
            if isinstance(details, Raw):
                details = msgspec.structs.replace(details, from_ns=answer.next_ns, skip=answer.skip)
            else:
                details = msgspec.structs.replace(details, start_ns=answer.next_ns)
            point = self._keep(session, msgspec.structs.replace(question, details=details))
        body = struct.pack("<i", answer.count) + answer.values
        return _result(answer.status, point, HISTORY_DATA, body)

    def _put_off(self, session: Session, question: Question) -> bytes:
        if isinstance(question.details, At):
            raise ServiceError(StatusCodes.BadTooManyOperations)
        return _result(0, self._keep(session, question), HISTORY_DATA, struct.pack("<i", 0))

    def _points_of(self, session: Session) -> dict[bytes, Question]:
        points = self._points.get(session)
        if points is None:
            points = self._points[session] = {}
            session.on_close.append(lambda: self._forget(session))
        return points

    def _forget(self, session: Session) -> None:
        self._points.pop(session, None)
        self._turns.pop(session, None)

    def _keep(self, session: Session, question: Question) -> bytes:
        """A continuation point; when there are too many, the oldest is gone."""
        points = self._points_of(session)
        if len(points) >= MOST_POINTS:
            del points[next(iter(points))]
        point = secrets.token_bytes(16)
        points[point] = question
        return point


# ---- bytes ------------------------------------------------------------------------------------------------------------


def _request(asked: Asked) -> tuple[_Details | None, Stamps, bool, list[_Wanted]]:
    content, at = asked.content, asked.at
    kind, at = read_key(content, at)
    encoding, at = content[at], at + 1
    body = b""
    if encoding:
        (size,) = struct.unpack_from("<i", content, at)
        if encoding != 1 or not 0 <= size <= len(content) - at - 4:
            raise ServiceError(StatusCodes.BadDecodingError)
        body, at = content[at + 4 : at + 4 + size], at + 4 + size
    stamps, release, count = struct.unpack_from("<i?i", content, at)
    at += 9
    wanted = []
    for _ in range(min(count, 2_001)):
        one, at = _wanted(content, at)
        wanted.append(one)
    if len(wanted) == max(count, 0):
        asked.end(at)
    if not release and stamps not in (Stamps.SOURCE, Stamps.SERVER, Stamps.BOTH):
        raise ServiceError(StatusCodes.BadTimestampsToReturnInvalid)
    return (None if release else _details(kind, body)), Stamps(stamps if not release else 0), release, wanted


def _wanted(content: bytes, at: int) -> tuple[_Wanted, int]:
    key, at = read_key(content, at)
    index_range, at = _octets(content, at)
    at += 2
    name, at = _octets(content, at)
    point, at = _octets(content, at)
    return _Wanted(key, index_range.decode() if index_range else None, bool(name), point or b""), at


def _octets(content: bytes, at: int) -> tuple[bytes | None, int]:
    (size,) = struct.unpack_from("<i", content, at)
    at += 4
    if size < 0:
        return None, at
    if size > len(content) - at:
        raise ServiceError(StatusCodes.BadDecodingError)
    return content[at : at + size], at + size


def _details(kind: bytes, body: bytes) -> _Details:
    read: Callable[[bytes], _Details] | None = {_RAW: _raw, _AT: _at_times, _PROCESSED: _processed}.get(kind)
    if read is None:
        raise ServiceError(StatusCodes.BadHistoryOperationUnsupported)
    return read(body)


def _raw(body: bytes) -> _Details:
    modified, start, end, most, bounds = struct.unpack("<?qqI?", body)
    begin, until = _moment(start), _moment(end)
    if (begin is None) + (until is None) + (most == 0) > 1:  # Part 11 §6.5.3.2: two of the three at least
        raise ServiceError(StatusCodes.BadHistoryOperationInvalid)
    if begin is None:  # backwards from the end
        begin, until = until, None
    assert begin is not None
    newest_first = start <= 0 or (until is not None and until < begin)
    return _Details((Raw(begin, until, newest_first, min(most or MOST_VALUES, MOST_VALUES), bounds),), modified)


def _at_times(body: bytes) -> _Details:
    (count,) = struct.unpack_from("<i", body)
    if count < 1:
        raise ServiceError(StatusCodes.BadNothingToDo)
    if count > MOST_VALUES:
        raise ServiceError(StatusCodes.BadTooManyOperations)
    times = struct.unpack_from(f"<{count}q?", body, 4)[:-1]
    return _Details((At([_ns(time) for time in times]),))


def _processed(body: bytes) -> _Details:
    start, end, every_ms = struct.unpack_from("<qqd", body)
    (count,) = struct.unpack_from("<i", body, 24)
    if not 1 <= count <= 2_000:
        raise ServiceError(StatusCodes.BadAggregateListMismatch)
    at, kinds = 28, []
    for _ in range(count):
        key, at = read_key(body, at)
        kinds.append(key)
    defaults, uncertain_is_bad, bad, good, _ = struct.unpack_from("<??BB?", body, at)
    begin, until = _moment(start), _moment(end)
    if begin is None or until is None or begin == until or not 0 <= every_ms < 1e15:
        raise ServiceError(StatusCodes.BadInvalidArgument)
    if not defaults and not (bad <= 100 and good <= 100 and good >= 100 - bad):
        raise ServiceError(StatusCodes.BadAggregateConfigurationRejected)
    rest = (True, 100, 100) if defaults else (uncertain_is_bad, bad, good)
    return _Details(tuple(Processed(begin, until, int(every_ms * 1e6), number, *rest) for number in _numbers(kinds)))


def _numbers(kinds: list[bytes]) -> Iterator[int]:
    known = {node_key(0, number): number for number in BY_NUMBER}
    for key in kinds:
        if key not in known:
            raise ServiceError(StatusCodes.BadAggregateNotSupported)
        yield known[key]


def _moment(time: int) -> int | None:
    return None if time <= 0 else _ns(time)


def _ns(time: int) -> int:
    return min(max(time - TICKS_1970, 0) * 100, FOREVER)


def _result(status: int, point: bytes = b"", kind: bytes = b"", body: bytes = b"") -> bytes:
    data = kind + b"\x01" + struct.pack("<i", len(body)) + body if kind else NO_BODY
    return struct.pack("<I", status) + octets(point or None) + data


def _response(results: list[bytes]) -> bytes:
    return struct.pack("<i", len(results)) + b"".join(results) + struct.pack("<i", -1)
