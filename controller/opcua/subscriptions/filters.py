"""Which changes of a value are told: DataChangeFilter and its deadbands (Part 4 §7.22.2, Part 8 §7.2)."""

import math
import struct
from typing import Final, NamedTuple

from asyncua import ua
from asyncua.common.utils import Buffer, ServiceError
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.status_codes import StatusCodes
from asyncua.ua.ua_binary import struct_from_binary, variant_from_binary

from controller.opcua.encoding import NULL_NODE, node_key, qualified
from controller.opcua.nodes.store import NO_NODE, VALUE, Nodes

STATUS, STATUS_VALUE, STATUS_VALUE_TIMESTAMP = range(3)
NO_DEADBAND, ABSOLUTE, PERCENT = range(3)
DATA_CHANGE: Final = node_key(0, ObjectIds.DataChangeFilter_Encoding_DefaultBinary)
EVENT: Final = node_key(0, ObjectIds.EventFilter_Encoding_DefaultBinary)
AGGREGATE: Final = node_key(0, ObjectIds.AggregateFilter_Encoding_DefaultBinary)


class Filter(NamedTuple):
    """What of a value's changes is told.

    Attributes:
        trigger: STATUS, STATUS_VALUE or STATUS_VALUE_TIMESTAMP.
        deadband: in the value's unit; a change must be greater. 0 for none.
    """

    trigger: int = STATUS_VALUE
    deadband: float = 0.0


EVERY_CHANGE: Final = Filter()


def data_filter(kind: bytes, fields: bytes, nodes: Nodes, node: int, attribute: int, numeric: bool) -> Filter:
    """The filter of a data item.

    Args:
        numeric: whether the value is a number, or an array of them.

    Raises:
        ServiceError: the status of this one item: it can't be, is not served, or is none.
    """
    if kind == NULL_NODE:
        return EVERY_CHANGE
    if kind == EVENT:
        raise ServiceError(StatusCodes.BadFilterNotAllowed)
    if kind != DATA_CHANGE:
        raise ServiceError(StatusCodes.BadMonitoredItemFilterUnsupported)
    if attribute != VALUE:
        raise ServiceError(StatusCodes.BadFilterNotAllowed)
    if len(fields) != 16:
        raise ServiceError(StatusCodes.BadMonitoredItemFilterInvalid)
    trigger, deadband, width = struct.unpack("<IId", fields)
    if trigger > STATUS_VALUE_TIMESTAMP or deadband > PERCENT:
        raise ServiceError(StatusCodes.BadMonitoredItemFilterInvalid)
    if deadband == NO_DEADBAND:
        return Filter(trigger)
    if not numeric:
        raise ServiceError(StatusCodes.BadFilterNotAllowed)
    if not (math.isfinite(width) and width >= 0) or (deadband == PERCENT and width > 100):
        raise ServiceError(StatusCodes.BadDeadbandFilterInvalid)
    if deadband == PERCENT:
        width *= _span(nodes, node) / 100
    # With a deadband the source time alone tells nothing (Part 4 §7.22.2, trigger).
    return Filter(min(trigger, STATUS_VALUE), width)


def _span(nodes: Nodes, node: int) -> float:
    """How wide the EURange of an analog item is."""
    has_property, wanted = nodes.find(node_key(0, ObjectIds.HasProperty)), qualified("EURange")
    for held in nodes.targets(node, has_property) if has_property != NO_NODE else ():
        encoded = nodes.attributes[held].get(VALUE)
        if nodes.browse_names[held] == wanted and encoded:
            value = variant_from_binary(Buffer(encoded)).Value
            if isinstance(value, ua.ExtensionObject) and value.Body:
                value = struct_from_binary(ua.Range, Buffer(value.Body))
            if isinstance(value, ua.Range) and value.High > value.Low:
                return float(value.High - value.Low)
    raise ServiceError(StatusCodes.BadMonitoredItemFilterUnsupported)
