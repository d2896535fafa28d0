"""A device of pymodbus from a register list, and a reader of a Map's places that shares nothing with ours."""

import asyncio
import math
import struct
from collections.abc import Iterable
from typing import Any

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from twin.maps import Form, Map, Place

Words = dict[int, int]
SI = {
    "": 1.0,
    "V": 1.0,
    "A": 1.0,
    "W": 1.0,
    "VA": 1.0,
    "var": 1.0,
    "Hz": 1.0,
    "°C": 1.0,
    "C": 1.0,
    "s": 1.0,
    "cos()": 1.0,
    "Secs": 1.0,
    "%": 0.01,
    "Pct": 0.01,
    "deg": math.pi / 180,
    "kWh": 3.6e6,
    "kvarh": 3.6e6,
    "kVAh": 3.6e6,
    "Wh": 3600.0,
    "Ah": 3600.0,
    "AH": 3600.0,
    "mA": 1e-3,
    "mrad": 1e-3,
    "mrad/s": 1e-3,
    "0.1 mm": 1e-4,
    "mm": 1e-3,
    "mm/s": 1e-3,
    "ms": 1e-3,
    "min": 60.0,
    "h": 3600.0,
    "d": 86_400.0,
}
"""One of each unit in SI, by this file's own account."""


def laid(form: str, value: float) -> tuple[int, ...]:
    """A value's registers, high word first."""
    layout = {"uint16": "H", "int16": "h", "uint32": "I", "float32": "f"}[form]
    raw = struct.pack(">" + layout, value if layout == "f" else int(value))
    return struct.unpack(f">{len(raw) // 2}H", raw)


def read(place: Place, words: Words) -> Any:
    """What lies at a place, raw: this file's own decoder; all the packaged Maps are of high words first."""
    raw = b"".join(struct.pack(">H", words[place.address + i]) for i in range(place.registers))
    if place.form is Form.STRING:
        return raw.split(b"\0")[0].decode()
    if place.bit is not None:
        return bool(words[place.address] >> place.bit & 1)
    layout = {"uint16": "H", "int16": "h", "uint32": "I", "int32": "i", "float32": "f"}[place.form.value]
    return struct.unpack(">" + layout, raw)[0]


def value(of: Map, name: str, words: Words) -> Any:
    """A Signal's value in SI; None where there is none."""
    row = of[name]
    place: Place = row.place
    raw = read(place, words)
    if raw in place.invalid:
        return None
    if row.signal.type is not float:
        return raw
    found = raw * place.scale + place.offset
    if place.scale_from:
        exponent = read(of[place.scale_from].place, words)
        if exponent in of[place.scale_from].place.invalid:
            return None
        found = raw * place.scale * 10.0**exponent + place.offset
    if place.plus_from:
        found += read(of[place.plus_from].place, words) * place.plus_factor
    return found * row.signal.unit.size


async def _served(words: Words, spans: Iterable[tuple[int, int]]) -> Words:
    """The registers as a client of pymodbus gets them from a server of pymodbus."""
    blocks = [
        SimData(first, values=[words[i] for i in range(first, end)], datatype=DataType.REGISTERS) for first, end in runs(words)
    ]
    server = ModbusTcpServer(SimDevice(id=0, simdata=blocks), address=("127.0.0.1", 0))
    await server.serve_forever(background=True)
    port = server.transport.sockets[0].getsockname()[1]
    client = AsyncModbusTcpClient("127.0.0.1", port=port, timeout=5, retries=0)
    assert await client.connect()
    got: Words = {}
    for first, end in spans:
        reply = await client.read_holding_registers(first, count=end - first, device_id=1)
        assert not reply.isError(), (first, end)
        got.update(zip(range(first, end), reply.registers, strict=True))
    client.close()
    await server.shutdown()
    return got


def runs(addresses: Iterable[int]) -> list[tuple[int, int]]:
    """Addresses in a row, as (first, end)."""
    found: list[tuple[int, int]] = []
    for address in sorted(set(addresses)):
        if found and found[-1][1] == address:
            found[-1] = (found[-1][0], address + 1)
        else:
            found.append((address, address + 1))
    return found


def through_pymodbus(words: Words, most: int = 125) -> Words:
    spans = [(at, min(at + most, end)) for first, end in runs(words) for at in range(first, end, most)]
    return asyncio.run(_served(words, spans))
