"""Modbus bytes against pymodbus as the oracle, both directions, and against bytes that no node should send."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.constants import ExcCodes
from pymodbus.framer import FramerSocket
from pymodbus.pdu import DecodePDU, ExceptionResponse, ModbusPDU
from pymodbus.pdu.bit_message import (
    ReadCoilsRequest,
    ReadCoilsResponse,
    ReadDiscreteInputsRequest,
    WriteMultipleCoilsRequest,
    WriteMultipleCoilsResponse,
    WriteSingleCoilRequest,
    WriteSingleCoilResponse,
)
from pymodbus.pdu.mei_message import ReadDeviceInformationRequest, ReadDeviceInformationResponse
from pymodbus.pdu.register_message import (
    MaskWriteRegisterRequest,
    MaskWriteRegisterResponse,
    ReadHoldingRegistersRequest,
    ReadHoldingRegistersResponse,
    ReadInputRegistersRequest,
    ReadInputRegistersResponse,
    WriteMultipleRegistersRequest,
    WriteMultipleRegistersResponse,
    WriteSingleRegisterRequest,
    WriteSingleRegisterResponse,
)

from controller.modbus import pdu

WORD = st.integers(0, 0xFFFF)
TRANSACTION = st.integers(0, 0xFFFF)


@st.composite
def reads(draw: st.DrawFn) -> pdu.Read:
    count = draw(st.integers(1, pdu.MOST_READ))
    return pdu.Read(draw(st.integers(0, 0x10000 - count)), count, draw(st.sampled_from((3, 4))))


@st.composite
def writes(draw: st.DrawFn) -> pdu.Write:
    words = tuple(draw(st.lists(WORD, min_size=1, max_size=pdu.MOST_WRITTEN)))
    return pdu.Write(draw(st.integers(0, 0x10000 - len(words))), words)


requests = st.one_of(reads(), writes(), st.builds(pdu.WriteOne, WORD, WORD))


def _theirs(request: pdu.Request, transaction: int) -> ModbusPDU:
    """A request's frame as pymodbus reads it."""
    framer = FramerSocket(DecodePDU(True))
    frame = pdu.frame(transaction, 1, request.encode())
    used, unit, tid, content = framer.decode(frame)
    assert (used, unit, tid) == (len(frame), 1, transaction)
    decoded = DecodePDU(True).decode(content)
    assert decoded is not None
    return decoded


@given(reads(), TRANSACTION)
def test_pymodbus_reads_our_read_as_we_meant_it(request: pdu.Read, transaction: int) -> None:
    found = _theirs(request, transaction)
    kind = ReadHoldingRegistersRequest if request.function == 3 else ReadInputRegistersRequest
    assert isinstance(found, kind) and (found.address, found.count) == (request.address, request.count)


@given(writes(), TRANSACTION)
def test_pymodbus_reads_our_write_as_we_meant_it(request: pdu.Write, transaction: int) -> None:
    found = _theirs(request, transaction)
    assert isinstance(found, WriteMultipleRegistersRequest)
    assert (found.address, tuple(found.registers)) == (request.address, request.words)


@given(WORD, WORD)
def test_pymodbus_reads_our_write_of_one_register_as_we_meant_it(address: int, word: int) -> None:
    found = _theirs(pdu.WriteOne(address, word), 7)
    assert isinstance(found, WriteSingleRegisterRequest)
    assert (found.address, found.registers) == (address, [word])


def test_pymodbus_reads_our_question_for_the_identity() -> None:
    found = _theirs(pdu.ReadIdentity(), 7)
    assert isinstance(found, ReadDeviceInformationRequest) and (found.read_code, found.object_id) == (1, 0)


def _bytes(reply: ModbusPDU) -> bytes:
    return bytes([reply.function_code]) + reply.encode()


@given(st.data())
def test_we_read_the_registers_that_pymodbus_replies(data: st.DataObject) -> None:
    request = data.draw(reads())
    words = data.draw(st.lists(WORD, min_size=request.count, max_size=request.count))
    kind = ReadHoldingRegistersResponse if request.function == 3 else ReadInputRegistersResponse
    assert pdu.reply_to(request, _bytes(kind(registers=words))) == tuple(words)


@given(writes())
def test_we_take_the_echo_that_pymodbus_sends(request: pdu.Write) -> None:
    echo = WriteMultipleRegistersResponse(address=request.address, count=len(request.words))
    assert pdu.reply_to(request, _bytes(echo)) == ()


@given(WORD, WORD)
def test_we_take_the_echo_of_one_register_that_pymodbus_sends(address: int, word: int) -> None:
    echo = WriteSingleRegisterResponse(address=address, registers=[word])
    assert pdu.reply_to(pdu.WriteOne(address, word), _bytes(echo)) == ()


def test_we_read_the_identity_that_pymodbus_sends() -> None:
    information = {0: b"Lockstep", 1: b"node", 2: b"1.0"}
    reply = ReadDeviceInformationResponse(read_code=1, information=information)
    words = pdu.reply_to(pdu.ReadIdentity(), _bytes(reply))
    assert pdu.identity_of(words) == {0: "Lockstep", 1: "node", 2: "1.0"}


@given(requests, st.sampled_from(sorted(pdu.EXCEPTIONS)))
def test_an_exception_reply_is_a_refusal_with_its_code(request: pdu.Request, code: int) -> None:
    with pytest.raises(pdu.Refused) as caught:
        pdu.reply_to(request, _bytes(ExceptionResponse(request.function, code)))
    assert (caught.value.function, caught.value.code) == (request.function, code)


def test_every_exception_of_the_specification_is_told_in_words() -> None:
    assert set(pdu.EXCEPTIONS) == {code.value for code in ExcCodes} - {ExcCodes.NEGATIVE_ACKNOWLEDGE.value}
    for code, word in ((ExcCodes.ILLEGAL_ADDRESS, "address"), (ExcCodes.DEVICE_BUSY, "busy"), (ExcCodes.ACKNOWLEDGE, "not done")):
        assert word in str(pdu.Refused(16, code.value))
    assert str(pdu.Refused(16, 0x42)) == "function 10 refused: 42 unknown exception"


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (b"\x03", "read of 2 registers: 1 bytes with a byte count of 0, not 6 with 4"),
        (b"\x03\x05\x00\x00\x00", "read of 2 registers: 5 bytes with a byte count of 5, not 6 with 4"),
        (b"\x03\x09", "read of 2 registers: 2 bytes with a byte count of 9, not 6 with 4"),
    ],
)
def test_a_reply_of_another_length_is_told_with_both_lengths(reply: bytes, told: str) -> None:
    with pytest.raises(pdu.ProtocolError) as caught:
        pdu.Read(0, 2).decode(reply)
    assert str(caught.value) == told


def test_a_read_or_write_is_bounded_by_what_one_frame_holds() -> None:
    assert len(pdu.frame(1, 1, pdu.Write(0, (7,) * 123).encode())) <= 260
    assert len(pdu.Read(0, 125).decode(bytes([3, 250]) + bytes(250))) == 125
    assert (pdu.MOST_READ, pdu.MOST_WRITTEN) == (125, 123), "the specification's limits"


IDENTITY = bytes([0x2B, 0x0E, 1, 0x81, 0, 0, 2, 0, 3]) + b"abc" + bytes([1, 1]) + b"d"


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (IDENTITY[:6], "not an identification"),
        (bytes([0x2B, 0x0D]) + IDENTITY[2:], "not an identification"),
        (bytes([0x2B, 0x0E, 2]) + IDENTITY[3:], "not an identification"),
        (IDENTITY[:-1], "add up to 15 bytes, not 14"),
        (IDENTITY + b"x", "add up to 15 bytes, not 16"),
        (IDENTITY[:13], "ends within an object"),
    ],
)
def test_an_identification_that_is_not_whole_is_refused(reply: bytes, told: str) -> None:
    assert pdu.identity_of(pdu.ReadIdentity().decode(IDENTITY)) == {0: "abc", 1: "d"}
    assert pdu.ReadIdentity().decode(IDENTITY[:6] + b"\x00") == (0x0E, 1, 0x81, 0, 0, 0)
    with pytest.raises(pdu.ProtocolError, match=told):
        pdu.ReadIdentity().decode(reply)


@pytest.mark.parametrize("reply", [b"\x83", b"\x83\x02\x00", b"\x84\x02", b"\x10\x02"])
def test_only_two_bytes_of_the_requests_own_exception_are_a_refusal(reply: bytes) -> None:
    with pytest.raises(pdu.ProtocolError, match=f"reply to function 03 is {reply.hex(' ')} "):
        pdu.reply_to(pdu.Read(0, 1), reply)


def test_a_frame_is_given_out_as_soon_as_its_last_byte_has_come_and_no_byte_is_kept() -> None:
    frames, sent = pdu.Frames(), pdu.frame(258, 17, b"\x03\x02\x01\x04")
    for byte in sent[:-1]:
        assert frames.feed(bytes([byte])) == []
    assert frames.feed(sent[-1:] + sent[:3]) == [(258, 17, b"\x03\x02\x01\x04")]
    assert frames.feed(sent[3:]) == [(258, 17, b"\x03\x02\x01\x04")]


@pytest.mark.parametrize("length", [2, 254])
def test_the_shortest_and_the_longest_frame_are_taken(length: int) -> None:
    assert pdu.Frames().feed(struct.pack(">HHHB", 1, 0, length, 1) + bytes(length - 1)) == [(1, 1, bytes(length - 1))]


@given(st.one_of(requests, st.just(pdu.ReadIdentity())), st.binary(min_size=1, max_size=253))
def test_bytes_that_are_no_reply_are_refused_and_nothing_else_happens(request: pdu.Request, reply: bytes) -> None:
    try:
        words = pdu.reply_to(request, reply)
    except pdu.ModbusError:
        return
    if isinstance(request, pdu.Read):
        assert len(words) == request.count and reply[0] == request.function and reply[1] == 2 * request.count
    elif not isinstance(request, pdu.ReadIdentity):
        assert reply == request.encode()[: len(reply)] and len(reply) == 5


@given(reads(), st.integers(-2, 2).filter(bool))
def test_a_reply_with_another_number_of_registers_is_refused(request: pdu.Read, more: int) -> None:
    count = request.count + more
    if not 0 <= count <= 126:
        return
    with pytest.raises(pdu.ProtocolError, match=f"read of {request.count} registers"):
        pdu.reply_to(request, struct.pack(">BB", request.function, 2 * count) + bytes(2 * count))
    lying = struct.pack(">BB", request.function, 2 * count & 0xFF) + bytes(2 * request.count)
    with pytest.raises(pdu.ProtocolError):
        pdu.reply_to(request, lying)


@given(st.lists(st.tuples(TRANSACTION, st.integers(0, 255), st.binary(min_size=1, max_size=253)), max_size=8), st.data())
def test_frames_come_out_whole_however_the_stream_is_cut(sent: list[tuple[int, int, bytes]], data: st.DataObject) -> None:
    stream = b"".join(pdu.frame(*one) for one in sent)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)))))
    frames, found = pdu.Frames(), []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += frames.feed(stream[start:end])
    assert found == sent


@pytest.mark.parametrize("length", [0, 1, 255, 256, 65535])
def test_a_length_that_no_frame_may_have_ends_the_stream(length: int) -> None:
    with pytest.raises(pdu.ProtocolError, match=f"length {length} is outside 2 to 254"):
        pdu.Frames().feed(struct.pack(">HHHB", 1, 0, length, 1))


def test_another_protocol_ends_the_stream() -> None:
    with pytest.raises(pdu.ProtocolError, match="protocol number 1"):
        pdu.Frames().feed(struct.pack(">HHHB", 1, 1, 6, 1))


@given(st.binary(max_size=600))
def test_a_stream_of_anything_gives_frames_or_a_protocol_error(stream: bytes) -> None:
    frames = pdu.Frames()
    try:
        for byte in stream:
            for _, _, content in frames.feed(bytes([byte])):
                assert 1 <= len(content) <= 253
    except pdu.ProtocolError:
        pass


BITS = st.lists(st.booleans(), min_size=1, max_size=pdu.MOST_BITS_WRITTEN).map(tuple)


@given(st.integers(1, pdu.MOST_BITS_READ), st.integers(0, 0x10000 - pdu.MOST_BITS_READ), st.sampled_from((1, 2)), st.data())
def test_bits_are_asked_for_and_read_as_pymodbus_means_them(count: int, address: int, function: int, data: st.DataObject) -> None:
    request = pdu.ReadBits(address, count, function)
    found = _theirs(request, 1)
    kind = ReadCoilsRequest if function == 1 else ReadDiscreteInputsRequest
    assert isinstance(found, kind) and (found.address, found.count) == (address, count)
    bits = data.draw(st.lists(st.booleans(), min_size=count, max_size=count))
    reply = bytes([function]) + ReadCoilsResponse(bits=bits).encode()
    assert request.decode(reply) == tuple(map(int, bits))
    with pytest.raises(pdu.ProtocolError):
        request.decode(reply + b"\0")


@given(st.integers(0, 0x10000 - pdu.MOST_BITS_WRITTEN), BITS)
def test_coils_are_written_and_echoed_as_pymodbus_does(address: int, bits: tuple[bool, ...]) -> None:
    many, one = pdu.WriteCoils(address, bits), pdu.WriteCoil(address, bits[0])
    found, single = _theirs(many, 1), _theirs(one, 1)
    assert isinstance(found, WriteMultipleCoilsRequest) and tuple(found.bits[: len(bits)]) == bits
    assert isinstance(single, WriteSingleCoilRequest) and (single.address, single.bits[0]) == (address, bits[0])
    assert many.decode(b"\x0f" + WriteMultipleCoilsResponse(address=address, count=len(bits)).encode()) == ()
    assert one.decode(b"\x05" + WriteSingleCoilResponse(address=address, bits=[bits[0]]).encode()) == ()
    with pytest.raises(pdu.ProtocolError, match="not echoed"):
        one.decode(b"\x05" + WriteSingleCoilResponse(address=address, bits=[not bits[0]]).encode())


@given(WORD, WORD, WORD)
def test_a_mask_write_is_pymodbus_s(address: int, keep: int, put: int) -> None:
    request = pdu.WriteMask(address, keep, put)
    found = _theirs(request, 1)
    assert isinstance(found, MaskWriteRegisterRequest)
    assert (found.address, found.and_mask, found.or_mask) == (address, keep, put)
    assert request.decode(b"\x16" + MaskWriteRegisterResponse(address=address, and_mask=keep, or_mask=put).encode()) == ()
