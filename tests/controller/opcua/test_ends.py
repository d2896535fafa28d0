"""A request ends where its last field does: what is cut off or followed by anything is refused, and is no mistake of ours."""

import struct
from typing import Any

from asyncua import ua
from asyncua.ua.status_codes import StatusCodes
from asyncua.ua.ua_binary import struct_to_binary

from tests.controller.opcua.whole import Whole

NODE = ua.NodeId(2258)
HISTORY = b"\x01\x00" + struct.pack("<HBi?qqI?i?i", 649, 1, 22, False, 1, 2, 5, False, 2, False, 1)
ASKED: dict[str, Any] = {
    "Read": ua.ReadParameters(0.0, ua.TimestampsToReturn.Both, [ua.ReadValueId(NODE, ua.AttributeIds.Value)]),
    "Write": ua.WriteParameters([ua.WriteValue(NODE, ua.AttributeIds.Value, None, ua.DataValue(ua.Variant(1.0)))]),
    "Browse": ua.BrowseParameters(ua.ViewDescription(), 0, [ua.BrowseDescription(NodeId=NODE)]),
    "BrowseNext": struct.pack("<?ii", False, 1, 2) + b"ab",
    "TranslateBrowsePathsToNodeIds": struct.pack("<iHi", 1, 0x5500, 0),
    "RegisterNodes": struct.pack("<iH", 1, 0x5500),
    "UnregisterNodes": struct.pack("<iH", 1, 0x5500),
    "Call": ua.CallParameters([ua.CallMethodRequest(NODE, NODE, [])]),
    "ModifySubscription": struct.pack("<IdIIIB", 1, 1000, 1000, 10, 0, 0),
    "SetPublishingMode": struct.pack("<?iI", True, 1, 5),
    "DeleteSubscriptions": struct.pack("<iI", 1, 999),
    "TransferSubscriptions": struct.pack("<iI?", 1, 999, True),
    "Publish": struct.pack("<iII", 1, 1, 1),
    "Republish": struct.pack("<II", 1, 1),
    "SetMonitoringMode": struct.pack("<IIiI", 1, 2, 1, 4),
    "SetTriggering": struct.pack("<IIiIi", 1, 2, 1, 4, 0),
    "DeleteMonitoredItems": struct.pack("<IiI", 1, 1, 1),
    "HistoryRead": HISTORY + struct.pack("<HiHii", 0x5500, -1, 0, -1, -1),
}


def test_no_request_is_served_with_less_or_more_than_its_fields() -> None:
    with Whole() as server:
        client = server.client()

        def told(name: str, content: bytes) -> int:
            return int(struct.unpack_from("<I", client.answer(client.post(name, content)), 16)[0])

        for name, asked in ASKED.items():
            fields = asked if isinstance(asked, bytes) else bytes(struct_to_binary(asked))
            wrong = [fields + b"\x00", *(fields[:end] for end in range(0, len(fields), 3))]
            assert {told(name, content) for content in wrong} == {StatusCodes.BadDecodingError}, name
            assert told(name, fields) not in (StatusCodes.BadDecodingError, StatusCodes.BadInternalError), name
