"""Sessions: each has a token that cannot be guessed, belongs to one client certificate, and reaches only what is its own."""

import asyncio
import logging
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from controller.opcua.access import NOBODY, Access, Who
from controller.opcua.asked import Asked
from controller.opcua.encoding import node_key
from controller.opcua.roles import SIGN_AND_ENCRYPT, TABLE, May
from controller.users import Role
from twin.clock import Clock, Ns

log = logging.getLogger("lockstep.opcua")

MOST_SESSIONS = 100
LONGEST_SESSION_MS = 3_600_000.0
SHORTEST_SESSION_MS = 10_000.0


@dataclass
class Counter:
    """How often a service was asked, and how often it ended in a fault."""

    total: int = 0
    errors: int = 0


@dataclass(eq=False)
class Session:
    """One client's session.

    Attributes:
        key, token: encoded NodeIds: its name in the address space, and its secret.
        certificate: of the client who created it (DER, leaf); no other one may take it over.
        channel: the secure channel it is bound to, None while it waits for its client.
        who: its user; `role` is that user's at this moment.
        locales: preferred first.
        nonce: what the client must sign, and encrypt a password with, next.
        heard: when it last asked for something.
        timed_out: it has ended because nothing was heard of it.
        aborted: it was ended for another reason than that its client wished so.
        unauthorized: requests that its user was not allowed.
        on_close: called once when it ends.
        counts: by service.
        work: tasks that are answering its requests, over whichever channel those came.
        delete_subscriptions: whether its subscriptions end with it; else they wait for another session to take them over, as long
            as their lifetimes last.
    """

    key: bytes
    token: bytes
    name: str
    certificate: bytes
    client_uri: str
    endpoint_url: str
    timeout_ms: float
    access: Access
    created: Ns
    heard: Ns
    description: Any = None
    max_response: int = 0
    channel: Any = None
    who: Who = NOBODY
    activated: bool = False
    alive: bool = True
    timed_out: bool = False
    aborted: bool = False
    unauthorized: int = 0
    locales: tuple[str, ...] = ()
    nonce: bytes = b""
    on_close: list[Callable[[], None]] = field(default_factory=list)
    counts: dict[str, Counter] = field(default_factory=dict)
    work: dict[asyncio.Task[None], Asked] = field(default_factory=dict)
    delete_subscriptions: bool = False

    @property
    def role(self) -> Role:
        """What its user may do now."""
        return self.access.role(self.who)

    def may(self, rule: int, wanted: May) -> bool:
        """Whether it has a permission on a node with a rule."""
        return bool(TABLE[rule][self.role - 1] & wanted == wanted)

    @property
    def overheard(self) -> bool:
        """Whether others could read along: its channel is signed and not encrypted."""
        return int(getattr(self.channel, "mode", SIGN_AND_ENCRYPT)) != SIGN_AND_ENCRYPT

    def close(self) -> None:
        """End it, and what hangs on it."""
        if self.alive:
            self.alive = False
            while self.on_close:
                _told(self.on_close.pop())


class Sessions:
    """All sessions there are.

    Attributes:
        on_new, on_closed: told of each session's begin and end.
        on_activated: told of each activation, with the user it had before; None at the first.
        on_refused: told of each CreateSession, ActivateSession and CloseSession that is refused: the request, its service, the
            status code, and the decoded parameters as far as they were.
        on_cancel: asked by Cancel, with a session and a request's handle: how many of its requests were cancelled.
    """

    def __init__(self, access: Access, clock: Clock) -> None:
        self.access = access
        self.on_new: list[Callable[[Session], None]] = []
        self.on_activated: list[Callable[[Session, Who | None], None]] = []
        self.on_closed: list[Callable[[Session], None]] = []
        self.on_refused: list[Callable[[Asked, str, int, Any], None]] = []
        self.on_cancel: list[Callable[[Session, int], int]] = []
        self._clock = clock
        self._by_token: dict[bytes, Session] = {}

    def __iter__(self) -> Iterator[Session]:
        return iter(tuple(self._by_token.values()))

    def __len__(self) -> int:
        return len(self._by_token)

    def find(self, token: bytes) -> Session | None:
        """The live session with a token."""
        found = self._by_token.get(token)
        return found if found is not None and found.alive else None

    def new(self, name: str, certificate: bytes, client_uri: str, endpoint_url: str, timeout_ms: float) -> Session:
        """A new session, not activated yet; the caller has seen that there is room."""
        now = self._clock.now()
        number, token = secrets.randbits(31), node_key(0, secrets.token_bytes(32))
        made = Session(
            node_key(1, number), token, name, certificate, client_uri, endpoint_url, timeout_ms, self.access, now, now
        )
        self._by_token[token] = made
        made.on_close.append(lambda: self._forget(made))
        return made

    def _forget(self, session: Session) -> None:
        self._by_token.pop(session.token, None)
        for told in self.on_closed:
            _told(told, session)


def _told(told: Callable[..., None], *what: Any) -> None:
    """Tell somebody of an end; a mistake of theirs keeps nobody else from being told."""
    try:
        told(*what)
    except Exception:  # whoever it was: the session has ended all the same
        log.exception("at the end of a session")
