"""The serial line's framing: alone under CPython against a model that works on whole frames, and on a line in the VM."""

import asyncio
import subprocess
from itertools import pairwise
from types import SimpleNamespace
from unittest import mock

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hil import micropython
from tests.firmware.alone import Ticks, load
from tests.firmware.conformance import MAGIC_REPLY, READ_MAGIC, one, reading
from tests.firmware.rig import FIRMWARE, eventually
from tests.firmware.serial_rig import Line, SerialClient, crc
from tests.firmware.test_codec import IDENTITY, REGISTERS, UNIT, Bank, Door, Model, pdus

DE = 18

codec, rtu = load("codec", "rtu", **{"node.pins": {}})


@given(st.binary(max_size=300), st.integers(0, 20))
def test_the_table_gives_the_crc_that_the_specification_reckons_bit_by_bit(data: bytes, skipped: int) -> None:
    frame = bytes(skipped) + data
    assert rtu.crc(frame, skipped, len(frame)) == int.from_bytes(crc(data), "little")
    whole = frame + crc(data)
    assert rtu.crc(whole, skipped, len(whole)) == 0


def test_the_vm_reckons_the_same_crc() -> None:
    program = f"import sys; sys.path.insert(0, {str(FIRMWARE)!r}); sys.modules['node.pins'] = sys\n"
    program += "from node.rtu import crc; print(crc(bytes(range(256)), 0, 256), crc(bytearray(range(256)), 100, 256))"
    done = subprocess.run([*micropython.command(), "-c", program], capture_output=True, text=True, check=True)
    whole, part = bytes(range(256)), bytes(range(100, 256))
    assert done.stdout.split() == [str(int.from_bytes(crc(data), "little")) for data in (whole, part)]


def made() -> tuple["rtu.Line", Door]:
    door = Door(Bank())
    return rtu.Line(codec.Codec(door.bank, door, IDENTITY, UNIT)), door


def feed(line: "rtu.Line", data: bytes) -> list[bytes]:
    """The replies to some bytes that come at once."""
    found = []
    while data:
        space = line.space()
        assert len(space) > 0
        count = min(len(space), len(data))
        space[:count] = data[:count]
        line.took(count)
        data = data[count:]
        while size := line.answer():
            found.append(bytes(line._codec.outbox[:size]))
    return found


def framed(unit: int, pdu: bytes) -> bytes:
    return bytes([unit]) + pdu + crc(bytes([unit]) + pdu)


units = st.sampled_from([UNIT, UNIT, UNIT, 0, 2])


@given(st.lists(st.tuples(units, pdus, st.lists(st.integers(1, 255), max_size=6)), max_size=20))
def test_each_frame_before_a_silence_gets_the_specifications_reply_however_it_is_split(
    asked: list[tuple[int, bytes, list[int]]],
) -> None:
    line, _ = made()
    model = Model()
    for unit, pdu, cuts in asked:
        frame = framed(unit, pdu)
        places = [0, *sorted(k for k in cuts if k < len(frame)), len(frame)]
        got = [reply for start, end in pairwise(places) for reply in feed(line, frame[start:end])]
        if size := line.gap():
            got.append(bytes(line._codec.outbox[:size]))
        told = model.reply(unit, pdu) if unit != 2 else b""
        if pdu[0] != 8 and unit == UNIT:  # the counters know of broken and others' frames too
            assert got == [framed(unit, told)]
        assert len(got) == (unit == UNIT)
        assert line.count == 0


@given(st.lists(st.binary(max_size=600), max_size=12))
@example([bytes(600), bytes(range(256)) * 3])
def test_no_bytes_make_it_raise_and_after_a_silence_it_is_as_new(pieces: list[bytes]) -> None:
    line, _ = made()
    for piece in pieces:
        feed(line, piece)
    line.gap()
    (reply,) = feed(line, framed(UNIT, reading(0, 1)))
    assert len(reply) == 7


@pytest.mark.parametrize("count", [1, 100])
def test_a_line_that_gives_back_what_is_sent_into_it_does_not_answer_itself(count: int) -> None:
    line, door = made()
    asked = framed(UNIT, one(6, 16, 0x1234))  # the reply is the same as the request
    for k in range(count):
        (reply,) = feed(line, asked)
        assert reply == asked and len(door.writes) == k + 1
        space = line.space()
        space[: len(reply)] = reply
        line.took(len(reply))
        line.drop_echo(0, len(reply))
        assert line.count == 0 and line.answer() == 0


def test_what_comes_behind_the_echo_stays_and_what_is_no_echo_too() -> None:
    line, _ = made()
    first, second = framed(UNIT, reading(0, 1)), framed(UNIT, reading(1, 2))
    (reply,) = feed(line, first)
    data = reply + second
    line.space()[: len(data)] = data
    line.took(len(data))
    line.drop_echo(0, len(reply))
    assert line.count == len(second) and line.answer() == 9
    line.space()[: len(second)] = second
    line.took(len(second))
    line.drop_echo(0, 9)
    assert line.answer() == 9


def test_the_longest_frames_fit() -> None:
    line, door = made()
    door.bank.size = 1000
    door.bank.bytes = bytearray(2000)
    longest = framed(UNIT, bytes.fromhex("10 0000 007b f6") + bytes(246))
    assert len(longest) == 255
    assert feed(line, longest) == [framed(UNIT, b"\x90\x02")]
    assert len(feed(line, framed(UNIT, reading(0, 125)))[0]) == 255
    assert REGISTERS < 1000


def test_the_direction_pin_lets_go_of_the_line_after_each_reply(line: Line) -> None:
    master = SerialClient(line)
    for _ in range(5):
        assert master.ask(READ_MAGIC) == MAGIC_REPLY
        eventually(lambda: line.node.out(DE) == 0, "the driver stays on")


def test_the_supervisor_sees_that_the_line_is_served(line: Line) -> None:
    before = line.node.fed
    eventually(lambda: line.node.fed > before + 1, "the watchdog was not fed")
    assert "listens at uart 1 as unit 3, 115200 baud" in line.node.said


def test_a_broadcast_comes_from_nobody() -> None:
    line, door = made()
    peers = []
    with mock.patch.object(door, "write", lambda peer, *_: peers.append(peer) or 0):
        for unit in (UNIT, 0):
            feed(line, framed(unit, one(6, 16, 1)))
    assert peers == [rtu.PEER, 0] and rtu.PEER < 0


def test_a_port_that_never_drains_lets_go_of_the_line_and_a_talk_that_hangs_is_seen() -> None:
    ticks = Ticks()
    levels: list[int] = []
    pins = {"output": lambda _: SimpleNamespace(value=levels.append)}
    (serial,) = load("rtu", ticks=ticks, **{"node.pins": pins})
    serial.pins = SimpleNamespace(**pins)
    door = Door(Bank())
    server = serial.Server(door.bank, door, IDENTITY, {"uart": 1, "unit": UNIT, "baud": 9600, "de": 18})
    server._uart = SimpleNamespace(readinto=lambda _: None, write=lambda _: None, txdone=lambda: False)
    server._task = SimpleNamespace(done=lambda: False)

    async def sleep_ms(ms: int) -> None:
        ticks.us += 1000 * ms

    async def look() -> bool:
        server.beat = False
        once = mock.AsyncMock(side_effect=[None, OSError])
        with mock.patch.object(serial.asyncio, "sleep_ms", once, create=True), pytest.raises(OSError):
            await server.watch()
        return bool(server.beat)

    async def run() -> None:
        with mock.patch.object(serial.asyncio, "sleep_ms", sleep_ms, create=True):
            await asyncio.wait_for(server._send(255), 5)
        assert levels == [1, 0] and ticks.ms < 2 * 255 * 11_000 // 9600 + 50
        assert await look()
        ticks.us += 1_000_000
        assert not await look()
        server._due_ms = None  # it waits for the master
        assert await look()
        server._uart.write = mock.Mock(side_effect=OSError)
        with mock.patch.object(serial.asyncio, "sleep_ms", sleep_ms, create=True), pytest.raises(OSError):
            await server._send(8)
        assert levels == [1, 0, 1, 0]

    asyncio.run(run())
