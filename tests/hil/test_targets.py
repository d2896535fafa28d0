"""One node on a virtual board, driven without a rig: time, pins, and what can be done to it from inside."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from hil.targets import Inject, PinSet, TargetError, WatchdogFed
from hil.targets.vm import Vm
from twin.clock import MS, Ns, S

BLINK = """
import asyncio, gc
from time import ticks_diff, ticks_ms
from machine import Pin, WDT

button, lamp, bad = Pin(4, Pin.IN), Pin(5, Pin.OUT), Pin(6, Pin.OUT)
wdt = WDT(timeout=2000)

async def main():
    before = ticks_ms()
    while True:
        await asyncio.sleep_ms(100)
        now = ticks_ms()
        bad.value(ticks_diff(now, before) != 100)
        before = now
        wdt.feed()
        try:
            lamp.value(button.value())
            open("kept", "w").close()
        except OSError:
            bad.value(1)
        try:
            bytearray(20000)
        except MemoryError:
            bad.value(1)

asyncio.run(main())
"""


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Vm]:
    (tmp_path / "firmware").mkdir()
    (tmp_path / "firmware" / "main.py").write_text(BLINK, encoding="utf-8")
    made = Vm("n", tmp_path)
    made.flash(tmp_path / "firmware")
    made.power(True)
    made.advance(Ns(50 * MS))
    yield made
    made.power(False)


def bad(node: Vm, until: Ns) -> list[int]:
    """When it complained, in ms."""
    node.capture()
    node.advance(until)
    return [o.time // MS for o in node.capture() if isinstance(o, PinSet) and o.pin == 6 and o.value]


def test_what_is_written_to_a_pin_is_read_at_the_next_tick(node: Vm) -> None:
    node.write(4, 1)
    node.advance(Ns(450 * MS))
    assert node.read(5) == 1
    (on,) = [o for o in node.capture() if isinstance(o, PinSet) and (o.pin, o.value) == (5, 1)]
    assert on.time == 100 * MS


MANY = """
from machine import Pin
import time
pins = [Pin(k, Pin.IN) for k in range(40)]
out = Pin(50, Pin.OUT)
while True:
    out.value(sum(p.value() for p in pins) >= 1)
    time.sleep_ms(10)
"""


def test_more_inputs_than_one_grant_holds_change_at_one_moment_and_are_told_once(tmp_path: Path) -> None:
    (tmp_path / "firmware").mkdir()
    (tmp_path / "firmware" / "main.py").write_text(MANY, encoding="utf-8")
    node = Vm("n", tmp_path)
    node.flash(tmp_path / "firmware")
    node.power(True)
    node.advance(Ns(15 * MS))
    node.capture()
    for pin in range(40):
        node.write(pin, 1)
    node.advance(Ns(100 * MS))
    told = [o for o in node.capture() if isinstance(o, PinSet)]
    node.power(False)
    assert [(o.pin, o.value, o.time) for o in told] == [(50, 1, 20 * MS)]


def test_firmware_that_never_waits_is_told_and_does_not_stand_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hil.targets.vm.PATIENCE_S", 0.5)
    (tmp_path / "firmware").mkdir()
    (tmp_path / "firmware" / "main.py").write_text("while True: pass\n", encoding="utf-8")
    node = Vm("n", tmp_path)
    node.flash(tmp_path / "firmware")
    with pytest.raises(TargetError, match="does not wait"):
        node.power(True)
        node.advance(Ns(S))
    node.power(False)


def test_power_taken_away_and_given_back_starts_it_anew(node: Vm) -> None:
    node.write(4, 1)
    node.advance(Ns(250 * MS))
    node.reset()
    assert node.alive and node.read(5) == 0
    node.write(4, 1)
    node.advance(Ns(600 * MS))
    assert node.read(5) == 1


FELT = [(Inject.PAUSE, 250_000), (Inject.LOAD, 30_000), (Inject.RAISE, 1), (Inject.READ_ONLY, 1)]


@pytest.mark.parametrize(("what", "argument"), FELT)
def test_what_is_done_to_it_from_inside_is_felt_and_can_be_taken_back(node: Vm, what: Inject, argument: int) -> None:
    assert bad(node, Ns(S)) == []
    node.inject(what, argument)
    assert bad(node, Ns(2 * S))
    if what in (Inject.LOAD, Inject.READ_ONLY):
        node.inject(what, 0)
        node.advance(Ns(2300 * MS))
    assert bad(node, Ns(3 * S)) == []


def test_memory_that_is_held_is_missing_until_it_is_given_back(node: Vm) -> None:
    node.inject(Inject.EAT, 10_000)
    assert bad(node, Ns(S))
    node.inject(Inject.EAT, 0)
    node.advance(Ns(1300 * MS))
    assert bad(node, Ns(3 * S)) == []


def test_a_node_that_hangs_feeds_its_watchdog_no_more(node: Vm) -> None:
    node.advance(Ns(S))
    node.capture()
    node.inject(Inject.HANG)
    node.advance(Ns(5 * S))
    assert not [o for o in node.capture() if isinstance(o, WatchdogFed)]


@pytest.mark.parametrize("ppm", [-20_000, 200, 20_000])
def test_a_clock_that_drifts_is_early_or_late_and_one_that_wraps_is_not(tmp_path: Path, ppm: int) -> None:
    (tmp_path / "firmware").mkdir()
    (tmp_path / "firmware" / "main.py").write_text(BLINK, encoding="utf-8")
    node = Vm("n", tmp_path)
    node.flash(tmp_path / "firmware")
    node.drift_ppm, node.clock_start_us = ppm, ((1 << 30) - 3000) * 1000
    node.power(True)
    node.advance(Ns(10 * S))
    outputs = node.capture()
    node.power(False)
    fed = [o.time for o in outputs if isinstance(o, WatchdogFed)]
    assert not [o for o in outputs if isinstance(o, PinSet) and o.pin == 6 and o.value], "its own clock never jumps"
    assert (fed[-1] - fed[1]) / (len(fed) - 2) == pytest.approx(100 * MS / (1 + ppm / 1e6), rel=1e-5)


def test_firmware_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match=r"no main\.py in"):
        Vm("n", tmp_path).flash(tmp_path)
