"""One process that scans many devices at 10 Hz, ours or pymodbus's way; prints what it took as JSON.

python -m tests.bench.fieldbus.scanner ours|pymodbus|pymodbus-uvloop DEVICES SECONDS PORT
"""

import asyncio
import gc
import json
import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import uvloop
from pymodbus.client import AsyncModbusTcpClient

from controller.fieldbus.engine import Fieldbus
from twin.clock import MS, LoopClock, Ns, S
from twin.devices import Device, Mirrored, ModbusDevice
from twin.factory import Factory
from twin.maps import Form, Map, Mapped, Place, Table
from twin.maps.map import signal
from twin.units import DEG_C, MM, W
from twin.wire import Range

PERIOD = Ns(100 * MS)
COUNT = 125


def _rows() -> list[Mapped]:
    """125 registers: floats with a Range, counters, scaled words, whole numbers and a word of bits."""

    def place(address: int, form: Form, **more: Any) -> Place:
        return Place(Table.HOLDING, address, form, form.registers, **more)

    made = [signal(f"power_{i}", float, place(2 * i, Form.FLOAT32), W, Range(0, 1000)) for i in range(40)]
    made += [signal(f"count_{i}", int, place(80 + 2 * i, Form.UINT32)) for i in range(10)]
    made += [signal(f"at_{i}", float, place(100 + i, Form.INT16, scale=0.1), MM, Range(-1, 1)) for i in range(10)]
    made += [signal(f"heat_{i}", float, place(110 + i, Form.INT16, scale=0.01), DEG_C, Range(-100, 100)) for i in range(10)]
    made += [signal(f"mode_{i}", int, place(120 + i, Form.UINT16)) for i in range(4)]
    made += [signal(f"bit_{i}", bool, place(124, Form.BOOL, bit=i)) for i in range(16)]
    return [Mapped(one, scan="fast") for one in made]


MAP = Map("bench", tuple(_rows()))


def factory(devices: int, port: int, map: Map = MAP, units: int = 1) -> Factory:
    """Devices with so many units each, as far as the engine wants to know them."""
    nodes = {f"d{n}": Device(f"d{n}", ModbusDevice("127.0.0.1", port)) for n in range(devices)}
    machines = {f"{name}u{u}": Mirrored(f"{name}u{u}", "cell", name, map, u) for name in nodes for u in range(1, units + 1)}
    return cast(Factory, SimpleNamespace(devices=nodes, mirrored=machines))


async def ours(devices: int, duration_s: float, port: int) -> dict[str, Any]:
    """The engine as the core runs it: Samples of all machines are taken every 100 ms."""
    clock = LoopClock(asyncio.get_running_loop())
    bus = Fieldbus(factory(devices, port), Path(), clock)
    running = asyncio.create_task(bus.run())
    names = [f"d{n}" for n in range(devices)]
    due = clock.now()
    taken = good = 0

    async def beats(until: Ns) -> None:
        nonlocal due, taken, good
        while due < until:
            due = Ns(due + PERIOD)
            await clock.until(due)
            found = bus.take()
            taken += len(found)
            good += sum(1 for sample in found.values() if not sample.doubts)

    while any(bus.link(name) for name in names):
        await beats(Ns(clock.now() + PERIOD))
    await beats(Ns(clock.now() + 2 * S))
    gc.collect()
    gc.freeze()
    before = sum(bus.counts(name).scans for name in names)
    taken = good = 0
    cpu, wall = time.process_time(), time.perf_counter()
    await beats(Ns(clock.now() + int(duration_s * S)))
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    counts = [bus.counts(name) for name in names]
    scans = sum(one.scans for one in counts) - before
    late = sorted(one.late_ms for one in counts)
    running.cancel()
    return {
        "cpu_us": cpu / scans * 1e6,
        "kept": scans / (devices * wall / 0.1),
        "late_p99_ms": late[len(late) * 99 // 100],
        "late_median_p99_ms": late[len(late) // 2],
        "taken": taken,
        "good": good / max(1, taken),
        "load": cpu / wall,
    }


async def theirs(devices: int, duration_s: float, port: int) -> dict[str, Any]:
    """Bare pymodbus: a task for each device, phases spread, absolute times, and nothing done with the registers."""
    clients = [AsyncModbusTcpClient("127.0.0.1", port=port, timeout=1, retries=0) for _ in range(devices)]
    for client in clients:
        assert await client.connect()
    loop = asyncio.get_running_loop()
    scans, late, counting = 0, list[float](), False

    async def poll(client: AsyncModbusTcpClient, phase: float) -> None:
        nonlocal scans
        due = loop.time() + phase
        while True:
            await asyncio.sleep(max(0.0, due - loop.time()))
            reply = await client.read_holding_registers(0, count=COUNT, device_id=1)
            if counting and not reply.isError():
                scans += 1
                late.append(loop.time() - due)
            due += 0.1
            while due < loop.time():
                due += 0.1

    tasks = [asyncio.create_task(poll(client, 0.1 * n / devices)) for n, client in enumerate(clients)]
    await asyncio.sleep(2)
    gc.collect()
    gc.freeze()
    counting, cpu, wall = True, time.process_time(), time.perf_counter()
    await asyncio.sleep(duration_s)
    cpu, wall, counting = time.process_time() - cpu, time.perf_counter() - wall, False
    for task in tasks:
        task.cancel()
    late.sort()
    return {
        "cpu_us": cpu / scans * 1e6,
        "kept": scans / (devices * wall / 0.1),
        "late_p99_ms": late[len(late) * 99 // 100] * 1e3,
        "load": cpu / wall,
    }


def main() -> None:
    """Scan and tell."""
    way, devices, duration_s, port = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    run: Any = asyncio.run if way == "pymodbus" else uvloop.run
    print(json.dumps(run((ours if way == "ours" else theirs)(devices, duration_s, port))))


if __name__ == "__main__":
    main()
