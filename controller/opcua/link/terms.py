"""What all connections of a server share: its identity, whom it trusts, and how much private-key work a second may bring."""

import hashlib
import ipaddress
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding

from controller.opcua.guard import Refused
from twin.clock import MS, Clock, Ns, S

if TYPE_CHECKING:
    from controller.opcua.link.channel import Channel

EVERYONE_MS: Final = 400
"""Private-key work [ms of a processor] that all connections together may bring at once; half as much comes back each second."""
ADDRESS_MS: Final = 100
"""The same of one address that is not this computer's."""
CHANNEL_MS: Final = 60
"""The same of one connection."""
MOST_ADDRESSES: Final = 1_000
START: Final = Ns(0)


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


@dataclass(slots=True)
class Purse:
    """So much work at once, half of it again each second.

    Attributes:
        most: how much is in it at first.
    """

    most: Ns
    _spent: int = 0
    _at: Ns = START

    def spend(self, cost: Ns, now: Ns) -> bool:
        """Whether there is enough left; then it is spent."""
        back = (now - self._at) * self.most // (2 * S)
        self._spent, self._at = max(self._spent - back, 0), now
        if self._spent + cost > self.most:
            return False
        self._spent += cost
        return True

    def full(self, now: Ns) -> bool:
        """Whether nothing is missing."""
        return self._spent <= (now - self._at) * self.most // (2 * S)


class Purses:
    """What the private key may be asked to do."""

    def __init__(self) -> None:
        self._all = Purse(Ns(EVERYONE_MS * MS))
        self._of: dict[str, Purse] = {}

    def spend(self, own: Purse, address: str, cost: Ns, now: Ns) -> bool:
        """Whether a connection, its address and all together have enough left."""
        if not own.spend(cost, now) or not (local(address) or self._address(address, now).spend(cost, now)):
            return False
        return self._all.spend(cost, now)

    def _address(self, address: str, now: Ns) -> Purse:
        found = self._of.get(address)
        if found is None:
            if len(self._of) >= MOST_ADDRESSES:
                self._of = {one: purse for one, purse in self._of.items() if not purse.full(now)}
            if len(self._of) >= MOST_ADDRESSES:
                self._of.pop(next(iter(self._of)))
            found = self._of[address] = Purse(Ns(ADDRESS_MS * MS), _at=now)
        return found


def local(address: str) -> bool:
    """Whether an address is this computer's own."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


@dataclass
class Terms:
    """What all channels share.

    Attributes:
        on_opened: told of each channel that is opened (not of renewals).
        on_refused: told of each connection that is ended for what came over it, and why.
        on_closed: told of each opened channel's end.
    """

    own: Own
    trust: Trust
    clock: Clock
    purses: Purses = field(default_factory=Purses)
    on_opened: list[Callable[["Channel"], None]] = field(default_factory=list)
    on_refused: list[Callable[["Channel", Refused], None]] = field(default_factory=list)
    on_closed: list[Callable[["Channel"], None]] = field(default_factory=list)
    _channels: int = 0

    def number(self) -> int:
        """A channel id that no other one of these days has."""
        self._channels = self._channels % (2**32 - 1) + 1
        return self._channels
