"""The standard's way to change trust and certificates from afar: push management (Part 12 §7.8.2, §7.10).

Changes of the trust list hold at once; a new certificate of ours waits for ApplyChanges. All of it is for administrators, over
channels that are signed and encrypted.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from asyncua import ua
from asyncua.common.utils import ServiceError
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.status_codes import StatusCodes
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from controller.opcua.certificate import Identity, adopt, new_key
from controller.opcua.guard import Refused
from controller.opcua.trust import content, signing
from controller.opcua.trust.certificates import (
    certificate_of,
    common_name,
    der_of,
    is_self_issued,
    key_of,
    listed_by,
    signed_by,
    thumbprint,
)
from controller.opcua.trust.changing import Audited, Changing, Kind, Session
from controller.opcua.trust.files import READ, WRITE_NEW, Files
from controller.opcua.trust.folders import ISSUER_CRL, ISSUERS, REJECTED, TRUSTED, TRUSTED_CRL, Listed
from controller.opcua.trust.store import TrustStore
from controller.opcua.trust.validate import TrustList
from controller.users import Role
from twin.clock import Clock

NONCE = 32
GROUP = ObjectIds.ServerConfiguration_CertificateGroups_DefaultApplicationGroup
GROUPS = (0, GROUP)
TYPES = (0, ObjectIds.ApplicationCertificateType, ObjectIds.RsaSha256ApplicationCertificateType)
"""What a caller may name as group and type; 0, the null NodeId, stands for what there is."""
METHODS = {
    "CloseAndUpdate": ObjectIds.ServerConfiguration_CertificateGroups_DefaultApplicationGroup_TrustList_CloseAndUpdate,
    "AddCertificate": ObjectIds.ServerConfiguration_CertificateGroups_DefaultApplicationGroup_TrustList_AddCertificate,
    "RemoveCertificate": ObjectIds.ServerConfiguration_CertificateGroups_DefaultApplicationGroup_TrustList_RemoveCertificate,
    "CreateSigningRequest": ObjectIds.ServerConfiguration_CreateSigningRequest,
    "UpdateCertificate": ObjectIds.ServerConfiguration_UpdateCertificate,
    "ApplyChanges": ObjectIds.ServerConfiguration_ApplyChanges,
}
"""Methods that the audit hears of."""


@dataclass(frozen=True, slots=True)
class _Pending:
    session: Any
    offered: signing.Offered


class Push:
    """What clients call to change trust and certificates.

    Its methods have the standard's names and arguments, in plain values; each raises ServiceError for a bad status.

    Args:
        identity: ours; `renew` is called with another one when it is to be used from then on, by channels that open afterwards.
            Open channels may be closed once the answer is out.
        uri: of this application.
        sealed: whether a session's channel is signed and encrypted.
        audited: is told of everything that changes, and of what was refused.
        make_key: makes keys, in a thread of its own.
    """

    def __init__(
        self,
        store: TrustStore,
        identity: Identity,
        uri: str,
        clock: Clock,
        sealed: Callable[[Any], bool],
        audited: Audited,
        renew: Callable[[Identity], None],
        make_key: Callable[[], rsa.RSAPrivateKey] = new_key,
    ) -> None:
        self.store = store
        self.identity = identity
        self.files = Files(clock, content.MOST)
        self._uri = uri
        self._sealed = sealed
        self._audited = audited
        self._renew = renew
        self._make_key = make_key
        self._making = self._replacing = False
        self._pending: _Pending | None = None
        self._sessions: set[Any] = set()
        store.be(key_of(identity.certificate))

    # ---- the trust list as a file ------------------------------------------------------------------------------------

    def open(self, session: Session, mode: int) -> int:
        """Open: the handle. Only to read, or to write anew."""
        self._check(session)
        if mode not in (READ, WRITE_NEW):
            raise ServiceError(StatusCodes.BadInvalidArgument)
        if mode == WRITE_NEW:
            self._check_nothing_pending(session)
            if self._replacing:
                raise ServiceError(StatusCodes.BadInvalidState)
            return self.files.open(session, b"", 0, writes=True)
        return self.open_with_masks(session, content.ALL)

    def open_with_masks(self, session: Session, masks: int) -> int:
        """OpenWithMasks: a handle to read those parts of the list that the masks name."""
        self._check(session)
        if masks & ~content.ALL:
            raise ServiceError(StatusCodes.BadInvalidArgument)
        self.store.look()
        return self.files.open(session, content.encoded(self.store.current, masks), self.store.generation, False)

    def close(self, session: Session, handle: int) -> None:
        """Close: what was written is forgotten."""
        self._check(session)
        self.files.close(session, handle)

    def read(self, session: Session, handle: int, length: int) -> bytes:
        """Read: BadInvalidState if the list has changed since it was opened."""
        self._check(session)
        _ = self.store.current
        return self.files.read(session, handle, length, self.store.generation)

    def write(self, session: Session, handle: int, part: bytes) -> None:
        """Write: nothing changes before CloseAndUpdate."""
        self._check(session)
        self.files.write(session, handle, part)

    def get_position(self, session: Session, handle: int) -> int:
        """GetPosition."""
        self._check(session)
        return self.files.of(session, handle).at

    def set_position(self, session: Session, handle: int, position: int) -> None:
        """SetPosition."""
        self._check(session)
        self.files.seek(session, handle, position)

    # ---- changes of the trust list -----------------------------------------------------------------------------------

    async def close_and_update(self, session: Session, handle: int) -> bool:
        """CloseAndUpdate: the list is what was written, whole or not at all. False, as nothing need be applied.

        It is judged and written in a thread: a list of a megabyte takes its time. A caller who gives up does not end that: what
        came of it is told all the same, and nobody else writes meanwhile.
        """
        with self._changing(session, "CloseAndUpdate", Kind.TRUST_ASKED, "a new trust list") as asked:
            self._check(session)
            self._check_nothing_pending(session)
            opened = self.files.of(session, handle, writes=True)
            self.files.close(session, handle)
            if self._replacing:
                raise Refused(StatusCodes.BadInvalidState, "another trust list is being written")
            self.store.look()
            self._replacing = True
            work = asyncio.ensure_future(asyncio.to_thread(self._replace, bytes(opened.content), self.store.current))
            work.add_done_callback(self._replaced)
            try:
                _done(asked, await asyncio.shield(work))
            except asyncio.CancelledError:
                work.add_done_callback(partial(self._tell_late, session))
                raise
        return False

    def _replaced(self, work: "asyncio.Future[TrustList]") -> None:
        self._replacing = False
        self.store.look()

    def _tell_late(self, session: Session, work: "asyncio.Future[TrustList]") -> None:
        with (
            contextlib.suppress(ServiceError, asyncio.CancelledError),
            self._changing(session, "CloseAndUpdate", Kind.TRUST_ASKED, "a new trust list", late=True) as asked,
        ):
            _done(asked, work.result())

    def _replace(self, written: bytes, trust: TrustList) -> TrustList:
        masks, made = content.decoded(written, trust)
        parts: tuple[tuple[int, str, Sequence[Listed]], ...] = (
            (content.TRUSTED_CRLS, TRUSTED_CRL, made.trusted_crls),
            (content.ISSUER_CRLS, ISSUER_CRL, made.issuer_crls),
            (content.TRUSTED_CERTIFICATES, TRUSTED, made.trusted),
            (content.ISSUER_CERTIFICATES, ISSUERS, made.issuers),
        )
        for mask, name, listed in parts:
            if masks & mask:
                self.store.replace(name, listed)
        return made

    def add_certificate(self, session: Session, der: bytes, is_trusted: bool) -> None:
        """AddCertificate: of one application, or of an authority all of whose applications are trusted."""
        with self._changing(session, "AddCertificate", Kind.TRUST_ASKED, "add a certificate") as asked:
            self._check_closed(session)
            if not is_trusted:
                raise Refused(StatusCodes.BadCertificateInvalid, "issuers come with their revocation lists, by CloseAndUpdate")
            try:
                certificate = certificate_of(der)
            except ValueError as broken:
                raise Refused(StatusCodes.BadCertificateInvalid, str(broken)) from broken
            asked.text = f"trust {common_name(certificate.subject)} ({thumbprint(certificate)})"
            self.store.look()
            trust = self.store.current
            made = replace(trust, trusted=(*trust.trusted, certificate))
            content.check_use(certificate, made)
            if len(content.encoded(made)) > content.MOST:
                raise Refused(StatusCodes.BadEncodingLimitsExceeded, f"a trust list of more than {content.MOST} bytes")
            self.store.put(TRUSTED, certificate)
            self.store.take(REJECTED, certificate)
            self.store.look()
            asked.updated(Kind.TRUST_UPDATED)

    def remove_certificate(self, session: Session, print_of_it: str, is_trusted: bool) -> None:
        """RemoveCertificate: with an authority's go its revocation lists. Not while another one in the list needs it."""
        with self._changing(session, "RemoveCertificate", Kind.TRUST_ASKED, "trust somebody no longer") as asked:
            self._check_closed(session)
            self.store.look()
            trust = self.store.current
            name, crls, listed = (TRUSTED, TRUSTED_CRL, trust.trusted) if is_trusted else (ISSUERS, ISSUER_CRL, trust.issuers)
            going = [one for one in listed if thumbprint(one) == print_of_it.strip().upper()]
            if not going:
                raise Refused(StatusCodes.BadInvalidArgument, f"no certificate {print_of_it[:64]!r} in {name}")
            (certificate,) = going
            asked.text = f"trust {common_name(certificate.subject)} ({thumbprint(certificate)}) no longer"
            _check_not_needed(certificate, trust, listed)
            self.store.take(name, certificate)
            for crl in trust.trusted_crls if is_trusted else trust.issuer_crls:
                if listed_by(crl, certificate):
                    self.store.take(crls, crl)
            self.store.look()
            asked.updated(Kind.TRUST_UPDATED)

    # ---- our own certificate -----------------------------------------------------------------------------------------

    def get_rejected_list(self, session: Session) -> list[bytes]:
        """GetRejectedList: DER."""
        self._check(session)
        return [der_of(one) for kept in self.store.kept(REJECTED) for one in kept.holds if isinstance(one, x509.Certificate)]

    def create_signing_request(
        self, session: Session, group: ua.NodeId, kind: ua.NodeId, subject: str | None, regenerate: bool, nonce: bytes | None
    ) -> bytes | Awaitable[bytes]:
        """CreateSigningRequest: PKCS #10 in DER. With a new key it comes later: one has to be found first.

        The new key waits for its certificate, over restarts, until another one is asked for.
        """
        with self._changing(session, "CreateSigningRequest", Kind.CERTIFICATE_ASKED, "a signing request") as asked:
            self._check(session)
            _check_group(group, kind)
            name = signing.subject_of(subject) if subject else self.identity.certificate.subject
            if not regenerate:
                return signing.request(self._uri, name, self.identity.key)
            if len(nonce or b"") < NONCE:
                raise Refused(StatusCodes.BadInvalidArgument, f"a nonce of {len(nonce or b'')} bytes; {NONCE} are needed")
            if self._making:
                raise Refused(StatusCodes.BadInvalidState, "another key is being made")
            self._making = asked.goes_on = True
        return self._request_with_new_key(session, name)

    async def _request_with_new_key(self, session: Session, name: x509.Name) -> bytes:
        with self._changing(session, "CreateSigningRequest", Kind.CERTIFICATE_ASKED, "a signing request with a new key"):
            work = asyncio.ensure_future(asyncio.to_thread(self._make_key))
            work.add_done_callback(self._made)
            key = await asyncio.shield(work)
            signing.wait_with(self.identity, key)
        return signing.request(self._uri, name, key)

    def _made(self, work: "asyncio.Future[rsa.RSAPrivateKey]") -> None:
        self._making = False

    def update_certificate(
        self,
        session: Session,
        group: ua.NodeId,
        kind: ua.NodeId,
        der: bytes,
        issuers: Sequence[bytes] | None,
        key_format: str | None,
        key: bytes | None,
    ) -> bool:
        """UpdateCertificate: True, as it is used from ApplyChanges on, by the same session."""
        with self._changing(session, "UpdateCertificate", Kind.CERTIFICATE_ASKED, "another certificate for this server") as asked:
            self._check(session)
            self._check_nothing_pending(session)
            _check_group(group, kind)
            trust = self.store.current
            offered = signing.offered(self.identity, self._uri, trust, der, issuers or (), key_format or "", key or b"")
            asked.text = f"certificate {thumbprint(offered.certificate)} for this server"
            self._when_closed(session)
            self._pending = _Pending(session, offered)
        return True

    def apply_changes(self, session: Session) -> None:
        """ApplyChanges: what UpdateCertificate brought is used from now on."""
        with self._changing(session, "ApplyChanges", Kind.CERTIFICATE_ASKED, "use the other certificate") as asked:
            pending = self._mine(session)
            if self.files.written:
                raise Refused(StatusCodes.BadInvalidState, "the trust list is open to be written")
            offered = pending.offered
            asked.text = f"certificate {thumbprint(offered.certificate)} for this server"
            self.identity = adopt(self.identity, offered.key, offered.certificate, offered.issuers)
            self._pending = None
            self.store.be(key_of(self.identity.certificate))
            asked.updated(Kind.CERTIFICATE_UPDATED)
            self._renew(self.identity)

    def cancel_changes(self, session: Session) -> None:
        """CancelChanges: what UpdateCertificate brought is forgotten."""
        self._mine(session)
        self._pending = None

    def _mine(self, session: Session) -> _Pending:
        self._check(session)
        if self._pending is None:
            raise ServiceError(StatusCodes.BadNothingToDo)
        if self._pending.session is not session:
            raise ServiceError(StatusCodes.BadSessionIdInvalid)
        return self._pending

    # ---- who may, and when -------------------------------------------------------------------------------------------

    def _check(self, session: Session) -> None:
        if not self._sealed(session):
            raise ServiceError(StatusCodes.BadSecurityModeInsufficient)
        if session.role < Role.ADMINISTRATOR:
            raise ServiceError(StatusCodes.BadUserAccessDenied)

    def _check_closed(self, session: Session) -> None:
        self._check(session)
        self._check_nothing_pending(session)
        if self.files.written or self._replacing:
            raise Refused(StatusCodes.BadInvalidState, "the trust list is open to be written")

    def _check_nothing_pending(self, session: Session) -> None:
        if self._pending is not None and self._pending.session is not session:
            raise ServiceError(StatusCodes.BadTransactionPending)

    def _changing(self, session: Session, method: str, kind: Kind, text: str, late: bool = False) -> Changing:
        return Changing(self._audited, session, METHODS[method], kind, text, late)

    def _when_closed(self, session: Any) -> None:
        """Let a session's end cancel what it has left; asked again it is not said twice."""
        if session not in self._sessions:
            self._sessions.add(session)
            session.on_close.append(lambda: self._closed(session))

    def _closed(self, session: Any) -> None:
        self._sessions.discard(session)
        if self._pending is not None and self._pending.session is session:
            self._pending = None


def _done(asked: Changing, made: TrustList) -> None:
    """Say what list there is now."""
    asked.text = f"a trust list with {len(made.trusted)} trusted certificates and {len(made.issuers)} issuers"
    asked.updated(Kind.TRUST_UPDATED)


def _check_group(group: ua.NodeId, kind: ua.NodeId) -> None:
    """That a group and a type of certificate are those that there are.

    Raises:
        Refused: BadInvalidArgument.
    """
    for named, allowed in ((group, GROUPS), (kind, TYPES)):
        if named.NamespaceIndex != 0 or named.Identifier not in allowed:
            raise Refused(StatusCodes.BadInvalidArgument, f"{named}: there is i={allowed[-1]} here")


def _check_not_needed(going: x509.Certificate, trust: TrustList, listed: Sequence[x509.Certificate]) -> None:
    """That no other certificate in the list is signed by one that goes, and by no other.

    Raises:
        Refused: BadCertificateChainIncomplete.
    """
    other = trust.issuers if listed is trust.trusted else trust.trusted
    left = [*(one for one in listed if one != going), *other]
    for certificate in left:
        if is_self_issued(certificate) or not signed_by(certificate, going) or going in left:
            continue
        if not any(signed_by(certificate, authority) for authority in left):
            text = f"{common_name(going.subject)} has signed {common_name(certificate.subject)}, which is in the list"
            raise Refused(StatusCodes.BadCertificateChainIncomplete, text)
