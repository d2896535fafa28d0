"""Reading G-code: what is understood, what is refused with its line, what is only warned of."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin.motion import Limits, OpKind, plan, read


def ends(text: str) -> list[list[float]]:
    program = read(text)
    assert not program.refusals
    return np.round(program.end, 6).tolist()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("G1 X10 Y5 F600", [[10, 5, 0, 0]]),
        ("g1x10y5f600", [[10, 5, 0, 0]]),
        ("G1 X 10 Y+5. F600", [[10, 5, 0, 0]]),
        ("G01 Z.2 E.05511 F600", [[0, 0, 0.2, 0.05511]]),
        ("G0 F600\nG1 E-.5", [[0, 0, 0, -0.5]]),
        ("G1 X1 F600 ; out\nG1 Y1 (and up)\n(back) G1 X0\n\n;\n", [[1, 0, 0, 0], [1, 1, 0, 0], [0, 1, 0, 0]]),
        ("N3 T0*57\nN4 G92 E0*67\nN5 G28*22\nG1 X3 F60", [[3, 0, 0, 0]]),
        ("\tN7\nN8 G1 X3 F60\r\nG1 X4\rG1 X5", [[3, 0, 0, 0], [4, 0, 0, 0], [5, 0, 0, 0]]),
        ("G20\nG1 X1 F60\nG21\nG1 Y1", [[25.4, 0, 0, 0], [25.4, 1, 0, 0]]),
        ("G1 X5 F600\nG91\nG1 X5 E1\nG1 E1\nG90\nG1 X1 E1", [[5, 0, 0, 0], [10, 0, 0, 1], [10, 0, 0, 2], [1, 0, 0, 1]]),
        ("M83\nG1 X1 E2 F600\nG1 X2 E2\nM82\nG92 E0\nG1 X3 E1", [[1, 0, 0, 2], [2, 0, 0, 4], [3, 0, 0, 5]]),
        ("G1 X5 Y5 F600\nG92 X0\nG1 X1\nG92\nG1 Y1", [[5, 5, 0, 0], [6, 5, 0, 0], [6, 6, 0, 0]]),
        ("G1 X5 Y5 F600\nG92 X0 Y0\nG28 X\nG1 X1 Y1", [[5, 5, 0, 0], [1, 6, 0, 0]]),
        ("G1 F1200\nG1 X0 Y0\nG1 X1", [[1, 0, 0, 0]]),
    ],
)
def test_moves_end_where_the_program_says(text: str, expected: list[list[float]]) -> None:
    assert ends(text) == expected


def test_a_feed_rate_alone_moves_nothing_and_holds_for_what_follows() -> None:
    program = read("G1 F1200\nG1 X1\nG20\nG1 X2 F60")
    assert program.feed.tolist() == [20.0, 25.4]
    assert program.line.tolist() == [2, 4]


def test_heat_fan_homing_dwell_and_motors_are_operations_between_moves() -> None:
    text = "M140 S60\nG28 X Y\nM190\nG1 X1 F600\nM109 R200\nM106\nM106 S51\nM107\nG4 P500\nG4 S2\nM84\nM17\nM18"
    ops = [(op.line, op.before, op.kind, op.arg, op.value) for op in read(text).ops]
    assert ops == [
        (1, 0, OpKind.HEAT, 1, 60.0),
        (2, 0, OpKind.HOME, 0b011, 0.0),
        (3, 0, OpKind.WAIT, 1, 60.0),
        (5, 1, OpKind.WAIT, 0, 200.0),
        (6, 1, OpKind.FAN, 0, 1.0),
        (7, 1, OpKind.FAN, 0, 0.2),
        (8, 1, OpKind.FAN, 0, 0.0),
        (9, 1, OpKind.DWELL, 0, 0.5),
        (10, 1, OpKind.DWELL, 0, 2.0),
        (11, 1, OpKind.MOTORS, 0, 0.0),
        (12, 1, OpKind.MOTORS, 1, 0.0),
        (13, 1, OpKind.MOTORS, 0, 0.0),
    ]


def test_limits_set_by_the_program_hold_from_their_line_on() -> None:
    text = "G1 X1 F600\nM201 X500 E1000\nM203 Y80\nM204 P300 R400 T600\nM205 X8 S1 T2\nG1 X2\nM204 S700\nG1 X3"
    program = read(text)
    before, between, after = program.settings[program.setting]
    assert np.isinf(before[:15]).all()
    assert (between[0], between[3], between[5], between[8]) == (500, 1000, 80, 8)
    assert between[12:].tolist() == [300, 400, 600, 1, 2]
    assert after[12:15].tolist() == [700, 400, 700]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("G2 X10 Y10 I5", "G2 is unknown"),
        ("G3 X1", "G3 is unknown"),
        ("G29", "G29 is unknown"),
        ("G28.1", "G28.1 is unknown"),
        ("T1", "T1 is unknown"),
        ("M112", "M112 is unknown"),
        ("M0", "M0 is unknown"),
        ("M220 S50", "M220 is unknown"),
        ("G1 X1e5x", "X occurs twice"),
        ("G1 X1.2.3 F600", "malformed word"),
        ("G1 X--1", "malformed word"),
        ("G1 Xinf", "X has no number"),
        ("G1 Xnan", "N occurs twice"),
        ("G1 X٣ F600", "malformed word"),
        ("G1 X" + "9" * 400, "out of range"),
        ("G1 X1 A5 F600", "G1 takes no A"),
        ("G1 X1 G1 Y1", "G1 takes no G"),
        ("G1 X F600", "X has no number"),
        ("G1 X1 F0", "feed rate F0 is not above 0"),
        ("G1 X1 F-5", "feed rate F-5 is not above 0"),
        ("X10 Y10", "no command"),
        ("hello", "no command"),
        ("G", "no command"),
        ("G1 X1 (never closed", "not closed"),
        ("N3 G1 X1*1", "does not match"),
        ("G1 X1*x", "malformed checksum"),
        ("M104", "no temperature"),
        ("M104 S200 T1", "M104 takes no T"),
        ("M106 S300", "fan power"),
        ("G4 P-1", "can't wait"),
        ("M201 X0", "M201 X0 is not above 0"),
        ("M205 X-1", "M205 X-1 is not above 0"),
        ("G21 X1", "G21 takes no X"),
    ],
)
def test_what_is_wrong_is_refused_with_its_line(line: str, said: str) -> None:
    program = read(f"G21\n\n{line}\nG90")
    assert [refusal.line for refusal in program.refusals] == [3]
    assert said in program.refusals[0].text


@pytest.mark.parametrize(
    "line", ["T0", "M73 P5 R10", "M117 Hello (world; 5*", "M115 U3.1", "M900 K0.05", "M862.3 P MK3"]
)
def test_what_is_harmless_is_warned_of_with_its_line(line: str) -> None:
    program = read(f"G21\n{line}\n{line}")
    assert not program.refusals
    assert [(notice.line, notice.count) for notice in program.notices] == [(2, 2)]
    assert line.split()[0] in program.notices[0].text


def test_unknown_parameters_of_settings_are_warned_of() -> None:
    program = read("M205 X8 J0.02\nM106 P1 S255\nM84 S30\nM84 X Y")
    assert not program.refusals
    assert [notice.line for notice in program.notices] == [1, 2, 3, 4]
    assert [op.kind for op in program.ops] == [OpKind.MOTORS]


def test_refusals_are_counted_but_not_kept_without_end() -> None:
    refusals = read("G2\n" * 1000).refusals
    assert len(refusals) == 101
    assert refusals[-1].text == "and 900 more"


words = st.tuples(
    st.sampled_from("GMTXYZEFSPRNIJ*;()"),
    st.one_of(
        st.integers(-300, 300).map(str),
        st.floats().map(str),
        st.sampled_from(["", " ", "1.", ".5", "-.5", "1" * 5000, "1.2.3", "\0", "ß", "\ud800"]),
    ),
).map("".join)
lines = st.one_of(
    st.text(max_size=30), st.lists(words, max_size=6).map(" ".join), st.lists(words, max_size=6).map("".join)
)


@given(st.lists(lines, max_size=12).map("\n".join))
def test_no_text_makes_the_reader_or_the_planner_raise(text: str) -> None:
    program = read(text)
    assert np.isfinite(program.end).all()
    made = plan(text, Limits())
    assert made.refusals or made.duration_s >= 0
    assert all(0 <= refusal.line <= program.lines for refusal in made.refusals)
