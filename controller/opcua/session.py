"""Sessions: each has a token that cannot be guessed, belongs to one client certificate, and reaches only what is its own."""

import math
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from asyncua import ua
from asyncua.common.utils import ServiceError
from asyncua.crypto.permission_rules import User, UserRole
from asyncua.crypto.security_policies import SecurityPolicyFactory
from asyncua.server.address_space import AddressSpace
from asyncua.server.internal_server import InternalServer
from asyncua.server.internal_session import InternalSession, SessionState
from asyncua.server.internal_subscription import InternalSubscription
from asyncua.server.subscription_service import SubscriptionService
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.status_codes import StatusCodes

from controller.opcua.access import NOBODY, Access, Who
from controller.opcua.names import in_namespace, status
from controller.opcua.space import Method
from controller.users import Role

MOST_SESSIONS = 50
MOST_SUBSCRIPTIONS = 20
MOST_ITEMS = 10_000
MOST_OPERATIONS = 2_000
MOST_QUEUED = 100
PUBLISHING_MS = (50.0, 60_000.0)
LONGEST_SESSION_MS = 3_600_000.0
ORPHAN_S = 60.0
"""How long a session with subscriptions outlives its connection."""


Methods = Mapping[tuple[ua.NodeId, ua.NodeId], Method]


class Calls(Protocol):
    """Carries calls to the factory."""

    async def __call__(self, method: Method, given: Sequence[ua.Variant], user: str) -> ua.CallMethodResult:
        """What became of a call by a user who may make it."""
        ...


def few(asked: Sequence[Any] | None) -> None:
    """That no more is asked for at once than is told in the server's OperationLimits.

    Raises:
        ServiceError: more is.
    """
    if asked is not None and len(asked) > MOST_OPERATIONS:
        raise ServiceError(StatusCodes.BadTooManyOperations)


class Sessions(InternalServer):
    """asyncua's server without its user manager, and with sessions of ours.

    Attributes:
        access: who may do what.
        methods: what can be called, by object and method; of a method, the instance's NodeId or its type's.
        calls: carries a call out.
        policy: makes the policy of a sealed channel.
        certificate_der: ours, as it goes over the wire.
    """

    policy: SecurityPolicyFactory
    certificate_der: bytes
    access: Access
    methods: Methods
    calls: Calls

    def __init__(self) -> None:
        super().__init__()
        self.allow_remote_admin = False
        self.user_manager = None  # asyncua's own would make "admin" almighty
        self.supported_tokens = (ua.AnonymousIdentityToken, ua.UserNameIdentityToken)  # type: ignore[assignment]
        self.match_discovery_endpoint_url = self.match_discovery_source_ip = False
        self.max_session_timeout_ms = LONGEST_SESSION_MS
        self.max_subscriptions = MOST_SESSIONS * MOST_SUBSCRIPTIONS
        self.max_lifetime_count, self.max_keep_alive_count = 3_000, 1_000
        self.max_monitored_item_queue_size = self.max_unacked_messages_per_subscription = MOST_QUEUED

    def create_session(self, name: str, user: User | None = None, external: bool = False) -> "Session":
        """A new session of a client.

        Raises:
            ServiceError: there are too many.
        """
        if len(self._external_sessions) >= MOST_SESSIONS:
            raise ServiceError(StatusCodes.BadTooManySessions)
        return Session(self, self.aspace, self.subscription_service, name)

    def session(self, token: ua.NodeId) -> "Session | None":
        """The live session with a token."""
        found = self._external_sessions.get(token)
        return found if isinstance(found, Session) else None

    def owner(self, subscription: InternalSubscription) -> "Session | None":
        """The live session that a subscription belongs to."""
        mine = (s for s in self._external_sessions.values() if s.session_id == subscription.session_id)
        found = next(mine, None)
        return found if isinstance(found, Session) else None

    async def stop(self) -> None:
        """End at once instead of at the next full second."""
        if self.time_task is not None:
            self.time_task.cancel()
            self.time_task = None
        await super().stop()


class Session(InternalSession):
    """One client's session.

    Attributes:
        channel: the secure channel it is bound to; requests over another one are not its own.
        certificate: of the client who created it; no other one may take it over.
        who: its user.
    """

    def __init__(self, server: Sessions, space: AddressSpace, subscriptions: SubscriptionService, name: str) -> None:
        super().__init__(server, space, subscriptions, name, User(role=UserRole.Anonymous))
        self.session_id = in_namespace(1, secrets.randbits(31))
        self.auth_token = in_namespace(0, secrets.token_bytes(32))
        self.channel: object = None
        self.certificate = b""
        self.who: Who = NOBODY
        self._server = server
        self._agreed_s = 0.0
        self.external = True
        server.register_external_session(self)

    @property
    def alive(self) -> bool:
        """Not closed yet."""
        return self.state is not SessionState.Closed

    @property
    def subscriptions(self) -> dict[int, InternalSubscription]:
        """Its own subscriptions."""
        every = self.subscription_service.subscriptions
        return {number: sub for number, sub in every.items() if sub.session_id == self.session_id}

    def own(self, number: int) -> None:
        """That a subscription is its own.

        Raises:
            ServiceError: it is not, or there is none.
        """
        if number not in self.subscriptions:
            raise ServiceError(StatusCodes.BadSubscriptionIdInvalid)

    def activated(self, who: Who, tokens: int) -> ua.ActivateSessionResult:
        """Make it a user's. `tokens`: how many software certificates came with the request; each gets a Good."""
        if self.state is SessionState.Created:
            self.state = SessionState.Activated
            InternalSession._current_connections += 1
        self.who = who
        self.nonce = secrets.token_bytes(32)
        self._live_for(self._agreed_s)
        return ua.ActivateSessionResult(ServerNonce=self.nonce, Results=[ua.StatusCode() for _ in range(tokens)])

    def orphaned(self) -> None:
        """Its connection is lost: it waits for its client, but not for long."""
        self._live_for(min(self._agreed_s, ORPHAN_S))

    def _live_for(self, idle_s: float) -> None:
        """Close it when nothing is asked for so long."""
        self.session_timeout = idle_s
        if self._timeout_task is not None:
            self._timeout_task.cancel()
            self._timeout_task = None
        self.touch()
        self._start_timeout_watchdog()

    async def create_session(
        self, params: ua.CreateSessionParameters, sockname: tuple[str, int] | None = None
    ) -> ua.CreateSessionResult:
        """What a new session is told."""
        made = await super().create_session(params, sockname)
        self._agreed_s = made.RevisedSessionTimeout / 1000
        return made

    async def close_session(self, delete_subs: bool = True) -> None:
        """Close it with its subscriptions, whatever the client wishes for those: nobody would own them."""
        await super().close_session(True)

    async def read(self, params: ua.ReadParameters) -> list[ua.DataValue]:
        """Read; `UserExecutable` is told as it is for this user."""
        few(params.NodesToRead)
        results = await super().read(params)
        for index, wanted in enumerate(params.NodesToRead):
            if wanted.AttributeId == AttributeIds.UserExecutable and results[index].Value is not None:
                may = self._server.access.may(self.who, Role.OPERATOR)
                results[index] = ua.DataValue(ua.Variant(may, ua.VariantType.Boolean))
        return results

    async def write(self, params: ua.WriteParameters) -> list[ua.StatusCode]:
        """Nothing is written over OPC UA, by nobody: machines are asked by their methods."""
        few(params.NodesToWrite)
        return [status(StatusCodes.BadUserAccessDenied) for _ in params.NodesToWrite]

    async def browse(self, params: ua.BrowseParameters) -> list[ua.BrowseResult]:
        """Browse."""
        few(params.NodesToBrowse)
        return await super().browse(params)

    async def translate_browsepaths_to_nodeids(self, params: list[ua.BrowsePath]) -> list[ua.BrowsePathResult]:
        """Find nodes by their browse names."""
        few(params)
        if any(not path.RelativePath.Elements for path in params):
            raise ServiceError(StatusCodes.BadNothingToDo)
        return await super().translate_browsepaths_to_nodeids(params)

    async def call(self, params: list[ua.CallMethodRequest]) -> list[ua.CallMethodResult]:
        """Ask something of the factory, one after the other."""
        few(params)
        return [await self._call(one) for one in params]

    async def _call(self, asked: ua.CallMethodRequest) -> ua.CallMethodResult:
        method = self._server.methods.get((asked.ObjectId, asked.MethodId))
        if method is None:
            known = asked.ObjectId in self.aspace
            return refused(StatusCodes.BadMethodInvalid if known else StatusCodes.BadNodeIdUnknown)
        if not self._server.access.may(self.who, Role.OPERATOR):
            return refused(StatusCodes.BadUserAccessDenied)
        return await self._server.calls(method, asked.InputArguments or [], self.who.name)

    async def create_subscription(
        self,
        params: ua.CreateSubscriptionParameters,
        callback: Callable[..., Any],
        request_callback: Callable[..., Any] | None = None,
    ) -> ua.CreateSubscriptionResult:
        """Subscribe; the interval is revised to one that can be kept."""
        if len(self.subscriptions) >= MOST_SUBSCRIPTIONS:
            raise ServiceError(StatusCodes.BadTooManySubscriptions)
        asked = params.RequestedPublishingInterval
        low, high = PUBLISHING_MS
        params.RequestedPublishingInterval = min(max(asked, low), high) if math.isfinite(asked) else low
        return await super().create_subscription(params, callback, request_callback)

    def modify_subscription(self, params: ua.ModifySubscriptionParameters) -> ua.ModifySubscriptionResult:
        """Modify one of its own."""
        self.own(params.SubscriptionId)
        return super().modify_subscription(params)

    async def delete_subscriptions(self, ids: list[int]) -> list[ua.StatusCode]:
        """Delete its own; others' are not found."""
        few(ids)
        mine = self.subscriptions
        unknown = status(StatusCodes.BadSubscriptionIdInvalid)
        return [(await super(Session, self).delete_subscriptions([n]))[0] if n in mine else unknown for n in ids]

    async def set_publishing_mode(self, params: ua.SetPublishingModeParameters) -> list[ua.StatusCode]:
        """Switch its own subscriptions on and off."""
        for number in params.SubscriptionIds:
            self.own(number)
        return await super().set_publishing_mode(params)

    async def create_monitored_items(self, params: ua.CreateMonitoredItemsParameters) -> list[ua.MonitoredItemCreateResult]:
        """Monitor values in one of its own subscriptions."""
        few(params.ItemsToCreate)
        self.own(params.SubscriptionId)
        monitored = self.subscriptions[params.SubscriptionId].monitored_item_srv._monitored_items
        if len(monitored) + len(params.ItemsToCreate) > MOST_ITEMS:
            raise ServiceError(StatusCodes.BadTooManyMonitoredItems)
        return await super().create_monitored_items(params)

    async def modify_monitored_items(self, params: ua.ModifyMonitoredItemsParameters) -> list[ua.MonitoredItemModifyResult]:
        """Modify monitored items of one of its own subscriptions."""
        few(params.ItemsToModify)
        self.own(params.SubscriptionId)
        for item in params.ItemsToModify:
            wanted = item.RequestedParameters
            wanted.QueueSize = min(wanted.QueueSize or MOST_QUEUED, MOST_QUEUED)
        return await super().modify_monitored_items(params)

    async def set_monitoring_mode(self, params: ua.SetMonitoringModeParameters) -> list[ua.StatusCode]:
        """Switch monitored items of one of its own subscriptions."""
        few(params.MonitoredItemIds)
        self.own(params.SubscriptionId)
        return await super().set_monitoring_mode(params)

    async def delete_monitored_items(self, params: ua.DeleteMonitoredItemsParameters) -> list[ua.StatusCode]:
        """Delete monitored items of one of its own subscriptions."""
        few(params.MonitoredItemIds)
        self.own(params.SubscriptionId)
        return await super().delete_monitored_items(params)

    def publish(self, acks: Any = None) -> tuple[int, list[ua.StatusCode]]:
        """Acknowledge what came from its own subscriptions, and tell how many it has."""
        mine = self.subscriptions
        if not mine:
            raise ServiceError(StatusCodes.BadNoSubscription)
        results = []
        for ack in acks or ():
            if ack.SubscriptionId in mine:
                mine[ack.SubscriptionId].publish([ack.SequenceNumber])
            results.append(status(0 if ack.SubscriptionId in mine else StatusCodes.BadSubscriptionIdInvalid))
        return len(mine), results

    def republish(self, params: ua.RepublishParameters) -> ua.NotificationMessage:
        """Send what one of its own subscriptions has sent, and nobody has acknowledged, once more."""
        self.own(params.SubscriptionId)
        found = super().republish(params)
        if not found.NotificationData:
            raise ServiceError(StatusCodes.BadMessageNotAvailable)
        return found

    async def transfer_subscriptions(  # type: ignore[override]  # asyncua's own differs from its interface, too
        self, params: ua.TransferSubscriptionsParameters, callback: Callable[..., Awaitable[None]]
    ) -> list[ua.TransferResult]:
        """Take subscriptions over from other sessions of the same client and user."""
        few(params.SubscriptionIds)
        results = [self._take_over(int(number)) for number in params.SubscriptionIds]
        self.publish_over(callback.__self__)  # type: ignore[attr-defined]  # a method of the channel
        return results

    def _take_over(self, number: int) -> ua.TransferResult:
        found = self.subscription_service.subscriptions.get(number)
        owner = self._server.owner(found) if found is not None else None
        if found is None or owner is None or (owner.certificate, owner.who) != (self.certificate, self.who):
            return ua.TransferResult(StatusCode=status(StatusCodes.BadSubscriptionIdInvalid))
        found.session_id = self.session_id
        return ua.TransferResult(AvailableSequenceNumbers=sorted(found._not_acknowledged_results))

    def publish_over(self, channel: Any) -> None:
        """Let its subscriptions publish over a channel."""
        for subscription in self.subscriptions.values():
            subscription.pub_result_callback = channel.forward_publish_response
            subscription.pub_request_callback = channel.get_publish_request


def refused(code: int) -> ua.CallMethodResult:
    """The result of a call that was not made."""
    return ua.CallMethodResult(StatusCode=status(code))
