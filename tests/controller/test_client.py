"""Our Modbus client against pymodbus's server, and against a node that breaks the rules on purpose. Time is virtual."""

import asyncio
import struct
from collections.abc import Awaitable, Callable

import pytest
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from controller.modbus.burst import FIRST_PAUSE, LONGEST_FLAP_PAUSE
from controller.modbus.client import Link
from controller.modbus.pdu import LinkDown, NoReply, ProtocolError, QueueFull, Read, Refused, Write, WriteOne, frame
from tests.controller.virtual import run
from twin.clock import MS, LoopClock, Ns, S

Peer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def up(link: Link) -> None:
    while not link.up:
        await link.clock.until(Ns(link.clock.now() + 10 * MS))


async def down(link: Link) -> None:
    while link.up:
        await link.clock.until(Ns(link.clock.now() + 10 * MS))


def soon(link: Link, ms: int = 200) -> Ns:
    return Ns(link.clock.now() + ms * MS)


class Scripted:
    """A node whose connections are served by a script."""

    def __init__(self, clock: LoopClock, peer: Peer, **of_link: int) -> None:
        self.clock, self.peer, self.of_link = clock, peer, of_link
        self.connections = 0

    async def __aenter__(self) -> Link:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self.server.sockets[0].getsockname()[1]
        link = Link("node", "127.0.0.1", port, self.clock, **self.of_link)
        self.task = asyncio.create_task(link.run())
        await up(link)
        return link

    async def __aexit__(self, *_: object) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        self.server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            await self.peer(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


async def one(reader: asyncio.StreamReader) -> tuple[int, int, bytes]:
    """Transaction, unit and PDU of the next request."""
    tid, _, length, unit = struct.unpack(">HHHB", await reader.readexactly(7))
    return tid, unit, await reader.readexactly(length - 1)


def registers(pdu: bytes, value: int = 7) -> bytes:
    """An honest reply to a read."""
    count = struct.unpack(">H", pdu[3:5])[0]
    return struct.pack(f">BB{count}H", pdu[0], 2 * count, *[value] * count)


async def forever(reader: asyncio.StreamReader) -> None:
    while await reader.read(4096):
        pass


def test_it_reads_and_writes_what_pymodbus_holds() -> None:
    async def main(clock: LoopClock) -> None:
        data = SimData(0, values=list(range(300)), datatype=DataType.REGISTERS)
        server = ModbusTcpServer(SimDevice(id=0, simdata=data), address=("127.0.0.1", 0))
        await server.serve_forever(background=True)
        port = server.transport.sockets[0].getsockname()[1]
        # pymodbus answers one request of a segment and drops the others: a window of one.
        link = Link("oracle", "127.0.0.1", port, clock, window=1)
        task = asyncio.create_task(link.run())
        await up(link)
        replies = await link.ask([Read(10, 125), Write(40, (1, 2, 3)), WriteOne(50, 9), Read(38, 14), Read(290, 100)], soon(link))
        assert replies[:3] == [tuple(range(10, 135)), (), ()]
        assert replies[3] == (38, 39, 1, 2, 3, 43, 44, 45, 46, 47, 48, 49, 9, 51)
        assert isinstance(replies[4], Refused) and replies[4].code == 2
        task.cancel()
        await server.shutdown()

    run(main)


def test_a_burst_goes_out_in_one_piece_and_is_answered_in_any_order() -> None:
    pieces: list[bytes] = []

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pieces.append(await reader.read(65536))
        frames = [pieces[0][i : i + 12] for i in range(0, len(pieces[0]), 12)]
        for asked in reversed(frames):
            tid, address = struct.unpack(">H", asked[:2])[0], struct.unpack(">H", asked[8:10])[0]
            writer.write(frame(tid, 1, registers(asked[7:], address)))
        await forever(reader)

    async def main(clock: LoopClock) -> None:
        async with Scripted(clock, peer) as link:
            replies = await link.ask([Read(a, 1) for a in range(5)], soon(link))
            assert replies == [(0,), (1,), (2,), (3,), (4,)]
            assert len(pieces[0]) == 5 * 12

    run(main)


def test_no_more_than_the_window_is_in_flight() -> None:
    seen: list[int] = []

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            piece = await reader.read(65536)
            if not piece:
                return
            seen.append(len(piece) // 12)
            for i in range(0, len(piece), 12):
                writer.write(frame(struct.unpack(">H", piece[i : i + 2])[0], 1, registers(piece[i + 7 : i + 12])))

    async def main(clock: LoopClock) -> None:
        async with Scripted(clock, peer, window=3) as link:
            replies = await link.ask([Read(a, 1) for a in range(10)], soon(link))
            assert replies == [(7,)] * 10 and max(seen) == 3

    run(main)


def test_a_reply_in_single_bytes_is_a_reply() -> None:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            tid, unit, asked = await one(reader)
            for byte in frame(tid, unit, registers(asked)):
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0.001)
        await forever(reader)

    async def main(clock: LoopClock) -> None:
        async with Scripted(clock, peer) as link:
            assert await link.ask([Read(0, 2), Read(5, 1)], soon(link)) == [(7, 7), (7,)]

    run(main)


def test_a_reply_with_another_transaction_is_dropped_and_the_request_times_out() -> None:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tid, unit, asked = await one(reader)
        writer.write(frame(tid + 100, unit, registers(asked, 666)))
        tid, unit, asked = await one(reader)
        writer.write(frame(tid, unit, registers(asked)))
        await forever(reader)

    async def main(clock: LoopClock) -> None:
        async with Scripted(clock, peer) as link:
            (reply,) = await link.ask([Read(0, 1)], soon(link))
            assert isinstance(reply, NoReply)
            assert await link.ask([Read(0, 1)], soon(link)) == [(7,)]
            assert link.counters.strange == 1 and link.counters.connections == 1

    run(main)


def test_a_late_reply_is_dropped_and_the_next_request_gets_its_own() -> None:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tid, unit, asked = await one(reader)
        await asyncio.sleep(0.3)
        writer.write(frame(tid, unit, registers(asked, 666)))
        tid, unit, asked = await one(reader)
        writer.write(frame(tid, unit, registers(asked)))
        await forever(reader)

    async def main(clock: LoopClock) -> None:
        async with Scripted(clock, peer) as link:
            (reply,) = await link.ask([Read(0, 1)], soon(link))
            assert isinstance(reply, NoReply)
            assert await link.ask([Read(0, 1)], soon(link)) == [(7,)]
            assert link.counters.late == 1 and link.counters.connections == 1

    run(main)


@pytest.mark.parametrize(
    "broken",
    [
        lambda tid, asked: frame(tid, 9, registers(asked)),
        lambda tid, asked: frame(tid, 1, b"\x04" + registers(asked)[1:]),
        lambda tid, asked: frame(tid, 1, registers(asked)[:-2]),
        lambda tid, asked: frame(tid, 1, b"\x03\x02" + registers(asked)[2:]),
        lambda tid, asked: frame(tid, 1, registers(asked) + b"\0\0"),
        lambda tid, asked: struct.pack(">HHHB", tid, 0, 0, 1),
        lambda tid, asked: struct.pack(">HHHB", tid, 0, 65535, 1),
        lambda tid, asked: struct.pack(">HHHB", tid, 5, 7, 1) + registers(asked),
    ],
    ids=["unit", "function", "short", "byte count", "long", "length 0", "length 65535", "protocol"],
)
def test_a_node_that_breaks_the_protocol_loses_its_connection_and_gets_a_new_one(
    broken: Callable[[int, bytes], bytes],
) -> None:
    visits = 0

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal visits
        visits += 1
        while True:
            tid, unit, asked = await one(reader)
            writer.write(broken(tid, asked) if visits == 1 else frame(tid, unit, registers(asked)))

    async def main(clock: LoopClock) -> None:
        async with Scripted(clock, peer) as link:
            first, second = await link.ask([Read(0, 4), Read(9, 4)], soon(link))
            assert isinstance(first, (ProtocolError, LinkDown)) and isinstance(second, (ProtocolError, LinkDown))
            assert link.counters.broken == 1
            await down(link)
            assert link.cause
            await up(link)
            assert await link.ask([Read(0, 4)], soon(link)) == [(7, 7, 7, 7)]

    run(main)


def test_a_half_open_connection_is_found_and_replaced() -> None:
    visits = 0

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal visits
        visits += 1
        while True:
            tid, unit, asked = await one(reader)
            if visits > 1:
                writer.write(frame(tid, unit, registers(asked)))

    async def main(clock: LoopClock) -> None:
        async with Scripted(clock, peer) as link:
            start = clock.now()
            while link.up:
                assert all(isinstance(r, (NoReply, LinkDown)) for r in await link.ask([Read(0, 1)], soon(link)))
            assert clock.now() - start <= 1500 * MS and "no reply for" in link.cause
            await up(link)
            assert await link.ask([Read(0, 1)], soon(link)) == [(7,)]

    run(main)


def test_a_closed_connection_fails_what_waits_and_says_why() -> None:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await one(reader)

    async def main(clock: LoopClock) -> None:
        async with Scripted(clock, peer, window=1) as link:
            replies = await link.ask([Read(0, 1), Read(1, 1)], soon(link))
            assert all(isinstance(r, LinkDown) for r in replies)
            await down(link)
            (reply,) = await link.ask([Read(0, 1)], soon(link))
            assert isinstance(reply, LinkDown) and "closed by the node" in str(reply)

    run(main)


def test_a_link_that_flaps_is_tried_ever_less_often_and_no_port_is_said_so() -> None:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.5)

    async def main(clock: LoopClock) -> None:
        scripted = Scripted(clock, peer)
        async with scripted as link:
            await clock.until(Ns(clock.now() + 60 * S))
            first = scripted.connections
            await clock.until(Ns(clock.now() + 60 * S))
            assert scripted.connections - first <= 60 * S // LONGEST_FLAP_PAUSE
            scripted.server.close()
            await clock.until(Ns(clock.now() + 30 * S))
            assert "no connection to 127.0.0.1" in link.cause and not link.up

    run(main)


def test_a_lost_link_is_tried_again_soon() -> None:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(20)

    async def main(clock: LoopClock) -> None:
        async with Scripted(clock, peer) as link:
            await down(link)
            lost = clock.now()
            await up(link)
            assert clock.now() - lost <= 2 * FIRST_PAUSE

    run(main)


def test_the_queue_has_a_bound_and_urgent_requests_go_first() -> None:
    order: list[int] = []

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.01)
        while True:
            tid, unit, asked = await one(reader)
            order.append(struct.unpack(">H", asked[1:3])[0])
            writer.write(frame(tid, unit, registers(asked)))

    async def main(clock: LoopClock) -> None:
        async with Scripted(clock, peer, window=1, queue=4) as link:
            patient = asyncio.create_task(link.ask([Read(a, 1) for a in (1, 2, 3)], soon(link), urgent=False))
            await asyncio.sleep(0)
            full = await link.ask([Read(9, 1)] * 3, soon(link), urgent=False)
            assert all(isinstance(reply, QueueFull) for reply in full)
            assert await link.ask([Read(50, 1)], soon(link)) == [(7,)]
            assert await patient == [(7,)] * 3 and order == [1, 50, 2, 3]

    run(main)


def test_a_caller_that_gives_up_leaves_nothing_behind() -> None:
    asked_for: list[int] = []

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            tid, unit, asked = await one(reader)
            asked_for.append(struct.unpack(">H", asked[1:3])[0])
            await asyncio.sleep(0.05)
            writer.write(frame(tid, unit, registers(asked)))

    async def main(clock: LoopClock) -> None:
        async with Scripted(clock, peer, window=1) as link:
            task = asyncio.create_task(link.ask([Read(1, 1), Read(2, 1)], soon(link)))
            await asyncio.sleep(0.01)
            task.cancel()
            assert await link.ask([Read(3, 1)], soon(link)) == [(7,)]
            assert asked_for == [1, 3] and link.counters.late == 1

    run(main)
