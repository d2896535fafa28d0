"""What the server can do and how much of it, as its address space tells it; the numbers are those of the modules that enforce them.

Part 5 §6.3.2 (ServerCapabilities), §6.3.11 (OperationLimits), Part 11 §5.4.2 (HistoryServerCapabilities).
"""

from collections.abc import Iterator
from typing import Any, Final

from asyncua import ua

from controller.opcua.asked import MOST_CALLS, MOST_OPERATIONS, MOST_WRITES
from controller.opcua.encoding import variant
from controller.opcua.filters import MOST_CLAUSES
from controller.opcua.guard import MAX_ELEMENTS
from controller.opcua.historic.aggregates import BY_NUMBER
from controller.opcua.historic.questions import MOST_VALUES
from controller.opcua.historic.service import MOST_NODES as MOST_HISTORY_NODES
from controller.opcua.historic.service import MOST_POINTS as MOST_HISTORY_POINTS
from controller.opcua.link.chunks import MOST_MESSAGE
from controller.opcua.sessions import MOST_SESSIONS
from controller.opcua.subscriptions import limits
from controller.opcua.view import MOST_POINTS
from controller.opcua.where import MOST_ELEMENTS

LOCALES: Final = ("en",)
PROFILES: Final = (
    "http://opcfoundation.org/UA-Profile/Transport/uatcp-uasc-uabinary",
    *(
        f"http://opcfoundation.org/UA-Profile/Server/{facet}"
        for facet in (
            "EnhancedDataChangeSubscription2017",
            "StandardDataChangeSubscription2017",
            "DataAccess",
            "Methods",
            "Auditing",
            "HistoricalRawData",
            "HistoricalDataAtTime",
        )
    ),
)
"""Those of which nothing that is required is missing; StandardUA2017 wants a discovery server and X509 users besides."""
AGGREGATES: Final = tuple(BY_NUMBER)
"""Numbers of the aggregate functions' nodes."""
OPERATIONS: Final = (
    "MaxNodesPerRead",
    "MaxNodesPerHistoryReadData",
    "MaxNodesPerWrite",
    "MaxNodesPerMethodCall",
    "MaxNodesPerBrowse",
    "MaxNodesPerRegisterNodes",
    "MaxNodesPerTranslateBrowsePathsToNodeIds",
    "MaxMonitoredItemsPerCall",
)
_UINT32, _UINT16 = ua.VariantType.UInt32, ua.VariantType.UInt16
_COUNTS: Final[dict[str, tuple[int, ua.VariantType]]] = {
    "MaxBrowseContinuationPoints": (MOST_POINTS, _UINT16),
    "MaxQueryContinuationPoints": (0, _UINT16),
    "MaxHistoryContinuationPoints": (MOST_HISTORY_POINTS, _UINT16),
    "MaxArrayLength": (MAX_ELEMENTS, _UINT32),
    "MaxStringLength": (MOST_MESSAGE, _UINT32),
    "MaxByteStringLength": (MOST_MESSAGE, _UINT32),
    "MaxSessions": (MOST_SESSIONS, _UINT32),
    "MaxSubscriptions": (limits.MOST_SUBSCRIPTIONS, _UINT32),
    "MaxMonitoredItems": (limits.MOST_ITEMS, _UINT32),
    "MaxSubscriptionsPerSession": (limits.MOST_PER_SESSION, _UINT32),
    "MaxMonitoredItemsPerSubscription": (limits.MOST_ITEMS_PER_SUBSCRIPTION, _UINT32),
    "MaxMonitoredItemsQueueSize": (limits.LONGEST_QUEUE, _UINT32),
    "MaxSelectClauseParameters": (MOST_CLAUSES, _UINT32),
    "MaxWhereClauseParameters": (MOST_ELEMENTS, _UINT32),
    **{f"OperationLimits_{name}": (MOST_OPERATIONS, _UINT32) for name in OPERATIONS},
    "OperationLimits_MaxNodesPerWrite": (MOST_WRITES, _UINT32),
    "OperationLimits_MaxNodesPerMethodCall": (MOST_CALLS, _UINT32),
    "OperationLimits_MaxNodesPerHistoryReadData": (MOST_HISTORY_NODES, _UINT32),
    "HistoryServerCapabilities_MaxReturnDataValues": (MOST_VALUES, _UINT32),
    "HistoryServerCapabilities_MaxReturnEventValues": (0, _UINT32),
}
_HISTORY: Final = {
    "AccessHistoryDataCapability": True,
    "AccessHistoryEventsCapability": False,
    "InsertDataCapability": False,
    "ReplaceDataCapability": False,
    "UpdateDataCapability": False,
    "DeleteRawCapability": False,
    "DeleteAtTimeCapability": False,
    "InsertEventCapability": False,
    "ReplaceEventCapability": False,
    "UpdateEventCapability": False,
    "DeleteEventCapability": False,
    "InsertAnnotationCapability": False,
    "ServerTimestampSupported": True,
}


def values() -> Iterator[tuple[str, bytes]]:
    """Each by its name in the standard, below Server: an encoded Variant."""
    of = "ServerCapabilities"
    yield f"{of}_ServerProfileArray", _texts(PROFILES, ua.VariantType.String)
    yield f"{of}_LocaleIdArray", _texts(LOCALES, ua.VariantType.String)
    yield f"{of}_MinSupportedSampleRate", variant(limits.FASTEST_SAMPLING_MS, ua.VariantType.Double)
    yield f"{of}_SoftwareCertificates", _texts((), ua.VariantType.ExtensionObject)
    for name, (most, kind) in _COUNTS.items():
        yield (name if name.startswith("History") else f"{of}_{name}"), variant(most, kind)
    for name, can in _HISTORY.items():
        yield f"HistoryServerCapabilities_{name}", variant(can)


def _texts(each: tuple[Any, ...], kind: ua.VariantType) -> bytes:
    made: Any = ua.Variant
    return variant(made(list(each), kind, is_array=True))
