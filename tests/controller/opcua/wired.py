"""Our server's link on wires of memory, in virtual time, and raw clients on it: no socket, no process, no waiting.

with Wired({"Read": my_read}, users={"otto": Role.OPERATOR}) as wired:
    client = wired.client(user="otto")          # channel, session, activated
    answer = client.ask("Read", ua.ReadParameters(...))     # decoded response parameters; a fault raises UaStatusCodeError
    wired.advance(10)                           # seconds of virtual time
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha1
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self

from asyncua.ua.status_codes import StatusCodes
from cryptography import x509

from controller.opcua.access import Access
from controller.opcua.asked import Handle
from controller.opcua.certificate import TOOLS, Identity, own
from controller.opcua.guard import Refused
from controller.opcua.link.discovery import About
from controller.opcua.link.policies import BASIC256SHA256, Policy
from controller.opcua.link.terms import Own
from controller.opcua.link.whole import Link
from controller.users import Cost, Role, User, Users, hashed
from tests.controller.opcua.raw import OPEN, SEALED, SIGN, URL, Raw, Wire, decoded, status_of
from tests.controller.virtual import VirtualLoop
from twin.clock import LoopClock

__all__ = ["OPEN", "SEALED", "SIGN", "Raw", "Wire", "Wired", "decoded", "identity", "status_of"]

URI = "urn:lockstep:wired"


@cache
def _identities() -> tuple[TemporaryDirectory[str], dict[str, Identity]]:
    return TemporaryDirectory(prefix="wired-"), {}


def identity(name: str, uri: str = TOOLS) -> Identity:
    """A key and certificate by a name, made once a test run."""
    folder, known = _identities()
    if name not in known:
        known[name] = own(Path(folder.name), name, uri)
    return known[name]


@dataclass(frozen=True)
class Trusted:
    """A client as the trust list tells of it."""

    certificate: x509.Certificate
    der: bytes
    uri: str
    thumbprint: str


class TrustAll:
    """Trusts whoever's certificate (DER) is not `banned`."""

    def __init__(self) -> None:
        self.banned: set[bytes] = set()

    def check(self, chain_der: bytes) -> Trusted:
        """The client, unless it is banned."""
        if chain_der in self.banned or not chain_der:
            raise Refused(StatusCodes.BadSecurityChecksFailed, "not trusted")
        try:
            certificate = x509.load_der_x509_certificate(chain_der)
        except ValueError as broken:
            raise Refused(StatusCodes.BadCertificateInvalid, "unreadable") from broken
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uri = names.get_values_for_type(x509.UniformResourceIdentifier)[0]
        return Trusted(certificate, chain_der, uri, sha1(chain_der).hexdigest())


class Loop(VirtualLoop):
    """Virtual time, and no threads: what would go to one is done here."""

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:  # type: ignore[override]
        """Do it, and tell in the next turn."""
        done: asyncio.Future[Any] = self.create_future()
        try:
            result, tell = func(*args), done.set_result
        except Exception as failed:  # as an executor does
            result, tell = failed, done.set_exception
        self.call_soon(lambda: None if done.done() else tell(result))
        return done


class Wired:
    """A server without a socket. `services`: handles by the service's name; `offers`: objects with services of their own."""

    def __init__(
        self, services: Mapping[str, Handle] | None = None, offers: Iterable[Any] = (), users: Mapping[str, Role] | None = None
    ) -> None:
        self.loop = Loop()
        self.clock = LoopClock(self.loop)
        self._folder = TemporaryDirectory()
        me = identity("server", URI)
        self.users = Users(Path(self._folder.name) / "users.json")
        # As cheap as scrypt gets: what is tested is not how dear a guess is.
        cheap = Cost(2, 1)
        self.users._write(
            {name: User(role.name.lower(), hashed(f"{name}-password", cheap)) for name, role in (users or {}).items()}
        )
        self.trust = TrustAll()
        about = About(URI, "urn:lockstep", "Lockstep", URL)
        self.own = Own(me.key, me.certificate)
        self.link = Link(self.own, self.trust, Access(self.users, me.key, self.clock), self.clock, about, offers)
        self.link.dispatch.offer(services or {})
        self.sessions = self.link.sessions

    def __enter__(self) -> Self:
        self._sweeps = self.loop.create_task(self.link.gates.run())
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._sweeps.cancel()
        self.link.gates.close()
        self.turn()
        self.loop.close()
        self._folder.cleanup()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine to its end."""
        return self.loop.run_until_complete(work)

    def turn(self) -> None:
        """Let everything that is due now happen."""
        self.run(asyncio.sleep(0))
        self.run(asyncio.sleep(0))

    def advance(self, duration_s: float) -> None:
        """Let time pass."""
        self.run(asyncio.sleep(duration_s))

    def raw(self, name: str = "client", address: str = "127.0.0.1") -> "Raw":
        """A connection over which nothing was said yet."""
        return Raw(self, identity(name), address)

    def client(
        self, user: str = "", name: str = "client", policy: Policy | None = BASIC256SHA256, mode: Any = SEALED, **options: Any
    ) -> "Raw":
        """A client with an activated session."""
        made = self.raw(name, options.pop("address", "127.0.0.1"))
        made.open(policy, mode)
        made.create(**options)
        made.activate(user)
        return made
