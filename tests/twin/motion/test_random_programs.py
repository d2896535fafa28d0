"""Whatever a program asks for, its plan keeps the limits and its Job makes the plan's steps at the plan's time."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from twin.motion import Limits, Plan, decode, encode, frames, plan, steps

START = "G21\nG90\nM83\nG28\nM109 S215\nG1 X60 Y60 Z5 F3000\n"
LIMITS = Limits(jerk=(8.0, 9.0, 0.4, 2.5))

near = st.floats(-0.5, 0.5)
wide = st.floats(-25, 25)
feeds = st.sampled_from(["", "", " F30", " F600", " F3000", " F9000", " F18000"])
motions = st.one_of(
    st.builds("G1 X{:.3f} Y{:.3f} E{:.5f}{}".format, near, near, st.floats(0, 0.2), feeds),
    st.builds("G1 X{:.3f} Y{:.3f}{}".format, wide, wide, feeds),
    st.builds("G1 X{:.3f} Y{:.3f} E{:.5f}{}".format, wide, wide, st.floats(0, 3), feeds),
    st.builds("G1 X{:.4f}{}".format, st.floats(-0.02, 0.02), feeds),
    st.builds("G1 Z{:.2f}{}".format, st.floats(-0.4, 0.4), feeds),
    st.builds("G1 E{:.2f}{}".format, st.floats(-2, 2), feeds),
    st.builds("G1 X{:.3f} Z{:.3f}{}".format, near, near, feeds),
)
others = st.one_of(
    st.builds("M204 P{} T{}".format, st.integers(200, 4000), st.integers(200, 4000)),
    st.builds("M205 X{:.1f} Y{:.1f}".format, st.floats(0, 15), st.floats(0, 15)),
    st.builds("M203 X{}".format, st.integers(5, 400)),
    st.builds("G4 P{}".format, st.integers(0, 30)),
    st.sampled_from(["M109 S215", "M106 S99", "M104 S216", "G92 E0", ";LAYER_CHANGE"]),
)
pieces = st.lists(st.one_of(motions, motions, motions, others), min_size=1, max_size=30)


def program(lines: list[str]) -> str:
    """Relative moves that would leave the bed are turned back by starting again from its middle now and then."""
    text = [START, "G91\n"]
    for index, line in enumerate(lines):
        text.append(line + "\n")
        if index % 2:
            text.append("G90\nG1 X60 Y60 Z5\nG91\n")
    return "".join(text)


programs = pieces.map(program)


def planned(text: str, limits: Limits = LIMITS) -> Plan:
    made = plan(text, limits)
    assert not made.refusals, made.refusals
    return made


@given(programs)
def test_speeds_accelerations_and_distances_of_a_plan_fit_together(text: str) -> None:
    moves = planned(text).moves
    along = np.abs(moves.along)
    near_one = 1 + 1e-9
    assert (along * moves.cruise[:, None] <= np.array(LIMITS.max_speed) * near_one).all()
    assert (along * moves.acceleration[:, None] <= np.array(LIMITS.max_acceleration) * near_one).all()
    assert (moves.entry <= moves.cruise * near_one).all()
    assert (moves.exit <= moves.cruise * near_one).all()
    up = (moves.entry + moves.cruise) / 2 * moves.accelerating
    down = (moves.exit + moves.cruise) / 2 * moves.decelerating
    assert np.allclose(up + moves.cruise * moves.cruising + down, moves.distance, rtol=1e-9, atol=1e-9)
    assert np.allclose(moves.cruise - moves.entry, moves.acceleration * moves.accelerating)
    assert np.allclose(moves.cruise - moves.exit, moves.acceleration * moves.decelerating)
    assert (
        np.allclose(np.linalg.norm((moves.end - moves.start)[:, :3], axis=1), moves.distance)
        or (along[:, 3] == 1).any()
    )


@given(programs)
def test_no_axis_jumps_by_more_than_its_jerk_where_moves_meet(text: str) -> None:
    made = planned(text)
    moves, jerk = made.moves, np.minimum(made.program.settings[made.program.setting][:, 8:12], LIMITS.jerk)
    slack = 1e-6
    for i in range(1, len(moves)):
        leaving = moves.exit[i - 1] * moves.along[i - 1]
        entering = moves.entry[i] * moves.along[i]
        if moves.rests[i]:
            assert (np.abs(leaving) <= jerk[i - 1] + slack).all()
            assert (np.abs(entering) <= jerk[i] + slack).all()
            continue
        assert moves.exit[i - 1] == moves.entry[i]
        turns = leaving * entering <= 0
        assert (np.abs(leaving - entering) <= np.where(turns, 2, 1) * jerk[i] + slack).all()
        assert (np.maximum(np.abs(leaving), np.abs(entering))[turns] <= jerk[i][turns] + slack).all()


@given(programs)
def test_where_moves_meet_without_rest_a_higher_speed_would_break_a_limit(text: str) -> None:
    made = planned(text)
    moves, rows = made.moves, made.program.settings[made.program.setting]
    top = np.minimum(rows[:, 4:8], LIMITS.max_speed) / np.maximum(np.abs(moves.along), 1e-12)
    top = np.minimum(top.min(axis=1), made.program.feed)
    change = 2 * moves.acceleration * moves.distance
    for i in np.flatnonzero(moves.rests == 0):
        more = moves.entry[i] * 1.001 + 1e-6
        leaving, entering = more * moves.along[i - 1], more * moves.along[i]
        turns = leaving * entering <= 0
        jump = np.where(turns, np.maximum(np.abs(leaving), np.abs(entering)), np.abs(leaving - entering))
        assert (
            more > min(top[i - 1], top[i])
            or more**2 > moves.entry[i - 1] ** 2 + change[i - 1]
            or more**2 > moves.exit[i] ** 2 + change[i]
            or (jump > np.minimum(rows[i, 8:12], LIMITS.jerk)).any()
        )


@given(programs)
def test_a_job_makes_the_plans_steps_at_the_plans_time(text: str) -> None:
    made = planned(text)
    records = decode(encode(made, LIMITS))
    got = steps(records)
    assert (got.missing == 0).all()
    assert (got.steps == records.steps).all()
    assert records.header.peak_rate <= LIMITS.max_step_rate
    assert abs(records.header.duration - made.duration_s) <= LIMITS.chunk
    ends, per_mm = got.end * LIMITS.chunk, np.array(LIMITS.steps_per_mm)
    moved = records.chunks > 0
    want = made.position_at(ends[moved]) * per_mm
    fastest = (np.abs(made.moves.along) * made.moves.cruise[:, None] * per_mm).max(axis=0)
    assert (np.abs(got.position[moved] - want) <= 0.5 + 1e-6 + fastest * LIMITS.chunk).all()
    _each_move_ends_on_its_corner(made, got.position, ends)


def _each_move_ends_on_its_corner(made: Plan, position: np.ndarray, ends: np.ndarray) -> None:
    """Only a move shorter than a chunk may have its steps made by the next one's record."""
    corners = np.floor(made.moves.end * np.array(LIMITS.steps_per_mm) + 0.5)
    over = made.moves.begin + made.moves.duration
    for i in np.flatnonzero(made.moves.duration > 1.01 * LIMITS.chunk):
        about = np.flatnonzero(np.abs(ends - over[i]) <= 1.01 * LIMITS.chunk)
        assert (position[about] == corners[i]).all(axis=1).any(), i
    assert (position[-1] == corners[-1]).all()


@settings(max_examples=15)
@given(pieces.map(lambda lines: program(lines[:8])))
def test_between_record_ends_the_tool_stays_within_two_steps_of_the_plan(text: str) -> None:
    made = planned(text)
    records = decode(encode(made, LIMITS))
    got, per_mm = steps(records), np.array(LIMITS.steps_per_mm)
    frame, last = LIMITS.frame_us * 1e-6, np.full(4, -10)
    for k in np.flatnonzero(records.alpha > 0):
        masks = frames(records, int(k))
        first = (got.end[k] - records.chunks[k]) * 4
        stepped = np.array([masks >> axis & 1 for axis in range(4)]).T
        at = got.position[k] - records.steps[k] + np.cumsum(stepped * np.sign(records.steps[k]), axis=0)
        want = made.position_at((first + np.arange(1, len(masks) + 1)) * frame) * per_mm
        assert np.abs(at - want).max() < 2.0
        for axis in range(4):
            when = np.flatnonzero(stepped[:, axis]) + first
            if len(when):
                assert np.diff(when, prepend=last[axis]).min() >= 2  # a pulse needs a frame high and one low
                last[axis] = when[-1]


@given(programs, st.sampled_from([315.0, 3000.0, 24_500.0, 26_000.0]))
def test_a_job_never_exceeds_the_nodes_step_rate_nor_falls_behind(text: str, rate: float) -> None:
    limits = Limits(max_step_rate=rate)
    made = plan(text, limits)
    if made.refusals:
        limits = Limits(max_step_rate=rate, max_speed=tuple(0.97 * rate / per_mm for per_mm in LIMITS.steps_per_mm))
        made = planned(text, limits)
    records = decode(encode(made, limits))
    assert records.header.peak_rate <= rate
    assert abs(records.header.duration - made.duration_s) <= 2 / rate + 2 * limits.chunk
