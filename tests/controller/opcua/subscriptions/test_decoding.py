"""Requests laid by asyncua are read as it laid them, and whatever else comes is refused."""

import math
import struct
import uuid
from typing import Any

from asyncua import ua
from asyncua.common.utils import ServiceError
from asyncua.ua.status_codes import StatusCodes
from asyncua.ua.ua_binary import extensionobject_to_binary, struct_to_binary
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.opcua.encoding import NULL_NODE, key_of
from controller.opcua.subscriptions import decoding
from tests.controller.opcua.subscriptions.stage import Stage, changed, item

NODES = st.one_of(
    st.builds(ua.NodeId, st.integers(0, 2**32 - 1), st.integers(0, 300)),
    st.builds(ua.NodeId, st.text(max_size=30), st.integers(0, 300)),
    st.builds(ua.NodeId, st.binary(max_size=30), st.integers(0, 300)),
    st.builds(ua.NodeId, st.builds(uuid.UUID, bytes=st.binary(min_size=16, max_size=16)), st.integers(0, 300)),
)


@st.composite
def items(draw: Any) -> ua.MonitoredItemCreateRequest:
    made = item(b"\x00\x00", draw(st.integers(0, 2**32 - 1)))
    made.ItemToMonitor.NodeId = draw(NODES)
    made.ItemToMonitor.AttributeId = draw(st.integers(0, 2**32 - 1))
    made.ItemToMonitor.IndexRange = draw(st.none() | st.text(max_size=5))
    made.MonitoringMode = draw(st.sampled_from([0, 1, 2]))
    wishes = made.RequestedParameters
    wishes.SamplingInterval, wishes.QueueSize = draw(st.floats()), draw(st.integers(0, 2**32 - 1))
    wishes.DiscardOldest = draw(st.booleans())
    wishes.Filter = draw(st.none() | st.builds(changed, st.integers(0, 2), st.integers(0, 2), st.floats()))
    return made  # type: ignore[no-any-return]


@settings(max_examples=80, deadline=None)
@given(st.lists(items(), min_size=1, max_size=5))
def test_an_item_is_read_as_asyncua_lays_it(wanted: list[ua.MonitoredItemCreateRequest]) -> None:
    content = struct.pack("<i", len(wanted)) + b"".join(struct_to_binary(one) for one in wanted)
    for found, one in zip(decoding.items(content, 0), wanted, strict=True):
        read, wishes, given_ = one.ItemToMonitor, found.parameters, one.RequestedParameters
        assert (found.node, found.attribute, found.part) == (key_of(read.NodeId), read.AttributeId, read.IndexRange or "")
        assert (found.mode, found.encoding) == (one.MonitoringMode, True)
        assert (wishes.handle, wishes.queue, wishes.oldest) == (given_.ClientHandle, given_.QueueSize, given_.DiscardOldest)
        same = wishes.interval_ms == given_.SamplingInterval
        assert same or (math.isnan(wishes.interval_ms) and math.isnan(given_.SamplingInterval))
        laid = extensionobject_to_binary(given_.Filter)
        filled = wishes.kind + b"\x01" + struct.pack("<i", len(wishes.filter)) + wishes.filter
        assert laid == (filled if wishes.kind != NULL_NODE else b"\x00\x00\x00")


SERVICES = sorted(Stage().services)
ALLOWED = {getattr(StatusCodes, name) for name in dir(StatusCodes) if name.startswith("Bad")}


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(SERVICES), st.binary(max_size=120))
def test_whatever_comes_is_served_or_refused_with_a_status(service: str, content: bytes) -> None:
    stage = Stage(1)
    client = stage.client()
    number = client.subscribe()
    client.monitor(number, 0)
    for body in (content, struct.pack("<I", number) + content, struct.pack("<IIi", number, 2, 1) + content):
        try:
            client.ask(service, body)
        except ServiceError as refused:
            assert refused.code in ALLOWED
    stage.put([1.0])
    stage.time.to(500)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_request_that_is_cut_off_is_refused(data: Any) -> None:
    stage = Stage(1)
    client = stage.client()
    number = client.subscribe()
    whole = struct.pack("<IIi", number, 2, 2) + 2 * struct_to_binary(client.item(0, filter=changed()))
    cut = data.draw(st.integers(0, len(whole) - 1))
    try:
        client.ask("CreateMonitoredItems", whole[:cut])
    except ServiceError as refused:
        assert refused.code == StatusCodes.BadDecodingError
    else:
        raise AssertionError
    assert stage.engine.items == 0


def test_counts_that_lie_cost_nothing() -> None:
    client = Stage().client()
    number = client.subscribe()
    for service, body in (
        ("CreateMonitoredItems", struct.pack("<IIi", number, 2, 0x7FFFFFFF)),
        ("Publish", struct.pack("<i", 0x7FFFFFFF)),
        ("DeleteMonitoredItems", struct.pack("<Ii", number, 0x7FFFFFFF)),
        ("TransferSubscriptions", struct.pack("<i", 1_500)),
        ("SetTriggering", struct.pack("<IIi", number, 1, 2_000)),
    ):
        try:
            client.ask(service, body)
        except ServiceError as refused:
            assert refused.code in (StatusCodes.BadTooManyOperations, StatusCodes.BadDecodingError)
        else:
            raise AssertionError
