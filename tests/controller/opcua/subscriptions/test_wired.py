"""Subscriptions through the whole link: a channel that signs and encrypts, sessions that are lost and found, Cancel."""

import struct
from typing import Any

from asyncua import ua
from asyncua.ua.ua_binary import struct_to_binary

from controller.opcua.reading import Reading
from controller.opcua.subscriptions import Engine, Subscriptions
from tests.controller.opcua.subscriptions.stage import Stage, changes_of, item
from tests.controller.opcua.wired import Raw, Wired, decoded


class Line:
    """A server on wires of memory with the nodes and values of a stage."""

    def __init__(self, doubles: int) -> None:
        self.stage = Stage(doubles)
        stage = self.stage
        stage.plane.listeners.clear()
        stage.events.listeners.clear()
        self.wired = Wired()
        loop = self.wired.loop
        read = Reading(stage.nodes, stage.plane).read_value
        self.engine = Engine(
            stage.nodes, stage.plane, stage.events, read, self.wired.clock, loop.call_later, loop.call_soon, stage.utc
        )
        served = Subscriptions(self.engine)
        self.wired.link.dispatch.offer(served.services())
        self.wired.sessions.on_cancel.append(served.cancel)

    def subscribe(self, client: Raw, items: int) -> int:
        made = client.ask("CreateSubscription", ua.CreateSubscriptionParameters(100.0, 1000, 100, 0, True, 0))
        laid = b"".join(struct_to_binary(item(key, at)) for at, key in enumerate(self.stage.keys[:items]))
        client.ask_raw("CreateMonitoredItems", struct.pack("<IIi", made.SubscriptionId, 2, items) + laid)
        return int(made.SubscriptionId)


def publish(client: Raw) -> int:
    return client.post("Publish", struct.pack("<i", -1))


def answered(client: Raw, number: int) -> Any:
    return decoded(client.answer(number))


def test_a_thousand_values_come_through_an_encrypted_channel_as_they_were_put() -> None:
    line = Line(1_000)
    with line.wired as wired:
        client = wired.client()
        line.subscribe(client, 1_000)
        request = publish(client)
        line.stage.put([float(at) for at in range(1_000)])
        wired.advance(0.11)
        found = changes_of(answered(client, request))
        assert [(handle, value.Value.Value) for handle, value in found] == [(at, float(at)) for at in range(1_000)]


def test_a_subscription_outlives_its_session_and_is_taken_over_by_the_next_one_of_its_client() -> None:
    line = Line(2)
    with line.wired as wired:
        first = wired.client()
        number = line.subscribe(first, 2)
        first.ask_raw("CloseSession", b"\x00")
        line.stage.put([1.0, 2.0])
        wired.advance(0.2)
        second = wired.client()
        request = b"\x01\x00\x00\x00" + struct.pack("<I?", number, True)
        (result,) = second.ask("TransferSubscriptions", request).Results
        assert (result.StatusCode.value, result.AvailableSequenceNumbers) == (0, [])
        waiting = publish(second)
        wired.advance(0.2)
        assert [value.Value.Value for _, value in changes_of(answered(second, waiting))] == [1.0, 2.0]
        second.ask_raw("CloseSession", b"\x01")
        assert len(line.engine) == 0
