"""Scenarios: linear, in factory time, with a seed and parameters."""

import dataclasses
from pathlib import Path

import pytest

from hil import scenarios
from hil.campaigns.invariants import invariants
from hil.campaigns.perform import at_free_ports, perform_scenario
from hil.campaigns.plan import COMES_ALONG
from hil.judging.verdict import Requirement, never
from hil.rig import LinkCut, LinkHealed, PowerOn, Rig
from hil.scenario import SCENARIOS, RequirementFailed, ScenarioError, Stage, play
from tests.controller.factories import DEMO
from twin.clock import MS, Ns, S
from twin.devices import ModbusDevice
from twin.factory import Factory, Node, read
from twin.faults import FaultError

SECOND = Ns(S)


def one_belt() -> Factory:
    return at_free_ports(read(COMES_ALONG / "belt.toml"))


def test_a_scenario_goes_through_its_waits_in_factory_time(tmp_path: Path) -> None:
    times: list[Ns] = []

    async def acts(stage: Stage) -> str:
        await stage.after(Ns(700 * MS))
        times.append(stage.now)
        stage.cut("belt-1")
        await stage.until(lambda: stage.now >= 900 * MS, within=SECOND)
        times.append(stage.now)
        stage.rig.at(Ns(2 * S), lambda: stage.heal("belt-1"))
        await stage.until(LinkHealed, within=Ns(5 * S))
        times.append(stage.now)
        return "over"

    with Rig(one_belt(), tmp_path, links=True) as rig:
        assert play(Stage(rig), acts(Stage(rig))) == "over"
        cuts = [entry.time for entry in rig.trace.of(LinkCut)]
    assert times[0] == cuts[0] == 700 * MS
    assert 900 * MS <= times[1] <= 1000 * MS and times[2] >= 2 * S


def test_two_runs_of_one_factory_share_no_port(tmp_path: Path) -> None:
    demo = read(DEMO)
    runs = [at_free_ports(demo) for _ in range(2)]
    ports = [
        place.port
        for run in runs
        for place in (*run.nodes.values(), *(device.reached for device in run.devices.values()))
        if isinstance(place, Node | ModbusDevice) and place.serial is None
    ]
    assert len(set(ports)) == len(ports) and {"meter-1", "ur-1"} <= set(runs[0].devices)


def test_an_event_of_before_is_not_waited_for(tmp_path: Path) -> None:
    async def acts(stage: Stage) -> None:
        await stage.until(PowerOn, within=SECOND)

    told = r"waited 1 s from 0\.000 s on in vain for PowerOn"
    with Rig(one_belt(), tmp_path, links=True) as rig, pytest.raises(ScenarioError, match=told):
        play(Stage(rig), acts(Stage(rig)))


def test_waiting_for_an_event_that_is_just_so_and_for_a_value(tmp_path: Path) -> None:
    async def acts(stage: Stage) -> Ns:
        stage.rig.at(Ns(300 * MS), lambda: stage.power_off("belt-1"))
        stage.rig.at(Ns(400 * MS), lambda: stage.rig.power_on("belt-1", "again"))
        await stage.until(PowerOn("belt-1", "again"), within=SECOND)
        came = stage.now
        stage.trace.value(stage.now, "x", 3)
        await stage.until(("x", lambda x: x == 3), within=Ns(0))
        with pytest.raises(ScenarioError, match="a value of y"):
            await stage.until(("y", bool), within=Ns(10 * MS))
        return came

    with Rig(one_belt(), tmp_path, links=True) as rig:
        assert 400 * MS <= play(Stage(rig), acts(Stage(rig))) <= 500 * MS


def test_a_fault_is_injected_from_now_on_and_a_wrong_one_is_refused(tmp_path: Path) -> None:
    async def acts(stage: Stage) -> None:
        await stage.after(SECOND)
        stage.inject("link-cut", "belt-1", lasts=Ns(200 * MS))
        await stage.until(LinkHealed, within=SECOND)
        with pytest.raises(FaultError, match="belt-9"):
            stage.inject("link-cut", "belt-9")

    with Rig(one_belt(), tmp_path, links=True) as rig:
        play(Stage(rig), acts(Stage(rig)))
        assert [entry.time for entry in rig.trace.of(LinkCut)] == [S]
        assert [entry.time for entry in rig.trace.of(LinkHealed)] == [1200 * MS]


def test_what_is_required_is_judged_and_kept(tmp_path: Path) -> None:
    with Rig(one_belt(), tmp_path, links=True) as rig:
        stage = Stage(rig)
        stage.trace.value(Ns(5 * MS), "x", 7)
        stage.require(never("x is not 8", "x", lambda x: x == 8))
        with pytest.raises(RequirementFailed, match=r"FAILED  x is not 7(.|\n)*0\.005000 s  x  7"):
            stage.require(never("x is not 7", "x", lambda x: x == 7))
        assert [verdict.passed for verdict in stage.verdicts] == [True, False]


def test_the_scenarios_that_come_along_are_listed_with_what_they_do() -> None:
    scenarios.load()
    assert {"cut-while-running", "kill-the-controller", "cut-while-printing", "print-as-planned"} <= set(SCENARIOS)
    assert all(one.text.endswith(".") and (COMES_ALONG / one.factory).is_file() for one in SCENARIOS.values())


def test_a_scenario_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    scenarios.load()
    first, again, other = (perform_scenario(SCENARIOS["cut-while-running"], seed=seed) for seed in (3, 3, 4))
    assert first.passed and other.passed, [*first.failures, *other.failures]
    assert first.trace.digest == again.trace.digest != other.trace.digest


def test_a_scenario_runs_on_the_reference_model_too() -> None:
    scenarios.load()
    done = perform_scenario(SCENARIOS["cut-while-running"], seed=3, target="model")
    assert done.passed, done.failures


def test_parameters_are_checked_all_at_once() -> None:
    scenarios.load()
    with pytest.raises(ScenarioError) as caught:
        perform_scenario(SCENARIOS["cut-while-running"], parameters={"cut_s": 0.0, "depth": 1.0})
    assert str(caught.value).splitlines() == [
        "depth: cut-while-running has no such parameter; it has cut_s",
        "cut_s: must be from 0.6 to 600, not 0",
    ]


def test_a_killed_controller_is_survived() -> None:
    scenarios.load()
    done = perform_scenario(SCENARIOS["kill-the-controller"], seed=5)
    assert done.passed and len(done.verdicts) == 2, done.failures


def test_invariants_are_requirements_with_ids(tmp_path: Path) -> None:
    found = invariants(one_belt())
    assert all(isinstance(one, Requirement) and one.id.startswith("I") for one in found) and len(found) >= 10


def test_time_goes_on_without_a_living_node_when_a_sensor_changes(tmp_path: Path) -> None:
    async def acts(stage: Stage) -> None:
        world, belt = stage.rig.world, "belt-1"
        stage.power_off(belt)
        stage.put_part(belt)
        # it lies across the barrier and is carried off by a belt that still moves, as after a power cut
        world.touch(belt, lambda state, params: dataclasses.replace(state, speed=0.5), stage.now)
        await stage.after(Ns(2 * S))
        assert world.state.sensors[belt]["at_entry"] == 0

    with Rig(one_belt(), tmp_path, links=True) as rig:
        play(Stage(rig), acts(Stage(rig)))
        assert rig.now == 2 * S
