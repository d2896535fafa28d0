"""Many Modbus devices in one process, on a core of their own: every connection is one, and every reply holds other values.

python -m tests.bench.fieldbus.device_server [--dead UNIT] [--port PORT]; prints its port, ends when its input does.
"""

import argparse
import asyncio
import os
import struct
import sys
from typing import cast

import uvloop

REPLIES = 8
"""So many different states the devices go through, one at each read."""


def registers(state: int) -> bytes:
    """1000 registers of a state: wire bytes. See `scanner.MAP` for what lies where."""
    floats = [200.0 + (37 * i + 11 * state) % 100 / 7 for i in range(40)]
    counters = [1000 * i + state for i in range(10)]
    words = [(991 * i + 17 * state) % 20_000 - 10_000 for i in range(20)]
    rest = [state % 4, state, 3, 7, 0x5A5A ^ state]
    block = struct.pack(">40f10I20h5H", *floats, *counters, *words, *rest)
    return block * 8


STATES = [registers(n) for n in range(REPLIES)]


class Device(asyncio.Protocol):
    """One connection. It answers reads of holding registers with functions 3 and 4, and nothing else."""

    dead = -1

    def __init__(self) -> None:
        self._state = 0
        self._held = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._write = cast(asyncio.Transport, transport).write

    def data_received(self, data: bytes) -> None:
        data = self._held + data
        at, replies = 0, []
        while len(data) - at >= 12:
            unit, function, first, count = struct.unpack_from(">BBHH", data, at + 6)
            if unit != self.dead:
                self._state = (self._state + 1) % REPLIES
                content = STATES[self._state][2 * first : 2 * (first + count)]
                head = struct.pack(">HHBBB", 0, 3 + 2 * count, unit, function, 2 * count)
                replies.append(data[at : at + 2] + head + content)
            at += 12
        self._held = data[at:]
        if replies:
            self._write(b"".join(replies))


async def main() -> None:
    """Serve until the standard input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--dead", type=int, default=-1)
    parser.add_argument("--port", type=int, default=0)
    given = parser.parse_args()
    Device.dead = given.dead
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Device, "127.0.0.1", given.port, backlog=4096, reuse_port=False)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    uvloop.run(main())
