"""The server put together: a Space on one socket, from bytes to nodes and back."""

import asyncio
import errno
import logging
import socket
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from asyncua import ua
from asyncua.ua.status_codes import StatusCodes

from controller.audit.log import Keep, Log
from controller.history import FOLDER as HISTORY
from controller.opcua import nodes
from controller.opcua.access import Access
from controller.opcua.auditing import Auditing
from controller.opcua.calling import Calling
from controller.opcua.certificate import Identity, ends_soon, now, own
from controller.opcua.changes import ModelChanges
from controller.opcua.commanding import Commanding
from controller.opcua.core_link import CoreLink, Values
from controller.opcua.diagnostics import Diagnostics, Totals
from controller.opcua.encoding import variant
from controller.opcua.events import Events
from controller.opcua.historic.asking import History
from controller.opcua.historic.service import HistoryRead, Recorded
from controller.opcua.link.discovery import About
from controller.opcua.link.terms import Own
from controller.opcua.link.whole import Link
from controller.opcua.made import made_when_read
from controller.opcua.methods import Methods
from controller.opcua.nodes.about import built_ns, software_version
from controller.opcua.nodes.build import KINDS, Built, build
from controller.opcua.plane import Plane
from controller.opcua.reading import Reading
from controller.opcua.space import Kind, Space
from controller.opcua.status import SHUTDOWN, Build, Status
from controller.opcua.subscriptions.engine import Engine
from controller.opcua.subscriptions.service import Subscriptions
from controller.opcua.trust.declared import declare, properties
from controller.opcua.trust.push import Push
from controller.opcua.trust.store import TrustStore
from controller.opcua.trust.validate import Client
from controller.opcua.view import View
from controller.opcua.writing import Writing
from controller.users import Users
from twin.clock import Clock, Ns, S, utc_ns

log = logging.getLogger("lockstep.opcua")

HOST = "127.0.0.1"
AUDIT = "audit"
VISITS, VISITS_KEPT = "visits", Keep(mb=128)
"""The chain of channels, sessions and refusals: anybody who can connect makes it longer."""
PATH = "lockstep"
PRODUCT, MAKER = "urn:lockstep", "Lockstep"
ANSWERED_S = 0.5
"""How long answers have to get out before channels end."""
LOOKED_AT = Ns(S)
FAREWELL_S = 1.0
"""How long clients with subscriptions are told that the server will end."""
CAPABILITIES = ("DA", "HD")
"""As Part 12 Annex D abbreviates them: data access, historical data."""


class PortTaken(OSError):
    """Somebody else listens at our port."""


def bind(port: int) -> socket.socket:
    """A socket on this computer's own address; port 0 takes any that is free.

    Raises:
        PortTaken: the port is in use.
    """
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((HOST, port))
        bound.listen(100)
    except OSError as failed:
        bound.close()
        if failed.errno == errno.EADDRINUSE:
            raise PortTaken(f"port {port} is in use: stop what listens there, or choose another with --port") from failed
        raise
    return bound


class FactoryServer:
    """Serves a Space to sealed channels of trusted clients.

    Attributes:
        url: where it is.
        nodes, plane, built: what it shows.
        events: what happens, told to whoever monitors it.
        core: the way to the core; `run` follows it.
        users: who may come in.
    """

    def __init__(self, space: Space, schema: str, state: Path, bound: socket.socket, clock: Clock) -> None:
        """Make everything ready; nobody is let in before `start`.

        Raises:
            NodesetError: the specifications are missing.
            CertificateError, UserError, OSError: what is kept in the state folder cannot be used.
        """
        self._bound = bound
        self._server: asyncio.Server | None = None
        self.url = f"opc.tcp://{HOST}:{bound.getsockname()[1]}/{PATH}"
        self.nodes, self.plane = nodes.load((space.application, space.namespace)), Plane()
        self.events = Events(self.nodes)
        self.built: Built = build(self.nodes, space, self.plane)
        self.core = CoreLink(state / "feed.sock", schema, Values(self.plane, space.variables, self.built.rows), clock)
        self.identity = own(state / "pki", "server", space.application)
        self.users = Users(state / "users.json")
        self.trust = TrustStore(state / "pki", clock, now)
        self.audit, self.visits = Log(state / AUDIT), Log(state / AUDIT, VISITS, keep=VISITS_KEPT)
        self._offer(space, state, clock)
        self._tell_of_itself(space)
        self._push(space.application, clock)
        self._clock = clock
        ModelChanges(self.nodes, self.events, utc_ns, state / "opcua-shown.json").start()

    # ---- put together

    def _offer(self, space: Space, state: Path, clock: Clock) -> None:
        """The services."""
        loop = asyncio.get_running_loop()
        self.methods = Methods()
        self.reading = Reading(self.nodes, self.plane)
        self.writing = Writing(self.nodes, self.reading)
        self.calling = Calling(self.nodes, self.methods)
        read = self.reading.read_value
        engine = Engine(self.nodes, self.plane, self.events, read, clock, loop.call_later, loop.call_soon)
        self.subscriptions = Subscriptions(engine)
        self.past = HistoryRead(self.nodes, dict(_recorded(space, self.built)), History(state / HISTORY))
        offers = (View(self.nodes), self.reading, self.writing, self.calling, self.subscriptions, self.past)
        about = About(space.application, PRODUCT, f"Lockstep {space.name}", self.url)
        access = Access(self.users, self.identity.key, clock)
        self.link = Link(_own(self.identity), self.trust, access, clock, about, offers)
        self.link.sessions.on_cancel.append(self.subscriptions.cancel)
        self.link.terms.on_caught_up.append(engine.caught_up)
        self.subscriptions.register(self.methods)
        urls = (self.url, self.url.replace(HOST, "localhost"))
        events, application = self.events, space.application
        self.auditing = Auditing(events, self.nodes, self.audit, utc_ns, clock.now, application, urls, self.visits)
        self.auditing.listen(self.link.terms, self.link.sessions, self.writing, self.calling)
        commanding = Commanding(self.nodes, self.plane, space, self.core)
        commanding.register(self.methods, self.calling, self.writing, self.reading, self.auditing)

    def _tell_of_itself(self, space: Space) -> None:
        """Status and diagnostics."""
        self.status = Status(Build(PRODUCT, MAKER, f"Lockstep {space.name}", software_version(), built_ns()), self.core.follows)
        self.status.hang_on(self.nodes)
        sessions, totals = self.link.sessions, Totals()
        self.diagnostics = Diagnostics(self.nodes, sessions, self.subscriptions, totals, self.link.dispatch, space.application)
        self.diagnostics.hang_on()
        totals.follow(sessions)
        sessions.on_activated.append(lambda session, _: self.diagnostics.opened(session))
        sessions.on_activated.append(lambda *_: self.past.asks.warm())
        sessions.on_activated.append(lambda session, _: self.diagnostics.used_by(session, session.who.name))

    def _push(self, uri: str, clock: Clock) -> None:
        """Trust and certificates, for administrators over OPC UA."""
        push = Push(self.trust, self.identity, uri, clock, _encrypted, self.auditing.trust_changed, self._renew)
        declare(push, self.methods.register, self.auditing.commanding)
        for number, value in properties(push, CAPABILITIES).items():
            made_when_read(self.nodes, number, _variant_of(value))

    def _still(self, client: object) -> bool:
        return isinstance(client, Client) and self.trust.still(client)

    def _renew(self, identity: Identity) -> None:
        """Channels that open from now on get another certificate; the others end, once what is under way is answered."""
        self.identity = identity
        self.link.terms.own = _own(identity)
        end = partial(self.link.gates.close, StatusCodes.BadSecureChannelClosed, "the server has another certificate")
        asyncio.get_running_loop().call_later(ANSWERED_S, end)

    # ---- run

    async def start(self) -> None:
        """Listen."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self.link.gates, sock=self._bound)

    async def run(self) -> None:
        """What goes on besides answering, until it is cancelled, or the core proves to run another factory."""
        async with asyncio.TaskGroup() as tasks:
            work = (
                tasks.create_task(self.core.watch()),
                tasks.create_task(self.link.gates.run()),
                tasks.create_task(self.trust.follow(lambda: self.link.gates.close_untrusted(self._still))),
                tasks.create_task(self._look()),
            )
            await self.core.run()
            for task in work:
                task.cancel()

    async def _look(self) -> None:
        """Look at the audit log each second, and at how long our certificate is valid."""
        due, said = self._clock.now(), ""
        while True:
            self.auditing.look()
            if (soon := ends_soon(self.identity)) != said:
                said = soon
                log.warning("%s", soon or "the server's certificate has been renewed")
            due = Ns(due + LOOKED_AT)
            await self._clock.until(due)

    async def stop(self, reason: str = "the server was told to end") -> None:
        """Let clients know why, close all connections and stop listening."""
        if self._server is not None:
            self._server.close()
        if len(self.subscriptions.engine):
            self.status.state, self.status.reason, self.status.ends_ns = SHUTDOWN, reason, utc_ns() + int(FAREWELL_S * 1e9)
            await asyncio.wait([asyncio.create_task(self._everyone_has_left())], timeout=FAREWELL_S)
        self.link.gates.close()
        work = [task for session in self.link.sessions for task in session.work]
        for session in self.link.sessions:
            session.close()
        if work:
            await asyncio.wait(work, timeout=FAREWELL_S)  # so that what became of it is written down
        await self.past.asks.close()
        self.auditing.stopped(reason)
        await asyncio.to_thread(self.auditing.close)

    async def _everyone_has_left(self) -> None:
        left = asyncio.Event()
        self.link.sessions.on_closed.append(lambda _: left.set() if not len(self.link.sessions) else None)
        await left.wait()


def _own(identity: Identity) -> Own:
    return Own(identity.key, identity.certificate, identity.issuers_der)


def _encrypted(session: object) -> bool:
    channel = getattr(session, "channel", None)
    return channel is not None and int(channel.mode) == 3


def _variant_of(value: Callable[[], ua.Variant]) -> Callable[[object], bytes]:
    return lambda _: variant(value())


def _recorded(space: Space, built: Built) -> Iterator[tuple[int, Recorded]]:
    """Variables that History keeps, by node number."""
    for number, variable in zip(built.variables, space.variables, strict=True):
        if variable.kept:
            yield number, Recorded(variable.path, KINDS[variable.kind], variable.size if variable.kind is Kind.DOUBLE else 1.0)
