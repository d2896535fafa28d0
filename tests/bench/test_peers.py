"""`make bench`: ratios against peers, taken in the same run, as one table."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from pymodbus.client import AsyncModbusTcpClient
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice
from rich.console import Console
from rich.table import Table

from controller.modbus.client import Link
from controller.modbus.pdu import ModbusError, Read
from hil.ports import free_port
from hil.scenarios.printing import print_as_planned
from tests.hil.jobs import CUBE, first_layer, one_printer
from twin import motion
from twin.clock import LoopClock, Ns, S

READS = 1500


async def _cpu_per_read(read: Callable[[], Awaitable[object]]) -> float:
    """CPU seconds of this process per read; the server is in it, on both sides of the comparison."""
    for _ in range(100):
        await read()
    start = time.process_time()
    for _ in range(READS):
        await read()
    return (time.process_time() - start) / READS


async def _modbus() -> tuple[float, float]:
    port = free_port()
    device = SimDevice(id=0, simdata=SimData(0, values=list(range(200)), datatype=DataType.REGISTERS))
    server = ModbusTcpServer(device, address=("127.0.0.1", port))
    await server.serve_forever(background=True)
    peer = AsyncModbusTcpClient("127.0.0.1", port=port, retries=0)
    assert await peer.connect()
    clock = LoopClock(asyncio.get_running_loop())
    link = Link("bench", "127.0.0.1", port, clock)
    running = asyncio.create_task(link.run())
    while not link.up:
        await asyncio.sleep(0.01)

    async def ours() -> None:
        (reply,) = await link.ask([Read(0, 100)], Ns(clock.now() + S))
        assert not isinstance(reply, ModbusError) and len(reply) == 100

    async def theirs() -> None:
        assert len((await peer.read_holding_registers(0, count=100, device_id=1)).registers) == 100

    found = await _cpu_per_read(ours), await _cpu_per_read(theirs)
    running.cancel()
    peer.close()
    await server.shutdown()
    return found


@pytest.mark.bench
def test_the_table_of_ratios(tmp_path: Path) -> None:
    ours, theirs = asyncio.run(_modbus())
    job = first_layer(40.0)
    print_as_planned(one_printer(), tmp_path / "warm", job)
    began = time.perf_counter()
    printed = print_as_planned(one_printer(), tmp_path / "cube", CUBE)
    pace = printed.simulated_s / (time.perf_counter() - began)
    plan = motion.plan(CUBE, motion.Limits())
    table = Table(title="ratios, taken in this run")
    for head in ("what", "ours", "peer", "ratio"):
        table.add_column(head)
    told = f"{ours * 1e6:.0f} µs", f"pymodbus {theirs * 1e6:.0f} µs", f"{ours / theirs:.2f}"
    table.add_row("Modbus read of 100 registers, CPU of client and server", *told)
    table.add_row("planned motion of the cube", f"{plan.duration_s:.1f} s", "PrusaSlicer 1147 s", f"{plan.duration_s / 1147:.4f}")
    table.add_row("a printed cube, cost model on", f"{printed.simulated_s:.0f} s simulated", "wall time", f"{pace:.1f}")
    Console(width=120).print(table)
    assert printed.passed
