"""How much work with the private key a second may bring: of all, of an address, of a certificate, of a connection."""

import ipaddress
from dataclasses import dataclass
from typing import Final

from twin.clock import MS, Ns, S

EVERYONE_MS: Final = 400
"""Private-key work [ms of a processor] that all connections together may bring at once; half as much comes back each second."""
RESERVE_MS: Final = 100
"""How much of it is for those who have proven who they are: to renew channels, to begin sessions."""
ADDRESS_MS: Final = 100
"""The same of one address that is not this computer's."""
CERTIFICATE_MS: Final = 250
"""The same of one client, once it has proven that it is it. (Fifty that share a certificate come in at once with that.)"""
CLAIMED_MS: Final = 60
"""The same of those at one address who say that they are a certain client, and don't prove it."""
CHANNEL_MS: Final = 60
"""The same of one connection."""
MOST_ADDRESSES: Final = 1_000
START: Final = Ns(0)


@dataclass(slots=True)
class Purse:
    """So much work at once, half of it again each second.

    Attributes:
        most: how much is in it at first.
    """

    most: Ns
    _spent: int = 0
    _at: Ns = START

    def has(self, cost: int, now: Ns) -> bool:
        """Whether so much is in it."""
        back = (now - self._at) * self.most // (2 * S)
        self._spent, self._at = max(self._spent - back, 0), now
        return self._spent + cost <= self.most

    def take(self, cost: int) -> None:
        """Take it out; negative to put it back."""
        self._spent = max(self._spent + cost, 0)

    def spend(self, cost: Ns, now: Ns) -> bool:
        """Whether there is enough left; then it is spent."""
        enough = self.has(cost, now)
        if enough:
            self.take(cost)
        return enough

    def full(self, now: Ns) -> bool:
        """Whether nothing is missing."""
        return self._spent <= (now - self._at) * self.most // (2 * S)


class Many:
    """A purse for each of something. Bounded: full ones are forgotten first, then the oldest."""

    def __init__(self, most_ms: int) -> None:
        self._most = Ns(most_ms * MS)
        self._of: dict[tuple[str, ...], Purse] = {}

    def __len__(self) -> int:
        return len(self._of)

    def of(self, key: tuple[str, ...], now: Ns) -> Purse:
        """One's purse."""
        found = self._of.get(key)
        if found is None:
            if len(self._of) >= MOST_ADDRESSES:
                self._of = {one: purse for one, purse in self._of.items() if not purse.full(now)}
            if len(self._of) >= MOST_ADDRESSES:
                self._of.pop(next(iter(self._of)))
            found = self._of[key] = Purse(self._most, _at=now)
        return found


class Purses:
    """What the private key may be asked to do. All who are concerned must have enough; only then anything is spent."""

    def __init__(self) -> None:
        self._all = Purse(Ns(EVERYONE_MS * MS))
        self._addresses = Many(ADDRESS_MS)
        self._certificates = Many(CERTIFICATE_MS)
        self._claims = Many(CLAIMED_MS)

    def spend(self, own: Purse, address: str, cost: Ns, now: Ns, certificate: str = "") -> bool:
        """Whether a connection, its address, its proven client and all together have enough left; then it is spent."""
        purses = [own, self._all]
        if not local(address):
            purses.append(self._addresses.of((address,), now))
        if certificate:
            purses.append(self._certificates.of((certificate,), now))
        return _spent(purses, cost, now)

    def lend(self, own: Purse, address: str, cost: Ns, now: Ns, certificate: str) -> bool:
        """The same for one who says that he is a client: certificates are no secret.

        What is not `proven` behind it is missing from those alone who say so at the same address; the reserve is not for it.
        """
        if not self._all.has(cost + RESERVE_MS * MS, now) or not self._certificates.of((certificate,), now).has(cost, now):
            return False
        purses = [own, self._all, self._claims.of((address, certificate), now)]
        if not local(address):
            purses.append(self._addresses.of((address,), now))
        return _spent(purses, cost, now)

    def proven(self, address: str, cost: Ns, now: Ns, certificate: str) -> None:
        """He was that client: it is the client's work."""
        self._claims.of((address, certificate), now).take(-cost)
        self._certificates.of((certificate,), now).take(cost)


def _spent(purses: list[Purse], cost: Ns, now: Ns) -> bool:
    enough = all(purse.has(cost, now) for purse in purses)
    if enough:
        for purse in purses:
            purse.take(cost)
    return enough


def local(address: str) -> bool:
    """Whether an address is this computer's own."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
