"""A running server's audit: its log, its events, who receives them, and no secret in any of it."""

import asyncio
import contextlib
from typing import Any

import pytest
from asyncua import Client, ua
from asyncua.ua.object_ids import ObjectIds

from controller.__main__ import main
from controller.audit.commands import records
from tests.controller.opcua.conftest import PASSWORDS, Site
from tests.controller.opcua.rig import PATIENCE_S, call, connected, made, status_of


class Heard:
    """What comes of a subscription to events."""

    def __init__(self) -> None:
        self.events: asyncio.Queue[Any] = asyncio.Queue()

    def event_notification(self, event: Any) -> None:
        self.events.put_nowait(event)

    async def until(self, kind: int) -> Any:
        """The next event of a type."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                event = await self.events.get()
                if event.EventType == ua.NodeId(kind):
                    return event


async def listening(client: Client) -> Heard:
    heard = Heard()
    subscription = await client.create_subscription(50, heard)
    await subscription.subscribe_events(evtypes=[client.get_node(ua.NodeId(ObjectIds.AuditUpdateMethodEventType))])
    return heard


def test_a_command_is_in_the_log_and_administrators_hear_of_it(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    async def command() -> tuple[Any, bool]:
        async with connected(site.face, "anna", PASSWORDS["anna"]) as anna, connected(site.face, "erin", PASSWORDS["erin"]) as erin:
            heard, unheard = await listening(anna), await listening(erin)
            async with connected(site.face, "otto", PASSWORDS["otto"]) as otto:
                assert (await call(otto, "belt-1", "belt-1/Start"))[0] == "Good"
            return await heard.until(ObjectIds.AuditUpdateMethodEventType), unheard.events.empty()

    event, nothing_heard = asyncio.run(command())
    assert nothing_heard, "audit events are for administrators"
    assert (event.ClientUserId, event.Status, event.MethodId) == ("otto", True, ua.NodeId("belt-1/Start", 2))
    assert event.SourceNode == ua.NodeId("belt-1", 2)
    state = str(site.face.state)
    told = [line.record for _, line in records(site.face.state / "audit") if line.record.who == "otto"]
    assert [(record.action, record.status) for record in told if record.target == "belt-1/Start"][-2:] == [
        ("call", "asked"),
        ("call", "Good"),
    ]
    assert {"login", "session"} <= {record.action for record in told} and all(record.where for record in told if record.target)
    assert main(["audit", "--state", state, "verify"]) == 0
    assert "whole: " in capsys.readouterr().out


def test_no_password_is_anywhere(site: Site) -> None:
    async def knock(user: str, password: str) -> str:
        client = made(site.face, user, password)
        status = await status_of(client.connect())
        with contextlib.suppress(ua.UaError, ConnectionError):
            await client.disconnect()
        return status

    assert asyncio.run(knock("otto", "canary-in-the-mine")) == "BadUserAccessDenied"
    assert asyncio.run(knock("otto", PASSWORDS["otto"])) == "Good"
    refused = [line.record for _, line in records(site.face.state / "audit") if line.record.status == "BadUserAccessDenied"]
    assert refused[-1].action == "login" and refused[-1].target == "otto" and refused[-1].who == ""
    every = b"".join(path.read_bytes() for path in site.face.state.rglob("*") if path.is_file() and not path.is_socket())
    every += "\n".join(site.face.lines).encode() + "\n".join(site.face._printed.queue).encode()  # type: ignore[arg-type]
    for password in ("canary-in-the-mine", *PASSWORDS.values()):
        assert password.encode() not in every and password.encode("utf-16-le") not in every
