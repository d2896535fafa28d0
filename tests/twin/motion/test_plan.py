"""Planning: closed forms of the trapezoid, what is refused before motion, what is clamped."""

import json
from math import hypot, sqrt

import numpy as np
import pytest

from twin.motion import JobError, Limits, encode, plan

LIMITS = Limits(acceleration=(1000.0, 1500.0, 2000.0))


def only(start: str, moves: str, limits: Limits = LIMITS):
    made = plan(start + moves, limits)
    assert not made.refusals, made.refusals
    return made


def test_a_long_move_takes_as_long_as_a_trapezoid_from_jerk_to_jerk(start: str) -> None:
    jerk, speed, acceleration, distance = 10.0, 100.0, 2000.0, 150.0
    ramps = (speed**2 - jerk**2) / acceleration
    expected = 2 * (speed - jerk) / acceleration + (distance - ramps) / speed
    assert only(start, "G1 X150 F6000").duration_s == pytest.approx(expected, rel=1e-12)


def test_a_short_move_is_a_triangle(start: str) -> None:
    jerk, acceleration, distance = 10.0, 2000.0, 2.0
    highest = sqrt(jerk**2 + acceleration * distance)
    made = only(start, "G1 X2 F18000")
    assert made.moves.cruise[0] == pytest.approx(highest)
    assert made.duration_s == pytest.approx(2 * (highest - jerk) / acceleration)


def test_the_slowest_axis_rules_a_diagonal_and_its_acceleration(start: str) -> None:
    moves = only(start, "G1 X30 Z40 F60000").moves
    assert moves.cruise[0] == pytest.approx(20.0 * 50 / 40)
    assert moves.acceleration[0] == pytest.approx(400.0 * 50 / 40)


@pytest.mark.parametrize(("words", "acceleration"), [("X100 E5", 1000.0), ("E5", 1500.0), ("X100", 2000.0)])
def test_extruding_retracting_and_travelling_have_their_own_acceleration(
    start: str, words: str, acceleration: float
) -> None:
    assert only(start, f"G1 {words} F1200").moves.acceleration[0] == acceleration


def test_cutting_a_straight_line_into_pieces_does_not_change_its_time(start: str) -> None:
    whole = only(start, "G1 X120 Y90 E6 F9000").duration_s
    pieces = "G1 F9000\n" + "\n".join(f"G1 X{1.2 * k:.6f} Y{0.9 * k:.6f} E.06" for k in range(1, 101))
    assert only(start, pieces).duration_s == pytest.approx(whole, rel=1e-6)


def test_a_right_angle_is_taken_at_jerk_and_a_slight_bend_faster(start: str) -> None:
    corner = only(start, "G1 X50 F6000\nG1 Y50").moves
    assert corner.exit[0] == corner.entry[1] == pytest.approx(10.0)
    bend = only(start, "G1 X50 F6000\nG1 X100 Y5").moves
    share = 5 / hypot(50, 5)
    assert bend.exit[0] == bend.entry[1] == pytest.approx(min(100.0, 10.0 / share))


def test_the_machine_rests_where_it_waits(start: str) -> None:
    moves = only(start, "G1 X50 F6000\nM109 S210\nG1 X100\nG4 P100\nG1 X150\nM106\nG1 X200").moves
    assert moves.rests.tolist() == [1, 1, 1, 0]
    assert moves.exit[:2].tolist() == [10.0, 10.0]
    assert moves.exit[2] == pytest.approx(100.0)


def test_a_dwell_counts_as_duration_and_a_wait_for_heat_does_not(start: str) -> None:
    move = only(start, "G1 X50 F6000").duration_s
    made = only(start, "G4 S3\nG1 X50 F6000\nG4 P500\nM109 S220")
    assert made.duration_s == pytest.approx(move + 3.5)
    assert made.moves.begin[0] == 3.0
    assert made.position_at(np.array([0.0, 3.0, made.duration_s])).tolist() == [[0] * 4, [0] * 4, [50, 0, 0, 0]]
    warm = only(start, "G1 X50 F6000")
    assert made.waiting_s == pytest.approx(warm.waiting_s + 5 / LIMITS.heating_rate[0])


def test_the_estimate_of_waiting_lets_bed_and_hotend_heat_together() -> None:
    made = plan("M140 S60\nM104 S220\nM190 S60\nM109 S220", LIMITS)
    assert made.waiting_s == pytest.approx(max(40 / LIMITS.heating_rate[1], 200 / LIMITS.heating_rate[0]))


def test_positions_between_follow_the_trapezoid(start: str) -> None:
    made = only(start, "G1 X150 E3 F6000\nG1 Y1")
    moves, span = made.moves, 1e-6
    times = np.linspace(span, made.duration_s - span, 400)
    before, after = made.position_at(times - span), made.position_at(times + span)
    speed = np.hypot(*((after - before)[:, :2] / (2 * span)).T)
    assert speed.max() <= 100.0 * (1 + 1e-6)
    assert made.position_at(moves.begin[1])[0] == pytest.approx([150, 0, 0, 3])
    assert np.allclose(made.vertices(), [[0, 0, 0, 0], [150, 0, 0, 3], [150, 1, 0, 3]])


@pytest.mark.parametrize(
    ("text", "line", "axis", "value", "limit"),
    [
        ("{start}G1 X10 F600\nG1 X220.5", 10, "X", 220.5, 220.0),
        ("{start}G1 Y-1 F600", 9, "Y", -1.0, 0.0),
        ("{start}G91\nG1 Z200 F600\nG1 Z51", 11, "Z", 251.0, 250.0),
        ("{start}G92 X-300\nG1 X-10 F600", 10, "X", 290.0, 220.0),
        ("G28\nG1 X5 E1 F600", 2, "E", 0.0, 170.0),
        ("G28\nM104 S215\nG1 X5 E1 F600", 3, "E", 0.0, 170.0),
        ("{start}M104 S0\nM104 S215\nG1 X5 E1 F600", 11, "E", 0.0, 170.0),
        ("{start}M109 S150\nG1 X5 E1 F600", 10, "E", 150.0, 170.0),
        ("M104 S300", 1, "", 300.0, 275.0),
        ("M190 S121", 1, "", 121.0, 120.0),
        ("M140 S-5", 1, "", -5.0, 120.0),
        ("G1 X5 F600", 1, "X", None, None),
        ("G28 X Y\nG1 X5 F600\nG1 Z5", 3, "Z", None, None),
        ("{start}M84\nG1 X5 F600", 10, "X", None, None),
        ("{start}G1 X5", 9, "", None, None),
        ("", 0, "", None, None),
    ],
)
def test_what_the_machine_must_not_do_is_refused_with_line_axis_value_and_limit(
    start: str, text: str, line: int, axis: str, value: float | None, limit: float | None
) -> None:
    first = plan(text.format(start=start), LIMITS).refusals[0]
    assert (first.line, first.axis, first.limit) == (line, axis, limit)
    assert first.value == (None if value is None else pytest.approx(value))


def test_more_steps_than_the_node_makes_are_refused_at_planning(start: str) -> None:
    slow = Limits(max_step_rate=8000.0)
    assert not plan(start + "G1 X100 F5800", slow).refusals
    refusal = plan(start + "G1 X100 F9000", slow).refusals[0]
    assert (refusal.line, refusal.axis) == (9, "X")
    assert refusal.value == pytest.approx(150 * 80)
    assert refusal.limit == pytest.approx(8000, rel=0.021)


def test_a_program_longer_than_a_job_can_count_is_refused(start: str) -> None:
    assert "longer than" in plan(start + "G4 S200000", LIMITS).refusals[0].text


def test_no_job_is_made_of_a_refused_plan(start: str) -> None:
    with pytest.raises(JobError, match="line 9: X=230 mm is outside the travel range") as error:
        encode(plan(start + "G1 X230 F600", LIMITS), LIMITS)
    assert (error.value.line, error.value.axis, error.value.value, error.value.limit) == (9, "X", 230.0, 220.0)


def test_what_exceeds_the_machine_is_clamped_counted_and_warned_of_once(start: str) -> None:
    fast = "M201 X9000 Y100\nM203 X500\nM204 P9000 T9000\nM205 X50\n"
    made = only(start, fast + "G1 X100 F60000\nG1 X0\nG1 Z10\nM204 P8000")
    assert made.clamped == {"M201 X": 1, "M203 X": 1, "M204 P": 2, "M204 T": 1, "M205 X": 1, "feed": 3}
    assert made.moves.cruise[0] == pytest.approx(300.0)
    assert made.moves.acceleration.tolist() == [2000.0, 2000.0, 400.0]
    assert [(w.line, w.count) for w in made.warnings] == [(9, 1), (10, 1), (11, 2), (11, 1), (12, 1), (13, 2), (15, 1)]


def test_a_programs_own_slower_limits_hold(start: str) -> None:
    moves = only(start, "M203 X50\nM201 X700\nM205 X4 Y4\nM205 S0 T0\nG1 X100 F60000\nG1 X0").moves
    assert moves.cruise[0] == pytest.approx(50.0)
    assert moves.acceleration[0] == pytest.approx(700.0)
    assert moves.entry[0] == 4.0


def test_the_least_feed_rates_of_m205_lift_slower_ones(start: str) -> None:
    moves = only(start, "M205 S20 T30\nG1 X100 E1 F60\nG1 X0").moves
    assert moves.cruise.tolist() == pytest.approx([20.0, 30.0])


def test_a_summary_is_ready_for_json_and_has_one_duration(start: str) -> None:
    made = only(start, ";LAYER_CHANGE\nG1 X100 E2 F6000\nG1 E-1")
    summary = json.loads(json.dumps(made.summary()))
    assert [key for key in summary if "duration" in key] == ["duration_s"]
    assert (summary["moves"], summary["layers"], summary["filament_mm"]) == (2, 1, pytest.approx(1.0))
    assert summary["extents_mm"] == [[0, 0, 0], [100, 0, 0]]


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_speed": (0.0, 1.0, 1.0, 1.0)},
        {"jerk": (-1.0, 1.0, 1.0, 1.0)},
        {"max_step_rate": 60_000.0},
        {"home": (-1.0, 0.0, 0.0)},
        {"max_position": (float("nan"), 1.0, 1.0)},
        {"max_step_rate": 200.0},
        {"frame_us": 0},
        {"chunk_frames": 17},
    ],
)
def test_limits_that_make_no_machine_are_named(wrong: dict) -> None:
    with pytest.raises(JobError, match=next(iter(wrong))):
        Limits(**wrong)
