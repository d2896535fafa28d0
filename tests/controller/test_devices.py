"""What people ask of machines that are none of ours: checked, written once, and answered by what came of it."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from controller.devices import Counts, Devices, DeviceStands, DeviceWritten, Outcome, Written
from controller.orders.order import OrderError, Why
from controller.orders.requests import check_request
from controller.orders.turn import Answer, Request
from twin.devices import Device, Mirrored, ModbusDevice
from twin.factory import Factory
from twin.maps import Access, Form, Map, Mapped, Method, Place, Table
from twin.maps.map import signal
from twin.trace import Event, Sample
from twin.units import DEG_C, MM_PER_S
from twin.wire import Range

OVEN = Map(
    "oven",
    (
        Mapped(signal("temperature", float, Place(Table.INPUT, 0), DEG_C)),
        Mapped(signal("target", float, Place(Table.HOLDING, 0), DEG_C, Range(0, 300)), Access.RW),
        Mapped(signal("speed", float, Place(Table.HOLDING, 1), MM_PER_S, Range(0, 0.5)), Access.W),
        Mapped(signal("on", bool, Place(Table.COILS, 0, Form.BOOL)), Access.RW),
        Mapped(signal("programme", int, Place(Table.HOLDING, 2), range=Range(0, 9)), Access.RW),
    ),
    methods=(Method("bake", "nsu=urn:x;s=Oven", "nsu=urn:x;s=Bake", (("minutes", float), ("loud", bool))),),
)


class Kitchen:
    """A bus that says what it was asked, and answers as it is told to."""

    def __init__(self, *outcomes: Written) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.cause = ""
        self.outcomes = list(outcomes)
        self.may = asyncio.Event()
        self.may.set()

    async def run(self) -> None:
        await asyncio.Event().wait()

    def take(self) -> Mapping[str, Sample[Any]]:
        return {}

    def link(self, device: str) -> str:
        return self.cause

    def counts(self, device: str) -> Counts:
        return Counts()

    async def write(self, machine: str, name: str, value: Any) -> Written:
        self.asked.append((machine, name, value))
        await self.may.wait()
        return self.outcomes.pop(0)

    async def call(self, machine: str, method: str, arguments: Mapping[str, Any]) -> Written:
        self.asked.append((machine, method, dict(arguments)))
        return self.outcomes.pop(0)


def factory() -> Factory:
    device = Device("kitchen", ModbusDevice("127.0.0.1", 502))
    oven = Mirrored("oven-1", "cell", "kitchen", OVEN)
    return Factory("f", ("cell",), {}, {}, (), {}, 100, 0, (), {"kitchen": device}, {"oven-1": oven})


def asked(bus: Kitchen, *requests: Request, before: Any = None) -> tuple[list[Answer], list[Event], Devices]:
    """What is answered to requests, one after the other, and told."""
    answers: list[Answer] = []
    settled: list[tuple[Request, Written]] = []
    devices = Devices(factory(), {"kitchen": bus}, answers.append, before, lambda r, w: settled.append((r, w)))

    async def ask() -> None:
        async with asyncio.TaskGroup() as tasks:
            for request in requests:
                devices.ask(tasks, request)
                await asyncio.sleep(0)
            bus.may.set()

    asyncio.run(ask())
    return answers, devices.events(), devices


def write(name: str, value: Any, number: int = 1) -> Request:
    return Request(number, "write", {"machine": "oven-1", "signal": name, "value": value}, "ada")


def test_a_value_in_its_unit_is_written_in_si_and_answered_once_it_has_been_read_back() -> None:
    bus = Kitchen(Written(Outcome.CONFIRMED))
    answers, events, devices = asked(bus, write("speed", 250))
    assert bus.asked == [("oven-1", "speed", 0.25)]
    assert answers == [Answer(1, True, "confirmed", None)]
    assert DeviceWritten("oven-1", "speed", 0.25, "confirmed", "", "ada") in events
    assert devices.written["oven-1", "speed"] == 0.25


KINDS = {Outcome.REFUSED: Why.REFUSED, Outcome.MISMATCH: Why.MISMATCH, Outcome.UNKNOWN: Why.UNSURE}


@pytest.mark.parametrize("state", KINDS)
def test_what_was_not_confirmed_is_no_success_and_not_the_value_that_counts(state: Outcome) -> None:
    answers, _, devices = asked(Kitchen(Written(state, "got 3")), write("target", 200.0))
    assert answers == [Answer(1, False, f"{state}: got 3", None, KINDS[state])]
    assert ("oven-1", "target") not in devices.written
    assert str(devices.writes["oven-1", "target"]) == f"{state}: got 3"


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (write("target", 300.5), "outside 0 to 300 °C"),
        (write("target", float("nan")), "must be a number"),
        (write("programme", float("inf")), "must be a number"),
        (write("speed", 10**400), "must be a number"),
        (write("target", True), "must be a number"),
        (write("on", 1), "must be of type bool"),
        (write("programme", 1.5), "whole number"),
        (write("programme", 10), "outside 0 to 9"),
        (write("temperature", 20.0), "that can be written; there are: target, speed, on, programme"),
        (write("colour", 20.0), "no Signal 'colour'"),
        (Request(1, "write", {"machine": "oven-2", "signal": "on", "value": True}, ""), "there are: oven-1"),
        (Request(1, "call", {"machine": "oven-1", "method": "fry", "arguments": {}}, ""), "there are: bake"),
        (Request(1, "call", {"machine": "oven-1", "method": "bake", "arguments": {"minutes": 3}}, ""), "takes minutes, loud"),
        (
            Request(1, "call", {"machine": "oven-1", "method": "bake", "arguments": {"minutes": True, "loud": True}}, ""),
            "minutes must be of type float",
        ),
    ],
)
def test_what_cannot_be_is_refused_by_name_value_and_limit_and_nothing_is_sent(request_: Request, why: str) -> None:
    bus = Kitchen()
    (answer,), _, _ = asked(bus, request_)
    assert not answer.ok and why in answer.text
    assert bus.asked == []


def test_a_second_write_of_a_signal_waits_for_nobody_it_is_refused_while_the_first_is_under_way() -> None:
    bus = Kitchen(Written(Outcome.CONFIRMED))
    bus.may.clear()
    answers, _, devices = asked(bus, write("target", 100, 1), write("target", 200, 2))
    assert [(a.request, a.ok) for a in answers] == [(2, False), (1, True)]
    assert "being written already" in answers[0].text
    assert devices.written["oven-1", "target"] == 100
    assert devices.writes["oven-1", "target"].state is Outcome.CONFIRMED


def test_nothing_is_sent_before_it_has_been_written_down() -> None:
    bus = Kitchen()

    async def refuse(request: Request) -> None:
        raise OrderError("the disk is full", Why.SHUT)

    (answer,), _, _ = asked(bus, write("target", 100), before=refuse)
    assert answer == Answer(1, False, "the disk is full", None, Why.SHUT)
    assert bus.asked == []


def test_a_mistake_in_a_bus_ends_no_more_than_its_write_and_that_is_unknown() -> None:
    bus = Kitchen()  # has no outcome to give
    answers, _, devices = asked(bus, write("target", 100, 1), write("on", True, 2))
    assert [answer.ok for answer in answers] == [False, False] and "unknown: internal error: IndexError" in answers[0].text
    assert devices.writes["oven-1", "on"].state is Outcome.UNKNOWN


@pytest.mark.parametrize("value", [float("inf"), float("nan"), "\ud800"])
def test_a_face_s_request_with_no_number_or_half_a_character_goes_no_further(value: object) -> None:
    with pytest.raises(OrderError, match="must be a short"):
        check_request("write", {"machine": "oven-1", "signal": "target", "value": value})
    with pytest.raises(OrderError, match="must be a short"):
        check_request("call", {"machine": "oven-1", "method": "bake", "arguments": {"minutes": value}})


def test_a_method_is_called_with_its_arguments_and_gives_back_what_it_says() -> None:
    bus = Kitchen(Written(Outcome.CONFIRMED, "", 42))
    arguments = {"minutes": 3, "loud": False}
    answers, _, _ = asked(bus, Request(7, "call", {"machine": "oven-1", "method": "bake", "arguments": arguments}, ""))
    assert bus.asked == [("oven-1", "bake", arguments)]
    assert answers == [Answer(7, True, "confirmed", 42)]


def test_a_link_that_comes_and_goes_is_told_once_each_time() -> None:
    bus = Kitchen()
    devices = Devices(factory(), {"kitchen": bus}, lambda answer: None)
    assert devices.events() == [DeviceStands("kitchen", "")]
    assert devices.events() == [] and devices.link("kitchen") == "up"
    bus.cause = "no connection"
    assert devices.events() == [DeviceStands("kitchen", "no connection")]
    assert devices.link("kitchen") == "lost: no connection"


def test_a_name_that_is_no_signal_is_refused_and_nothing_is_remembered_of_it() -> None:
    answers, _, devices = asked(Kitchen(), *(write(f"colour_{i}", 1, i) for i in range(100)))
    assert len(answers) == 100 and not any(answer.ok for answer in answers)
    assert not devices.writes
