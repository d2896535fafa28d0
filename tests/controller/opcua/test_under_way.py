"""What is under way in a session: in whose name it is done, when it ends, and that its outcome is told whatever happens."""

import asyncio
import logging
import struct
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from asyncua import ua
from asyncua.ua.status_codes import StatusCodes

from controller.opcua.asked import MOST_CALLS, MOST_WRITES
from controller.opcua.calling import Called, Calling
from controller.opcua.encoding import node_key
from controller.opcua.methods import Methods, Outputs
from controller.opcua.plane import DOUBLE
from controller.opcua.reading import Reading
from controller.opcua.roles import Rule
from controller.opcua.sessions import Session
from controller.opcua.writing import Outcome, Writable, Writing, Wrote
from controller.users import Role
from tests.controller.opcua.answering import METHOD, OBJECT, Place, our
from tests.controller.opcua.wired import Raw, Wired, decoded, status_of

GO = ua.CallParameters([ua.CallMethodRequest(our("machine"), our("go"), [])] * 3)
SET = ua.WriteParameters(
    [ua.WriteValue(our("speed"), ua.AttributeIds.Value, None, ua.DataValue(ua.Variant(float(n)))) for n in range(3)]
)


class Factory(Wired):
    """A machine with a method and a setpoint, behind a core that takes its time."""

    def __init__(self) -> None:
        place, methods = Place(), Methods()
        self.calling = Calling(place.nodes, methods)
        self.writing = Writing(place.nodes, Reading(place.nodes, place.plane))
        super().__init__(offers=(self.calling, self.writing), users={"otto": Role.OPERATOR, "eva": Role.OPERATOR})
        self.asked: list[str] = []
        self.mistake: Exception | None = None
        self.let = asyncio.Event()
        self.called: list[Called] = []
        self.wrote: list[Wrote] = []
        self.calling.called.append(self.called.append)
        self.writing.wrote.append(self.wrote.append)
        place.refer(place.add("machine", OBJECT), 47, place.add("go", METHOD, rule=Rule.COMMAND))
        methods.register(node_key(2, "machine"), node_key(2, "go"), self._go)
        node, _ = place.variable("speed", DOUBLE, Rule.SETPOINT, access=3)
        self.writing.register(node, Writable(DOUBLE, None, self._set))

    async def _core(self, by: Session) -> None:
        self.asked.append(by.who.name)
        await self.let.wait()
        if self.mistake is not None:
            raise self.mistake

    async def _go(self, by: Session, given: Sequence[ua.Variant]) -> Outputs:
        await self._core(by)
        return []

    async def _set(self, by: Session, value: Any) -> Outcome:
        await self._core(by)
        return Outcome(0)

    def statuses(self) -> list[int]:
        """Of the calls and writes that were told, in order."""
        return [one.status for one in self.called] + [one.outcome.status for one in self.wrote]


@pytest.fixture
def factory() -> Iterator[Factory]:
    """It, with nothing under way."""
    with Factory() as made:
        yield made


def begun(factory: Factory, service: str, asked: Any) -> tuple[Raw, int]:
    """Otto, and the number of his request, of which the first operation is under way."""
    client = factory.client("otto")
    number = client.post(service, asked)
    factory.turn()
    assert factory.asked == ["otto"]
    return client, number


BOTH = pytest.mark.parametrize(("service", "asked"), [("Call", GO), ("Write", SET)])


@BOTH
def test_while_commands_are_under_way_their_session_stays_the_users_who_asked(factory: Factory, service: str, asked: Any) -> None:
    client, number = begun(factory, service, asked)
    for other in ("", "eva"):
        assert status_of(lambda other=other: client.activate(other)) == "BadInvalidState"
    client.activate("otto")  # a new nonce for the same user changes nothing
    factory.let.set()
    factory.turn()
    assert status_of(lambda: decoded(client.answer(number))) == "Good"
    assert factory.asked == ["otto"] * 3 and factory.statuses() == [0, 0, 0]
    client.activate("eva")


@BOTH
@pytest.mark.parametrize("how", ["is somebody else's", "has ended"])
def test_no_further_command_is_begun_when_its_session(factory: Factory, service: str, asked: Any, how: str) -> None:
    begun(factory, service, asked)
    (session,) = factory.sessions
    if how == "has ended":
        session.alive = False
    else:
        session.who = type(session.who)("eva")
    factory.let.set()
    factory.turn()
    assert factory.asked == ["otto"] and factory.statuses() == [0] + [StatusCodes.BadUserAccessDenied] * 2


def moved(factory: Factory, client: Raw) -> Raw:
    """The same session over another channel."""
    other = factory.raw("client")
    other.open()
    other.token, other.nonce = client.token, client.nonce
    other.activate("otto")
    return other


@BOTH
@pytest.mark.parametrize("how", ["closes", "cancels"])
def test_a_session_that_has_moved_ends_what_it_began_on_its_old_channel(
    factory: Factory, service: str, asked: Any, how: str
) -> None:
    client, _ = begun(factory, service, asked)
    handle = client.number
    other = moved(factory, client)
    if how == "closes":
        other.ask("CloseSession", b"\x01")
    else:
        assert other.ask("Cancel", struct.pack("<I", handle)).CancelCount == 1
    factory.let.set()
    factory.turn()
    assert factory.asked == ["otto"]
    assert factory.statuses() == [StatusCodes.BadTimeout] + [StatusCodes.BadOperationAbandoned] * 2


@BOTH
def test_commands_that_were_cancelled_before_their_first_step_are_told(factory: Factory, service: str, asked: Any) -> None:
    client = factory.client("otto")

    async def at_once() -> None:
        sent: list[bytes] = []
        client.send = sent.append  # type: ignore[method-assign]
        client.post(service, asked)
        client.wire.gate.data_received(sent[0])
        for task in client.wire.gate.channel.work:
            task.cancel(StatusCodes.BadRequestCancelledByClient)

    number = client.number + 1
    factory.run(at_once())
    factory.turn()
    assert not factory.asked and factory.statuses() == [StatusCodes.BadOperationAbandoned] * 3
    assert status_of(lambda: decoded(client.answer(number))) == "BadRequestCancelledByClient"


@BOTH
def test_a_mistake_of_ours_is_an_internal_error_with_its_outcome_and_is_told_once(
    factory: Factory, service: str, asked: Any, caplog: pytest.LogCaptureFixture
) -> None:
    factory.mistake = TypeError("ours")
    factory.let.set()
    client = factory.client("otto")
    with caplog.at_level(logging.ERROR, "lockstep.opcua"):
        for _ in range(2):
            assert status_of(lambda: client.ask(service, asked)) == "BadInternalError"
    assert factory.asked == ["otto"] * 2 and not client.wire.closed
    assert factory.statuses() == ([StatusCodes.BadInternalError] + [StatusCodes.BadOperationAbandoned] * 2) * 2
    assert [record.exc_info[1] for record in caplog.records if record.exc_info] == [factory.mistake]


@pytest.mark.parametrize(("service", "kind", "most"), [("Call", GO, MOST_CALLS), ("Write", SET, MOST_WRITES)])
def test_no_more_commands_than_operation_limits_tell_come_in_a_request(
    factory: Factory, service: str, kind: Any, most: int
) -> None:
    client = factory.client()  # who may do neither, so that each is refused
    for count, told in ((most, "Good"), (most + 1, "BadTooManyOperations")):
        ((one, *_),) = (getattr(kind, name) for name in ("MethodsToCall", "NodesToWrite") if hasattr(kind, name))
        assert status_of(lambda count=count, one=one: client.ask(service, type(kind)([one] * count))) == told
    assert factory.statuses() == [StatusCodes.BadUserAccessDenied] * most


def test_what_follows_a_requests_fields_is_refused(factory: Factory) -> None:
    client = factory.client("otto")
    for name, content in (("Call", GO), ("Cancel", struct.pack("<I", 5)), ("CloseSession", b"\x01")):
        fields = content if isinstance(content, bytes) else ua.ua_binary.struct_to_binary(content)
        assert status_of(lambda name=name, fields=fields: client.ask(name, fields + b"\x00")) == "BadDecodingError"
    assert not factory.asked and len(factory.sessions) == 1


def test_a_new_password_ends_what_the_old_one_may(factory: Factory) -> None:
    factory.client("otto")
    (session,) = factory.sessions
    assert session.role is Role.OPERATOR
    factory.users.set_password("otto", "another-password")
    assert session.role is Role.OBSERVER


def test_one_who_fails_at_a_sessions_end_keeps_nobody_else_from_it(factory: Factory) -> None:
    client, told, found = factory.client("otto"), list[str](), list[Session | None]()
    (session,) = factory.sessions

    def fail() -> None:
        found.append(factory.sessions.find(session.token))
        raise KeyError("ours")

    factory.sessions.on_closed.insert(0, lambda _: fail())
    factory.sessions.on_closed.append(lambda _: told.append("closed"))
    session.on_close.append(fail)
    client.ask("CloseSession", b"\x01")
    assert found == [None, None]  # from the first moment on
    assert told == ["closed"] and len(factory.sessions) == 0 and not client.wire.gate.channel.sessions
