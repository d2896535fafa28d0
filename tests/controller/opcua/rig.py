"""The server as a real process, a core's end of the Feed on a real socket, and clients with and without manners."""

import asyncio
import contextlib
import os
import queue
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from asyncua import Client, ua
from asyncua.crypto.security_policies import SecurityPolicyBasic256Sha256
from asyncua.ua.ua_binary import struct_to_binary
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from controller.feed import Desk, Feed, FeedSignal, Row, feed_signals, serve
from controller.opcua.certificate import TOOLS, own
from controller.orders.turn import Answer, Request
from twin.clock import utc_ns
from twin.factory import Factory

ROOT = Path(__file__).resolve().parents[3]
PATIENCE_S = 60
NONE = "http://opcfoundation.org/UA/SecurityPolicy#None"


# ---- the core's end ----------------------------------------------------------------------------------------------------


def yes(request: Request) -> Answer:
    """What a core says that does everything."""
    return Answer(request.id, True, f"{request.kind} for {request.user}", 7)


class Core:
    """A core as far as a face can tell: the Feed on its socket, in a thread of its own. What it says is up to the test."""

    def __init__(self, factory: Factory, state: Path, answer: Callable[[Request], Answer | None] = yes) -> None:
        self.signals: tuple[FeedSignal, ...] = feed_signals(factory)
        self.asked: list[Request] = []
        self.answer = answer
        self._index = {signal.path: index for index, signal in enumerate(self.signals)}
        self._socket = state / "feed.sock"
        self._rows: dict[int, Row] = {}
        self._feed: Feed | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stop = asyncio.Event()

    def start(self) -> None:
        """Be there; everything that was published before is in the snapshot."""
        up = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(up)), daemon=True)
        self._thread.start()
        assert up.wait(PATIENCE_S)

    async def _serve(self, up: threading.Event) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._feed, desk = Feed(self.signals), Desk()
        self._feed.publish(list(self._rows.values()))
        async with serve(self._socket, self._feed, desk):
            up.set()
            beats = 0
            while not self._stop.is_set():
                await asyncio.wait([asyncio.create_task(self._stop.wait())], timeout=0.05)
                beats += 1
                self._feed.publish([self._row(s.path, beats) for s in self.signals if s.name == "uptime"])
                for request in desk.take():
                    self.asked.append(request)
                    if (answer := self.answer(request)) is not None:
                        desk.answer(answer)

    def stop(self) -> None:
        """Be gone."""
        assert self._loop is not None and self._thread is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE_S)

    def _row(self, path: str, value: Any, quality: int = 0, cause: str = "", at: int | None = None) -> Row:
        return Row(self._index[path], value, quality, cause, utc_ns() if at is None else at)

    def publish(self, path: str, value: Any, quality: int = 0, cause: str = "", at: int | None = None) -> None:
        """Tell a Signal's value, in SI as the Feed has it."""
        row = self._row(path, value, quality, cause, at)
        self._rows[row.index] = row
        if self._feed is not None and self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._feed.publish, [row])


# ---- the server --------------------------------------------------------------------------------------------------------


@dataclass
class Face:
    """A running server process.

    Attributes:
        lines: what it has printed.
    """

    process: "subprocess.Popen[str]"
    state: Path
    lines: list[str] = field(default_factory=list)
    _printed: "queue.Queue[str | None]" = field(default_factory=queue.Queue)

    @property
    def url(self) -> str:
        """Where it is."""
        return next(line for line in self.lines if line.startswith("ready ")).split()[1]

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        host, port = self.url.removeprefix("opc.tcp://").split("/")[0].split(":")
        return host, int(port)

    @property
    def peak_bytes(self) -> int:
        """The most memory it ever had."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) * 1024

    def read_until(self, start: str) -> str:
        """The next line that starts so; fails when the process ends before it."""
        while (line := self._printed.get(timeout=PATIENCE_S)) is not None:
            self.lines.append(line)
            if line.startswith(start):
                return line
        raise AssertionError("ended: " + "\n".join(self.lines))

    def take_in(self) -> None:
        """Read its output; runs in a thread of its own."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._printed.put(line.rstrip("\n"))
        self._printed.put(None)

    def end(self) -> tuple[int, str]:
        """Ask it to end: its exit status, and all it printed."""
        self.process.send_signal(signal.SIGTERM)
        return self.ended()

    def ended(self) -> tuple[int, str]:
        """Wait until it ends by itself."""
        code = self.process.wait(PATIENCE_S)
        while (line := self._printed.get(timeout=PATIENCE_S)) is not None:
            self.lines.append(line)
        return code, "\n".join(self.lines)


def launch(factory: Path, state: Path, *more: str, env: dict[str, str] | None = None) -> Face:
    """Start a server process."""
    command = [sys.executable, "-m", "controller.opcua", str(factory), "--state", str(state), *more]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    face = Face(process, state)
    threading.Thread(target=face.take_in, daemon=True).start()
    return face


@contextlib.contextmanager
def running(factory: Path, state: Path) -> Iterator[Face]:
    """A server process that is ready, on a free port."""
    face = launch(factory, state, "--port", "0")
    try:
        face.read_until("try:")
        yield face
    finally:
        if face.process.poll() is None:
            face.end()


# ---- clients -----------------------------------------------------------------------------------------------------------


def made(face: Face, user: str = "", password: str = "", name: str = "client") -> Client:
    """A client with a certificate of its own that is trusted, not connected yet."""
    identity = own(face.state / "pki", name, TOOLS)
    trust(face, identity.certificate)
    server = x509.load_der_x509_certificate((face.state / "pki/server.der").read_bytes())
    client = Client(face.url, timeout=PATIENCE_S)
    mode = ua.MessageSecurityMode.SignAndEncrypt
    policy = SecurityPolicyBasic256Sha256(server, identity.certificate, identity.key, mode)
    client.security_policy = policy
    client.uaclient.set_security(policy)
    if user:
        client.set_user(user)
        client.set_password(password)
    return client


def trust(face: Face, certificate: x509.Certificate) -> None:
    """Have the server trust a client, as an administrator does who copies the file."""
    name = certificate.fingerprint(hashes.SHA1()).hex()
    folder = face.state / "pki/trusted/certs"
    if not any(name.upper() in file.name.upper() for file in folder.iterdir()):
        (folder / f"{name}.der").write_bytes(certificate.public_bytes(Encoding.DER))
        time.sleep(1.1)  # the list is looked at once a second


@contextlib.asynccontextmanager
async def connected(face: Face, user: str = "", password: str = "", name: str = "client") -> AsyncIterator[Client]:
    """A client with a session."""
    client = made(face, user, password, name)
    async with client:
        yield client


def node(path: str) -> str:
    """The NodeId of a path."""
    return f"ns=2;s={path}"


async def status_of(awaited: Any) -> str:
    """The name of the status that something ends with."""
    try:
        await awaited
    except ua.UaStatusCodeError as error:
        return str(ua.StatusCode(error.code).name)
    return "Good"


async def eventually(ask: Callable[[], Any], holds: Callable[[Any], bool]) -> Any:
    """Ask until the answer holds."""
    for _ in range(20 * PATIENCE_S):
        answer = await ask()
        if holds(answer):
            return answer
        await asyncio.sleep(0.05)
    raise AssertionError(f"at last: {answer}")


async def call(client: Client, owner: str, method: str, *given: Any) -> tuple[str, list[Any]]:
    """Call a method: the status and the outputs."""
    request = ua.CallMethodRequest()
    request.ObjectId, request.MethodId = ua.NodeId.from_string(node(owner)), ua.NodeId.from_string(node(method))
    request.InputArguments = [value if isinstance(value, ua.Variant) else ua.Variant(value) for value in given]
    (result,) = await client.uaclient.session.call([request])
    return str(result.StatusCode.name), [output.Value for output in result.OutputArguments or ()]


# ---- without manners ---------------------------------------------------------------------------------------------------


class Raw:
    """A connection over which any bytes go. `receive`: how much of an answer may lie unread."""

    def __init__(self, face: Face, receive: int = 0) -> None:
        self._socket = socket.socket()
        if receive:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
        self._socket.settimeout(PATIENCE_S)
        self._socket.connect(face.address)
        self._sequence = 0
        self.channel = self.token = 0

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def patience(self, limit_s: float) -> None:
        """How long a full socket is waited for."""
        self._socket.settimeout(limit_s)

    def send(self, content: bytes) -> None:
        """Send bytes.

        Raises:
            TimeoutError: the peer does not take them in.
            ConnectionError: it has hung up.
        """
        self._socket.sendall(content)

    def message(self) -> tuple[bytes, bytes]:
        """The next message's type and the rest of it; empty at the end."""
        head = self._exactly(8)
        if len(head) < 8:
            return b"", b""
        (size,) = struct.unpack_from("<I", head, 4)
        return head[:3], self._exactly(size - 8)

    def _exactly(self, size: int) -> bytes:
        found = b""
        with contextlib.suppress(ConnectionError):
            while len(found) < size and (part := self._socket.recv(size - len(found))):
                found += part
        return found

    def hello(self, receive: int = 65_535, send: int = 65_535, url: bytes = b"") -> None:
        """Greet."""
        body = struct.pack("<IIIIIi", 0, receive, send, 0, 0, len(url)) + url
        self.send(b"HELF" + struct.pack("<I", 8 + len(body)) + body)

    def open(self) -> None:
        """Open a channel over policy None."""
        self.hello()
        assert self.message()[0] == b"ACK"
        request = ua.OpenSecureChannelRequest()
        request.Parameters.RequestedLifetime = 60_000
        request.Parameters.SecurityMode = ua.MessageSecurityMode.None_
        header = struct.pack("<i", len(NONE)) + NONE.encode() + struct.pack("<ii", -1, -1)
        self.chunk(b"OPNF", header, struct_to_binary(request))
        kind, answer = self.message()
        assert kind == b"OPN", (kind, answer)
        (self.channel,) = struct.unpack_from("<I", answer)
        at = 4 + 4 + len(NONE) + 8 + 8  # channel, security header, sequence header
        response = ua.ua_binary.struct_from_binary(ua.OpenSecureChannelResponse, ua.utils.Buffer(answer[at:]))
        self.token = response.Parameters.SecurityToken.TokenId

    def chunk(self, kind: bytes, security: bytes, body: bytes, request: int = 1) -> None:
        """Send one chunk of a message."""
        self._sequence += 1
        content = struct.pack("<I", self.channel) + security + struct.pack("<II", self._sequence, request) + body
        self.send(kind + struct.pack("<I", 8 + len(content)) + content)

    def request(self, body: bytes, kind: bytes = b"MSGF", number: int = 1) -> None:
        """Send a request."""
        self.chunk(kind, struct.pack("<I", self.token), body, number)

    def answer(self) -> Any:
        """The response to a request; None where the server has hung up, the status' name where it says so first."""
        kind, content = self.message()
        if kind == b"ERR":
            return ua.StatusCode(struct.unpack_from("<I", content)[0]).name
        if kind != b"MSG":
            return None
        return ua.ua_binary.from_binary(_response(content[16:]), ua.utils.Buffer(content[16:]))


def _response(content: bytes) -> Any:
    kind = ua.ua_binary.nodeid_from_binary(ua.utils.Buffer(content))
    return ua.extension_objects_by_typeid[kind]


def get_endpoints(additional: bytes = b"\x00\x00\x00") -> bytes:
    """A GetEndpoints request; `additional`: its encoded AdditionalHeader."""
    whole = struct_to_binary(ua.GetEndpointsRequest())
    header = 4 + 2 + 8 + 4 + 4 + 4 + 4  # type, no token, time, handle, diagnostics, no audit text, time-out
    assert whole[header : header + 3] == b"\x00\x00\x00"
    return whole[:header] + additional + whole[header + 3 :]


def extension(body: bytes, kind: int = int(ua.ObjectIds.AdditionalParametersType_Encoding_DefaultBinary)) -> bytes:
    """An encoded ExtensionObject."""
    return struct.pack("<BBHBi", 1, 0, kind, 1, len(body)) + body


def parameters(variants: Sequence[bytes]) -> bytes:
    """Variants as a list of named parameters, which may stand in any request's header."""
    pairs = b"".join(struct.pack("<Hi", 0, 1) + b"x" + variant for variant in variants)
    return extension(struct.pack("<i", len(variants)) + pairs)
