"""What a message claims costs nothing: each hazard is refused by its size, before any session, and the server serves on."""

import asyncio
import contextlib
import struct
from collections.abc import Callable
from typing import Any

import pytest
from asyncua import ua
from asyncua.ua.ua_binary import struct_to_binary

from controller.opcua.link.handshake import MOST_OF_ONE
from tests.controller.opcua.conftest import Site
from tests.controller.opcua.rig import Raw, connected, extension, get_endpoints, made, node, parameters, status_of

HUGE = 2**31 - 1
ARRAY, MATRIX = 0x80, 0xC0
LITTLE = 16 * 1024 * 1024
"""Far less than any of the claims below would take, far more than a server needs to refuse them."""


def variant_array(kind: int, length: int, rest: bytes = b"") -> bytes:
    """An encoded array of a built-in type."""
    return struct.pack("<Bi", ARRAY | kind, length) + rest


def nested(depth: int) -> bytes:
    """A Variant in a Variant in a Variant..."""
    return bytes([24]) * depth + b"\x01\x01"


def matrix(sizes: list[int], elements: int = 0) -> bytes:
    """An array of Bytes with dimensions."""
    head = struct.pack("<Bi", MATRIX | 3, elements) + bytes(elements)
    return head + struct.pack(f"<i{len(sizes)}i", len(sizes), *sizes)


def diagnostics(depth: int) -> bytes:
    """A DiagnosticInfo in a DiagnosticInfo in a DiagnosticInfo..."""
    return b"\x19" + b"\x40" * depth + b"\x00"


def extensions(depth: int) -> bytes:
    """Parameters whose value are parameters whose value are parameters..."""
    found = b"\x01\x01"
    for _ in range(depth):
        found = bytes([22]) + parameters([found])
    return found


IN_A_HEADER: dict[str, bytes] = {
    "an array of Null": variant_array(0, HUGE),
    "a smaller array of Null": variant_array(0, 5_000_000),
    "an array longer than the message": variant_array(6, HUGE),
    "an array of texts longer than the message": variant_array(12, 1_000_000, b"\xff" * 4000),
    "more elements than are ever needed": variant_array(1, 65_537, bytes(4096)),
    "an array of negative length": variant_array(6, -7),
    "a text of negative length": struct.pack("<Bi", 12, -9),
    "a text longer than the message": struct.pack("<Bi", 12, HUGE),
    "texts that step back": variant_array(12, 3, struct.pack("<iii", -4, -4, -4)),
    "nested Variants": nested(4000),
    "nested DiagnosticInfos": diagnostics(4000),
    "nested ExtensionObjects": extensions(40),
    "dimensions of more than there is": matrix([1000, 1000]),
    "dimensions of nothing": matrix([0, 1_000_000]),
    "negative dimensions": matrix([-1, -1], 1),
    "many dimensions": matrix([1] * 1000, 1),
    "a dimension list without end": struct.pack("<Bii", MATRIX | 3, 0, HUGE),
    "an unknown type": b"\x3f",
}


def endless_list(after: int) -> bytes:
    """A GetEndpoints request whose list of locales claims too much."""
    whole = struct_to_binary(ua.GetEndpointsRequest())
    return whole[:-8] + struct.pack("<ii", after, 0)


REQUESTS: dict[str, bytes] = {
    **{name: get_endpoints(parameters([variant])) for name, variant in IN_A_HEADER.items()},
    "a list of parameters without end": get_endpoints(extension(struct.pack("<i", HUGE))),
    "an ExtensionObject longer than the message": get_endpoints(
        extension(b"")[:-4] + struct.pack("<i", HUGE)  # its length, and nothing behind it
    ),
    "an ExtensionObject without a length": get_endpoints(extension(b"")[:-4] + struct.pack("<i", -1)),
    "a structure that no request needs": get_endpoints(extension(bytes(16), int(ua.ObjectIds.Range_Encoding_DefaultBinary))),
    "a list without end in the request itself": endless_list(HUGE),
    "a negative list in the request itself": endless_list(-5),
    "no header at all": b"\x01\x00\xac\x01",
    "nothing": b"",
}


def still_serves(site: Site) -> None:
    """A client with manners gets its answer."""

    async def read() -> Any:
        async with connected(site.face) as client:
            return await client.get_node(node("printer-1/status/x")).read_value()

    assert asyncio.run(read()) == pytest.approx(120.5)


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_before_any_session_is_refused_by_what_it_claims(site: Site, name: str) -> None:
    before = site.face.peak_bytes
    raw = Raw(site.face)
    raw.open()
    raw.request(REQUESTS[name])
    answer = raw.answer()
    raw.close()
    told = answer if isinstance(answer, str) else answer.ResponseHeader.ServiceResult.name
    assert told in ("BadDecodingError", "BadEncodingLimitsExceeded")
    assert site.face.peak_bytes - before < LITTLE


def test_requests_as_they_should_be_are_answered_with_such_headers_too(site: Site) -> None:
    harmless = [variant_array(6, 3, bytes(12)), variant_array(6, -1), nested(10), matrix([2, 3], 6), b"\x01\x01"]
    raw = Raw(site.face)
    raw.open()
    for number, variant in enumerate(harmless, 1):
        raw.request(get_endpoints(parameters([variant])), number=number)
        assert raw.answer().ResponseHeader.ServiceResult.is_good()
    raw.close()


def with_size(kind: bytes, size: int) -> bytes:
    """A message's head that claims a size."""
    return kind + struct.pack("<I", size)


FRAMES: dict[str, bytes] = {
    "a greeting of 4 GiB": with_size(b"HELF", 2**32 - 1),
    "a channel of 2 GiB": with_size(b"OPNF", 2**31),
    "a message of 1 MiB": with_size(b"MSGF", 2**20),
    "a message shorter than its head": with_size(b"MSGF", 8),
    "a message of no length": with_size(b"HELF", 0),
    "another protocol": b"GET / HTTP/1.1\r\n\r\n",
    "an unknown chunk": with_size(b"MSGX", 32) + bytes(24),
    "an answer": with_size(b"ACKF", 28) + bytes(20),
}


@pytest.mark.parametrize("name", FRAMES)
def test_a_message_is_refused_by_the_length_in_its_head(site: Site, name: str) -> None:
    before = site.face.peak_bytes
    raw = Raw(site.face)
    raw.send(FRAMES[name])
    answer = raw.answer()
    raw.close()
    assert answer in ("BadTcpMessageTooLarge", "BadTcpMessageTypeInvalid")
    assert site.face.peak_bytes - before < LITTLE


def _greet(raw: Raw) -> None:
    raw.hello()
    assert raw.message()[0] == b"ACK"


def _open_with(header: bytes, sealed: bytes = b"") -> Callable[[Raw], None]:
    def send(raw: Raw) -> None:
        _greet(raw)
        raw.chunk(b"OPNF", header, sealed)

    return send


POLICY = b"http://opcfoundation.org/UA/SecurityPolicy#Basic256Sha256"
OUT_OF_TURN: dict[str, Callable[[Raw], None]] = {
    "a request without a greeting": lambda raw: raw.request(get_endpoints()),
    "a request without a channel": lambda raw: (_greet(raw), raw.request(get_endpoints()))[0],
    "a channel without a greeting": lambda raw: raw.chunk(b"OPNF", bytes(12), b""),
    "a second greeting": lambda raw: (_greet(raw), raw.hello())[0],
    "a greeting with tiny buffers": lambda raw: raw.hello(receive=1, send=1),
    "a greeting whose address never ends": lambda raw: raw.send(
        with_size(b"HELF", 32) + struct.pack("<IIIIIi", 0, 65_535, 65_535, 0, 0, HUGE)
    ),
    "a policy that never ends": _open_with(struct.pack("<i", HUGE)),
    "a policy of negative length": _open_with(struct.pack("<i", -8) + bytes(8)),
    "a certificate that never ends": _open_with(struct.pack("<i", len(POLICY)) + POLICY + struct.pack("<i", HUGE)),
    "a certificate that is none": _open_with(
        struct.pack("<i", len(POLICY)) + POLICY + struct.pack("<i", 64) + bytes(64) + struct.pack("<i", -1)
    ),
    "more to decipher than a channel needs": _open_with(
        struct.pack("<i", len(POLICY)) + POLICY + struct.pack("<ii", -1, -1), bytes(4096)
    ),
    "a message of the wrong channel": lambda raw: (raw.open(), setattr(raw, "channel", 1), raw.request(get_endpoints()))[0],
    "a message with an unknown key": lambda raw: (raw.open(), setattr(raw, "token", 99), raw.request(get_endpoints()))[0],
    "a message out of sequence": lambda raw: (raw.open(), setattr(raw, "_sequence", 500), raw.request(get_endpoints()))[0],
}


@pytest.mark.parametrize("name", OUT_OF_TURN)
def test_what_comes_out_of_turn_ends_the_connection(site: Site, name: str) -> None:
    raw = Raw(site.face)
    OUT_OF_TURN[name](raw)
    told = raw.answer()
    assert isinstance(told, str) and told.startswith("Bad")
    assert raw.message() == (b"", b"")
    raw.close()


def test_chunks_without_an_end_are_cut_off(site: Site) -> None:
    before = site.face.peak_bytes
    raw = Raw(site.face)
    raw.open()
    with contextlib.suppress(ConnectionError):
        for _ in range(2000):
            raw.request(bytes(60_000), kind=b"MSGC")
    assert raw.answer() == "BadRequestTooLarge"
    raw.close()
    assert site.face.peak_bytes - before < LITTLE


def test_a_client_that_reads_no_answers_is_not_answered_without_end(site: Site) -> None:
    before = site.face.peak_bytes
    raw = Raw(site.face, receive=4096)
    raw.open()
    raw.patience(1)
    try:
        with pytest.raises((TimeoutError, ConnectionError)):
            for number in range(1, 100_000):
                raw.request(get_endpoints(), number=number)
    finally:
        raw.close()
    assert site.face.peak_bytes - before < LITTLE


def is_open(raw: Raw) -> bool:
    """Whether the server has left a connection open that it has nothing to say to."""
    raw.patience(0)
    try:
        return raw.message()[0] != b""
    except BlockingIOError:
        return True


def test_a_crowd_of_connections_is_turned_away_and_leaves_no_trace(site: Site) -> None:
    crowd = [Raw(site.face) for _ in range(120)]
    for raw in crowd:
        with contextlib.suppress(ConnectionError):
            raw.hello()
    for raw in crowd:
        assert raw.message()[0] in (b"ACK", b"")
    last = Raw(site.face)
    last.hello()
    assert last.message()[0] == b"ACK"  # by now those that made room have ended
    last.close()
    left = [is_open(raw) for raw in crowd]
    still_serves(site)  # whoever has been there longest makes room
    for raw in crowd:
        raw.close()
    assert 80 <= sum(left) <= 100
    still_serves(site)


def test_sessions_are_bounded(site: Site) -> None:
    async def crowd() -> list[str]:
        clients = [made(site.face) for _ in range(MOST_OF_ONE + 1)]
        try:
            return [await status_of(client.connect()) for client in clients]
        finally:
            for client in clients:
                with contextlib.suppress(ConnectionError, ua.UaError):
                    await client.disconnect()

    assert asyncio.run(crowd()) == ["Good"] * MOST_OF_ONE + ["BadTooManySessions"]
    still_serves(site)


def test_a_subscription_is_revised_to_what_the_server_can_keep(site: Site) -> None:
    async def subscribe(interval: float) -> Any:
        async with connected(site.face) as client:
            asked = ua.CreateSubscriptionParameters(interval, 10**9, 10**9, 0, True, 0)
            return await client.uaclient.session.create_subscription(asked, lambda *_: None)

    for interval in (0.0, -1.0, 1e-300, float("nan")):
        assert asyncio.run(subscribe(interval)).RevisedPublishingInterval == 50
    for interval in (1e300, float("inf")):
        granted = asyncio.run(subscribe(interval))
        assert (granted.RevisedPublishingInterval, granted.RevisedLifetimeCount) == (60_000, 60)  # an hour in all
        assert granted.RevisedLifetimeCount >= 3 * granted.RevisedMaxKeepAliveCount


def test_more_than_the_told_number_of_operations_is_refused(site: Site) -> None:
    async def read(count: int) -> str:
        async with connected(site.face) as client:
            limit = ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerRead
            assert await client.get_node(ua.NodeId(limit)).read_value() == 2_000
            wanted = ua.ReadParameters(NodesToRead=[ua.ReadValueId(ua.NodeId(2258), ua.AttributeIds.Value)] * count)
            try:
                return f"{len(await client.uaclient.session.read(wanted))}"
            except ua.UaStatusCodeError as refused:
                return str(ua.StatusCode(refused.code).name)

    assert [asyncio.run(read(count)) for count in (2_000, 2_001)] == ["2000", "BadTooManyOperations"]


def test_after_all_that_the_server_still_serves(site: Site) -> None:
    for variant in IN_A_HEADER.values():
        raw = Raw(site.face)
        raw.open()
        raw.request(get_endpoints(parameters([variant])))
        raw.close()
    still_serves(site)
    assert site.face.process.poll() is None
