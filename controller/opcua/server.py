"""The server: asyncua's, with a door, channels and sessions of ours in front, and the factory's nodes behind."""

import asyncio
import errno
import socket
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from asyncua import ua
from asyncua.crypto.security_policies import SecurityPolicyBasic256Sha256, SecurityPolicyFactory
from asyncua.server.server import Server
from asyncua.ua.object_ids import ObjectIds
from cryptography.hazmat.primitives.serialization import Encoding

from controller.opcua import nodesets
from controller.opcua.access import Access
from controller.opcua.build import build
from controller.opcua.certificate import Identity, now
from controller.opcua.gate import Listener
from controller.opcua.names import node_id, standard
from controller.opcua.session import MOST_ITEMS, MOST_OPERATIONS, MOST_QUEUED, MOST_SESSIONS, MOST_SUBSCRIPTIONS, Sessions
from controller.opcua.space import Method, Space
from twin.clock import Clock

HOST = "127.0.0.1"
PATH = "lockstep"
SIGN_AND_ENCRYPT = ua.MessageSecurityMode.SignAndEncrypt
PATIENCE_S = 3.0

_OPERATIONS = (
    "MaxNodesPerRead",
    "MaxNodesPerWrite",
    "MaxNodesPerMethodCall",
    "MaxNodesPerBrowse",
    "MaxNodesPerRegisterNodes",
    "MaxNodesPerTranslateBrowsePathsToNodeIds",
    "MaxMonitoredItemsPerCall",
)
LIMITS: dict[str, tuple[int, ua.VariantType]] = {
    **{f"OperationLimits_{name}": (MOST_OPERATIONS, ua.VariantType.UInt32) for name in _OPERATIONS},
    "MaxSessions": (MOST_SESSIONS, ua.VariantType.UInt32),
    "MaxSubscriptions": (MOST_SESSIONS * MOST_SUBSCRIPTIONS, ua.VariantType.UInt32),
    "MaxSubscriptionsPerSession": (MOST_SUBSCRIPTIONS, ua.VariantType.UInt32),
    "MaxMonitoredItemsPerSubscription": (MOST_ITEMS, ua.VariantType.UInt32),
    "MaxMonitoredItemsQueueSize": (MOST_QUEUED, ua.VariantType.UInt32),
}


class PortTaken(OSError):
    """Somebody else listens at our port."""


def bind(port: int) -> socket.socket:
    """A socket on this computer's own address; port 0 takes any that is free.

    Raises:
        PortTaken: the port is in use.
    """
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((HOST, port))
        bound.listen(100)
    except OSError as failed:
        bound.close()
        if failed.errno == errno.EADDRINUSE:
            raise PortTaken(f"port {port} is in use: stop what listens there, or choose another with --port") from failed
        raise
    return bound


class FactoryServer(Server):
    """Serves a Space on one socket, to sealed channels only."""

    def __init__(self, space: Space, identity: Identity, access: Access, bound: socket.socket, clock: Clock) -> None:
        self.sessions = Sessions()
        super().__init__(self.sessions)
        self.sessions.access = access
        self.sessions.methods = dict(_methods(space))
        self.sessions.certificate = identity.certificate
        self.sessions.private_key = identity.key
        self.sessions.certificate_der = identity.certificate.public_bytes(Encoding.DER)
        self.sessions.policy = _policy(identity)
        self.name = f"Lockstep {space.name}"
        self.product_uri, self.manufacturer_name = "urn:lockstep", "Lockstep"
        self.application_type = ua.ApplicationType.Server
        self._application_uri = space.application
        self._space = space
        self._bound = bound
        self._clock = clock
        self.set_endpoint(f"opc.tcp://{HOST}:{bound.getsockname()[1]}/{PATH}")

    async def init(self, shelf_file: Any = None) -> None:
        """Fill the address space.

        Raises:
            NodesetError: the specifications are missing.
        """
        await nodesets.load(self, (self._space.application, self._space.namespace))
        build(self.sessions, await self.get_namespace_array(), self._space)
        await self.set_application_uri(self._application_uri)
        await self.get_node(standard(ObjectIds.Server_ServiceLevel)).write_value(ua.Variant(255, ua.VariantType.Byte))
        await self.set_build_info(self.product_uri, self.manufacturer_name, self.name, _version(), "", now())
        for name, (most, kind) in LIMITS.items():
            number = getattr(ObjectIds, f"Server_ServerCapabilities_{name}")
            await self.get_node(standard(number)).write_value(ua.Variant(most, kind))

    async def start(self) -> None:
        """Listen. Only sealed endpoints are offered; without a seal there is discovery, and nothing else."""
        self._set_endpoints(SecurityPolicyBasic256Sha256, SIGN_AND_ENCRYPT, 70)
        for endpoint in self.sessions.endpoints:
            for token in endpoint.UserIdentityTokens:
                if token.TokenType == ua.UserTokenType.UserName:
                    token.SecurityPolicyUri = SecurityPolicyBasic256Sha256.URI
        await self.sessions.start()
        self.bserver = Listener(self.sessions, self._bound, self._clock)
        await self.bserver.start()

    async def stop(self) -> None:
        """Close all connections and stop listening."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                await super().stop()
        except TimeoutError:
            for transport in list(self.sessions.asyncio_transports):
                transport.abort()


def _policy(identity: Identity) -> SecurityPolicyFactory:
    factory: Any = SecurityPolicyFactory
    made: SecurityPolicyFactory = factory(SecurityPolicyBasic256Sha256, SIGN_AND_ENCRYPT, identity.certificate, identity.key)
    return made


def _methods(space: Space) -> Iterator[tuple[tuple[ua.NodeId, ua.NodeId], Method]]:
    """All methods by their object and each of the two NodeIds they may be called by: their own and their type's."""
    for top in (*(machine for machine, _ in space.machines), *space.nodes, space.factory):
        for owner in top.everything():
            for method in owner.methods:
                yield (node_id(owner.path), node_id(method.path)), method
                if owner.type:
                    yield (node_id(owner.path), node_id(f"{owner.type}/{method.name}")), method


def _version() -> str:
    try:
        return version("lockstep-factory")
    except PackageNotFoundError:
        return "0"
