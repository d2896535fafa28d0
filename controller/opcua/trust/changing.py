"""What is asked for to change trust or certificates, as the audit is told of it."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from types import TracebackType
from typing import Any, Protocol

from asyncua import ua
from asyncua.common.utils import ServiceError
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.status_codes import StatusCodes

from controller.opcua.calling import UNSURE, NotDone
from controller.opcua.certificate import CertificateError
from controller.opcua.guard import Refused
from controller.opcua.trust.store import TrustError
from controller.users import Role

log = logging.getLogger("lockstep.opcua.trust")


class Session(Protocol):
    """What is needed of the session that asks."""

    key: bytes
    on_close: list[Callable[[], None]]

    @property
    def role(self) -> Role:
        """What its user may do."""
        ...


class Kind(IntEnum):
    """What the audit is told: types of audit events (Part 12 §7.8.2.12, §7.8.2.13, §7.10.17, §7.10.18)."""

    TRUST_ASKED = ObjectIds.TrustListUpdateRequestedAuditEventType
    TRUST_UPDATED = ObjectIds.TrustListUpdatedAuditEventType
    CERTIFICATE_ASKED = ObjectIds.CertificateUpdateRequestedAuditEventType
    CERTIFICATE_UPDATED = ObjectIds.CertificateUpdatedAuditEventType


@dataclass(frozen=True, slots=True)
class Told:
    """What an audit event says.

    Attributes:
        session: who asked.
        method: numeric NodeId of the method that was called.
        code: how it ended; 0 for Good.
        text: what was asked for. Never a key.
        outcome: whether this is what became of the call, which is told once.
        late: the call had been given up before: that was told, too.
    """

    session: Any
    method: int
    code: int
    text: str
    outcome: bool = True
    late: bool = False


Audited = Callable[[Kind, Told], None]

CODES: dict[type[Exception], int] = {
    TrustError: StatusCodes.BadInvalidState,
    CertificateError: StatusCodes.BadInvalidState,
    OSError: StatusCodes.BadResourceUnavailable,
}
"""What a call ends with for what is no client's mistake."""


class Changing:
    """Around the work of one call: what comes of it, Good or the reason of a refusal, is told to the audit.

    Attributes:
        text: what is asked for.
        goes_on: what comes of it is not known yet, and somebody else will tell.

    Args:
        late: nobody waits for it any more.
    """

    def __init__(self, audited: Audited, session: Any, method: int, kind: Kind, text: str, late: bool = False) -> None:
        self.text = text
        self.goes_on = False
        self._late = late
        self._audited = audited
        self._session = session
        self._method = method
        self._kind = kind
        self._done: list[Kind] = []

    def __enter__(self) -> "Changing":
        return self

    def __exit__(self, kind: type[BaseException] | None, failed: BaseException | None, trace: TracebackType | None) -> None:
        """Tell.

        Raises:
            NotDone: what was raised inside, as a status with the reason.
        """
        if failed is None:
            kinds = () if self.goes_on else (self._kind, *self._done)
            for at, kind_ in enumerate(kinds, 1):
                self._tell(kind_, 0, self.text, outcome=at == len(kinds))
            return
        code = _code(failed)
        if code is None:
            return
        why = UNSURE if isinstance(failed, asyncio.CancelledError) else str(failed)
        log.warning("%s: refused with %s: %s", self.text, ua.StatusCode(code).name, why)  # type: ignore[arg-type]
        self._tell(self._kind, code, f"{self.text}: {why}")
        if not isinstance(failed, (ServiceError, asyncio.CancelledError)):
            raise NotDone(code, why) from failed

    def updated(self, kind: Kind) -> None:
        """Note that it is done, to be told after what was asked for."""
        self._done.append(kind)

    def _tell(self, kind: Kind, code: int, text: str, outcome: bool = True) -> None:
        self._audited(kind, Told(self._session, self._method, code, text, outcome, self._late))


def _code(failed: BaseException) -> int | None:
    """The status that something ends with; None where that is a mistake of ours."""
    if isinstance(failed, (ServiceError, Refused)):
        return int(failed.code)
    if isinstance(failed, asyncio.CancelledError):
        return int(StatusCodes.BadTimeout)
    return next((code for kind, code in CODES.items() if isinstance(failed, kind)), None)
