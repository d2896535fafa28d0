"""Who may ask what, and that each request has one answer: at once, later, or a fault."""

import asyncio
import gc
import struct
from typing import Any

import pytest
from asyncua import ua
from asyncua.common.utils import ServiceError
from asyncua.ua.status_codes import StatusCodes

from controller.opcua.asked import Asked
from controller.opcua.guard import Refused
from controller.opcua.link.dispatch import LONGEST_TEXT, MOST_LATER
from controller.opcua.sessions import Counter
from tests.controller.opcua.link.conftest import reading, served
from tests.controller.opcua.wired import SIGN, Raw, Wired, decoded, status_of
from twin.clock import S

EVERYTHING = """
CreateSession ActivateSession CloseSession Cancel Read Write Browse BrowseNext TranslateBrowsePathsToNodeIds RegisterNodes
UnregisterNodes Call CreateSubscription ModifySubscription SetPublishingMode DeleteSubscriptions TransferSubscriptions Publish
Republish CreateMonitoredItems ModifyMonitoredItems SetMonitoringMode SetTriggering DeleteMonitoredItems HistoryRead HistoryUpdate
""".split()
NEEDING = [name for name in EVERYTHING if name not in ("CreateSession", "ActivateSession", "CloseSession", "Cancel")]


def offer_everything(wired: Wired) -> list[str]:
    """Serve all there is, and tell what was reached."""
    reached: list[str] = []
    wired.link.dispatch.offer({name: lambda asked, name=name: reached.append(name) or b"" for name in NEEDING})
    return reached


@pytest.mark.parametrize("name", EVERYTHING)
def test_without_security_there_is_discovery_and_nothing_else(wired: Wired, name: str) -> None:
    reached, victim, stranger = offer_everything(wired), wired.client(), wired.raw()
    stranger.open(None)
    stranger.token = victim.token
    assert status_of(lambda: stranger.ask(name)) == "BadSecurityPolicyRejected"
    assert not reached and len(stranger.ask("GetEndpoints", ua.GetEndpointsParameters()).Endpoints) == 6


@pytest.mark.parametrize("name", NEEDING)
def test_without_a_session_no_service_is_reached(wired: Wired, name: str) -> None:
    reached, client = offer_everything(wired), wired.raw()
    client.open()
    assert status_of(lambda: client.ask(name)) == "BadSessionIdInvalid"
    client.create()
    assert status_of(lambda: client.ask(name)) == "BadSessionNotActivated"
    assert not reached


@pytest.mark.parametrize("name", ["AddNodes", "DeleteNodes", "AddReferences", "QueryFirst", "RegisterServer", "RegisterServer2"])
def test_what_is_not_served_is_told_so(wired: Wired, name: str) -> None:
    assert status_of(lambda: wired.client("otto").ask(name)) == "BadServiceUnsupported"


def test_a_token_is_worth_something_over_its_own_channel_alone(wired: Wired) -> None:
    theirs, mine = wired.client("otto"), wired.client(name="thief")
    own = mine.token
    for token in (theirs.token, ua.NodeId(), ua.NodeId(1000), ua.NodeId(bytes(32), 0), ua.NodeId("x", 1)):
        mine.token = token
        assert status_of(lambda: mine.ask("Read", reading())) == "BadSessionIdInvalid"
        assert status_of(lambda: mine.ask("CloseSession", b"\x01")) == "BadSessionIdInvalid"
    mine.token = own
    assert served(mine) and served(theirs)


def test_a_service_is_told_who_asks_when_and_how(wired: Wired) -> None:
    seen: list[Asked] = []
    wired.link.dispatch.offer({"Write": lambda asked: seen.append(asked) or b""})
    client = wired.client("otto")
    wired.advance(2)
    client.post("Write", b"fields", timeout_ms=1234)
    (asked,) = seen
    assert asked.session.who.name == "otto" and asked.channel is client.wire.gate.channel
    assert (asked.content[asked.at :], asked.timeout_ms, asked.handle) == (b"fields", 1234, client.number)
    assert asked.received == wired.clock.now() == asked.session.heard >= 2 * S


def with_header(client: Raw, name: str, audit: bytes) -> None:
    """A request whose header has an audit text."""
    number = getattr(ua.ObjectIds, f"{name}Request_Encoding_DefaultBinary")
    token = ua.ua_binary.nodeid_to_binary(client.token)
    head = struct.pack("<BBH", 1, 0, number) + token + struct.pack("<qIIi", 0, 5, 0, len(audit)) + audit
    client.send(client.sealed(head + struct.pack("<I", 0) + b"\x00\x00\x00"))


def test_an_audit_text_reaches_the_service_if_it_is_one(wired: Wired) -> None:
    seen: list[str] = []
    wired.link.dispatch.offer({"Write": lambda asked: seen.append(asked.audit) or b""})
    client = wired.client()
    with_header(client, "Write", "Schicht 2, Müller".encode())
    assert seen == ["Schicht 2, Müller"]
    for wrong, code in ((b"\xff\xfe", "BadDecodingError"), (b"x" * (LONGEST_TEXT + 1), "BadEncodingLimitsExceeded")):
        client = wired.client()
        with_header(client, "Write", wrong)
        assert client.told() == code
    assert len(seen) == 1


def test_a_request_type_may_be_encoded_in_any_way(wired: Wired) -> None:
    client = wired.client()
    long = struct.pack("<BHI", 2, 0, 631) + ua.ua_binary.nodeid_to_binary(client.token)
    body = long + struct.pack("<qIIiI", 0, 5, 0, -1, 0) + b"\x00\x00\x00" + ua.ua_binary.struct_to_binary(reading())
    client.send(client.sealed(body, number=9))
    assert b"\x0b" in client.answer(9)


# ---- faults --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mistake", "code"),
    [
        (ServiceError(StatusCodes.BadNothingToDo), "BadNothingToDo"),
        (Refused(StatusCodes.BadEncodingLimitsExceeded, "deep"), "BadEncodingLimitsExceeded"),
        (struct.error(), "BadInternalError"),
        (ValueError(), "BadInternalError"),
        (KeyError(), "BadInternalError"),
    ],
)
def test_what_a_service_refuses_is_a_fault_and_is_counted(wired: Wired, mistake: Exception, code: str) -> None:
    def refuse(asked: Asked) -> bytes:
        raise mistake

    wired.link.dispatch.offer({"Write": refuse})
    client = wired.client()
    assert status_of(lambda: client.ask("Write")) == code
    assert served(client)
    (session,) = wired.sessions
    assert session.counts == {"Write": Counter(1, 1), "Read": Counter(1, 0)}


def test_an_answer_that_the_session_cannot_take_is_a_fault(wired: Wired) -> None:
    wired.link.dispatch.offer({"Write": lambda asked: bytes(1_000 - 28 + asked.content[asked.at])})
    client = wired.client(most=1_000)
    assert len(client.ask_raw("Write", b"\x00")) == 1_000
    assert status_of(lambda: client.ask("Write", b"\x01")) == "BadResponseTooLarge"


# ---- later ---------------------------------------------------------------------------------------------------------------


class Slow:
    """A service that answers when it is let."""

    def __init__(self, wired: Wired) -> None:
        self.wired = wired
        self.waiting: list[asyncio.Future[bytes]] = []
        self.ended: list[str] = []
        wired.link.dispatch.offer({"Call": self.call})

    def call(self, asked: Asked) -> None:
        asked.later(self.work())

    async def work(self) -> bytes:
        self.waiting.append(asyncio.get_running_loop().create_future())
        try:
            answer = await self.waiting[-1]
        except BaseException as end:
            self.ended.append(type(end).__name__)
            raise
        self.ended.append("answered")
        return answer


def fault(client: Raw, number: int) -> str:
    return status_of(lambda: decoded(client.answer(number)))


def test_while_one_request_waits_others_are_answered_and_each_gets_its_own(wired: Wired) -> None:
    slow, client = Slow(wired), wired.client(mode=SIGN)
    numbers = [client.post("Call", b"") for _ in range(3)]
    assert served(client)
    wired.turn()
    for index in (2, 0, 1):
        slow.waiting[index].set_result(bytes([index]) * 4)
    assert [client.answer(number)[-4:] for number in numbers] == [bytes([index]) * 4 for index in range(3)]
    assert not client.wire.gate.channel.work


def test_a_session_has_so_many_requests_at_work_and_no_more(wired: Wired) -> None:
    slow, client, other = Slow(wired), wired.client(), wired.client(name="thief")
    numbers = [client.post("Call", b"") for _ in range(MOST_LATER + 1)]
    assert fault(client, numbers[-1]) == "BadTooManyOperations"
    other.post("Call", b"")
    assert len(slow.waiting) == MOST_LATER + 1


@pytest.mark.parametrize("how", ["hangs up", "closes its session", "cancels", "has waited long enough"])
def test_work_ends_when_its_client(wired: Wired, how: str) -> None:
    slow, client = Slow(wired), wired.client()
    number = client.post("Call", b"", timeout_ms=3_000)
    handle = client.number
    wired.turn()
    match how:
        case "hangs up":
            client.wire.close()
            told = ""
        case "closes its session":
            client.ask("CloseSession", b"\x01")
            told = "BadSessionClosed"
        case "cancels":
            assert client.ask("Cancel", struct.pack("<I", handle + 5)).CancelCount == 0
            assert client.ask("Cancel", struct.pack("<I", handle)).CancelCount == 1
            told = "BadRequestCancelledByClient"
        case _:
            wired.advance(3.1)
            told = "BadTimeout"
    wired.turn()
    assert slow.ended == ["CancelledError"] and not client.wire.gate.channel.work
    assert not told or fault(client, number) == told


def test_work_that_never_began_ends_too(wired: Wired, recwarn: pytest.WarningsRecorder) -> None:
    slow, client = Slow(wired), wired.client()

    async def at_once() -> None:
        sent: list[bytes] = []
        client.send = sent.append  # type: ignore[method-assign]
        client.post("Call", b"")
        client.wire.gate.data_received(sent[0])
        client.wire.close()
        client.wire.gate.connection_lost(None)

    wired.run(at_once())
    wired.turn()
    gc.collect()
    assert not slow.waiting and not slow.ended and not recwarn.list  # nor is it missed by the interpreter


@pytest.mark.parametrize("mistake", [ServiceError(StatusCodes.BadNotFound), ValueError(), KeyError()])
def test_what_work_refuses_or_fails_with_is_a_fault(wired: Wired, mistake: Exception) -> None:
    slow, client = Slow(wired), wired.client()
    number = client.post("Call", b"")
    wired.turn()
    slow.waiting[0].set_exception(mistake)
    assert fault(client, number) == ("BadNotFound" if isinstance(mistake, ServiceError) else "BadInternalError")
    assert served(client)


def test_an_answer_that_cannot_be_sent_is_told_to_the_loop_and_ends_that_connection_alone(wired: Wired) -> None:
    told: list[Any] = []
    wired.loop.set_exception_handler(lambda loop, context: told.append(context["exception"]))
    slow, client, other = Slow(wired), wired.client(), wired.client(name="thief")
    client.post("Call", b"")
    wired.turn()
    mistake = KeyError("ours")

    def fail(number: int, body: bytes) -> None:
        raise mistake

    client.wire.gate.channel.answer = fail
    slow.waiting[0].set_result(b"")
    wired.turn()
    assert told == [mistake] and client.wire.closed and served(other)


def test_cancel_asks_whoever_keeps_requests(wired: Wired) -> None:
    asked: list[tuple[str, int]] = []
    wired.sessions.on_cancel.append(lambda session, handle: asked.append((session.name, handle)) or 3)
    assert wired.client().ask("Cancel", struct.pack("<I", 77)).CancelCount == 3
    assert asked == [("wired", 77)]
