"""The check of a printer's plan: motion that exceeds the machine however it was made, and space that its head must not enter."""

import coal
import numpy as np
import pytest

from twin.kernel import Floats
from twin.kinematics.robot import rotation_of
from twin.kinematics.shapes import Box, Capsule, Plane, Surroundings
from twin.motion import JobError, Limits, Plan, plan
from twin.motion.check import check_motion
from twin.motion.findings import Findings, Refusal
from twin.motion.keepout import REACH, Head, KeepOut, check_keep_out, keep_out_of

CORNERS = "G1 X10 Y0 E1 F6000\nG1 X100 E5\nG1 X100 Y80 E4\nG1 X20 Y80 Z3 F12000\nG1 X0 Y0 Z0.3 E4 F3000\n"


def judged(made: Plan, limits: Limits, **changed: Floats) -> tuple[Refusal, ...]:
    moves, findings = made.moves, Findings()
    given = {"along": moves.along, "speeds": np.column_stack((moves.entry, moves.cruise, moves.exit)),
             "acceleration": moves.acceleration, "rests": moves.rests} | changed  # fmt: skip
    check_motion(moves.line, **given, limits=limits, findings=findings)
    return findings.refusals


def test_a_plan_for_a_faster_machine_is_refused_with_axis_value_and_limit(start: str) -> None:
    made = plan(start + CORNERS, Limits())
    assert judged(made, Limits()) == ()
    slower = Limits(max_speed=(300.0, 90.0, 20.0, 120.0))
    first = judged(made, slower)[0]
    assert (first.line, first.axis, first.limit) == (start.count("\n") + 3, "Y", 90.0)
    assert first.value == pytest.approx(100.0) and "speed" in first.text
    weaker = Limits(max_acceleration=(3000.0, 3000.0, 50.0, 10_000.0))
    assert {(found.axis, "acceleration" in found.text) for found in judged(made, weaker)} == {("Z", True)}
    softer = Limits(jerk=(10.0, 6.0, 0.4, 5.0))
    assert {(found.axis, "jump" in found.text) for found in judged(made, softer)} == {("Y", True)}


def test_a_jump_at_the_end_and_a_number_that_is_none_are_refused(start: str) -> None:
    made = plan(start + CORNERS, Limits())
    speeds = np.column_stack((made.moves.entry, made.moves.cruise, made.moves.exit))
    speeds[-1, 2] = 40.0
    found = judged(made, Limits(), speeds=speeds)
    assert [refusal.line for refusal in found] == [start.count("\n") + 5] * len(found) and "jump" in found[0].text
    acceleration = made.moves.acceleration.copy()
    acceleration[1] = np.nan
    assert judged(made, Limits(), acceleration=acceleration)[0].line == start.count("\n") + 2


def test_axes_that_rest_may_not_jump_by_twice_their_jerk_nor_may_those_that_turn_back(start: str) -> None:
    made = plan(start + "G1 X50 E5 F6000\nG1 X100 E5\n", Limits())
    speeds = np.array([[10.0, 60.0, 60.0], [60.0, 60.0, 10.0]])
    assert judged(made, Limits(), speeds=speeds, rests=np.array([1, 0])) == ()
    assert judged(made, Limits(), speeds=speeds, rests=np.array([1, 1]))[0].axis == "X"
    back = made.moves.along * np.array([[1.0], [-1.0]])
    assert judged(made, Limits(), speeds=speeds, along=back, rests=np.array([1, 0]))[0].value == 60.0


CLIP = KeepOut("clip", (100.0, 190.0, 0.0), (120.0, 220.0, 8.0))


@pytest.mark.parametrize(
    ("move", "head", "refused"),
    [
        ("G1 X110 Y200 Z5", Head(), True),
        ("G1 Z9\nG1 X110 Y200\nG1 Y10\nG1 Z1", Head(), False),
        ("G1 Z9\nG1 X110 Y200", Head(low=(-20.0, -20.0, -1.5), high=(20.0, 20.0, 60.0)), True),
        ("G1 X90 Y200 Z1", Head(), False),
        ("G1 X90 Y200 Z1", Head(low=(-20.0, -20.0, 0.0), high=(20.0, 20.0, 60.0)), True),
        ("G1 X100 Y100 Z1\nG1 Y215", Head(), False),
        ("G1 X60 Y150 Z4\nG1 X160 Y220", Head(), True),
    ],
)
def test_a_head_that_enters_declared_space_is_refused_with_its_line(start: str, move: str, head: Head, refused: bool) -> None:
    made = plan(start + "G1 F3000\n" + move, Limits(), (CLIP,), head)
    assert bool(made.refusals) == refused
    for refusal in made.refusals:
        assert refusal.axis == "head and clip" and "enters clip" in refusal.text
        assert refusal.line == start.count("\n") + 1 + len(move.split("\n"))


def test_moves_enter_declared_space_where_coal_says_that_head_and_box_meet_on_the_way() -> None:
    random = np.random.default_rng(5)
    low = random.uniform(0, 150, 3)
    box, head = KeepOut("box", tuple(low), tuple(low + random.uniform(5, 60, 3))), Head((-8, -5, 0), (8, 12, 30))
    start, end = random.uniform(0, 220, (2, 1500, 3))
    end[::5, 0] = start[::5, 0]
    end[::15, 1] = start[::15, 1]
    findings = Findings()
    refused = np.array([_refused(start[i : i + 1], end[i : i + 1], box, head) for i in range(1500)])
    check_keep_out(np.arange(1500), start, end, (box,), head, findings)
    assert len(findings.refusals) == 101 and "more" in findings.refusals[-1].text
    meets = np.array([_meets(start[i], end[i], box, head) for i in range(1500)])
    assert 100 < meets.sum() < 1400
    np.testing.assert_array_equal(refused, meets)


def _refused(start: Floats, end: Floats, box: KeepOut, head: Head) -> bool:
    findings = Findings()
    check_keep_out(np.array([1]), start, end, (box,), head, findings)
    return bool(findings.refusals)


def _meets(start: Floats, end: Floats, box: KeepOut, head: Head) -> bool:
    """Whether the body that the head sweeps on its way, the hull of both its places, overlaps the box."""
    corners = np.array([[[low, high][i >> axis & 1] for axis, (low, high) in enumerate(zip(head.low, head.high, strict=True))]
                        for i in range(8)])  # fmt: skip
    swept = coal.StdVec_Vec3s()
    for corner in np.concatenate((corners + start, corners + end)):
        swept.append(corner)
    hull = coal.Convex.convexHull(swept, False, None)
    size = np.subtract(box.high, box.low)
    placed = coal.Transform3s(np.eye(3), np.add(box.low, box.high) / 2)
    return coal.distance(hull, coal.Transform3s(), coal.Box(*size), placed, coal.DistanceRequest(), coal.DistanceResult()) < 0


def test_what_stands_around_in_metres_is_space_to_keep_out_of_in_millimetres() -> None:
    turned = Box("camera", (0.1, 0.2, 0.05), (0.02, 0.01, 0.03), rotation_of(0.0, 0.0, np.pi / 2))
    upright = Plane("table", (0.0, 0.0, 1.0), -0.004)
    camera, table = keep_out_of(Surroundings(boxes=(turned,), planes=(upright,)))
    assert camera.name == "camera" and table.high[2] == pytest.approx(-4.0)
    assert camera.low == pytest.approx((90, 180, 20)) and camera.high == pytest.approx((110, 220, 80))
    corner = keep_out_of(Surroundings(boxes=(Box("b", (0, 0, 0), (0.03, 0.04, 0.01), rotation_of(0.0, 0.0, 0.5)),)))[0]
    points = np.array([[x, y] for x in (-30, 30) for y in (-40, 40)]) @ np.array(rotation_of(0.0, 0.0, 0.5)).reshape(3, 3)[:2, :2].T
    assert corner.high[:2] == pytest.approx(points.max(axis=0)) and corner.low[:2] == pytest.approx(points.min(axis=0))


def test_a_floor_is_kept_out_of_to_its_highest_point_within_reach_and_a_rod_by_the_box_around_it() -> None:
    slope = 0.01
    tilted = Plane("floor", (-np.sin(slope), 0.0, np.cos(slope)), -0.2 * np.cos(slope))
    rod = Capsule("rod", 0, (0.1, 0.2, 0.0), (0.0, 0.2, 0.05), 0.01)
    around_rod, floor = keep_out_of(Surroundings(capsules=(rod,), planes=(tilted,)))
    assert (around_rod.low, around_rod.high) == (pytest.approx((-10, 190, -10)), pytest.approx((110, 210, 60)))
    highest = max(-200 + x * np.tan(slope) for x in (-REACH, 0.0, 250.0, REACH))
    assert floor.name == "floor" and floor.high[2] == pytest.approx(highest)
    nearly = keep_out_of(Surroundings(planes=(Plane("floor", (1e-12, 0.0, 1.0), -0.2),)))
    assert nearly[0].high[2] == pytest.approx(-200.0), "rounding does not make it another floor"


@pytest.mark.parametrize("normal", [(1.0, 0.0, 0.0), (0.0, 0.0, -1.0)])
def test_a_wall_and_a_ceiling_are_refused_by_name_as_no_upright_box_is_like_them(normal: tuple[float, float, float]) -> None:
    with pytest.raises(JobError, match="window is no floor"):
        keep_out_of(Surroundings(planes=(Plane("window", normal, -1.0),)))


@pytest.mark.parametrize("low, high", [((0.0, 0.0, 0.0), (1.0, 0.0, 1.0)), ((0.0, float("nan"), 0.0), (1.0, 1.0, 1.0))])
def test_space_that_is_none_is_named(low: tuple[float, ...], high: tuple[float, ...]) -> None:
    with pytest.raises(JobError, match="clip: Y from"):
        KeepOut("clip", low, high)
