"""What the whole server writes down: each deed once, refusals in few records, and no deed goes for them."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from asyncua import ua
from asyncua.ua.attribute_ids import AttributeIds
from cryptography.hazmat.primitives.serialization import Encoding

from controller.audit.chain import Record
from controller.audit.commands import records
from controller.audit.log import Keep
from controller.audit.verify import Verified, verify
from controller.feed import Answered
from controller.opcua.auditing import LONGEST_ENTRY, REFUSALS
from controller.opcua.link.policies import BASIC256SHA256
from controller.users import Role
from tests.controller.opcua.raw import Raw, decoded
from tests.controller.opcua.whole import Whole
from tests.controller.opcua.wired import SEALED, SIGN, Wired, identity, status_of

USERS = {"otto": Role.OPERATOR, "anna": Role.ADMINISTRATOR}
TRUST_LIST, ADD = 12642, 12668
"""ServerConfiguration/…/TrustList and its AddCertificate (Part 12 §7.8.2)."""
SETPOINT = "belt-1/setpoint/speed"


def folder(whole: Whole) -> Path:
    return Path(whole._folder.name) / "audit"


def told(whole: Whole) -> list[tuple[str, Record]]:
    """All records, each with its chain; the log is closed for that."""
    whole.server.auditing.close()
    return [(writer, line.record) for writer, line in records(folder(whole))]


def ask(client: Raw, name: str, content: Any) -> Any:
    """As `Raw.ask`, of what waits for the disk."""
    number = client.post(name, content)

    def answered() -> bool:
        client.receive()
        return number in client.answers

    until(client.wired, answered)
    return decoded(client.answers.pop(number))


def until(wired: Wired, done: Callable[[], Any]) -> None:
    """Turn the loop until something is done that waits for the disk."""
    for _ in range(20_000):
        wired.turn()
        if done():
            return
        time.sleep(0.001)
    raise TimeoutError("nothing happens any more")


def writes(node: ua.NodeId, value: Any, count: int = 1) -> Any:
    given: Any = ua.WriteParameters()
    one = ua.WriteValue(node, AttributeIds.Value)
    one.Value = ua.DataValue(ua.Variant(value, ua.VariantType.Double))
    given.NodesToWrite = [one] * count
    return given


def calls(owner: ua.NodeId, method: ua.NodeId, *inputs: ua.Variant) -> Any:
    given: Any = ua.CallParameters()
    one = ua.CallMethodRequest(owner, method)
    one.InputArguments = list(inputs)
    given.MethodsToCall = [one]
    return given


def named(path: str) -> ua.NodeId:
    return ua.NodeId(path, 2)  # type: ignore[arg-type]


def numbered(number: int) -> ua.NodeId:
    return ua.NodeId(number, 0)  # type: ignore[arg-type]


EVIL = identity("evil").certificate.public_bytes(Encoding.DER)
START = calls(named("printer-1"), named("printer-1/Start"))


def adding(der: bytes) -> Any:
    trusted = ua.Variant(True, ua.VariantType.Boolean)
    return calls(numbered(TRUST_LIST), numbered(ADD), ua.Variant(der, ua.VariantType.ByteString), trusted)


# ---- floods --------------------------------------------------------------------------------------------------------------------


def test_an_observers_refusals_get_few_records_and_push_no_deed_out_of_the_log() -> None:
    with Whole(users=USERS) as whole:
        whole.server.audit._keep = Keep(file_mb=0.01, mb=0.03)
        whole.client(user="otto")
        observer = whole.client(timeout_ms=600_000)
        observer.post = _with_entry(observer)  # type: ignore[method-assign]
        observer.ask("Write", writes(named("x" * 190), 1.0, 300))
        whole.advance(61)
        whole.server.auditing.look()
        found = told(whole)
        refused = [record for _, record in found if record.action == "write"]
        assert 0 < len(refused) <= REFUSALS and {len(record.entry) for record in refused} == {LONGEST_ENTRY}
        assert "BadNodeIdUnknown" in {record.status for record in refused}
        sums = [record for _, record in found if record.action == "refused"]
        assert sums[-1].text == f"{300 - REFUSALS} more were refused, more than {REFUSALS} a minute" and sums[-1].role == "observer"
        assert [record.who for writer, record in found if writer == "opcua" and record.action == "login"] == ["otto"]
        assert isinstance(verify(folder(whole)), Verified)


def _with_entry(client: Raw) -> Any:
    """Posts with a long AuditEntryId."""
    plain = ua.RequestHeader

    def post(name: str, content: Any, timeout_ms: int = 0) -> int:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(ua, "RequestHeader", lambda: plain(AuditEntryId="e" * 1_000))
            return Raw.post(client, name, content, timeout_ms)

    return post


def test_strangers_do_not_hide_wrong_passwords() -> None:
    with Whole(users=USERS) as whole:
        for _ in range(2 * REFUSALS):
            whole.raw("evil").send(b"XXXF\x08\0\0\0")
            whole.turn()
        client = whole.client()
        for _ in range(3):
            assert status_of(lambda: client.activate("otto", "wrong")) == "BadUserAccessDenied"
        whole.advance(61)
        whole.server.auditing.look()
        found = [record for _, record in told(whole)]
        assert [record.target for record in found if record.action == "login" and record.status != "Good"] == ["otto"] * 3
        (counted,) = [record for record in found if record.action == "refused"]
        assert counted.target == "connections" and counted.text.startswith(f"{REFUSALS} more were refused")


def test_a_channel_is_told_as_its_clients_once_it_was_used_and_not_when_it_was_only_opened() -> None:
    with Whole() as whole:
        client = whole.raw("client")
        client.policy, client.mode = BASIC256SHA256, SEALED
        client.hello()
        client.chunks()
        opening = client.opening()
        client.send(opening)
        client.opened()
        stranger = whole.raw("evil")
        stranger.hello()
        stranger.chunks()
        stranger.send(opening)  # a recorded one, sent again
        write, noted = whole.server.visits.note, list[Record]()

        def note(record: Record) -> bool:
            noted.append(record)
            return write(record)

        whole.server.visits.note = note  # type: ignore[method-assign]
        client.create()
        client.activate()
        assert [record.status for record in noted if record.action == "channel"] == ["Good"]
        assert [record.status for _, record in told(whole) if record.action == "channel"].count("Good") == 1


# ---- each deed once --------------------------------------------------------------------------------------------------------------


def test_each_write_and_call_that_was_accepted_has_one_intent_and_one_outcome_with_a_name() -> None:
    with Whole(users=USERS) as whole:
        answers = iter([Answered(1, True, "done"), Answered(2, False, "not now"), *[Answered(3, True, "done")] * 9])

        async def core(kind: str, args: Any, user: str, patience_s: float) -> Answered:
            return next(answers)

        whole.server.core.ask = core  # type: ignore[method-assign]
        otto, observer = whole.client(user="otto"), whole.client()
        ask(otto, "Call", START)
        ask(otto, "Call", START)
        ask(otto, "Write", writes(named(SETPOINT), 100.0))
        ask(otto, "Write", writes(named("nothing"), 0.1))
        ask(observer, "Call", START)
        ask(observer, "Write", writes(named(SETPOINT), 100.0))
        found = [(writer, r.action, r.who, r.status) for writer, r in told(whole) if r.action in ("call", "write")]
        assert Counter(found) == Counter(
            {
                ("opcua", "call", "otto", "asked"): 2,
                ("opcua", "call", "otto", "Good"): 1,
                ("opcua", "call", "otto", "BadInvalidState"): 1,
                ("opcua", "write", "otto", "asked"): 1,
                ("opcua", "write", "otto", "Good"): 1,
                ("visits", "write", "otto", "BadNodeIdUnknown"): 1,
                ("visits", "call", "", "BadUserAccessDenied"): 1,
                ("visits", "write", "", "BadUserAccessDenied"): 1,
            }
        )


def test_a_change_of_trust_has_one_intent_and_one_outcome() -> None:
    with Whole(users=USERS) as whole:
        anna = whole.client(user="anna")
        assert [one.StatusCode.name for one in ask(anna, "Call", adding(EVIL)).Results] == ["Good"]
        assert [one.StatusCode.name for one in ask(anna, "Call", adding(b"junk")).Results] == ["BadCertificateInvalid"]
        found = [(record.action, record.status, record.who) for _, record in told(whole) if record.action in ("call", "trust")]
        asked = ("call", "asked", "anna")
        assert found == [asked, ("trust", "Good", "anna"), asked, ("trust", "BadCertificateInvalid", "anna")]


def test_while_the_log_cannot_be_written_nobody_is_trusted_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    with Whole(users=USERS) as whole:
        anna = whole.client(user="anna")
        with monkeypatch.context() as patched:
            patched.setattr("controller.audit.log.write_whole", _full)
            assert [one.StatusCode.name for one in ask(anna, "Call", adding(EVIL)).Results] == ["BadResourceUnavailable"]
        assert identity("evil").certificate not in whole.server.trust.current.trusted


def _full(handle: int, content: bytes) -> None:
    raise OSError(28, "No space left on device")


def test_when_the_server_ends_the_end_of_each_session_is_written_down() -> None:
    with Whole(users=USERS) as whole:
        never: list[asyncio.Future[Any]] = []

        async def core(kind: str, args: Any, user: str, patience_s: float) -> Answered:
            never.append(asyncio.get_running_loop().create_future())
            found: Answered = await never[0]
            return found

        whole.server.core.ask = core  # type: ignore[method-assign]
        otto = whole.client(user="otto")
        whole.client()
        otto.post("Call", START)
        until(whole, lambda: bool(never))
        whole.run(whole.server.stop("maintenance"))
        found = [record for _, record in told(whole)]
        assert [record.status for record in found if record.action == "call"] == ["asked", "BadTimeout"]
        assert sorted(record.who for record in found if record.text == "ended") == ["", "otto"]
        assert [record.text for record in found if record.action == "server"] == ["stopped: maintenance"]


def test_a_session_that_moves_to_a_channel_that_is_only_signed_is_overheard() -> None:
    with Whole(users=USERS) as whole:
        first = whole.client(user="anna")
        (session,) = whole.sessions
        assert [session.overheard] == [False]
        second = whole.raw("client")
        second.open(BASIC256SHA256, SIGN)
        second.token, second.nonce = first.token, first.nonce
        second.activate("anna")
        assert [session.overheard] == [True]
        third = whole.raw("client")
        third.open(BASIC256SHA256, SEALED)
        third.token, third.nonce = second.token, second.nonce
        third.activate("anna")
        assert [session.overheard] == [False]
