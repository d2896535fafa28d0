"""Servers that do what they must not: none of them fills our memory, and each is told by its cause."""

import asyncio
import struct
import tracemalloc
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from asyncua import ua
from asyncua.ua.ua_binary import struct_to_binary, uatcp_to_binary

from controller.mirror.channel import MOST_CHUNK, MOST_MESSAGE
from tests.controller.mirror.rig import HERE, Mirrored, mirroring
from twin.factory import parse

PLAIN = """
[factory]
name = "hostile"
[cells.c]
[nodes.press]
kind = "opcua"
url = "opc.tcp://127.0.0.1:{port}"
policy = "None"
[machines.press-1]
type = "opcua"
cell = "c"
node = "press"
map = "press.toml"
"""
Says = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def acknowledged(most: int = 0) -> bytes:
    """What a server says to a hello; it would have no limits."""
    ack = ua.Acknowledge(ReceiveBufferSize=ua.UInt32(65535), SendBufferSize=ua.UInt32(65535))
    ack.MaxMessageSize = ack.MaxChunkCount = ua.UInt32(most)
    found: bytes = uatcp_to_binary(ua.MessageType.Acknowledge, ack)
    return found


def chunk(kind: bytes, body: bytes, channel: int = 1, sequence: int = 1, request: int = 1) -> bytes:
    """A chunk without security."""
    if kind[:3] == b"OPN":
        uri = b"http://opcfoundation.org/UA/SecurityPolicy#None"
        security = struct.pack("<i", len(uri)) + uri + struct.pack("<ii", -1, -1)
    else:
        security = struct.pack("<I", 1)
    content = struct.pack("<I", channel) + security + struct.pack("<II", sequence, request) + body
    return kind + struct.pack("<I", 8 + len(content)) + content


async def opened(incoming: asyncio.StreamReader, outgoing: asyncio.StreamWriter) -> None:
    """Let a client open a channel."""
    await incoming.readexactly(8)
    await incoming.read(65_536)
    outgoing.write(acknowledged())
    await incoming.read(65_536)
    answer = ua.OpenSecureChannelResponse()
    answer.Parameters.SecurityToken.ChannelId = answer.Parameters.SecurityToken.TokenId = ua.UInt32(1)
    answer.Parameters.SecurityToken.RevisedLifetime = ua.UInt32(600_000)
    answer.Parameters.ServerNonce = b""
    outgoing.write(chunk(b"OPNF", struct_to_binary(answer)))
    await incoming.read(65_536)


async def long_chunk(incoming: asyncio.StreamReader, outgoing: asyncio.StreamWriter) -> None:
    """Claims a chunk of two gigabytes."""
    await incoming.read(65_536)
    outgoing.write(b"ACKF" + struct.pack("<I", 2**31))
    while True:
        outgoing.write(bytes(65_536))
        await outgoing.drain()


async def endless_message(incoming: asyncio.StreamReader, outgoing: asyncio.StreamWriter) -> None:
    """Sends intermediate chunks for ever."""
    await opened(incoming, outgoing)
    sequence = 1
    while True:
        sequence += 1
        outgoing.write(chunk(b"MSGC", bytes(60_000), sequence=sequence, request=2))
        await outgoing.drain()


async def many_nothings(incoming: asyncio.StreamReader, outgoing: asyncio.StreamWriter) -> None:
    """Answers with as many values of one byte as fit into a message: each would become an object."""
    await opened(incoming, outgoing)
    count = 900_000
    nothings = struct.pack("<Bi", 0x80 | ua.VariantType.Variant, count) + bytes(count)
    operand = ua.ObjectIds.LiteralOperand_Encoding_DefaultBinary
    bomb = struct.pack("<BBHBI", 1, 0, operand, 1, len(nothings)) + nothings
    plain = struct_to_binary(ua.CreateSessionResponse())
    message = plain[:25] + bomb + plain[28:]  # in place of the header's additional one, which is the last thing in it
    for sequence, at in enumerate(range(0, len(message), 60_000), 2):
        last = at + 60_000 >= len(message)
        outgoing.write(chunk(b"MSGF" if last else b"MSGC", message[at : at + 60_000], sequence=sequence, request=2))
    await outgoing.drain()
    await incoming.read(65_536)


async def garbage(incoming: asyncio.StreamReader, outgoing: asyncio.StreamWriter) -> None:
    """Is no OPC UA server."""
    await incoming.read(65_536)
    outgoing.write(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 100)
    await incoming.read()


async def nothing(incoming: asyncio.StreamReader, outgoing: asyncio.StreamWriter) -> None:
    """Hangs up."""
    await incoming.read(1)
    outgoing.close()


@pytest.mark.parametrize("says", [long_chunk, endless_message, many_nothings, garbage, nothing])
def test_a_hostile_server_costs_little_memory_and_is_told(says: Says, tmp_path: Path) -> None:
    async def main() -> int:
        met = 0

        async def meet(incoming: asyncio.StreamReader, outgoing: asyncio.StreamWriter) -> None:
            nonlocal met
            met += 1
            try:
                await says(incoming, outgoing)
            except (ConnectionError, asyncio.IncompleteReadError):
                pass
            finally:
                outgoing.close()

        server = await asyncio.start_server(meet, "127.0.0.1", 0)
        (tmp_path / "press.toml").write_bytes((HERE / "press.toml").read_bytes())
        factory = parse(PLAIN.format(port=server.sockets[0].getsockname()[1]), tmp_path)

        async def twice(found: Mirrored) -> int:
            await found.until(lambda: met >= 1)
            tracemalloc.start()
            await found.until(lambda: met >= 3 and found.link not in ("", "not reached yet"))
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert found.row("press-1/status/speed").quality == 1 and (says is not many_nothings or "900000 elements" in found.link)
            return peak

        async with server, mirroring(factory, tmp_path) as found:
            return await twice(found)

    assert asyncio.run(main()) < 4 * MOST_MESSAGE + 32 * MOST_CHUNK
