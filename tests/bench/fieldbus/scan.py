"""The scan engine's rows. Devices are a process on the other core, the same one for us and for pymodbus, in the same run."""

import asyncio
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvloop
from pymodbus.client import AsyncModbusTcpClient

from controller.fieldbus.engine import Fieldbus
from tests.bench.fieldbus.scanner import factory
from twin.clock import LoopClock
from twin.maps import Map, Mapped, Place, Table
from twin.maps.map import signal

CPU_DEVICES, KEPT_DEVICES = 500, 1000
DURATION_S = 6.0
PERIOD_S = 0.1
UNITS, DEAD = 10, 10


@contextmanager
def devices(*arguments: str) -> Iterator[int]:
    """A process of devices; yields its port."""
    process = _serving(*arguments)
    try:
        yield _port(process)
    finally:
        process.kill()
        process.wait()


def _serving(*arguments: str) -> "subprocess.Popen[str]":
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 8192)), hard))  # a connection each, on both sides
    command = [sys.executable, "-m", "tests.bench.fieldbus.device_server", *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _port(process: "subprocess.Popen[str]") -> int:
    assert process.stdout is not None
    return int(process.stdout.readline())


def _scanner(way: str, count: int, port: int, duration_s: float = DURATION_S) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.bench.fieldbus.scanner", way, str(count), str(duration_s), str(port)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=120)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def cpu_per_scan() -> dict[str, float]:
    """CPU of our process per scan with everything decoded and judged, over that of bare pymodbus, which decodes nothing."""
    with devices() as port:
        ours, peer = _scanner("ours", CPU_DEVICES, port), _scanner("pymodbus", CPU_DEVICES, port)
    ratio = ours["cpu_us"] / peer["cpu_us"]
    return {"ratio": _short(ratio), "ours_us": _short(ours["cpu_us"]), "pymodbus_us": _short(peer["cpu_us"])}


def scans_kept() -> dict[str, float]:
    """Scans that were made of those that were due, and by when 99 of 100 of them were complete."""
    with devices() as port:
        found = _scanner("ours", KEPT_DEVICES, port)
    return {"share": _short(found["kept"]), "p99_lateness_s": _short(found["late_p99_ms"] / 1e3), "devices": KEPT_DEVICES}


def _map(name: str, places: list[int], scan: str = "fast") -> Map:
    return Map(name, tuple(Mapped(signal(f"s{a}", float, Place(Table.HOLDING, a)), scan=scan) for a in places))


def scattered() -> dict[str, float]:
    """50 Signals in 100 registers: how many times faster than pymodbus that reads one after the other."""
    with devices() as port:
        return uvloop.run(_scattered(port))


async def _scattered(port: int) -> dict[str, float]:
    places = list(range(0, 100, 2))
    bus = Fieldbus(factory(1, port, _map("scattered", places, "once")), Path(), LoopClock(asyncio.get_running_loop()))
    running = asyncio.create_task(bus.run())
    while not bus.take() or bus.link("d0"):
        await asyncio.sleep(0.01)
    round_ = next(iter(bus._rounds.values()))
    peer = AsyncModbusTcpClient("127.0.0.1", port=port, timeout=1, retries=0)
    assert await peer.connect()

    async def block() -> None:
        round_.found(bus._clock.now())
        while not bus.take():
            await asyncio.sleep(0)

    async def one_by_one() -> None:
        for place in places:
            assert (await peer.read_holding_registers(place, count=1, device_id=1)).registers

    ours, theirs = await _fastest(block, 300), await _fastest(one_by_one, 30)
    running.cancel()
    peer.close()
    return {"ratio": _short(theirs / ours), "ours_s": _short(ours), "pymodbus_s": _short(theirs)}


async def _fastest(work: Callable[[], Any], times: int) -> float:
    """The median of what it takes [s]."""
    found = []
    for _ in range(times):
        start = time.perf_counter()
        await work()
        found.append(time.perf_counter() - start)
    return sorted(found)[times // 2]


def dead_unit() -> float:
    """Good reads of those that were due of the nine units that live, on one connection with a tenth that does not answer."""
    with devices("--dead", str(DEAD)) as port:
        return uvloop.run(_dead_unit(port))


async def _dead_unit(port: int) -> float:
    clock = LoopClock(asyncio.get_running_loop())
    bus = Fieldbus(factory(1, port, _map("unit", [0, 5, 9]), UNITS), Path(), clock)
    running = asyncio.create_task(bus.run())
    samples: dict[str, Any] = {}
    while not (sample := samples.get(f"d0u{DEAD}")) or "does not answer" not in sample.every.cause:
        await asyncio.sleep(0.02)
        samples |= bus.take()
    before, start = bus.counts("d0").scans, time.perf_counter()
    await asyncio.sleep(10.0)
    good, wall = bus.counts("d0").scans - before, time.perf_counter() - start
    running.cancel()
    return min(1.0, _short(good / ((UNITS - 1) * wall / PERIOD_S)))


def recovery() -> float:
    """From when a device takes connections again after a power cycle to its first good value, in scan periods: the worst."""
    with devices() as port:
        pass
    return uvloop.run(_recovery(port))


async def _recovery(port: int) -> float:
    bus = Fieldbus(factory(1, port, _map("device", [0, 5, 9])), Path(), LoopClock(asyncio.get_running_loop()))
    running = asyncio.create_task(bus.run())
    worst = 0.0
    for away_s in (0.3, 1.0, 0.4, 2.0, 0.5, 3.0, 0.6):
        process = _serving("--port", str(port))
        await asyncio.get_running_loop().run_in_executor(None, _port, process)
        start = time.perf_counter()
        while not any(sample.good and not sample.doubts for sample in bus.take().values()):
            await asyncio.sleep(0.001)
        worst = max(worst, time.perf_counter() - start)
        await asyncio.sleep(1.2)
        process.kill()
        process.wait()
        await asyncio.sleep(away_s)
        bus.take()
    running.cancel()
    return _short(worst / PERIOD_S)


ROWS: dict[str, Callable[[], Any]] = {
    "CPU per scan": cpu_per_scan,
    "scans kept": scans_kept,
    "scattered": scattered,
    "dead unit": dead_unit,
    "recovery": recovery,
}
