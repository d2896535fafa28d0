"""What becomes of calls, writes and values with a core that answers, refuses, goes away, comes back, or falls silent."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.ua_binary import from_binary, struct_to_binary

from controller.feed import Desk, Feed, Row, feed_signals, schema_hash, serve
from controller.opcua.asked import Asked
from controller.opcua.calling import Calling
from controller.opcua.commanding import Commanding
from controller.opcua.core_link import CoreLink, Values
from controller.opcua.encoding import node_key
from controller.opcua.methods import Methods
from controller.opcua.reading import Reading
from controller.opcua.space import Kind, space
from controller.opcua.writing import Writing
from controller.orders.order import Why
from controller.orders.turn import Answer, Request
from controller.users import Role
from tests.controller.factories import shop
from tests.controller.opcua.answering import Place, listed, our, session
from tests.controller.test_devices import OVEN
from tests.controller.test_devices import factory as kitchen
from twin.clock import LoopClock, Ns, S
from twin.factory import Factory
from twin.maps import Form, Mapped, Table
from twin.maps import Place as Register
from twin.maps.map import signal

POSITION, LATCHED = "printer-1/status/x", "node:printer-1/status/latched"
WORDS = 0x80
Judge = Callable[[Request], Answer | None]


def done(request: Request) -> Answer | None:
    """A core that does what it is asked for."""
    return Answer(request.id, True, f"{request.kind} for {request.user}", 7)


class Face:
    """A server's services over a core that a test plays: everything but the wire to the client."""

    def __init__(self, folder: Path, factory: Factory, clock: Any) -> None:
        self.signals = feed_signals(factory)
        self.at = {signal.path: index for index, signal in enumerate(self.signals)}
        self.socket = folder / "feed.sock"
        shown, self.place = space(factory, self.signals), Place()
        rows = self.place.show(shown)
        nodes, plane = self.place.nodes, self.place.plane
        self.values = Values(plane, shown.variables[: len(self.signals)], rows[: len(self.signals)])
        self.link = CoreLink(self.socket, schema_hash(self.signals), self.values, clock)
        self.reading = Reading(nodes, plane)
        methods = Methods()
        self.calling, self.writing = Calling(nodes, methods), Writing(nodes, self.reading)
        Commanding(nodes, plane, shown, self.link).register(methods, self.calling, self.writing, self.reading)
        self.asked: list[Request] = []
        self.judge: Judge = done
        self.feed, self.desk = Feed(self.signals), Desk()

    @contextlib.asynccontextmanager
    async def core(self) -> AsyncIterator[None]:
        """As long as there is one."""
        async with serve(self.socket, self.feed, self.desk):
            scanning = asyncio.create_task(self._scan())
            try:
                yield
            finally:
                scanning.cancel()

    async def _scan(self) -> None:
        while True:
            for request in self.desk.take():
                self.asked.append(request)
                if (answer := self.judge(request)) is not None:
                    self.desk.answer(answer)
            await asyncio.sleep(0.002)

    def tell(self, path: str, value: Any, quality: int = 0, cause: str = "") -> None:
        """A row of the Feed."""
        self.feed.publish([Row(self.at[path], value, quality, cause, 1_700_000_000_000_000_000)])

    def read(self, path: str) -> tuple[Any, str]:
        """A Variable's value and status."""
        node = self.place.nodes.find(node_key(2, path))
        found: Any = from_binary(ua.DataValue, Buffer(self.reading.read_value(session(), node)))
        return found.Value.Value, found.StatusCode.name

    async def ask(self, handle: Any, request: Any, role: Role = Role.OPERATOR) -> bytes:
        """A service's answer."""
        late: list[Any] = []
        content = struct_to_binary(request)
        made = Asked(session(role), 1, content, 0, Ns(0), lambda *_: None, lambda _, work: late.append(work), diagnostics=WORDS)
        found: bytes | None = handle(made)
        return await late[0] if found is None else found

    async def call(self, owner: str, method: str, *given: Any, role: Role = Role.OPERATOR) -> tuple[str, list[Any], str]:
        """A call's status, its outputs, and its words."""
        inputs = [v if isinstance(v, ua.Variant) else ua.Variant(v) for v in given]
        asked = ua.CallParameters([ua.CallMethodRequest(our(owner), our(method), inputs)])
        (result,), words = listed(await self.ask(self.calling.call, asked, role), ua.CallMethodResult)
        return result.StatusCode.name, [o.Value for o in result.OutputArguments], words[0].AdditionalInfo if words else ""

    async def write(self, path: str, value: Any, role: Role = Role.OPERATOR) -> tuple[str, str]:
        """A write's status and words."""
        one = ua.WriteValue(our(path), AttributeIds.Value, None, ua.DataValue(ua.Variant(value)))
        (status,), words = listed(await self.ask(self.writing.write, ua.WriteParameters([one]), role), ua.StatusCode)
        return status.name, words[0].AdditionalInfo if words else ""


async def until(holds: Callable[[], Any]) -> None:
    """Return once something holds."""
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.002)


@contextlib.asynccontextmanager
async def faced(folder: Path, factory: Factory | None = None, first: str = POSITION) -> AsyncIterator[Face]:
    """A face with its core, once it has told a first value."""
    face = Face(folder, factory or shop(), LoopClock(asyncio.get_running_loop()))
    face.tell(first, 0.1205)
    async with face.core():
        following = asyncio.create_task(face.link.run())
        await until(lambda: face.read(first)[1] == "Good")
        yield face
        following.cancel()


def test_each_call_and_each_write_becomes_a_request_to_the_core(tmp_path: Path) -> None:
    three = ua.Variant(3, ua.VariantType.UInt32)
    calls: list[tuple[str, str, tuple[Any, ...], str, dict[str, Any]]] = [
        ("factory", "factory/PlaceOrder", ("r", "p.gcode"), "place_order", {"recipe": "r", "program": "p.gcode"}),
        ("factory", "factory/CancelOrder", (three,), "cancel_order", {"order": 3}),
        ("printer-1", "printer-1/LoadJob", ("p",), "load_job", {"machine": "printer-1", "program": "p"}),
        ("printer-1", "printer-1/Start", (), "start", {"machine": "printer-1"}),
        ("belt-1", "belt-1/Pause", (), "pause", {"machine": "belt-1"}),
        ("belt-1", "type:conveyor/Stop", (), "stop", {"machine": "belt-1"}),
        ("belt-1", "belt-1/Reset", (), "reset", {"machine": "belt-1"}),
    ]

    async def act() -> None:
        async with faced(tmp_path) as face:
            for owner, method, given, kind, args in calls:
                assert await face.call(owner, method, *given) == ("Good", [True, f"{kind} for otto", 7], "")
                assert (face.asked[-1].kind, dict(face.asked[-1].args), face.asked[-1].user) == (kind, args, "otto")
            assert await face.write("belt-1/setpoint/speed", 80.0) == ("Good", "write for otto")
            assert dict(face.asked[-1].args) == {"machine": "belt-1", "signal": "speed", "value": 80.0}

    asyncio.run(act())


def test_what_makes_no_sense_or_may_not_be_does_not_reach_the_core(tmp_path: Path) -> None:
    calls: list[tuple[str, str, tuple[Any, ...], str]] = [
        ("printer-1", "printer-1/LoadJob", (), "BadArgumentsMissing"),
        ("printer-1", "printer-1/LoadJob", ("a", "b"), "BadTooManyArguments"),
        ("printer-1", "printer-1/LoadJob", (5,), "BadInvalidArgument"),
        ("printer-1", "printer-1/LoadJob", (ua.Variant(None, ua.VariantType.String),), "BadInvalidArgument"),
        ("belt-1", "printer-1/Start", (), "BadMethodInvalid"),
        ("belt-1", "belt-1/LoadJob", ("a",), "BadMethodInvalid"),
        ("belt-1", "type:printer/Start", (), "BadMethodInvalid"),
        ("belt-9", "belt-9/Start", (), "BadNodeIdUnknown"),
    ]

    async def act() -> None:
        async with faced(tmp_path) as face:
            for owner, method, given, status in calls:
                assert (await face.call(owner, method, *given))[0] == status
            assert (await face.call("belt-1", "belt-1/Stop", role=Role.OBSERVER))[0] == "BadUserAccessDenied"
            assert (await face.write("belt-1/setpoint/speed", 80.0, Role.OBSERVER))[0] == "BadUserAccessDenied"
            assert (await face.write("belt-1/setpoint/speed", 900.0))[0] == "BadOutOfRange"
            assert (await face.write("belt-1/status/speed", 80.0))[0] == "BadNotWritable"
            assert face.asked == []

    asyncio.run(act())


KINDS = {
    Why.STATE: "BadInvalidState", Why.MISSING: "BadNotFound", Why.ARGUMENT: "BadInvalidArgument", Why.RANGE: "BadOutOfRange",
    Why.BUSY: "BadTooManyOperations", Why.SHUT: "BadResourceUnavailable", Why.UNREACHED: "BadNoCommunication",
    Why.REFUSED: "BadRequestNotAllowed", Why.MISMATCH: "BadDeviceFailure", Why.UNSURE: "BadTimeout",
}  # fmt: skip


def test_a_refusal_has_a_status_by_its_kind_and_says_why_in_four_places(tmp_path: Path) -> None:
    assert set(KINDS) == set(Why)

    async def act() -> None:
        async with faced(tmp_path) as face:
            assert face.read("printer-1/LastRefusal") == ("", "Good")
            for kind, status in KINDS.items():
                face.judge = lambda request, kind=kind: Answer(request.id, False, f"because of {kind}", None, kind)  # type: ignore[misc]
                text = f"because of {kind}"
                assert await face.call("printer-1", "printer-1/Start") == (status, [False, text, 0], text)
                assert face.read("printer-1/LastRefusal") == (f"Start for otto: {text} ({status})", "Good")
                assert await face.write("belt-1/setpoint/speed", 80.0) == (status, text)
                assert face.read("belt-1/LastRefusal")[0] == f"belt-1/setpoint/speed for otto: {text} ({status})"

    asyncio.run(act())


def test_what_is_written_to_a_machine_that_is_none_of_ours_or_called_there_goes_the_same_way(tmp_path: Path) -> None:
    async def act() -> None:
        async with faced(tmp_path, kitchen(), "oven-1/status/temperature") as face:
            face.judge = lambda request: Answer(request.id, True, "confirmed", [3, "warm"] if request.kind == "call" else None)
            assert await face.write("oven-1/command/target", 200.0) == ("Good", "confirmed")
            assert dict(face.asked[-1].args) == {"machine": "oven-1", "signal": "target", "value": 200.0}
            assert (await face.write("oven-1/command/target", 300.5))[0] == "BadOutOfRange"
            assert (await face.write("oven-1/status/temperature", 20.0))[0] == "BadNotWritable"
            called = await face.call("oven-1", "oven-1/call/bake", 5.0, True)
            assert called == ("Good", [True, "confirmed", '[3, "warm"]'], "")
            request = face.asked[-1]
            arguments = {"minutes": 5.0, "loud": True}
            assert (request.kind, dict(request.args)) == ("call", {"machine": "oven-1", "method": "bake", "arguments": arguments})
            assert (await face.call("oven-1", "oven-1/call/bake", 5.0))[0] == "BadArgumentsMissing"
            face.judge = lambda request: Answer(request.id, False, "mismatch: it reads 3 °C", None, Why.MISMATCH)
            assert await face.write("oven-1/command/target", 200.0) == ("BadDeviceFailure", "mismatch: it reads 3 °C")
            assert "mismatch: it reads 3 °C (BadDeviceFailure)" in face.read("oven-1/LastRefusal")[0]

    asyncio.run(act())


def test_a_method_whose_precondition_does_not_hold_says_so_before_anybody_asks_for_it(tmp_path: Path) -> None:
    async def act() -> None:
        async with faced(tmp_path) as face:
            node = face.place.nodes.find(node_key(2, "printer-1/Start"))

            def executable() -> Any:
                found: Any = from_binary(ua.DataValue, Buffer(face.reading.read_value(session(), node, 22)))
                return found.Value.Value

            assert executable() is True  # nothing is known of the node: the core judges
            face.tell(LATCHED, True)
            await until(lambda: not executable())
            why = "node printer-1 is latched: reset it first"
            assert await face.call("printer-1", "printer-1/Start") == ("BadNotExecutable", [False, why, 0], why)
            assert await face.call("printer-1", "type:printer/Start") == ("BadNotExecutable", [False, why, 0], why)
            assert face.asked == [] and why in face.read("printer-1/LastRefusal")[0]
            face.tell(LATCHED, True, 1)  # stale: no longer believed
            await until(executable)
            assert (await face.call("printer-1", "printer-1/Start"))[0] == "Good"

    asyncio.run(act())


def test_a_call_that_waits_for_its_answer_holds_nothing_else_up(tmp_path: Path) -> None:
    async def act() -> None:
        async with faced(tmp_path) as face:
            face.judge = lambda request: None if request.kind == "start" else done(request)
            start = asyncio.create_task(face.call("printer-1", "printer-1/Start"))
            await until(lambda: face.asked)
            assert (await face.call("printer-1", "printer-1/Stop"))[0] == "Good"
            assert face.read(POSITION) == (pytest.approx(120.5), "Good") and not start.done()
            start.cancel()

    asyncio.run(act())


def test_values_are_doubted_while_the_core_is_gone_and_believed_when_it_is_back(tmp_path: Path) -> None:
    async def act() -> None:
        face = Face(tmp_path, shop(), LoopClock(asyncio.get_running_loop()))
        face.tell(POSITION, 0.1205)
        face.tell("belt-1/status/speed", 0.1, 2, "outside its range")
        async with face.core():
            following = asyncio.create_task(face.link.run())
            await until(lambda: face.read(POSITION)[1] == "Good")
        await until(lambda: face.read(POSITION)[1] == "UncertainNoCommunicationLastUsableValue")
        assert face.read(POSITION)[0] == pytest.approx(120.5)
        assert face.read("belt-1/status/speed")[1] == "BadOutOfRange"
        assert face.read("belt-1/status/parts") == (None, "BadWaitingForInitialData")
        status, outputs, words = await face.call("printer-1", "printer-1/Stop")
        assert (status, outputs) == ("BadNoCommunication", [False, "the controller can't be reached", 0]) and words
        face.tell(POSITION, 0.033)
        async with face.core():
            await until(lambda: face.read(POSITION) == (pytest.approx(33.0), "Good"))
            following.cancel()

    asyncio.run(act())


class Stepped:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self._now = Ns(0)
        self._moved = asyncio.Condition()

    def now(self) -> Ns:
        """The time."""
        return self._now

    async def until(self, due: Ns) -> None:
        """Wait for the test to move on so far."""
        async with self._moved:
            await self._moved.wait_for(lambda: self._now >= due)

    async def move(self, by: Ns) -> None:
        """Let time pass, and everyone who waited for it go on."""
        async with self._moved:
            self._now = Ns(self._now + by)
            self._moved.notify_all()
        for _ in range(5):
            await asyncio.sleep(0)


def test_a_core_that_falls_silent_is_doubted_until_it_speaks_again(tmp_path: Path) -> None:
    async def act() -> list[str]:
        clock, found = Stepped(), []
        face = Face(tmp_path, shop(), clock)
        face.tell(POSITION, 0.1)
        async with face.core(), asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(face.link.run()), tasks.create_task(face.link.watch())]
            await until(lambda: face.read(POSITION)[1] == "Good")
            for second in range(1, 12):
                if second < 5:
                    face.tell(POSITION, second / 1000)
                    await until(lambda second=second: face.read(POSITION)[0] == pytest.approx(second))  # type: ignore[misc]
                await clock.move(S)
                found.append(face.read(POSITION)[1])
            face.tell("belt-1/status/parts", 5)
            await until(lambda: face.read(POSITION)[1] == "Good")
            for task in running:
                task.cancel()
        return found

    found = asyncio.run(act())
    silent = found.index("UncertainNoCommunicationLastUsableValue")
    assert set(found[:silent]) == {"Good"} and silent == 7 and set(found[silent:]) == {found[silent]}


def test_whole_numbers_keep_every_digit_beside_values_that_have_a_point(tmp_path: Path) -> None:
    face = Face(tmp_path, shop(), Stepped())
    rows: dict[str, int | float | str] = {"factory/scan/scans": 2**62 + 1, POSITION: 0.001}
    rows |= {"belt-1/status/at_exit": True, "factory/book/state": "open"}
    face.values.show(Row(face.at[path], value, 0, "", 1) for path, value in rows.items())
    assert [face.read(path)[0] for path in rows] == [2**62 + 1, pytest.approx(1.0), True, "open"]


def test_what_does_not_fit_its_kind_is_no_value_and_a_number_without_a_sign_keeps_every_digit(tmp_path: Path) -> None:
    shop_face = Face(tmp_path, shop(), Stepped())
    of_kind = {variable.kind: variable.path for variable in space(shop(), shop_face.signals).variables}
    before, beyond = (None, "BadWaitingForInitialData"), (None, "BadOutOfRange")
    int32, uint32, int64 = (of_kind[kind] for kind in (Kind.INT32, Kind.UINT32, Kind.INT64))
    assert shop_face.read(uint32) == before
    told = ((int32, 3_000_000_000), (uint32, -1), (int64, 2**63), (int64, 2**64), (int64, float("nan")), (uint32, float("inf")))
    for path, value in told:
        shop_face.values.show([Row(shop_face.at[path], value, 0, "", 1), Row(shop_face.at[POSITION], 0.001, 0, "", 1)])
        assert (shop_face.read(path), shop_face.read(POSITION)) == (beyond, (pytest.approx(1.0), "Good"))
    oven = replace(OVEN, signals=(*OVEN.signals, Mapped(signal("total", int, Register(Table.INPUT, 4, Form.UINT64, 4)))))
    factory = kitchen()
    face = Face(tmp_path, replace(factory, mirrored={"oven-1": replace(factory.mirrored["oven-1"], map=oven)}), Stepped())
    total = "oven-1/status/total"
    for value in (2**63 - 1, 2**63 + 1, 2**64 - 1, 0):
        face.values.show([Row(face.at["oven-1/status/programme"], -1, 0, "", 1), Row(face.at[total], value, 0, "", 1)])
        assert face.read(total) == (value, "Good")
    for value in (-1, 2**64):
        face.values.show([Row(face.at[total], value, 0, "", 1)])
        assert face.read(total) == beyond
