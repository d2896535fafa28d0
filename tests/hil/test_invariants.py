"""The invariants: kept by the firmware and the controller as they are, broken by firmware that is not, or by a doctored trace."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hil.campaigns.invariants import INVARIANTS, invariants
from hil.campaigns.perform import Performed, perform
from hil.campaigns.plan import COMES_ALONG, Plan, parse
from hil.campaigns.violations import Asked
from hil.faults import FaultFired, FaultOff, FaultOn
from hil.house import CoreTold
from hil.judging.verdict import Verdict, judge
from tests.mutant import firmware_with
from twin.clock import Ns, S
from twin.factory import read
from twin.plant import PartArrived, PartHandedOver, PartMade
from twin.trace import Trace

SAFETY = "node/safety.py"
RUNNING = """
factory = "belt.toml"
duration = 12.0
[[part]]
at = 1.0
target = "belt-1"
[[order]]
recipe = "convey"
[[fault]]
at = 4.0
for = 2.0
target = "belt-1"
kind = "{}"
"""


def running(kind: str) -> Plan:
    return parse(RUNNING.format(kind))


def broken(done: Performed) -> set[str]:
    return {verdict.id for verdict in done.verdicts if not verdict.passed}


MUTANTS = {
    "a lease of twice its length": ("I1", "link-cut", "< self._lease_ms", "< 2 * self._lease_ms"),
    "a claim that ends a latch": (
        "I7",
        "link-cut",
        "        self._sequence = _u16(grant, 12)\n        self._stale",
        "        self._sequence = _u16(grant, 12)\n        self._latched = False\n        self._show_latch(0)\n        self._stale",
    ),
    "no interlocks": (
        "I8",
        "drive-trips",
        "for at, mask, output_at, output_mask in self._rules:",
        "for at, mask, output_at, output_mask in ():",
    ),
}


@pytest.mark.parametrize("what", MUTANTS)
def test_an_invariant_is_kept_and_is_broken_by_firmware_that_breaks_it(tmp_path: Path, what: str) -> None:
    wanted, kind, before, after = MUTANTS[what]
    kept = perform(running(kind))
    assert any(kept.trace.of(FaultFired)) and kept.passed, kept.failures
    done = perform(running(kind), firmware=firmware_with(tmp_path, SAFETY, before, after))
    assert wanted in broken(done), [str(verdict) for verdict in done.verdicts]


# ---- doctored traces


@pytest.fixture(scope="module")
def kept() -> Trace:
    """What a belt that was cut off and reset left behind."""
    plan = dataclasses.replace(running("link-cut"), duration=Ns(40 * S))
    done = perform(dataclasses.replace(plan, asks=parse(RUNNING.format("link-cut") + RESET).asks))
    assert done.passed, done.failures
    assert any(entry[3] == "RESET" for _, entry in done.trace.series["belt-1/told/errand"])
    return done.trace


RESET = '[[ask]]\nat = 8.0\nrequest = "reset"\nmachine = "belt-1"\n'


def doctored(trace: Trace, edit: "Edit") -> Trace:
    """A copy of a trace with something changed in it."""
    copy = Trace()
    copy.events.extend(trace.events)
    for name, series in trace.series.items():
        for time, value in series:
            copy.value(time, name, value)
    edit(copy)
    return copy


Edit = Callable[[Trace], object]


def put(*entries: tuple[Ns, str, Any]) -> Edit:
    """Values that were never there; what comes later of the same Signal is forgotten."""

    def edit(trace: Trace) -> None:
        for name in {name for _, name, _ in entries}:
            first = min(time for time, other, _ in entries if other == name)
            series = trace.series.get(name, ())
            kept = [pair for pair in series if pair[0] < first]
            trace.series.pop(name, None)
            for pair in kept:
                trace.value(pair[0], name, pair[1])
        for time, name, value in entries:
            trace.value(time, name, value)

    return edit


def tell(*entries: tuple[Ns, Any]) -> Edit:
    """Events that never were."""

    def edit(trace: Trace) -> None:
        for time, what in entries:
            trace.event(time, what)

    return edit


def at(time_s: float) -> Ns:
    return Ns(round(time_s * S))


def done(command: int, boot: int = 1, executions: int = 1) -> tuple[Any, ...]:
    return (boot, 9, "DONE", "NONE", executions, command)


def told(op: str, command: int, not_after: int = 1 << 30, epoch: int = 9) -> tuple[Any, ...]:
    return (1, epoch, 9, op, command, 0, not_after)


DOCTORED: dict[str, tuple[str, Edit]] = {
    "a drive that runs on in silence": ("I1", put((at(4.5), "belt-1/pin/run", 1), (at(4.6), "belt-1/pin/run", 0))),
    "a command that ran twice": ("I2", put((at(20), "belt-1/said/result", done(77, executions=2)))),
    "a command that ran in two boots": (
        "I2",
        put((at(20), "belt-1/said/result", done(77)), (at(21), "belt-1/said/result", done(77, boot=2))),
    ),
    "a Job that began twice": (
        "I2",
        put(
            (at(20), "belt-1/told/errand", told("START", 77)),
            *((at(20 + i), "belt-1/node/job_state", state) for i, state in enumerate((2, 4, 2))),
        ),
    ),
    "an order that came back": (
        "I5",
        put((at(20), "core/factory/order/state", "DONE"), (at(21), "core/factory/order/state", "RUNNING")),
    ),
    "a part that was made twice": ("I5", tell((at(20), PartMade("belt-1", "a/1", 1.0)), (at(21), PartMade("belt-1", "a/1", 1.0)))),
    "a part that was in two places": (
        "I5",
        tell((at(20), PartMade("belt-1", "a/1", 1.0)), (at(21), PartHandedOver("belt-2", "a/1", "belt-1"))),
    ),
    "a part that came from nowhere": ("I5", tell((at(20), PartArrived("belt-1", "b/1")))),
    "a command that nobody gave": ("I6", put((at(20), "belt-1/said/result", done(78)))),
    "a command that ran late": (
        "I6",
        put((at(20), "belt-1/told/errand", told("RESET", 79, not_after=19_000)), (at(20.1), "belt-1/said/result", done(79))),
    ),
    "a command of a lower epoch": (
        "I6",
        put((at(20), "belt-1/told/errand", told("RESET", 79, epoch=0)), (at(20.1), "belt-1/said/result", done(79))),
    ),
    "a latch that was gone by itself": (
        "I7",
        put((at(20), "belt-1/node/latched", True), (at(25), "belt-1/node/latched", False)),
    ),
    "a reset that started the belt": (
        "I7",
        put(
            (at(20), "belt-1/node/latched", True),
            (at(21), "belt-1/told/command", (1, 1000)),
            (at(25), "belt-1/told/errand", told("RESET", 80)),
            (at(25.5), "belt-1/node/latched", False),
            (at(25.6), "belt-1/pin/run", 1),
        ),
    ),
    "a belt that runs while its drive is tripped": (
        "I8",
        put((at(3), "belt-1/sensor/tripped", 1), (at(3.2), "belt-1/sensor/tripped", 0)),
    ),
    "a value that was good for ever": ("I10", put((at(4.0), "core/belt-1/quality", "good"))),
    "a heap that runs out": ("I15", put((at(20), "belt-1/node/heap_free", 5000))),
    "a node that nobody got back": ("I17", put((at(20), "core/node:belt-1/link", "lost"))),
    "a latch that does not say why": (
        "I17",
        put((at(20), "belt-1/node/latched", True), (at(20), "belt-1/node/fault", 0)),
    ),
    "a stop that was refused": ("I18", tell((at(20), Asked("core", "stop")), (at(20.2), CoreTold("core", "stop", "no: not now")))),
    "a stop that nobody answered": ("I18", tell((at(20), Asked("core", "stop")))),
}


@pytest.mark.parametrize("what", DOCTORED)
def test_an_invariant_is_broken_by_a_doctored_trace(kept: Trace, what: str) -> None:
    wanted, edit = DOCTORED[what]
    factory = read(COMES_ALONG / "belt.toml")
    before = judge(invariants(factory), doctored(kept, lambda trace: None))
    assert all(verdict.passed for verdict in before), [str(v) for v in before]
    found = judge(invariants(factory), doctored(kept, edit))
    assert wanted in {verdict.id for verdict in found if not verdict.passed}, [str(v) for v in found]


def test_every_invariant_that_is_built_is_broken_by_some_test() -> None:
    built = {one.id for one in INVARIANTS if one.judge is not None}
    assert built == {wanted for wanted, _ in DOCTORED.values()} | {wanted for wanted, *_ in MUTANTS.values()}
    assert [one.id for one in INVARIANTS] == [f"I{number}" for number in range(1, 19)]
    assert all(one.missing for one in INVARIANTS if one.judge is None)


def test_a_node_whose_processor_is_broken_has_until_its_watchdog(kept: Trace) -> None:
    def late(trace: Trace) -> None:
        put((at(4.6), "belt-1/pin/run", 1), (at(6.0), "belt-1/pin/run", 0))(trace)
        tell((at(4.2), FaultOn("belt-1", "node-hang")), (at(4.3), FaultOff("belt-1", "node-hang")))(trace)

    assert _i1(doctored(kept, late)).passed
    assert not _i1(doctored(kept, put((at(4.6), "belt-1/pin/run", 1), (at(6.0), "belt-1/pin/run", 0)))).passed


def _i1(trace: Trace) -> Verdict:
    (found,) = judge(invariants(read(COMES_ALONG / "belt.toml"), "I1"), trace)
    return found


def test_the_wall_clock_changes_no_command() -> None:
    def commands(plan: Plan) -> list[Any]:
        trace = perform(plan).trace
        return [list(trace.series[f"belt-1/told/{name}"]) for name in ("heartbeat", "errand", "command")]

    moved = running("link-loss")
    clock = dataclasses.replace(moved.faults[0], kind="controller-wall-clock", target="core", at=Ns(3 * S))
    assert commands(dataclasses.replace(moved, faults=())) == commands(dataclasses.replace(moved, faults=(clock,)))
