"""Where records of the audit go: deeds to one chain, what anybody who can connect may cause to another one."""

import logging
from typing import TYPE_CHECKING, Protocol

from controller.audit.chain import Record

if TYPE_CHECKING:
    from asyncio import Future

log = logging.getLogger("lockstep.opcua")


class Writer(Protocol):
    """Where records go: `controller.audit.log.Log`."""

    failed: str

    @property
    def restricted(self) -> bool:
        """Whether only administrators may command."""
        ...

    def append(self, record: Record) -> "Future[None]":
        """Ends when the record is on disk, or with an AuditError."""
        ...

    def note(self, record: Record) -> bool:
        """Whether there was room for it."""
        ...

    def close(self) -> None:
        """Bring what waits to the disk."""
        ...


class Books:
    """The two chains.

    Args:
        deeds: commands, logins of users, trust.
        visits: channels, sessions, refusals: however many come, no deed goes for them.
    """

    def __init__(self, deeds: Writer, visits: Writer) -> None:
        self._deeds, self._visits = deeds, visits
        self._crowded = False

    @property
    def restricted(self) -> bool:
        """Whether only administrators may command."""
        return self._deeds.restricted or self._visits.restricted

    @property
    def failed(self) -> str:
        """Why something cannot be written at the moment."""
        return self._deeds.failed or self._visits.failed

    def append(self, record: Record) -> "Future[None]":
        """An intent: ends when it is on disk, or with an AuditError."""
        return self._deeds.append(record)

    def deed(self, record: Record) -> None:
        """Have something written that was done."""
        self._note(self._deeds, record)

    def visit(self, record: Record) -> None:
        """Have something written that was refused, or did nothing."""
        self._note(self._visits, record)

    def look(self) -> None:
        """What has no room from now on is warned of anew."""
        self._crowded = False

    def close(self) -> None:
        """Bring all of it to the disk."""
        self._deeds.close()
        self._visits.close()

    def _note(self, writer: Writer, record: Record) -> None:
        """Of many that find no room one is warned of; the log counts them."""
        if not writer.note(record) and not self._crowded:
            self._crowded = True
            log.warning("no room in the audit log: %s %s by %r: %s", record.action, record.target, record.who, record.status)
