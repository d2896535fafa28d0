"""What the clients of one certificate may take of what all clients share: a quarter of each, so that nobody takes everything."""

from dataclasses import dataclass

from controller.opcua.subscriptions.limits import PARTS, QUEUE_BYTES, RETRANSMISSION_BYTES
from controller.opcua.subscriptions.loose import Budget


@dataclass(slots=True, eq=False)
class Share:
    """What the sessions of one client certificate have.

    Attributes:
        queues, retransmission: bytes that are left to them.
        subscriptions, items, polled, notifiers: how many of each they have; `notifiers` are event items.
    """

    queues: Budget
    retransmission: Budget
    subscriptions: int = 0
    items: int = 0
    polled: int = 0
    notifiers: int = 0


class Shares:
    """The shares of all certificates that have subscriptions."""

    def __init__(self, queues: Budget, retransmission: Budget) -> None:
        self._queues, self._retransmission = queues, retransmission
        self._all: dict[bytes, Share] = {}

    def of(self, certificate: bytes) -> Share:
        """A client certificate's share."""
        found = self._all.get(certificate)
        if found is None:
            queues = Budget(QUEUE_BYTES // PARTS, self._queues)
            found = self._all[certificate] = Share(queues, Budget(RETRANSMISSION_BYTES // PARTS, self._retransmission))
        return found

    def tidy(self) -> None:
        """Forget who has no subscription any more."""
        self._all = {certificate: share for certificate, share in self._all.items() if share.subscriptions}
