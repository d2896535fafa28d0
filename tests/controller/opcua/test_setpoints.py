"""What people set of a machine: checked again by the core, on disk before it is in force, and in force after a restart."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from controller.orders.order import OrderState, Why
from controller.orders.turn import Answer, InForce, Request
from controller.setpoints import SetpointChanged, Setpoints, SetpointsError
from tests.controller.factories import shop
from tests.controller.test_core import House, in_house
from tests.controller.world import World
from twin.clock import Ns, S
from twin.machine import MachineTypeError, load, make_params, settable
from twin.units import MM_PER_S


class Clock:
    """A clock that stands."""

    def now(self) -> Ns:
        """Nothing passes."""
        return Ns(5 * S)

    async def until(self, due: Ns) -> None:
        """Nothing passes."""


def door(path: Path, answers: list[Answer], write: Any = None) -> Setpoints:
    """The setpoints of a shop: its belt has one."""
    more = {} if write is None else {"write": write}
    return Setpoints(shop(), path, Clock(), answers.append, **more)


def asked(
    path: Path, *values: Any, signal: str = "speed", machine: str = "belt-1", write: Any = None
) -> tuple[list[Answer], Setpoints]:
    """The answers to writes, and the door afterwards."""
    answers: list[Answer] = []
    made = door(path, answers, write)

    async def ask() -> None:
        async with asyncio.TaskGroup() as tasks:
            for number, value in enumerate(values, 1):
                made.ask(tasks, Request(number, "write", {"machine": machine, "signal": signal, "value": value}, "otto"))

    asyncio.run(ask())
    return answers, made


def test_what_is_set_is_on_disk_is_told_and_is_there_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "setpoints.json"
    answers, made = asked(path, 80, 90.0)
    assert [(a.ok, a.text) for a in answers] == [(True, "belt-1/speed is set to 80 mm/s"), (True, "belt-1/speed is set to 90 mm/s")]
    assert made.events() == [
        SetpointChanged("belt-1", "speed", 0.08, 0.1, "otto"),
        SetpointChanged("belt-1", "speed", 0.09, 0.08, "otto"),
    ]
    assert path.stat().st_mode & 0o777 == 0o600
    again = door(path, [])
    assert again.values == {"printer-1": {}, "belt-1": {"speed": pytest.approx(0.09)}}
    assert again.in_force["belt-1"].params.speed == pytest.approx(0.09) and again.in_force["belt-1"].params.length == 1.0


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (0.5, Why.RANGE), (500.1, Why.RANGE), (-80, Why.RANGE), (float("nan"), Why.ARGUMENT), (float("inf"), Why.ARGUMENT),
        (-0.0, Why.ARGUMENT), (10**400, Why.ARGUMENT), (True, Why.ARGUMENT), ("80", Why.ARGUMENT),
    ],
)  # fmt: skip
def test_what_is_no_number_in_range_changes_nothing(tmp_path: Path, value: Any, why: Why) -> None:
    path = tmp_path / "setpoints.json"
    (answer,), made = asked(path, value)
    assert (answer.ok, answer.why) == (False, why) and answer.text.startswith("belt-1/speed")
    assert made.values["belt-1"] == {"speed": 0.1} and made.in_force == {} and not path.exists()


def test_what_there_is_not_to_set_is_named_with_what_there_is(tmp_path: Path) -> None:
    (answer,), _ = asked(tmp_path / "s", 1.0, signal="length")
    assert (answer.text, answer.why) == ("belt-1 has no setpoint 'length'; there are: speed", Why.MISSING)
    (answer,), _ = asked(tmp_path / "s", 1.0, machine="printer-1")
    assert answer.text == "printer-1 has no setpoint 'speed'; there are: none"
    (answer,), _ = asked(tmp_path / "s", 60.0, signal="setpoint/speed")
    assert answer.ok


def test_what_a_disk_refuses_is_not_in_force(tmp_path: Path) -> None:
    async def full(work: Callable[[], Any]) -> Any:
        raise OSError("no space left")

    (answer,), made = asked(tmp_path / "s", 80.0, write=full)
    assert (answer.ok, answer.why) == (False, Why.SHUT) and "no space left" in answer.text
    assert made.in_force == {} and made.values["belt-1"] == {"speed": 0.1}


def test_too_many_at_once_are_refused_and_the_others_are_kept(tmp_path: Path) -> None:
    answers, made = asked(tmp_path / "s", *range(10, 110))
    assert sum(answer.ok for answer in answers) == 64 and {a.why for a in answers if not a.ok} == {Why.BUSY}
    assert made.values["belt-1"]["speed"] == pytest.approx(0.073)


@pytest.mark.parametrize(("kept", "speed"), [([["belt-1", "speed", 9.0]], 0.1), ([["gone", "speed", 0.2]], 0.1), ([], 0.1)])
def test_what_a_changed_factory_does_not_take_any_more_is_left_out(tmp_path: Path, kept: Any, speed: float) -> None:
    (tmp_path / "s").write_text(json.dumps(kept))
    assert door(tmp_path / "s", []).values["belt-1"] == {"speed": speed}


@pytest.mark.parametrize("text", ["", "{", "3", '[["belt-1"]]', '[["belt-1", "speed", "x"]]'])
def test_a_file_that_is_something_else_is_named_and_nothing_starts(tmp_path: Path, text: str) -> None:
    (tmp_path / "s").write_text(text)
    with pytest.raises(SetpointsError, match="move it away"):
        door(tmp_path / "s", [])


def test_a_setpoint_ends_where_its_other_param_does_and_must_be_declared(tmp_path: Path) -> None:
    kind = load("conveyor")
    (one,) = settable(kind, make_params(kind.params, {"full_speed": 300, "speed": 50}))
    assert (one.unit, one.value) == (MM_PER_S, 0.05)
    assert one.range.low == pytest.approx(0.001) and one.range.high == pytest.approx(0.3)
    folder = tmp_path / "lamp"
    folder.mkdir()
    spec = Path("twin/machines/conveyor/spec.py").read_text().replace('Setpoint("speed"', 'Setpoint("hue"')
    (folder / "spec.py").write_text(spec)
    (folder / "control.py").write_text("def decide(sample, wish, params, now): ...\n")
    with pytest.raises(MachineTypeError, match="no float 'hue' with a Range"):
        load("lamp", folder)


def test_the_core_obeys_a_setpoint_shows_it_and_keeps_it_over_its_own_restart(tmp_path: Path) -> None:
    async def test(house: House) -> None:
        await house.until_told("belt-1/setpoint/speed", 0.1)
        await house.until_told("node:printer-1/link", "ours")
        await house.order()
        await house.until_told("factory/order/operation", "convey")
        house.nodes["belt-1"].show("belt-1", at_entry=True)
        await house.until_told("belt-1/command/speed", 0.1)
        answer = await house.ask("write", machine="belt-1", signal="speed", value=250)
        assert (answer.ok, answer.text, answer.why) == (True, "belt-1/speed is set to 250 mm/s", "")
        await house.until_told("belt-1/command/speed", 0.25)
        assert house.told["belt-1/setpoint/speed"][0] == 0.25
        refused = await house.ask("write", machine="belt-1", signal="speed", value=501)
        assert (refused.ok, refused.why) == (False, "range") and "1 to 500 mm/s" in refused.text
        assert [e.fields["value"] for e in house.events if e.kind == "SetpointChanged"] == [0.25]
        await house.stop()
        house.told.clear()
        await house.start()
        await house.until_told("belt-1/command/speed", 0.25)
        assert house.told["belt-1/setpoint/speed"][0] == 0.25

    in_house(tmp_path / "state", test)


def test_a_part_on_a_belt_whose_speed_was_changed_is_given_its_whole_time_anew() -> None:
    world = World(shop())
    world.run(3)
    number = int(world.request("place_order", recipe="print-and-convey", program="cube.gcode").result)
    world.run_until(lambda: world.order(number).at == 1)
    world.show("belt-1", at_entry=True)
    kind, before = shop().machines["belt-1"].type, shop().machines["belt-1"].params
    slow = make_params(kind.params, {"speed": 10})
    world.set = {"belt-1": InForce(slow, world.now)}
    world.run(10)
    assert world.nodes["belt-1"].command("belt-1") == [1, 100]
    world.run(900)  # 90 s on: at its own speed it would have been given up long ago
    assert world.order(number).state is OrderState.RUNNING
    world.set = {"belt-1": InForce(before, world.now)}
    world.run(100)
    assert world.nodes["belt-1"].command("belt-1") == [1, 1000] and world.order(number).state is OrderState.RUNNING
    world.run(100)
    assert "has not come to its end" in world.order(number).current.reason
