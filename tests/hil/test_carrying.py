"""Real firmware prints a part, takes it off the bed with the arm and lays it on the belt: the demo, with a small part."""

import pytest

from hil import scenarios
from hil.campaigns.perform import Performed, perform_scenario
from hil.scenario import SCENARIOS
from hil.scenarios.programs import tower
from twin.clock import Ns, S
from twin.machine import make_params
from twin.machines.arm.spec import JOINTS
from twin.machines.printer.job import leaves
from twin.machines.printer.spec import Params
from twin.part import PartHandedOver


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Performed:
    scenarios.load()
    return perform_scenario(SCENARIOS["print-pick-place-convey"], tmp_path_factory.mktemp("run"))


def test_a_part_is_printed_picked_placed_and_conveyed(run: Performed) -> None:
    assert not run.error
    assert all(verdict.passed for verdict in run.verdicts) and len(run.verdicts) == 6, "\n".join(map(str, run.verdicts))


def test_the_arm_is_mirrored_to_the_core_s_faces_while_it_moves_and_where_it_rests(run: Performed) -> None:
    trace = run.trace
    laid = next(at.time for at in trace.of(PartHandedOver, "arm-1"))
    at_rest = Ns(laid + S // 5)
    shown = [trace.at(f"core/arm-1/status/{joint}", at_rest) for joint in JOINTS]
    assert shown == pytest.approx([float(angle) for angle in trace.at("arm-1/plant/angles", at_rest)], abs=2e-3)
    moving = {value for time, value in trace.series["core/arm-1/status/base"] if abs(time - laid) < 5 * S}
    assert len(moving) > 10
    assert trace.at("core/arm-1/tool/z", at_rest) == pytest.approx(0.85 - 0.8 + 0.006 + 0.001, abs=1e-3)
    assert trace.at("core/arm-1/tool/x", at_rest) == pytest.approx(0.53 - 0.11, abs=1e-3)
    holding = [trace.at("core/arm-1/status/holding", Ns(time)) for time in (laid - S // 2, at_rest)]
    assert holding == [True, False]
    assert trace.last("core/arm-1/quality") == "good"


def test_the_small_part_is_as_large_as_its_program_says() -> None:
    low, high = leaves(tower(), make_params(Params, {})).extents(0.005, 0.007) or ((), ())
    assert low[:2] == pytest.approx((0.103775, 0.103775)) and high[:2] == pytest.approx((0.116225, 0.116225))
