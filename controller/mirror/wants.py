"""What the core wants of a machine: a value written and read back, a method called. Each is sent once and never again."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from asyncua import ua
from asyncua.common.ua_utils import data_type_to_variant_type
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.status_codes import StatusCodes
from asyncua.ua.uaerrors import UaError, UaStatusCodeError
from asyncua.ua.uaprotocol_auto import Argument

from controller.mirror.channel import BROKEN, said, status_name
from controller.mirror.following import Following
from controller.mirror.places import Unfit, in_si, plain, raw_of, same
from twin.clock import MS, Clock, Ns, S
from twin.maps import Mapped, Method

READ_BACK = Ns(3 * S)
AGAIN = Ns(100 * MS)
MAY_READ, MAY_WRITE = 1, 2
MOST_RESULTS = 16
MOST_TEXT = 256


@dataclass(frozen=True, slots=True)
class Came:
    """What came of something: confirmed, refused, mismatch or unknown."""

    state: str
    text: str = ""
    result: Any = None


class Unsettled(Exception):
    """It was sent, and whether it was done is not known; `node` and `raw` tell what to look for.

    Attributes:
        why: what happened.
    """

    def __init__(self, kind: ua.VariantType, raw: Any, why: str) -> None:
        super().__init__(why)
        self.kind, self.raw, self.why = kind, raw, why


@dataclass(frozen=True, slots=True)
class _Variable:
    """A variable as the server declares it."""

    kind: ua.VariantType
    access: int
    limits: tuple[float, float] | None


async def write(on: Following, row: Mapped, value: Any, clock: Clock) -> Came:
    """Write a Signal's value [SI], and read it back.

    Raises:
        Unsettled: the connection was lost after it was sent.
    """
    try:
        node = on.resolve(row.place.node)
        there = await _variable(on, node)
        raw = raw_of(row, value, there.kind)
        if not there.access & MAY_WRITE:
            raise Unfit("the server does not let this user write it")
        if there.limits is not None and not there.limits[0] <= raw <= there.limits[1]:
            raise Unfit(f"{raw:g} is outside {there.limits[0]:g} to {there.limits[1]:g}, the server's EURange")
    except BROKEN as wrong:
        return Came("refused", said(wrong))
    return await _written(on, row, node, there, raw, clock)


async def _written(on: Following, row: Mapped, node: ua.NodeId, there: _Variable, raw: Any, clock: Clock) -> Came:
    asked = ua.WriteParameters()
    # With neither status nor time, which many servers refuse to be told.
    content = ua.DataValue(ua.Variant(raw, there.kind), StatusCode=None)
    asked.NodesToWrite = [ua.WriteValue(NodeId=node, AttributeId=AttributeIds.Value, Value=content)]
    try:
        (status,) = await on.connection.uaclient.session.write(asked)
    except UaStatusCodeError as refused:
        return Came("refused", status_name(refused.code))
    except BROKEN as lost:
        raise Unsettled(there.kind, raw, said(lost)) from lost
    if status.value >> 30:
        return Came("refused", status_name(status.value))
    if not there.access & MAY_READ:
        return Came("unknown", "the server has taken it, and does not let it be read back")
    try:
        return await read_back(on, row, node, there.kind, raw, clock)
    except BROKEN as lost:
        raise Unsettled(there.kind, raw, said(lost)) from lost


async def read_back(on: Following, row: Mapped, node: ua.NodeId, kind: ua.VariantType, raw: Any, clock: Clock) -> Came:
    """Whether a variable has what was written; a machine may take some of its cycles to.

    Raises:
        channel.BROKEN.
    """
    until = Ns(clock.now() + READ_BACK)
    while True:
        found = await on.value(node)
        bad = found.StatusCode is not None and found.StatusCode.value >> 31
        if not bad and found.Value is not None and same(raw, found.Value.Value, kind):
            return Came("confirmed")
        if clock.now() >= until:
            break
        await clock.until(Ns(clock.now() + AGAIN))
    if bad and found.StatusCode is not None:
        return Came("unknown", f"written, but it reads {status_name(found.StatusCode.value)}")
    try:
        shown = f"{in_si(row, found.Value) / row.signal.size:g} {row.signal.unit.symbol}".rstrip()
    except (Unfit, TypeError):
        shown = repr(found.Value.Value if found.Value is not None else None)[:64]
    return Came("mismatch", f"it reads {shown}")


async def _variable(on: Following, node: ua.NodeId) -> _Variable:
    """What the server says of a variable.

    Raises:
        channel.BROKEN.
    """
    there = on.connection.get_node(node)
    asked = (AttributeIds.DataType, AttributeIds.UserAccessLevel, AttributeIds.ValueRank, AttributeIds.Value)
    kind, access, rank, value = await there.read_attributes(asked)
    said_of = [_attribute(found, node) for found in (kind, access, rank)]
    if said_of[2] > 0:
        raise Unfit("the server has an array there")
    return _Variable(await _kind(on, said_of[0], value), said_of[1], await _limits(on, node))


def _attribute(found: ua.DataValue, node: ua.NodeId) -> Any:
    code = found.StatusCode.value if found.StatusCode is not None else 0
    if code >> 31 or found.Value is None or found.Value.Value is None:
        raise Unfit(f"{status_name(code) if code else 'nothing is said of it'}: {node.to_string()}")
    return found.Value.Value


async def _kind(on: Following, data_type: ua.NodeId, value: ua.DataValue | None = None) -> ua.VariantType:
    found = await data_type_to_variant_type(on.connection.get_node(data_type))
    if found is ua.VariantType.Variant and value is not None and value.Value is not None and value.Value.Value is not None:
        return ua.VariantType(value.Value.VariantType)  # an abstract number: as what is there
    return found


async def _limits(on: Following, node: ua.NodeId) -> tuple[float, float] | None:
    try:
        found = await (await on.connection.get_node(node).get_child("0:EURange")).read_value()
    except UaError:
        return None
    ends = isinstance(found, ua.Range) and (float(found.Low), float(found.High))
    return ends if ends and ends[0] < ends[1] else None


async def call(on: Following, method: Method, arguments: Mapping[str, Any]) -> Came:
    """Call a method; what it gives back is its result."""
    try:
        request = ua.CallMethodRequest()
        request.ObjectId, request.MethodId = on.resolve(method.object), on.resolve(method.method)
        kinds = await _arguments(on, request.MethodId)
        given = [arguments[name] for name, _ in method.inputs]
        if len(kinds) != len(given):
            raise Unfit(f"the server wants {len(kinds)} arguments, the Map has {len(given)}")
        request.InputArguments = [ua.Variant(plain(v, kind), kind) for v, kind in zip(given, kinds, strict=True)]
    except BROKEN as wrong:
        return Came("refused", said(wrong))
    try:
        (result,) = await on.connection.uaclient.session.call([request])
    except UaStatusCodeError as refused:
        return Came("refused", status_name(refused.code))
    except BROKEN as lost:
        return Came("unknown", f"called, but {said(lost)}")
    outputs = [shown(output.Value) for output in (result.OutputArguments or ())[:MOST_RESULTS]]
    if result.StatusCode.value >> 30:  # some servers say why in what they give back
        words = [output for output in outputs if isinstance(output, str) and output]
        return Came("refused", ", ".join((status_name(result.StatusCode.value), *words))[:MOST_TEXT])
    return Came("confirmed", ", ".join(str(output) for output in outputs)[:MOST_TEXT], outputs)


async def _arguments(on: Following, method: ua.NodeId) -> list[ua.VariantType]:
    """The types of a method's inputs.

    Raises:
        channel.BROKEN.
    """
    try:
        found = await (await on.connection.get_node(method).get_child("0:InputArguments")).read_value()
    except UaStatusCodeError as none:
        if none.code == StatusCodes.BadNoMatch:
            return []
        raise
    for argument in found or ():
        if not isinstance(argument, Argument) or argument.ValueRank > 0:  # some say 0 of a scalar
            raise Unfit("a method that takes arrays cannot be called")
    return [await _kind(on, argument.DataType) for argument in found or ()]


def shown(value: Any) -> bool | int | float | str:
    """Something that a method gave back, as it is told."""
    if isinstance(value, ua.LocalizedText):
        value = value.Text or ""
    return value if isinstance(value, (bool, int, float)) else str(value)[:MOST_TEXT]
