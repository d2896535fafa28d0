"""The guard reads the same bytes as the decoder behind it, whatever they are, and never more than there are."""

from typing import Any

import pytest
from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import struct_from_binary, struct_to_binary
from asyncua.ua.uaerrors import UaError
from hypothesis import given
from hypothesis import strategies as st

from controller.opcua import guard
from controller.opcua.names import in_namespace

numbers = st.integers(0, 2**31 - 1)
texts = st.none() | st.text(max_size=20)
node_ids = st.one_of(
    st.builds(ua.NodeId, st.integers(0, 255)),
    st.builds(ua.NodeId, numbers, st.integers(0, 65_535)),
    st.builds(ua.NodeId, st.text(min_size=1, max_size=9), st.integers(0, 9)),
    st.builds(ua.NodeId, st.binary(min_size=1, max_size=9), st.integers(0, 9)),
    st.builds(ua.NodeId, st.uuids(), st.integers(0, 9)),
)
scalars = st.one_of(
    st.builds(ua.Variant, st.booleans()),
    st.builds(lambda n: ua.Variant(n, ua.VariantType.UInt32), numbers),
    st.builds(lambda x: ua.Variant(x, ua.VariantType.Double), st.floats()),
    st.builds(lambda t: ua.Variant(t, ua.VariantType.String), texts),
    st.builds(lambda n: ua.Variant(n, ua.VariantType.NodeId), node_ids),
    st.builds(lambda t: ua.Variant(ua.LocalizedText(t), ua.VariantType.LocalizedText), texts),
    st.just(ua.Variant()),
)
arrays = st.one_of(
    st.builds(lambda v: ua.Variant(v, ua.VariantType.Int16), st.lists(st.integers(-9, 9), min_size=1, max_size=5)),
    st.builds(lambda v: ua.Variant(v, ua.VariantType.String), st.lists(texts, min_size=1, max_size=5)),
    st.builds(lambda v: ua.Variant(v, ua.VariantType.Variant), st.lists(scalars, min_size=1, max_size=5)),
    st.builds(lambda v: ua.Variant([v, v], ua.VariantType.Byte), st.lists(st.integers(0, 255), min_size=1, max_size=5)),
)
variants = scalars | arrays
values = st.builds(lambda v, s: ua.DataValue(v, StatusCode=ua.StatusCode(s)), variants, numbers)
filters = st.one_of(
    st.none(),
    st.builds(lambda x: ua.uaprotocol_auto.DataChangeFilter(DeadbandValue=x), st.floats()),
    st.builds(
        lambda v: ua.EventFilter(
            WhereClause=ua.ContentFilter(Elements=[ua.ContentFilterElement(FilterOperands=[ua.LiteralOperand(v)])])
        ),
        variants,
    ),
)
tokens = st.one_of(
    st.builds(ua.AnonymousIdentityToken, texts),
    st.builds(ua.UserNameIdentityToken, texts, texts, st.none() | st.binary(max_size=40), texts),
)

MESSAGES: dict[type, Any] = {
    ua.ReadParameters: st.builds(
        lambda ids: ua.ReadParameters(NodesToRead=[ua.ReadValueId(i, ua.AttributeIds.Value) for i in ids]),
        st.lists(node_ids, max_size=5),
    ),
    ua.WriteParameters: st.builds(
        lambda pairs: ua.WriteParameters(
            NodesToWrite=[ua.WriteValue(NodeId=n, AttributeId=ua.AttributeIds.Value, Value=v) for n, v in pairs]
        ),
        st.lists(st.tuples(node_ids, values), max_size=4),
    ),
    ua.CallParameters: st.builds(
        lambda given: ua.CallParameters(MethodsToCall=[ua.CallMethodRequest(InputArguments=given)]),
        st.lists(variants, max_size=4),
    ),
    ua.CreateMonitoredItemsParameters: st.builds(
        lambda wanted: ua.CreateMonitoredItemsParameters(
            ItemsToCreate=[ua.MonitoredItemCreateRequest(RequestedParameters=ua.MonitoringParameters(Filter=f)) for f in wanted]
        ),
        st.lists(filters, max_size=3),
    ),
    ua.ActivateSessionParameters: st.builds(lambda t: ua.ActivateSessionParameters(UserIdentityToken=t), tokens),
}


REQUESTS = [
    getattr(ua, f"{name}Parameters")
    for name in """
    FindServers GetEndpoints CreateSession ActivateSession Read Write Browse BrowseNext TranslateBrowsePathsToNodeIds RegisterNodes
    UnregisterNodes Call CreateSubscription ModifySubscription SetPublishingMode DeleteSubscriptions TransferSubscriptions Publish
    Republish CreateMonitoredItems ModifyMonitoredItems SetMonitoringMode SetTriggering DeleteMonitoredItems HistoryRead
    """.split()
] + [ua.Boolean]
"""What is decoded of the requests that are served."""


def decoded_length(kind: type, content: bytes) -> int | None:
    """How many bytes the decoder takes; None where it fails."""
    buffer = Buffer(content)
    try:
        struct_from_binary(kind, buffer)
    except (UaError, ValueError, TypeError, IndexError, RecursionError, AssertionError, KeyError, AttributeError):
        return None
    return len(content) - len(buffer)


def walked_length(kind: type, content: bytes) -> int | None:
    """How many bytes the guard steps over; None where it refuses."""
    try:
        return guard.check(kind, content)
    except guard.Refused as refused:
        assert refused.code in (0x80070000, 0x80080000)
        return None


@pytest.mark.parametrize("kind", MESSAGES, ids=lambda kind: kind.__name__)
def test_what_a_client_with_manners_sends_passes_and_is_read_to_the_same_byte(kind: type) -> None:
    @given(MESSAGES[kind])
    def holds(message: Any) -> None:
        content = struct_to_binary(message)
        assert walked_length(kind, content) == decoded_length(kind, content) == len(content)

    holds()


@pytest.mark.parametrize("kind", MESSAGES, ids=lambda kind: kind.__name__)
def test_whatever_passes_is_read_to_the_same_byte_by_the_decoder(kind: type) -> None:
    @given(MESSAGES[kind], st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=6))
    def holds(message: Any, changes: list[tuple[int, int]]) -> None:
        content = bytearray(struct_to_binary(message))
        for place, byte in changes:
            content[place % len(content)] = byte
        walked = walked_length(kind, bytes(content))
        if walked is not None:
            assert walked <= len(content)
            assert decoded_length(kind, bytes(content)) in (walked, None)

    holds()


@pytest.mark.parametrize("kind", REQUESTS, ids=lambda kind: kind.__name__)
def test_a_cut_message_is_never_read_beyond_its_end(kind: type) -> None:
    whole = b"\x00" if kind is ua.Boolean else struct_to_binary(kind())
    assert walked_length(kind, whole) == len(whole)
    assert all(walked_length(kind, whole[:size]) is None for size in range(len(whole)))


@given(st.sampled_from(REQUESTS), st.binary(max_size=300))
def test_any_bytes_at_all_are_walked_in_steps_forward(kind: type, content: bytes) -> None:
    walked = walked_length(kind, content)
    assert walked is None or 0 <= walked <= len(content)


def test_a_text_that_is_not_utf_8_is_refused_but_from_servers_of_others() -> None:
    asked = struct_to_binary(ua.CallMethodRequest(in_namespace(2, "a"), in_namespace(2, "b"), [ua.Variant("text")]))
    for found in (b"text", b"\x01\x00\x00\x00a"):
        assert asked.count(found) == 1
        broken = asked.replace(found, found[:-1] + b"\xff")
        with pytest.raises(guard.Refused):
            guard.check(ua.CallMethodRequest, broken)
        guard.check(ua.CallMethodRequest, broken, decoded=None)
    guard.check(ua.CallMethodRequest, asked)
