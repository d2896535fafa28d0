"""What all connections of a server share: its identity, whom it trusts, and how much private-key work a second may bring."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding

from controller.opcua.guard import Refused
from controller.opcua.link.purses import Purses
from twin.clock import MS, Clock, Ns

if TYPE_CHECKING:
    from controller.opcua.link.channel import Channel

MOST_NONCES, MOST_OPENERS = 500, 200
"""How many nonces of one client are remembered, and of how many clients."""


class Client(Protocol):
    """A client application whose certificate is trusted."""

    @property
    def certificate(self) -> x509.Certificate:
        """Its certificate."""
        ...

    @property
    def der(self) -> bytes:
        """The same as it goes over the wire, without its issuers."""
        ...

    @property
    def uri(self) -> str:
        """ApplicationUri."""
        ...

    @property
    def thumbprint(self) -> str:
        """SHA-1 of `der`."""
        ...


class Trust(Protocol):
    """Who may open a channel."""

    def check(self, chain_der: bytes) -> Client:
        """The client with a certificate.

        Args:
            chain_der: its certificate, and those of its issuers behind it.

        Raises:
            Refused: it may not.
        """
        ...


@dataclass(frozen=True)
class Own:
    """Who we are. Replaced as a whole; a channel keeps the one it was opened with.

    Attributes:
        chain: our certificate, and those of its issuers behind it.
    """

    key: rsa.RSAPrivateKey
    certificate: x509.Certificate
    issuers: bytes = b""
    der: bytes = field(init=False)
    chain: bytes = field(init=False)
    thumbprint: bytes = field(init=False)
    cost: Ns = field(init=False)
    """What one operation with the private key takes, roughly."""

    def __post_init__(self) -> None:
        der = self.certificate.public_bytes(Encoding.DER)
        object.__setattr__(self, "der", der)
        object.__setattr__(self, "chain", der + self.issuers)
        object.__setattr__(self, "thumbprint", hashlib.sha1(der).digest())
        object.__setattr__(self, "cost", Ns(MS * (self.key.key_size // 1024) ** 3 // 8))


class Nonces:
    """The nonces that clients have opened channels with: one that comes again was recorded by somebody else."""

    def __init__(self) -> None:
        self._of: dict[str, dict[bytes, None]] = {}

    def new(self, thumbprint: str, nonce: bytes) -> bool:
        """Whether a client has not used a nonce before, as far as is remembered; now it has."""
        known = self._of.pop(thumbprint, {})
        self._of[thumbprint] = known  # the last one to be forgotten
        if nonce in known:
            return False
        known[nonce] = None
        if len(known) > MOST_NONCES:
            del known[next(iter(known))]
        if len(self._of) > MOST_OPENERS:
            del self._of[next(iter(self._of))]
        return True


@dataclass
class Terms:
    """What all channels share.

    Attributes:
        on_opened: told of each channel that is opened (not of renewals).
        on_used: told of each channel's first message under its keys: only then it is the client's who seemed to open it.
        on_refused: told of each connection that is ended for what came over it, and why.
        on_closed: told of each opened channel's end.
        on_caught_up: told of each channel whose client has read what it was behind with.
    """

    own: Own
    trust: Trust
    clock: Clock
    purses: Purses = field(default_factory=Purses)
    nonces: Nonces = field(default_factory=Nonces)
    on_opened: list[Callable[["Channel"], None]] = field(default_factory=list)
    on_used: list[Callable[["Channel"], None]] = field(default_factory=list)
    on_refused: list[Callable[["Channel", Refused], None]] = field(default_factory=list)
    on_closed: list[Callable[["Channel"], None]] = field(default_factory=list)
    on_caught_up: list[Callable[["Channel"], None]] = field(default_factory=list)
    _channels: int = 0

    def number(self) -> int:
        """A channel id that no other one of these days has."""
        self._channels = self._channels % (2**32 - 1) + 1
        return self._channels
