"""ServerStatus and ServiceLevel (Part 5 §6.3.1, §12.10; Part 4 §6.6.2.4.2)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from asyncua import ua

from controller.opcua.encoding import variant
from controller.opcua.made import constant, data_time, reads
from controller.opcua.nodes.store import Nodes
from twin.clock import utc_ns

RUNNING, SHUTDOWN = 0, 4
WHOLE, DEGRADED = 255, 100
"""ServiceLevel with a core, and while there is none and values are old (Part 4 §6.6.2.4.2)."""


@dataclass(frozen=True, slots=True)
class Build:
    """What this server is."""

    product_uri: str
    manufacturer: str
    product: str
    version: str
    built_ns: int
    """UTC of the software."""


class Status:
    """ServerStatus and ServiceLevel.

    Attributes:
        state: ServerState.
        reason: why it will end, empty while it goes on.
        ends_ns: UTC at which it will, 0 while it goes on.
    """

    def __init__(self, build: Build, complete: Callable[[], bool]) -> None:
        """`complete`: whether there is a core to follow."""
        self.state, self.reason, self.ends_ns = RUNNING, "", 0
        self._build, self._complete = build, complete
        self._started_ns = utc_ns()

    def hang_on(self, nodes: Nodes) -> None:
        """Let the standard's nodes tell it."""
        started = data_time(self._started_ns)
        built = self._build
        status = "Server_ServerStatus"
        info = f"{status}_BuildInfo"
        constants = {
            f"{info}_ProductUri": variant(built.product_uri, ua.VariantType.String),
            f"{info}_ManufacturerName": variant(built.manufacturer, ua.VariantType.String),
            f"{info}_ProductName": variant(built.product, ua.VariantType.String),
            f"{info}_SoftwareVersion": variant(built.version, ua.VariantType.String),
            f"{info}_BuildNumber": variant("", ua.VariantType.String),
            f"{info}_BuildDate": variant(data_time(built.built_ns), ua.VariantType.DateTime),
            info: variant(self._build_info()),
            f"{status}_StartTime": variant(started, ua.VariantType.DateTime),
        }
        for name, value in constants.items():
            constant(nodes, name, value)
        reads(nodes, status, lambda _: variant(self.structure()))
        reads(nodes, f"{status}_CurrentTime", lambda _: variant(data_time(utc_ns()), ua.VariantType.DateTime))
        reads(nodes, f"{status}_State", lambda _: variant(self.state, ua.VariantType.Int32))
        reads(nodes, f"{status}_SecondsTillShutdown", lambda _: variant(self._seconds_left(), ua.VariantType.UInt32))
        reads(nodes, f"{status}_ShutdownReason", lambda _: variant(ua.LocalizedText(self.reason or None)))
        reads(nodes, "Server_ServiceLevel", lambda _: variant(WHOLE if self._complete() else DEGRADED, ua.VariantType.Byte))

    def _seconds_left(self) -> int:
        return max(0, -(-(self.ends_ns - utc_ns()) // 10**9)) if self.ends_ns else 0

    def _build_info(self) -> Any:
        b = self._build
        return ua.BuildInfo(b.product_uri, b.manufacturer, b.product, b.version, "", data_time(b.built_ns))

    def structure(self) -> Any:
        """As ServerStatusDataType."""
        reason = ua.LocalizedText(self.reason or None)
        now, started = data_time(utc_ns()), data_time(self._started_ns)
        left: Any = self._seconds_left()
        return ua.ServerStatusDataType(started, now, ua.ServerState(self.state), self._build_info(), left, reason)
