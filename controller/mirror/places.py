"""Between a Signal of a Map and a node of a server: names, values and how far to believe them. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum, IntFlag
from typing import Any

from asyncua import ua
from asyncua.ua.uaerrors import UaError

from controller.mirror.channel import status_name
from twin.maps import Mapped, NodePlace
from twin.wire import Signal

GOOD, STALE, BAD = 0, 1, 2
SEVERITY = (GOOD, STALE, BAD, BAD)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EARLIEST_NS = int(datetime(2000, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000_000
AHEAD_NS = 3600 * 1_000_000_000
"""A source's clock may be ahead of ours by so much; beyond it the time of reception is told."""

WHOLE = {
    ua.VariantType.SByte: (-(2**7), 2**7 - 1),
    ua.VariantType.Byte: (0, 2**8 - 1),
    ua.VariantType.Int16: (-(2**15), 2**15 - 1),
    ua.VariantType.UInt16: (0, 2**16 - 1),
    ua.VariantType.Int32: (-(2**31), 2**31 - 1),
    ua.VariantType.UInt32: (0, 2**32 - 1),
    ua.VariantType.Int64: (-(2**63), 2**63 - 1),
    ua.VariantType.UInt64: (0, 2**64 - 1),
}
REAL = (ua.VariantType.Float, ua.VariantType.Double)
MOST_FLOAT = 3.4028234663852886e38


class Unfit(ValueError):
    """A value, or a name, that does not fit where it is to go."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a server says of a Signal: SI, quality 0 good, 1 stale, 2 bad with its cause, and when it was true."""

    value: bool | int | float | str | None
    quality: int
    cause: str
    utc_ns: int


def node_id(text: str, namespaces: Sequence[str]) -> ua.NodeId:
    """A NodeId as the server has it now: indexes of namespaces change when a server starts.

    Raises:
        Unfit: the server has no such namespace, or it is no NodeId.
    """
    head, _, rest = text.partition(";")
    try:
        if not head.startswith("nsu="):
            return ua.NodeId.from_string(text)
        uri = head.removeprefix("nsu=").replace("%3B", ";").replace("%25", "%")
        if uri not in namespaces:
            raise Unfit(f"the server has no namespace {uri}")
        return ua.NodeId.from_string(f"ns={namespaces.index(uri)};{rest}")
    except (UaError, ValueError) as broken:
        raise Unfit(str(broken)) from broken


def heard(row: Mapped, found: ua.DataValue, received_ns: int) -> Told:
    """What a data value says of a Signal."""
    code = found.StatusCode.value if found.StatusCode is not None else 0
    quality, cause = SEVERITY[code >> 30], status_name(code) if code >> 30 else ""
    at = moment(found, received_ns)
    if quality == BAD and (found.Value is None or found.Value.Value is None):
        return Told(None, BAD, cause, at)
    try:
        value = in_si(row, found.Value)
    except Unfit as wrong:
        return Told(None, BAD, cause or str(wrong), at)
    limits = row.signal.range
    if quality == GOOD and limits is not None and not limits.low <= float(value) <= limits.high:
        return Told(value, BAD, "outside its range", at)
    return Told(value, quality, cause, at)


def moment(found: ua.DataValue, received_ns: int) -> int:
    """When a value was true: as its source says, or its server, where that can be."""
    times: tuple[datetime | None, ...] = (found.SourceTimestamp, found.ServerTimestamp)
    for said in times:
        if said is not None:
            at = said if said.tzinfo is not None else said.replace(tzinfo=UTC)
            told_ns: int = (at.astimezone(UTC) - EPOCH) // timedelta(microseconds=1) * 1000
            if EARLIEST_NS < told_ns < received_ns + AHEAD_NS:
                return told_ns
    return received_ns


def in_si(row: Mapped, found: ua.Variant | None) -> Any:
    """A Signal's value out of what is there.

    Raises:
        Unfit: it is none of the Signal's type.
    """
    raw, signal = None if found is None else found.Value, row.signal
    if raw is None:
        raise Unfit("there is no value")
    if isinstance(raw, (list, tuple)):
        raise Unfit(f"an array of {len(raw)} is no {signal.type.__name__}")
    if signal.type in (bool, str):
        text = raw.Text if isinstance(raw, ua.LocalizedText) and signal.type is str else raw
        if not isinstance(text, signal.type):
            raise Unfit(f"{short(raw)} is no {signal.type.__name__}")
        return text
    if isinstance(raw, bool) or not isinstance(raw, (int, float)):
        raise Unfit(f"{short(raw)} is no number")
    if signal.type is float:
        place: NodePlace = row.place
        value = (raw * place.scale + place.offset) * signal.size
        if not math.isfinite(value):
            raise Unfit(f"{value} is no number")
        return value
    return whole(signal, raw)


def whole(signal: Signal, raw: float) -> int:
    """A whole number of a Signal's type.

    Raises:
        Unfit: it is none.
    """
    if not math.isfinite(raw) or raw != int(raw) or not -(2**63) <= raw < 2**63:
        raise Unfit(f"{raw} is no whole number of 64 bits")
    try:
        signal.type(int(raw))
    except ValueError as unknown:
        raise Unfit(f"{int(raw)} is none of {names(signal.type)}") from unknown
    return int(raw)


def names(kind: type) -> str:
    """The names of an enumeration's values."""
    return ", ".join(f"{one.value} {one.name}" for one in kind) if issubclass(kind, (IntEnum, IntFlag)) else kind.__name__


def short(value: object) -> str:
    """A value as a message shows it."""
    return repr(value)[:64]


def raw_of(row: Mapped, value: Any, kind: ua.VariantType) -> Any:
    """What is written for a Signal's value [SI] to a variable of a type.

    Raises:
        Unfit: it does not fit there.
    """
    signal, place = row.signal, row.place
    if signal.type is float and kind is not ua.VariantType.String:
        return plain(float(value) / signal.size / place.scale - place.offset / place.scale, kind)
    return plain(value if signal.type in (bool, str) else int(value), kind)


def plain(value: Any, kind: ua.VariantType) -> Any:
    """A Python value as one of a type.

    Raises:
        Unfit: it is none.
    """
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind in WHOLE and number:
        low, high = WHOLE[kind]
        if not math.isfinite(value) or not low <= round(value) <= high:
            raise Unfit(f"{value:g} does not fit {kind.name}, {low} to {high}")
        return round(value)
    if kind in REAL and number:
        if not math.isfinite(value) or (kind is ua.VariantType.Float and abs(value) > MOST_FLOAT):
            raise Unfit(f"{value:g} does not fit {kind.name}")
        return float(value)
    if (kind is ua.VariantType.Boolean and isinstance(value, bool)) or (kind is ua.VariantType.String and isinstance(value, str)):
        return value
    if kind is ua.VariantType.LocalizedText and isinstance(value, str):
        return ua.LocalizedText(value)
    raise Unfit(f"{short(value)} is no {kind.name}, which the server has there")


def same(written: Any, found: Any, kind: ua.VariantType) -> bool:
    """Whether what is read back is what was written, as exactly as the type holds it."""
    if kind is ua.VariantType.Float and isinstance(found, (int, float)):
        return math.isclose(written, found, rel_tol=2**-23, abs_tol=1e-38)
    return bool(written == found) and isinstance(found, bool) == isinstance(written, bool)


def moved(row: Mapped, before: Told | None, now: Told) -> bool:
    """Whether a value is told: beyond the deadband from what was told last, or believed otherwise."""
    if before is None or (before.quality, before.cause) != (now.quality, now.cause):
        return True
    width = deadband(row)
    numbers = isinstance(before.value, (int, float)) and isinstance(now.value, (int, float))
    if not width or not numbers or isinstance(now.value, bool):
        return before.value != now.value
    return abs(float(now.value or 0) - float(before.value or 0)) > width


def deadband(row: Mapped) -> float:
    """By how much a value must change before it is told, in SI."""
    limits = row.signal.range
    return max(row.deadband.absolute, row.deadband.share * (limits.high - limits.low) if limits else 0.0)


def raw_deadband(row: Mapped) -> float:
    """The same in what the server has."""
    place: NodePlace = row.place
    return deadband(row) / row.signal.size / abs(place.scale)
