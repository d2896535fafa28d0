"""A Trace comes back from its file as it was: times to the nanosecond, values with their types, events with theirs."""

import csv
import enum
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hil.judging.verdict import Is, happened, judge, never, responds
from hil.reports.record import COLUMNS, Foreign, RecordError, read, summary, write, write_summary
from hil.rig import LinkCut, PowerOn
from twin.clock import MS, Ns
from twin.plant import PartMade
from twin.trace import Event, Trace

SUFFIXES = (".csv", ".parquet")
KINDS = pytest.mark.parametrize("suffix", SUFFIXES)


class Phase(enum.Enum):
    HEATING = "heating"


@dataclass(frozen=True, slots=True)
class PhaseCame(Event):
    phase: Phase
    targets: tuple[float, ...]
    before: Phase | None = None


def sample() -> Trace:
    trace = Trace()
    trace.event(Ns(0), PowerOn("printer-1", 'said "on",\nthen more'))
    trace.value(Ns(0), "printer-1/pin/fan", 0)
    trace.value(Ns(1), "printer-1/plant/hotend", 20.1)
    trace.value(Ns(2**60 + 1), "printer-1/plant/hotend", 1 / 3)
    trace.value(Ns(2**60 + 1), "printer-1/plant/position_mm", (0.1, (1, True), "x"))
    trace.value(Ns(2**60 + 2), "printer-1/node/state", "DRÜCKT, «0»")
    trace.value(Ns(2**60 + 3), "printer-1/node/latched", True)
    trace.event(Ns(2**60 + 3), PhaseCame("printer-1", Phase.HEATING, (60.0, 215.5)))
    trace.event(Ns(2**60 + 3), LinkCut("printer-1"))
    return trace


def typed(trace: Trace) -> Any:
    """All that a Trace holds, where 1, 1.0 and True are three different things."""
    values = {name: [(time, repr(value)) for time, value in series] for name, series in trace.series.items()}
    return values, [(entry.time, entry.what) for entry in trace.events], trace.digest


@KINDS
def test_a_trace_comes_back_as_it_was(tmp_path: Path, suffix: str) -> None:
    comes_back(sample(), tmp_path / f"it's{suffix}")


@KINDS
def test_requirements_judge_a_recording_as_they_judge_the_live_trace(tmp_path: Path, suffix: str) -> None:
    trace, path = Trace(), tmp_path / f"run{suffix}"
    trace.value(Ns(0), "belt/pin/run", 1)
    trace.event(Ns(10 * MS), LinkCut("belt"))
    trace.value(Ns(520 * MS), "belt/pin/run", 0)
    write(trace, path)
    wanted = [
        responds("in time", LinkCut("belt"), "belt/pin/run", Is(0), Ns(510 * MS)),
        responds("sooner", LinkCut("belt"), "belt/pin/run", Is(0), Ns(500 * MS)),
        never("never", "belt/pin/run", Is(1), after=LinkCut),
        happened("made", PartMade),
    ]
    live = judge(wanted, trace)
    assert judge(wanted, read(path)) == live
    assert [verdict.passed for verdict in live] == [True, False, False, False]


VALUES = st.recursive(
    st.one_of(st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False), st.text(max_size=8)),
    lambda inner: st.lists(inner, max_size=3).map(tuple),
    max_leaves=5,
)
NAMES = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=6)


SIGNALS = st.dictionaries(NAMES, st.lists(st.tuples(st.integers(0, 2**62), VALUES), max_size=5), max_size=4)


def recorded(signals: dict[str, list[tuple[int, Any]]], subjects: list[str]) -> Trace:
    trace = Trace()
    for name, pairs in signals.items():
        for time, value in sorted(pairs, key=lambda pair: pair[0]):
            trace.value(Ns(time), name, value)
    for time, subject in enumerate(subjects):
        trace.event(Ns(time), PartMade(subject, f"{subject}'s", 0.1 * time))
    return trace


@settings(max_examples=100, deadline=None)
@given(SIGNALS, st.lists(NAMES, max_size=3))
def test_whatever_was_recorded_comes_back_from_csv(
    tmp_path_factory: pytest.TempPathFactory, signals: Any, subjects: list[str]
) -> None:
    comes_back(recorded(signals, subjects), tmp_path_factory.getbasetemp() / "any.csv")


@settings(max_examples=15, deadline=None)
@given(SIGNALS, st.lists(NAMES, max_size=3))
def test_whatever_was_recorded_comes_back_from_parquet(
    tmp_path_factory: pytest.TempPathFactory, signals: Any, subjects: list[str]
) -> None:
    comes_back(recorded(signals, subjects), tmp_path_factory.getbasetemp() / "any.parquet")


def comes_back(trace: Trace, path: Path) -> None:
    write(trace, path)
    assert typed(read(path)) == typed(trace)


def test_numpy_scalars_come_back_as_pythons_own(tmp_path: Path) -> None:
    trace = Trace()
    trace.value(Ns(0), "a", np.float64(0.1))
    trace.value(Ns(0), "b", np.int32(7))
    trace.value(Ns(0), "c", np.bool_(True))
    write(trace, tmp_path / "n.csv")
    back = read(tmp_path / "n.csv")
    assert [repr(back.last(name)) for name in "abc"] == ["0.1", "7", "True"]


def test_both_files_can_be_read_by_others(tmp_path: Path) -> None:
    for suffix in SUFFIXES:
        write(sample(), tmp_path / f"t{suffix}")
    with (tmp_path / "t.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS and [int(row["time_ns"]) for row in rows] == sorted(int(row["time_ns"]) for row in rows)
    question = f"SELECT max(number) FROM '{tmp_path}/t.parquet' WHERE name = 'printer-1/plant/hotend'"
    assert duckdb.execute(question).fetchall() == [(20.1,)]


def test_an_event_whose_type_is_not_known_keeps_its_name_and_facts(tmp_path: Path) -> None:
    path, again = tmp_path / "a.csv", tmp_path / "b.csv"
    write(sample(), path)
    path.write_text(path.read_text(encoding="utf-8").replace("hil.happenings.LinkCut", "their.rig.Jammed"), encoding="utf-8")
    back = read(path)
    assert back.events[-1].what == Foreign("printer-1", "their.rig.Jammed", '{"subject": "printer-1"}')
    write(back, again)
    assert typed(read(again)) == typed(back)


def test_no_module_is_imported_because_a_file_names_it(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    write(sample(), path)
    path.write_text(path.read_text(encoding="utf-8").replace("hil.happenings.LinkCut", "antigravity.LinkCut"), encoding="utf-8")
    assert isinstance(read(path).events[-1].what, Foreign) and "antigravity" not in sys.modules


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("lockstep-trace 1", "lockstep-trace 9", "not a recording of the format"),
        ("time_ns,", "when,", "its columns are not"),
        (",20.1\n", "\n", "4 columns, not 5"),
        (",20.1\n", ",20..1\n", "printer-1/plant/hotend at 1 ns"),
        ("1,value,printer-1/plant/hotend", "now,value,printer-1/plant/hotend", "'now' is no time"),
        ("heating", "melting", "melting"),
    ],
)
def test_a_spoilt_file_is_refused_with_one_line(tmp_path: Path, before: str, after: str, told: str) -> None:
    path = tmp_path / "a.csv"
    write(sample(), path)
    text = path.read_text(encoding="utf-8")
    assert before in text
    path.write_text(text.replace(before, after, 1), encoding="utf-8")
    with pytest.raises(RecordError, match=r"a\.csv|PhaseCame") as refused:
        read(path)
    assert told in str(refused.value) and "\n" not in str(refused.value)


def test_what_is_no_recording_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and no more")
    for name in ("a.parquet", "none.parquet", "a.txt"):
        with pytest.raises(RecordError, match=name):
            read(tmp_path / name)
    with pytest.raises(RecordError, match=r"a\.txt"):
        write(sample(), tmp_path / "a.txt")
    trace = Trace()
    trace.value(Ns(0), "belt/odd", {1, 2})
    with pytest.raises(RecordError, match="belt/odd"):
        write(trace, tmp_path / "a.csv")


def test_parquet_without_duckdb_names_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(RecordError, match=r"lockstep-factory\[history\]"):
        write(sample(), tmp_path / "a.parquet")
    write(sample(), tmp_path / "a.csv")


def test_a_summary_says_what_a_trace_holds(tmp_path: Path) -> None:
    trace = sample()
    write_summary(trace, tmp_path / "s.json")
    found = json.loads((tmp_path / "s.json").read_text(encoding="utf-8"))
    assert found == json.loads(json.dumps(summary(trace))) and found["digest"] == trace.digest
    assert found["events"] == {"LinkCut": 1, "PhaseCame": 1, "PowerOn": 1}
    hotend = found["signals"]["printer-1/plant/hotend"]
    assert hotend == {"values": 2, "first": 20.1, "last": 1 / 3, "least": 1 / 3, "most": 20.1}
