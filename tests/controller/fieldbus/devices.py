"""Devices for the scan engine's tests: pymodbus's server, and a gateway that does on purpose what no device should."""

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from controller.fieldbus.engine import Fieldbus
from controller.modbus.pdu import frame
from twin.clock import MS, LoopClock, Ns
from twin.devices import Device, Mirrored, ModbusDevice
from twin.factory import Factory
from twin.maps import Access, Form, Map, Mapped, Place, Table
from twin.maps.map import signal
from twin.trace import Sample


def row(name: str, address: int, form: Form = Form.UINT16, kind: type = float, scan: str = "fast", **more: Any) -> Mapped:
    access, table = more.pop("access", Access.RW), more.pop("table", Table.HOLDING)
    given = {key: more.pop(key) for key in ("range",) if key in more}
    deadband = {key: more.pop(key) for key in ("deadband",) if key in more}
    place = Place(table, address, form, more.pop("registers", form.registers), **more)
    return Mapped(signal(name, kind, place, **given), access, scan, **deadband)


def factory(port: int, *maps: Map, **reached: int) -> Factory:
    """One device; a machine m1, m2, … for each Map, as unit 1, 2, …"""
    device = Device("dev", ModbusDevice("127.0.0.1", port, **reached))
    machines = {f"m{n}": Mirrored(f"m{n}", "cell", "dev", map, n) for n, map in enumerate(maps, 1)}
    return cast(Factory, SimpleNamespace(devices={"dev": device}, mirrored=machines))


@asynccontextmanager
async def scanning(clock: LoopClock, port: int, *maps: Map, **reached: int) -> AsyncIterator["Scanned"]:
    """The engine, reading."""
    bus = Fieldbus(factory(port, *maps, **reached), Path(), clock)
    task = asyncio.create_task(bus.run())
    try:
        yield Scanned(bus, clock)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class Scanned:
    """An engine and the latest Sample of each machine."""

    def __init__(self, bus: Fieldbus, clock: LoopClock) -> None:
        self.bus, self.clock = bus, clock
        self.samples: dict[str, Sample[Any]] = {}

    def look(self, machine: str = "m1") -> Sample[Any]:
        self.samples |= self.bus.take()
        return self.samples[machine]

    async def wait(self, ms: int) -> None:
        await self.clock.until(Ns(self.clock.now() + ms * MS))

    async def until(self, holds: Callable[[Sample[Any]], bool], machine: str = "m1", ms: int = 20_000) -> int:
        """How long it took until a Sample was as it should be [ms]."""
        start = self.clock.now()
        while not holds(self.look(machine)):
            assert self.clock.now() - start < ms * MS, self.samples
            await self.wait(5)
        return (self.clock.now() - start) // MS


@asynccontextmanager
async def pymodbus_device(*data: SimData, port: int = 0) -> AsyncIterator[tuple[ModbusTcpServer, int]]:
    """A device with one table of registers; between its SimData nothing can be read."""
    server = ModbusTcpServer(SimDevice(id=0, simdata=list(data)), address=("127.0.0.1", port))
    await server.serve_forever(background=True)
    try:
        yield server, server.transport.sockets[0].getsockname()[1]
    finally:
        await server.shutdown()


def words(first: int, values: Iterable[int]) -> SimData:
    return SimData(first, values=list(values), datatype=DataType.REGISTERS)


Answer = Callable[[int, bytes], Awaitable[bytes | None] | bytes | None]


class Gateway:
    """A TCP server that answers as it is told; by default with registers that hold their unit * 1000 + address.

    Attributes:
        dead: units that do not answer; think: how long the others take [s].
        answer: makes a reply's PDU, or None for silence.
        asked: (unit, PDU) of all requests.
    """

    def __init__(self, answer: Answer | None = None) -> None:
        self.dead: set[int] = set()
        self.answer: Answer = answer or honest
        self.think_s = 0.0
        self.asked: list[tuple[int, bytes]] = []
        self.port = 0
        self.connections = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """As when its power goes."""
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()
        await asyncio.sleep(0)

    async def __aenter__(self) -> "Gateway":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        self.connections += 1
        try:
            while True:
                tid, _, length, unit = struct.unpack(">HHHB", await reader.readexactly(7))
                asked = await reader.readexactly(length - 1)
                self.asked.append((unit, asked))
                if unit in self.dead:
                    continue
                if self.think_s:
                    await asyncio.sleep(self.think_s)
                reply = self.answer(unit, asked)
                made = reply if isinstance(reply, bytes) or reply is None else await reply
                if made is not None:
                    writer.write(frame(tid, unit, made))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()


def honest(unit: int, asked: bytes) -> bytes:
    first, count = struct.unpack(">HH", asked[1:5])
    return struct.pack(f">BB{count}H", asked[0], 2 * count, *((1000 * unit + a) & 0xFFFF for a in range(first, first + count)))
