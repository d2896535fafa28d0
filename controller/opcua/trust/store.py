"""The trust list on disk, in the folders that other stacks keep theirs in:

    trusted/certs  trusted/crl  issuers/certs  issuers/crl  rejected

Files are DER, named `NAME [THUMBPRINT].der`; PEM is read, too. Whoever changes a file changes the list: it is looked at again
at most once a second. What cannot be read is told once and left out, and nobody is trusted because of it.
"""

import errno
import logging
import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from asyncua.ua.status_codes import StatusCodes
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from controller.opcua.trust.certificates import MOST_CHAIN_BYTES, der_of, key_of
from controller.opcua.trust.folders import (
    ENDINGS,
    ISSUER_CRL,
    ISSUERS,
    LISTS,
    REJECTED,
    TRUSTED,
    TRUSTED_CRL,
    Kept,
    Listed,
    file_name,
    files,
    read,
    write,
)
from controller.opcua.trust.validate import CertificateRefused, Client, TrustList, Wall, digest, validate
from twin.clock import Clock, Ns, S

log = logging.getLogger("lockstep.opcua.trust")

LOOK = S
AGAIN = Ns(600 * S)
MOST_FILES = 2_000
MOST_REJECTED = 50
REJECTED_AT_ONCE, REJECTED_EVERY = 20, Ns(30 * S)
"""How often a rejected certificate is written: so many, then one in so long. Each write is some wear of a flash disk."""
MOST_REMEMBERED = 256

_Look = dict[str, tuple[int, int, int]]


class TrustError(ValueError):
    """What was asked of the trust list cannot be done, and why."""


class TrustStore:
    """The trust list, and what clients are held to it."""

    def __init__(self, folder: Path, clock: Clock, wall: Wall) -> None:
        """Make the folders that are missing.

        Raises:
            OSError: they cannot be made.
        """
        self.folder = folder
        self.generation = 0
        """Counts changes of the list."""
        self.updated = datetime.fromtimestamp(0, UTC)
        """When something in the list's folders last changed."""
        self.wall = wall
        self._clock = clock
        self._due = Ns(0)
        self._seen: dict[str, _Look] = {}
        self._read: dict[Path, tuple[tuple[int, int, int], tuple[Listed, ...]]] = {}
        self._told: set[str] = set()
        self._current = TrustList()
        self._clients: OrderedDict[bytes, Client] = OrderedDict()
        self._may_reject = Ns(0)
        for name in (*LISTS, REJECTED):
            (folder / name).mkdir(mode=0o700, parents=True, exist_ok=True)
            for made in ((folder / name), (folder / name).parent):
                made.chmod(0o700)

    def be(self, own_key: bytes) -> None:
        """Take note of our own key: who comes with it is refused."""
        self._current = replace(self._current, own_key=own_key)
        self._clients.clear()

    # ---- clients -----------------------------------------------------------------------------------------------------

    def check(self, chain_der: bytes, uri: str | None = None) -> Client:
        """The client whose certificate this is. One that is not on the list is kept among the rejected.

        Raises:
            CertificateRefused: it is not trusted.
        """
        try:
            known = self._client(chain_der)
        except CertificateRefused as refused:
            if refused.code in (StatusCodes.BadCertificateUntrusted, StatusCodes.BadCertificateChainIncomplete):
                self._keep_rejected(refused.chain[0])
            raise
        if uri is not None:
            known.check_uri(uri)
        return known

    def still(self, client: object) -> bool:
        """Whether a client that `check` has told of would be accepted now: to be asked whenever `follow` tells."""
        assert isinstance(client, Client), "none of ours"
        try:
            self._client(client.chain)
        except CertificateRefused as refused:
            log.warning("a client is trusted no longer: %s", refused)
            return False
        return True

    def _client(self, chain_der: bytes) -> Client:
        """Who it was found to be, as long as that holds, so that a storm of clients who come back costs little."""
        trust, now, key = self.current, self.wall(), digest(chain_der)
        known = self._clients.pop(key, None)
        if known is None or not known.since <= now <= known.until:
            known = validate(chain_der, trust, None, now)
        self._clients[key] = known
        while len(self._clients) > MOST_REMEMBERED:
            self._clients.popitem(last=False)
        return known

    async def follow(self, changed: Callable[[], None]) -> None:
        """Tell when the list has changed, and every ten minutes, as certificates and revocation lists run out. Until cancelled."""
        due = told = self._clock.now()
        while True:
            before, due = self.generation, Ns(due + LOOK)
            await self._clock.until(due)
            _ = self.current
            if self.generation != before or due - told >= AGAIN:
                told = due
                changed()

    # ---- reading -----------------------------------------------------------------------------------------------------

    @property
    def current(self) -> TrustList:
        """The list as it is on disk, or was a second ago."""
        if self._clock.now() >= self._due:
            self.look()
        return self._current

    def look(self) -> None:
        """Read what has changed."""
        self._due = Ns(self._clock.now() + LOOK)
        try:
            seen = {name: self._looked(name) for name in LISTS}
        except OSError as failed:  # no file can be opened at this moment: what was read before still holds
            log.warning("%s cannot be looked at: %s", self.folder, failed.strerror)
            return
        if seen == self._seen and self.generation:
            return
        self._seen = seen
        parts = {name: self._parts(name) for name in LISTS}
        self._read = {kept.path: self._read[kept.path] for part, _ in parts.values() for kept in part}
        found = {name: tuple(one for kept in part for one in kept.holds) for name, (part, _) in parts.items()}
        broken = tuple(name for folder in (TRUSTED_CRL, ISSUER_CRL) for name in parts[folder][1])
        self.updated = datetime.fromtimestamp(max(about[1] for look in seen.values() for about in look.values()) / 1e9, UTC)
        current = replace(
            self._current,
            trusted=tuple(one for one in found[TRUSTED] if isinstance(one, x509.Certificate)),
            issuers=tuple(one for one in found[ISSUERS] if isinstance(one, x509.Certificate)),
            trusted_crls=tuple(one for one in found[TRUSTED_CRL] if isinstance(one, x509.CertificateRevocationList)),
            issuer_crls=tuple(one for one in found[ISSUER_CRL] if isinstance(one, x509.CertificateRevocationList)),
            broken_crls=broken,
        )
        if current != self._current or not self.generation:
            self._current = current
            self._clients.clear()
            self.generation += 1
            counts = len(current.trusted), len(current.issuers), len(current.trusted_crls) + len(current.issuer_crls)
            log.info("trust list: %d trusted, %d issuers, %d revocation lists", *counts)

    def _looked(self, name: str) -> _Look:
        """Each file of a folder, and as "." the folder, with what a change of it would change.

        Raises:
            OSError: there are no more files to be had; a folder that cannot be read is an empty one.
        """
        found: _Look = {}
        try:
            about = (self.folder / name).stat()
            found["."] = about.st_ino, about.st_mtime_ns, 0
            with os.scandir(self.folder / name) as entries:
                for entry in entries:
                    if entry.name.startswith(".") or Path(entry.name).suffix.lower() not in ENDINGS:
                        continue
                    try:
                        about = entry.stat()
                    except FileNotFoundError:
                        if entry.is_symlink():  # to nowhere; else it was removed just now
                            found[entry.name] = 0, 0, 0
                        continue
                    found[entry.name] = about.st_ino, about.st_mtime_ns, about.st_size
                    if len(found) > MOST_FILES:
                        self._tell_once(f"{self.folder / name} has more than {MOST_FILES} files: the rest is left out")
                        break
        except OSError as failed:
            if failed.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
                raise
            self._tell_once(f"{self.folder / name}: {failed.strerror}: nobody is trusted because of it")
            return {"": (0, 0, 0)}
        return dict(sorted(found.items()))

    def _parts(self, name: str) -> tuple[list[Kept], list[str]]:
        """What a folder holds, and what of it cannot be read."""
        kept, broken = [], []
        looked = self._seen[name]
        if "" in looked or len(looked) > MOST_FILES:
            broken.append(str(self.folder / name))
        for file, about in looked.items():
            if file in ("", "."):
                continue
            path = self.folder / name / file
            before = self._read.get(path)
            try:
                holds = before[1] if before is not None and before[0] == about else read(path, name)
            except (OSError, ValueError) as failed:
                if isinstance(failed, FileNotFoundError) and not path.is_symlink():  # removed just now
                    continue
                self._tell_once(f"{path} is left out: {failed}")
                broken.append(path.name)
                continue
            self._read[path] = about, holds
            kept.append(Kept(path, holds))
        return kept, broken

    def _tell_once(self, text: str) -> None:
        if text not in self._told and len(self._told) < MOST_FILES:
            self._told.add(text)
            log.warning("%s", text)

    def kept(self, name: str) -> list[Kept]:
        """The files of one of the folders that can be read, the oldest first."""
        found = []
        for path in files(self.folder / name):
            try:
                found.append(Kept(path, read(path, name)))
            except (OSError, ValueError) as failed:
                self._tell_once(f"{path} is left out: {failed}")
        return found

    # ---- changing ----------------------------------------------------------------------------------------------------

    def put(self, name: str, listed: Listed) -> Path:
        """Put a certificate or a revocation list into one of the folders, durably; it may be there already.

        Raises:
            OSError: it cannot be written.
        """
        path = self.folder / name / file_name(listed)
        if not any(listed in kept.holds for kept in self.kept(name)):
            write(path, listed.public_bytes(Encoding.DER))
        self._due = Ns(0)
        return path

    def trust_own(self, certificate: x509.Certificate) -> bool:
        """Trust a certificate of this computer's own tools, in place of earlier ones with its key: whether it is trusted.

        One that somebody has rejected stays rejected.

        Raises:
            OSError: it cannot be written.
        """
        if any(certificate in kept.holds for kept in self.kept(REJECTED)):
            return False
        self.put(TRUSTED, certificate)
        for kept in self.kept(TRUSTED):
            (one,) = kept.holds
            if one != certificate and isinstance(one, x509.Certificate) and key_of(one) == key_of(certificate):
                kept.path.unlink(missing_ok=True)
        return True

    def take(self, name: str, listed: Listed) -> bool:
        """Take a certificate or a revocation list out of one of the folders: whether it was there.

        Raises:
            TrustError: it shares a file with others.
            OSError: it cannot be removed.
        """
        holding = [kept for kept in self.kept(name) if listed in kept.holds]
        for kept in holding:
            if len(kept.holds) > 1:
                raise TrustError(f"{kept.path} holds {len(kept.holds)} together: remove the one from it by hand")
        for kept in holding:
            kept.path.unlink(missing_ok=True)
        self._due = Ns(0)
        return bool(holding)

    def replace(self, name: str, listed: Sequence[Listed]) -> None:
        """Give one of the folders another content. What goes goes first, so that at no time more is there than before or after.

        Raises:
            OSError: the disk refuses; some of it may be done.
        """
        held: list[Listed] = []
        going: list[Path] = []
        for path in files(self.folder / name):
            try:
                holds = read(path, name)
            except (OSError, ValueError):
                holds = ()
            stays = bool(holds) and all(one in listed for one in holds)
            held += holds if stays else ()
            going += [] if stays else [path]
        missing = [one for one in listed if one not in held]
        crl = name in (TRUSTED_CRL, ISSUER_CRL)
        for one in missing if crl else ():  # but a revocation list is never missing on the way
            write(self.folder / name / file_name(one), one.public_bytes(Encoding.DER))
        for path in going:
            path.unlink(missing_ok=True)
        for one in () if crl else missing:
            write(self.folder / name / file_name(one), one.public_bytes(Encoding.DER))
        self._due = Ns(0)

    # ---- rejected ones -----------------------------------------------------------------------------------------------

    def reject(self, certificate: x509.Certificate) -> None:
        """Keep a certificate among the rejected, whether or not others came lately."""
        path = self.folder / REJECTED / file_name(certificate)
        content = der_of(certificate)
        known = files(self.folder / REJECTED)
        if len(content) > MOST_CHAIN_BYTES or path in known:
            return
        for oldest in known[: max(len(known) + 1 - MOST_REJECTED, 0)]:
            oldest.unlink(missing_ok=True)
        write(path, content, durably=False)

    def _keep_rejected(self, certificate: x509.Certificate) -> None:
        now = self._clock.now()
        if self._may_reject > now + REJECTED_AT_ONCE * REJECTED_EVERY - REJECTED_EVERY:
            return
        if (self.folder / REJECTED / file_name(certificate)).exists():
            return
        self._may_reject = Ns(max(self._may_reject, now) + REJECTED_EVERY)
        try:
            self.reject(certificate)
        except OSError as failed:
            self._tell_once(f"{self.folder / REJECTED}: a rejected certificate is not kept: {failed.strerror}")
