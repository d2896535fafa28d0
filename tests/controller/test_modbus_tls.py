"""Links with certificates to pymodbus's TLS server: who is believed, who is not, and that replies are checked as everywhere."""

import asyncio
import datetime
import ssl
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from pymodbus.server import ModbusTlsServer
from pymodbus.simulator import DataType, SimData, SimDevice

from controller.fieldbus.engine import Fieldbus
from controller.modbus.burst import UnitLink
from controller.modbus.devices import link_to
from controller.modbus.pdu import Frames, LinkDown, NoReply, ProtocolError, Read, Refused, frame
from hil.ports import free_port
from tests.controller.certificates import Authority
from tests.controller.virtual import run
from twin.clock import Clock, Ns, S
from twin.devices import Device, ModbusDevice, Tls
from twin.factory import parse

WORDS = list(range(100, 200))


class Shop:
    """An authority, a device's certificates, a controller's, and a port."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.authority = Authority(folder)
        self.device = self.authority.sign("meter")
        certificate, key = self.authority.sign("controller")
        self.tls = Tls(certificate, key, self.authority.path, "meter")

    def context(self) -> ssl.SSLContext:
        """The device's: it wants a certificate of the same authority."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.device)
        context.load_verify_locations(self.authority.path)
        context.verify_mode = ssl.CERT_REQUIRED
        return context

    def link(self, clock: Clock, tls: Tls | None = None) -> UnitLink:
        return link_to(Device("meter", ModbusDevice("127.0.0.1", self.port, tls=tls or self.tls)), clock, self.folder)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


@asynccontextmanager
async def serving(shop: Shop, context: ssl.SSLContext | None = None) -> AsyncIterator[None]:
    """pymodbus's own server, with one unit 7."""
    device = SimDevice(7, SimData(0, values=WORDS, datatype=DataType.REGISTERS))
    server = ModbusTlsServer([device], sslctx=context or shop.context(), address=("127.0.0.1", shop.port))
    await server.serve_forever(background=True)
    try:
        yield
    finally:
        await server.shutdown()


@asynccontextmanager
async def running(link: UnitLink, clock: Clock) -> AsyncIterator[UnitLink]:
    """The link, once it is up or has been refused, or has stayed up for a second."""
    task = asyncio.ensure_future(link.run())
    try:
        for _ in range(10):
            await clock.until(Ns(clock.now() + S // 10))
        yield link
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def attempt(shop: Shop, tls: Tls | None = None, context: ssl.SSLContext | None = None) -> tuple[bool, str]:
    """Whether a read succeeded, and the link's cause."""

    async def main(clock: Clock) -> tuple[bool, str]:
        async with serving(shop, context), running(shop.link(clock, tls), clock) as link:
            (reply,) = await link.ask(7, [Read(0, 3)], Ns(clock.now() + S))
            return reply == (100, 101, 102), link.cause

    return run(main)


def test_a_device_whose_certificate_is_believed_is_read_and_believes_ours(shop: Shop) -> None:
    assert attempt(shop) == (True, "")


def test_a_device_that_another_authority_vouches_for_is_refused(shop: Shop) -> None:
    (shop.folder / "b").mkdir()
    read, cause = attempt(shop, replace(shop.tls, authority=Authority(shop.folder / "b", "stranger").path))
    assert not read and "its certificate is not believed: self-signed certificate in certificate chain" in cause


def test_a_device_with_another_name_is_refused(shop: Shop) -> None:
    read, cause = attempt(shop, replace(shop.tls, server="pump"))
    assert not read and "Hostname mismatch" in cause and "'pump'" in cause


def test_without_a_name_the_certificate_must_be_for_the_host(shop: Shop) -> None:
    assert attempt(shop, replace(shop.tls, server=""))[0]
    shop.device = shop.authority.sign("meter", "127.0.0.2")
    read, cause = attempt(shop, replace(shop.tls, server=""))
    assert not read and "IP address mismatch" in cause


def test_a_device_whose_certificate_has_expired_is_refused(shop: Shop) -> None:
    shop.device = shop.authority.sign("meter", lives=datetime.timedelta(days=-1000))
    read, cause = attempt(shop)
    assert not read and "certificate has expired" in cause


def test_a_device_that_does_not_believe_us_says_so(shop: Shop) -> None:
    (shop.folder / "b").mkdir()
    certificate, key = Authority(shop.folder / "b", "stranger").sign("intruder")
    read, cause = attempt(shop, replace(shop.tls, certificate=certificate, key=key))
    assert not read and "it may not believe our certificate" in cause


def test_a_peer_without_a_certificate_is_refused_by_the_device(shop: Shop) -> None:
    async def main(clock: Clock) -> bytes:
        async with serving(shop):
            bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            bare.load_verify_locations(shop.authority.path)
            reader, writer = await asyncio.open_connection("127.0.0.1", shop.port, ssl=bare, server_hostname="meter")
            writer.write(frame(1, 7, Read(0, 1).encode()))
            with suppress(OSError):
                return await reader.read(1)
            return b""

    assert run(main) == b""


def test_tls_1_1_is_refused(shop: Shop) -> None:
    context = shop.context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    read, cause = attempt(shop, context=context)
    assert not read and "it ended the connection" in cause


def test_a_key_that_others_may_read_is_refused_by_name(shop: Shop) -> None:
    shop.tls.key.chmod(0o640)
    read, cause = attempt(shop)
    assert not read and f"{shop.tls.key}: others may read or change this key (mode 640): chmod 600 it" in cause


@pytest.mark.parametrize("file", ["certificate", "key", "authority"])
def test_a_file_that_is_none_is_named(shop: Shop, file: str) -> None:
    path: Path = getattr(shop.tls, file)
    context = shop.context()
    path.write_text("nothing of the kind")
    read, cause = attempt(shop, context=context)
    assert not read and str(path) in cause


def test_a_renewed_certificate_is_used_for_the_next_connection(shop: Shop) -> None:
    async def main(clock: Clock) -> list[bool]:
        async with running(shop.link(clock), clock) as link:
            shop.device = shop.authority.sign("pump")
            async with serving(shop):
                await clock.until(Ns(clock.now() + 2 * S))
                seen = [link.up]
            shop.device = shop.authority.sign("meter")
            async with serving(shop):
                await clock.until(Ns(clock.now() + 2 * S))
                seen.append(link.up)
            return seen

    assert run(main) == [False, True]


def spoken(shop: Shop, answer: "list[bytes]") -> object:
    """What becomes of a read of three registers where the device's TLS records are these."""

    async def device(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ((transaction, _, _),) = Frames().feed(await reader.read(300))
        for record in answer:
            writer.write(record.replace(b"TT", transaction.to_bytes(2, "big")))
            await writer.drain()
        await reader.read()
        writer.close()

    async def main(clock: Clock) -> object:
        server = await asyncio.start_server(device, "127.0.0.1", shop.port, ssl=shop.context())
        async with server, running(shop.link(clock), clock) as link:
            (reply,) = await link.ask(7, [Read(0, 3)], Ns(clock.now() + S))
            return reply

    return run(main)


REPLY = b"TT\0\0\0\x09\x07\x03\x06\0\x01\0\x02\0\x03"


@pytest.mark.parametrize("at", range(2, len(REPLY)))
def test_a_reply_in_two_records_is_one_reply_wherever_it_is_cut(shop: Shop, at: int) -> None:
    assert spoken(shop, [REPLY[:at], REPLY[at:]]) == (1, 2, 3)


def test_two_replies_in_one_record_are_two(shop: Shop) -> None:
    assert spoken(shop, [b"\x99\x99" + REPLY[2:] + REPLY]) == (1, 2, 3)


@pytest.mark.parametrize(
    ("record", "error"),
    [
        (REPLY.replace(b"\0\0\0\x09", b"\0\1\0\x09"), LinkDown),  # protocol 1: the connection is ended
        (REPLY.replace(b"\x09\x07", b"\xff\x07"), LinkDown),  # a length that is none
        (REPLY.replace(b"\x09\x07", b"\x09\x08"), ProtocolError),  # unit 8
        (REPLY.replace(b"\x03\x06", b"\x04\x06"), ProtocolError),  # another function's
        (b"TT\0\0\0\x03\x07\x83\x02", Refused),
        (b"", NoReply),
    ],
)
def test_what_is_no_reply_is_not_taken_for_one(shop: Shop, record: bytes, error: type[Exception]) -> None:
    assert isinstance(spoken(shop, [record] if record else []), error)


def test_the_scan_engine_reads_a_device_of_the_factory_over_tls(shop: Shop) -> None:
    (shop.folder / "own.csv").write_text("name,table,address,type,scan\nfirst,hr,0,uint16,fast\nlast,hr,99,uint16,fast\n")
    factory = parse(
        f"""
        [factory]
        name = "shop"
        [cells.shop]
        [nodes.meter]
        kind = "modbus"
        port = {shop.port}
        tls = {{ certificate = "controller.pem", key = "controller.key", authority = "authority.pem", server = "meter" }}
        [machines.meter]
        type = "registers"
        cell = "shop"
        node = "meter"
        map = "own.csv"
        unit = 7
        """,
        shop.folder,
    )

    async def main(clock: Clock) -> object:
        async with serving(shop):
            fieldbus = Fieldbus(factory, shop.folder, clock)
            task = asyncio.ensure_future(fieldbus.run())
            await clock.until(Ns(clock.now() + 2 * S))
            taken = fieldbus.take()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            return taken["meter"].status, fieldbus.link("meter")

    assert run(main) == ((100, 199), "")
