"""A calibration's file: what is written is what is read, and what is none says where."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin.calibration import Calibration, CalibrationError, Value, digest_of, read, write
from twin.calibration.run import of_series, of_trace
from twin.clock import S
from twin.machine import load, make_params
from twin.residual import Parameter, beside_of, of, physics_of
from twin.units import PERCENT

finite = st.floats(allow_nan=False, allow_infinity=False)
BELT = {one.name: one for one in beside_of("twin.machines.conveyor").PARAMETERS}


@given(st.dictionaries(st.sampled_from(["pull", "hotend.loss", "cam.2"]), st.tuples(finite, finite)), st.text(max_size=40), finite)
def test_what_is_written_is_read(values: dict[str, tuple[float, float]], source: str, rms: float) -> None:
    kept = {name: Value(*pair) for name, pair in values.items()}
    made = Calibration("belt-1", "conveyor", "2026-11-22T17:00:00+00:00", source, "abc", kept, {"way": rms})
    came = read(write(made, BELT), "file")
    assert came.values == made.values and came.rms == made.rms and came.params == "abc"
    assert came.source == "".join(letter if letter.isprintable() else " " for letter in source)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("nonsense", "f.toml: not TOML"),
        ('machine = "b"', "f.toml: type: must be a text, not None"),
        ("values = 3\n", "values: must be a table"),
        ("[values]\npull = nan\n", "values.pull: must be a number, not nan"),
        ("[values]\npull = true\n", "values.pull: must be a number"),
        ("[values]\ngrip = 1.0\n", "values.grip: no such parameter; there are pull, friction"),
        ("[values]\npull = 9.0\n", "values.pull: 9 is outside 0.2 to 3"),
    ],
)
def test_what_is_no_calibration_is_refused_with_its_place(text: str, complaint: str) -> None:
    head = "" if "machine" in text or text == "nonsense" else 'machine = "b"\ntype = "c"\nmade = "m"\nsource = "s"\nparams = "p"\n'
    with pytest.raises(CalibrationError, match=complaint.replace(".", r"\.")):
        read(head + text, "f.toml", BELT)


def test_a_calibration_is_for_one_type_and_one_set_of_params() -> None:
    kind = load("conveyor")
    one, other = (digest_of(kind.package, make_params(kind.params, given)) for given in ({}, {"length": 900.0}))
    made = Calibration("belt-1", "conveyor", "", "", one, {"pull": Value(1.1, 0.01)}, {})
    assert one != other and not made.stale(one) and "calibrate it again" in made.stale(other)
    assert of(made.physics(physics_of(kind.package)), "pull") == 1.1


def test_a_parameter_may_lie_deep_inside() -> None:
    arm, printer = physics_of("twin.machines.arm"), physics_of("twin.machines.printer")
    made = Calibration("a", "t", "", "", "", {"cam.2": Value(0.5)}, {})
    assert made.physics(arm).cam == (0.0, 0.0, 0.5, 0.0, 0.0, 0.0)
    made = Calibration("p", "t", "", "", "", {"hotend.loss": Value(0.5)}, {})
    assert made.physics(printer).hotend.loss == 0.5 and made.physics(printer).bed == printer.bed


def test_values_kept_when_they_changed_hold_until_the_next_or_are_joined_by_lines() -> None:
    series = {"speed": ([0, S], [1.0, 2.0]), "heat": ([0, 2 * S], [0.0, 10.0]), "name": ([0], ["text"])}
    run = of_series("m", series, every=S // 2, drawn=("heat",))
    assert run.time.tolist() == [0.0, 0.5, 1.0, 1.5, 2.0] and list(run.columns) == ["speed", "heat"]
    assert run["speed"].tolist() == [1.0, 1.0, 2.0, 2.0, 2.0]
    assert run["heat"].tolist() == [0.0, 2.5, 5.0, 7.5, 10.0]
    with pytest.raises(CalibrationError, match="nothing of m was recorded"):
        of_series("m", {"name": ([0], ["text"])})
    with pytest.raises(CalibrationError, match="2000001 reports, at most 1000000"):
        of_series("m", {"speed": ([0, 200_000 * S], [1.0, 2.0])})


def test_a_trace_is_read_with_its_line_where_it_is_none() -> None:
    head = "time_ns,what,name,type,value\n"
    text = head + "0,value,core/b/status/speed,float,1.5\n5,event,b,x,{}\n100000000,value,b/status/run,bool,true\n"
    run = of_trace("b", text)
    assert run["speed"].tolist() == [1.5] and run["run"].tolist() == [1.0]
    with pytest.raises(CalibrationError, match="t: line 1: a Trace's CSV begins with"):
        of_trace("b", "time,value\n", source="t")
    with pytest.raises(CalibrationError, match="t: line 3: "):
        of_trace("b", head + "0,value,b/status/speed,float,1\n0,value,b/status/speed,float,no\n", source="t")
    assert Parameter("x", PERCENT, 0, 1, "").free
