"""What the server does with a core that answers, refuses, goes away, comes back, or is another one."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from asyncua import ua

from controller.feed import feed_signals
from controller.orders.turn import Answer, Request
from controller.users import Role, Users
from tests.controller.factories import shop
from tests.controller.opcua.conftest import PASSWORDS, Site
from tests.controller.opcua.rig import Core, call, connected, eventually, node, running
from twin.factory import read

POSITION = "printer-1/status/x"


@pytest.fixture(autouse=True)
def _agreeable(site: Site) -> Iterator[None]:
    agreed = site.core.answer
    yield
    site.core.answer = agreed


def asked(site: Site, owner: str, method: str, *given: Any) -> tuple[str, list[Any]]:
    """What an operator's call ends with."""

    async def ask() -> tuple[str, list[Any]]:
        async with connected(site.face, "otto", PASSWORDS["otto"]) as client:
            return await call(client, owner, method, *given)

    return asyncio.run(ask())


@pytest.mark.parametrize(
    ("owner", "method", "given", "kind", "args"),
    [
        ("factory", "factory/PlaceOrder", ("r", "p.gcode"), "place_order", {"recipe": "r", "program": "p.gcode"}),
        ("factory", "factory/CancelOrder", (ua.Variant(3, ua.VariantType.UInt32),), "cancel_order", {"order": 3}),
        ("printer-1", "printer-1/LoadJob", ("p",), "load_job", {"machine": "printer-1", "program": "p"}),
        ("printer-1", "printer-1/Start", (), "start", {"machine": "printer-1"}),
        ("belt-1", "belt-1/Pause", (), "pause", {"machine": "belt-1"}),
        ("belt-1", "type:conveyor/Stop", (), "stop", {"machine": "belt-1"}),
        ("belt-1", "belt-1/Reset", (), "reset", {"machine": "belt-1"}),
    ],
)
def test_a_call_becomes_a_request_to_the_core(
    site: Site, owner: str, method: str, given: tuple[Any, ...], kind: str, args: dict[str, Any]
) -> None:
    assert asked(site, owner, method, *given) == ("Good", [True, f"{kind} for otto", 7])
    (request,) = site.core.asked
    assert (request.kind, dict(request.args), request.user) == (kind, args, "otto")


def test_a_refusal_comes_with_its_reason(site: Site) -> None:
    site.core.answer = lambda request: Answer(request.id, False, "printer-1: nothing to start")
    assert asked(site, "printer-1", "printer-1/Start") == ("BadInvalidState", [False, "printer-1: nothing to start", 0])


@pytest.mark.parametrize(
    ("owner", "method", "given", "status"),
    [
        ("printer-1", "printer-1/LoadJob", (), "BadArgumentsMissing"),
        ("printer-1", "printer-1/LoadJob", ("a", "b"), "BadTooManyArguments"),
        ("printer-1", "printer-1/LoadJob", (5,), "BadInvalidArgument"),
        ("printer-1", "printer-1/LoadJob", (ua.Variant(None, ua.VariantType.String),), "BadInvalidArgument"),
        ("belt-1", "printer-1/Start", (), "BadMethodInvalid"),
        ("belt-1", "belt-1/LoadJob", ("a",), "BadMethodInvalid"),
        ("belt-1", "type:printer/Start", (), "BadMethodInvalid"),
        ("belt-9", "belt-9/Start", (), "BadNodeIdUnknown"),
    ],
)
def test_a_call_that_makes_no_sense_does_not_reach_the_core(
    site: Site, owner: str, method: str, given: tuple[Any, ...], status: str
) -> None:
    assert asked(site, owner, method, *given) == (status, [])
    assert site.core.asked == []


def alone(value: float) -> ua.DataValue:
    """A value without a time."""
    return ua.DataValue(ua.Variant(value))


def test_a_setpoint_is_written_by_a_client_as_clients_write_and_a_refusal_can_be_read(site: Site) -> None:
    async def write() -> tuple[str, ...]:
        async with connected(site.face, "otto", PASSWORDS["otto"]) as client:
            speed, refusal = client.get_node(node("belt-1/setpoint/speed")), client.get_node(node("belt-1/LastRefusal"))
            await speed.write_value(alone(80.0))
            with pytest.raises(ua.uaerrors.BadWriteNotSupported):
                await speed.write_value(80.0)  # asyncua adds a time of its own, which Part 4 has us refuse
            site.core.answer = lambda request: Answer(request.id, False, "not now", None, "busy")
            with pytest.raises(ua.uaerrors.BadTooManyOperations):
                await speed.write_value(alone(90.0))
            with pytest.raises(ua.uaerrors.BadOutOfRange):
                await speed.write_value(alone(900.0))
            with pytest.raises(ua.uaerrors.BadNotWritable):
                await client.get_node(node("belt-1/status/speed")).write_value(alone(80.0))
            return str(await refusal.read_value()), *[str(r.args["value"]) for r in site.core.asked]

    last, *asked_for = asyncio.run(write())
    assert last.startswith("belt-1/setpoint/speed for otto: 900 is outside 1 to 500") and asked_for == ["80.0", "90.0"]


def test_a_call_that_waits_for_its_answer_holds_nothing_else_up(site: Site) -> None:
    waiting: list[Request] = []

    def slow(request: Request) -> Answer | None:
        if request.kind == "start":
            waiting.append(request)
            return None
        return Answer(request.id, True, "stopped")

    async def ask() -> tuple[Any, Any, bool]:
        async with connected(site.face, "otto", PASSWORDS["otto"]) as client:
            start = asyncio.create_task(call(client, "printer-1", "printer-1/Start"))
            await eventually(_of(waiting), bool)
            stopped = await call(client, "printer-1", "printer-1/Stop")
            read = await client.get_node(node(POSITION)).read_value()
            unanswered = not start.done()
            start.cancel()
            return stopped, read, unanswered

    site.core.answer = slow
    assert asyncio.run(ask()) == (("Good", [True, "stopped", 0]), pytest.approx(120.5), True)


def _of(found: list[Any]) -> Any:
    async def ask() -> list[Any]:
        return found

    return ask


def test_values_are_doubted_while_the_core_is_gone_and_believed_when_it_is_back(site: Site) -> None:
    async def over_a_restart() -> tuple[Any, Any, Any]:
        async with connected(site.face, "otto", PASSWORDS["otto"]) as client:
            position = client.get_node(node(POSITION))

            async def read() -> Any:
                return await position.read_data_value(raise_on_bad_status=False)

            site.core.stop()
            try:
                lost = "UncertainNoCommunicationLastUsableValue"
                gone = await eventually(read, lambda value: value.StatusCode.name == lost)
                refused = await call(client, "printer-1", "printer-1/Stop")
                site.core.publish(POSITION, 0.033)
            finally:
                site.core.start()
            back = await eventually(read, lambda value: value.StatusCode.name == "Good")
            site.core.publish(POSITION, 0.1205)
            await eventually(read, lambda value: value.Value.Value == pytest.approx(120.5))
            return gone.Value.Value, refused, back.Value.Value

    gone, refused, back = asyncio.run(over_a_restart())
    assert gone == pytest.approx(120.5)
    assert refused == ("BadNoCommunication", [False, "the controller can't be reached", 0])
    assert back == pytest.approx(33.0)


LAMP_SPEC = '''
from typing import Annotated as A
from twin.machine import Input, Output
from twin.units import PERCENT
from twin.wire import OFF, Bit, OnSilence, Range, UInt16, record
import enum

CAPABILITIES = ("light",)

class Colour(enum.IntEnum):
    """What it shines in."""
    RED = 1
    GREEN = 4

@record
class Status:
    burning: A[bool, "the lamp burns", Bit(0, 0)]
    colour: A[Colour, UInt16(1)]
    brightness: A[float, PERCENT, Range(0, 1), UInt16(2, step=0.1)]

@record
class Command:
    on: A[bool, OnSilence(OFF), Bit(0, 0)] = False

BLOCKS = (Input("burning"), Output("on"))
'''
LAMP_CONTROL = """
from twin.machine import Wish

def decide(sample, wish, params, now):
    raise NotImplementedError
"""
LAMP_FACTORY = """
[factory]
name = "lit"
opcua_port = 0
[types.lamp]
path = "lamp"
[cells.c]
[nodes.n]
uid = 9
[machines.lamp-1]
type = "lamp"
cell = "c"
node = "n"
base = 256
pins = { burning = 4, on = 5 }
"""


def test_a_machine_type_from_a_folder_of_its_own_reaches_clients_with_no_other_change(tmp_path: Path, state: Path) -> None:
    (tmp_path / "lamp").mkdir()
    (tmp_path / "lamp/spec.py").write_text(LAMP_SPEC)
    (tmp_path / "lamp/control.py").write_text(LAMP_CONTROL)
    file = tmp_path / "lit.toml"
    file.write_text(LAMP_FACTORY)
    Users(state / "users.json").add("otto", Role.OPERATOR, PASSWORDS["otto"])
    core = Core(read(file), state)
    core.publish("lamp-1/status/burning", True)
    core.publish("lamp-1/status/colour", 4)
    core.publish("lamp-1/status/brightness", 0.5)
    core.start()

    async def look(face: Any) -> dict[str, Any]:
        async with connected(face, "otto", PASSWORDS["otto"]) as client:
            machines = await client.nodes.objects.get_child("5:Machines")
            lamp = await machines.get_child("2:lamp-1")
            kind = client.get_node(await lamp.read_type_definition())
            colour = await lamp.get_child(["2:Status", "2:colour"])
            names = client.get_node(await colour.read_data_type())
            brightness = await lamp.get_child(["2:Status", "2:brightness"])

            async def value() -> Any:
                return await brightness.read_data_value(raise_on_bad_status=False)

            return {
                "brightness": (await eventually(value, lambda v: v.StatusCode.is_good())).Value.Value,
                "type": (await kind.read_browse_name()).Name,
                "burning": await (await lamp.get_child(["2:Status", "2:burning"])).read_value(),
                "colour": await colour.read_value(),
                "names": [(v.Value, v.DisplayName.Text) for v in await (await names.get_child("0:EnumValues")).read_value()],
                "unit": (await (await brightness.get_child("0:EngineeringUnits")).read_value()).DisplayName.Text,
                "start": (await call(client, "lamp-1", "lamp-1/Start"))[0],
            }

    try:
        with running(file, state) as face:
            assert asyncio.run(look(face)) == {
                "brightness": 50.0,
                "type": "LampType",
                "burning": True,
                "colour": 4,
                "names": [(1, "RED"), (4, "GREEN")],
                "unit": "%",
                "start": "Good",
            }
    finally:
        core.stop()


def test_the_demo_factory_shows_all_that_its_feed_carries(site: Site) -> None:
    async def browse() -> set[str]:
        async with connected(site.face) as client:
            found: set[str] = set()
            open_ends = [client.get_node(node("factory")), await client.nodes.objects.get_child("5:Machines")]
            while open_ends:
                for below in await open_ends.pop().get_children_descriptions():
                    if below.NodeId.NamespaceIndex == 2:
                        found.add(below.NodeId.Identifier)
                        open_ends.append(client.get_node(below.NodeId))
            return found

    assert {signal.path for signal in feed_signals(shop())} <= asyncio.run(browse())
