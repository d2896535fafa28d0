"""The counting client against asyncua's encoder: whatever is in a response, each value of it is counted, and nothing else."""

import struct
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from asyncua import ua
from asyncua.ua.ua_binary import struct_to_binary
from hypothesis import given
from hypothesis import strategies as st

from tests.bench.opcua.counted import EPOCH, RESPONSE_PUBLISH, RESPONSE_READ, Malformed, header, published, read

AT = datetime(2026, 11, 22, 20, 0, 0, 250_000, UTC)
TICKS = round(AT.timestamp() * 10_000_000) + EPOCH
VARIANTS = (
    ua.Variant(1.5, ua.VariantType.Double), ua.Variant(-0.0, ua.VariantType.Double), ua.Variant(True, ua.VariantType.Boolean),
    ua.Variant(7, ua.VariantType.Int32), ua.Variant("text", ua.VariantType.String), ua.Variant([1.0, 2.0], ua.VariantType.Double),
    ua.Variant(AT, ua.VariantType.DateTime), ua.Variant(),
)  # fmt: skip


def value(variant: ua.Variant, status: int = 0, at: datetime | None = AT) -> ua.DataValue:
    """A DataValue."""
    return ua.DataValue(variant, StatusCode=ua.StatusCode(status), SourceTimestamp=at, ServerTimestamp=None)


datavalues = st.builds(value, st.sampled_from(VARIANTS), st.sampled_from((0, 0x80320000)), st.sampled_from((AT, None)))
values = st.lists(datavalues, max_size=6)
alike = st.builds(lambda n: [value(VARIANTS[0])] * n, st.integers(0, 40))


def same(told: Any, sent: list[ua.DataValue]) -> None:
    """What was counted is what was sent."""
    assert len(told.values) == len(told.status) == len(sent)
    doubles = [v.Value.Value if v.Value.VariantType == ua.VariantType.Double and not v.Value.is_array else np.nan for v in sent]
    np.testing.assert_array_equal(told.values, doubles)
    simple = [index for index, v in enumerate(sent) if not (v.Value.is_array or v.Value.VariantType == ua.VariantType.String)]
    assert [told.status[n] for n in simple] == [sent[n].StatusCode.value if sent[n].StatusCode else 0 for n in simple]
    assert [told.source[n] for n in simple] == [TICKS if sent[n].SourceTimestamp else 0 for n in simple]


@given(st.one_of(values, alike))
def test_all_values_of_a_publish_response_are_counted(sent: list[ua.DataValue]) -> None:
    items = [ua.MonitoredItemNotification(handle, one) for handle, one in enumerate(sent, 5)]
    response = ua.PublishResponse()
    response.Parameters.SubscriptionId, response.Parameters.MoreNotifications = 9, False
    response.Parameters.AvailableSequenceNumbers = [1, 2]
    response.Parameters.NotificationMessage.SequenceNumber = 3
    response.Parameters.NotificationMessage.NotificationData = [ua.DataChangeNotification(items)]
    body = struct_to_binary(response)
    kind, result, at = header(body)
    assert (kind, result) == (RESPONSE_PUBLISH, 0)
    told = published(body, at)
    assert (told.subscription, told.sequence, told.more) == (9, 3, False)
    same(told.changes[0], sent)
    assert told.changes[0].handles.tolist() == list(range(5, 5 + len(sent)))
    with pytest.raises((Malformed, struct.error)):
        published(body[:-1], at)


@given(st.one_of(values, alike))
def test_all_values_of_a_read_response_are_counted(sent: list[ua.DataValue]) -> None:
    response = ua.ReadResponse()
    response.Results = sent
    body = struct_to_binary(response)
    kind, _, at = header(body)
    assert kind == RESPONSE_READ
    same(read(body, at), sent)
    with pytest.raises(Malformed):
        read(body + b"\x00", at)
