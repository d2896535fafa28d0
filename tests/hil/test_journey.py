"""Verdicts on the way of a part that an arm carries, over traces made by hand."""

from pathlib import Path

import pytest

from hil.judging.journey import journey
from hil.judging.verdict import judge
from twin.clock import Ns, S
from twin.factory import read
from twin.part import PartArrived, PartDropped, PartHandedOver, PartMade, PartSlipped
from twin.trace import Event, Trace

DEMO = read(Path(__file__).resolve().parents[2] / "controller" / "demo" / "factory.toml")
PART = "printer-1/1"
WAY: tuple[tuple[float, Event], ...] = (
    (100, PartMade("printer-1", PART, 50.0)),
    (120, PartHandedOver("printer-1", PART, "arm-1")),
    (126, PartHandedOver("arm-1", PART, "belt-1")),
    (138, PartArrived("belt-1", PART)),
)


def verdicts(*happened: tuple[float, Event], moved_s: float = 99.0) -> list[bool]:
    trace = Trace()
    trace.value(Ns(round(moved_s * S)), "printer-1/plant/position_mm", (5.0, 210.0, 30.0))
    for time, event in happened:
        trace.event(Ns(round(time * S)), event)
    return [verdict.passed for verdict in judge(journey(DEMO), trace)]


def test_a_part_that_goes_its_whole_way_passes() -> None:
    assert verdicts(*WAY) == [True, True, True]


@pytest.mark.parametrize("missing", range(1, 4))
def test_a_part_that_misses_a_station_fails(missing: int) -> None:
    assert not verdicts(*WAY[:missing], *WAY[missing + 1 :])[0]


def test_a_part_that_arrives_before_it_was_laid_down_fails() -> None:
    assert not verdicts(*WAY[:2], (125, WAY[3][1]), WAY[2])[0]


def test_a_run_in_which_nothing_was_made_or_taken_fails() -> None:
    assert verdicts() == [False, True, False]


@pytest.mark.parametrize("lost", [PartDropped("arm-1", PART), PartSlipped("arm-1", PART)])
def test_a_part_that_is_lost_fails(lost: Event) -> None:
    assert verdicts(*WAY, (127, lost))[1] is False


def test_a_printer_that_moves_while_its_part_is_taken_fails() -> None:
    assert verdicts(*WAY, moved_s=124.9)[2] is False and verdicts(*WAY, moved_s=125.1)[2] is True
    assert verdicts(*WAY, moved_s=115.1)[2] is False
