"""Who may do what: named users with a role, kept in one file as salted scrypt hashes."""

import enum
import hashlib
import hmac
import logging
import os
import secrets
import string
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import msgspec

from twin.clock import Ns, S

log = logging.getLogger("lockstep.users")

FORMAT = 1
NAME_LETTERS = frozenset(string.ascii_letters + string.digits + "-_.")
LONGEST_NAME = 64
SHORTEST_PASSWORD, LONGEST_PASSWORD = 8, 128
FIRST_USER = "operator"
START = Ns(0)
FORGOTTEN = Ns(900 * S)
LONGEST_WAIT_S = 300


class Role(enum.IntEnum):
    """What a user may do; each role may do what the ones before it may."""

    OBSERVER = 1
    OPERATOR = 2
    ENGINEER = 3
    ADMINISTRATOR = 4

    @classmethod
    def of(cls, name: str) -> "Role":
        """A role by its name, in any case.

        Raises:
            UserError: no such role.
        """
        try:
            return cls[name.upper()]
        except KeyError:
            allowed = ", ".join(role.name.lower() for role in cls)
            raise UserError(f"no role {name!r}; roles are {allowed}") from None


class UserError(ValueError):
    """A user that cannot be made, found or changed, and why."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one guess costs: scrypt's n (memory: 128 * n * r bytes), r and p."""

    n: int = 2**14
    r: int = 8
    p: int = 1


class Hash(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A password as it is stored; salt and digest in hexadecimal."""

    n: int
    r: int
    p: int
    salt: str
    digest: str


class User(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One entry of the file."""

    role: str
    scrypt: Hash


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: int
    users: dict[str, User]


COST = Cost()


def hashed(password: str, cost: Cost = COST) -> Hash:
    """A password's salted hash."""
    salt = secrets.token_bytes(16)
    return Hash(cost.n, cost.r, cost.p, salt.hex(), _digest(password, salt, cost).hex())


def matches(password: str, stored: Hash) -> bool:
    """Whether a password is the stored one; takes as long whether it is or not."""
    given = _digest(password, bytes.fromhex(stored.salt), Cost(stored.n, stored.r, stored.p))
    return hmac.compare_digest(given, bytes.fromhex(stored.digest))


def _digest(password: str, salt: bytes, cost: Cost) -> bytes:
    room = 256 * cost.r * (cost.n + cost.p + 2)
    return hashlib.scrypt(password.encode(), salt=salt, n=cost.n, r=cost.r, p=cost.p, maxmem=room, dklen=32)


@cache
def _nobody() -> Hash:
    """What those without an entry are measured against, so that the time tells nobody which names exist."""
    return hashed(secrets.token_hex(16))


class Users:
    """The users of one file, read again whenever the file has changed.

    A change is written beside the file and moved over it, so that a reader finds the old users or the new ones.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read: tuple[int, ...] | None = None
        self._users: Mapping[str, User] = {}
        self._broken = self._told = ""

    @property
    def all(self) -> Mapping[str, User]:
        """Every user by name.

        Raises:
            UserError: the file cannot be read, is not ours alone, or is not a users file.
        """
        try:
            about = self._path.stat()
            # Rights and st_ctime: who mends the file with chmod changes nothing else of it.
            seen = (about.st_ino, about.st_mtime_ns, about.st_ctime_ns, about.st_size, about.st_mode)
            if seen != self._read:
                content = b"" if about.st_mode & 0o077 else self._path.read_bytes()
                self._users, self._broken = self._parsed(content, about.st_mode)
                self._read = seen
        except FileNotFoundError:
            self._users, self._read, self._broken = {}, None, ""
        except OSError as failed:  # not kept: the next look may succeed, and nothing in the file would tell
            raise UserError(f"{self._path} cannot be used: {failed}") from failed
        if self._broken:
            raise UserError(self._broken)
        return self._users

    def _parsed(self, content: bytes, mode: int) -> tuple[Mapping[str, User], str]:
        """The users in a file; those of before and what is wrong with it, where it cannot be used."""
        try:
            if mode & 0o077:
                raise UserError(f"{self._path} can be read by others: chmod 600 it")
            return _parse(self._path, content), ""
        except UserError as broken:
            return self._users, str(broken)

    def _known(self) -> Mapping[str, User]:
        """Every user as far as is known: while the file cannot be used, as it was before; that is logged once."""
        try:
            found, wrong = self.all, ""
        except UserError as broken:
            found, wrong = self._users, str(broken)
        if wrong != self._told:
            self._told = wrong
            log.error("%s", f"{wrong}; until then nobody logs in, and roles stay as they were" if wrong else "users are read again")
        return found

    def role(self, name: str, generation: str | None = None) -> Role | None:
        """The role that a user has now; None without such a user. While the file cannot be used: the role of before.

        Args:
            generation: of the password that was shown: None is told, too, where it is not the present one's.
        """
        user = self._known().get(name)
        return Role.of(user.role) if user and generation in (None, user.scrypt.salt) else None

    def generation(self, name: str) -> str:
        """What tells a user's password from the one before; empty without such a user."""
        user = self._known().get(name)
        return user.scrypt.salt if user else ""

    def verify(self, name: str, password: str) -> Role | None:
        """The role of a user whose password this is, else None. Costs about 50 ms of a processor either way.

        While the file cannot be used no password is right.
        """
        try:
            user = self.all.get(name)
        except UserError:
            user = None
        if len(password) > LONGEST_PASSWORD:
            return None
        fits = matches(password, user.scrypt if user else _nobody())
        return Role.of(user.role) if user and fits else None

    def add(self, name: str, role: Role, password: str) -> None:
        """Make a user.

        Raises:
            UserError: there is one of that name, or name or password cannot be used.
        """
        if name in self.all:
            raise UserError(f"there is a user {name!r} already")
        if not name or len(name) > LONGEST_NAME or set(name) - NAME_LETTERS:
            raise UserError(f"{name!r}: a name has 1 to {LONGEST_NAME} letters, digits, dots, dashes and underscores")
        self._write({**self.all, name: User(role.name.lower(), hashed(_checked(password)))})

    def set_password(self, name: str, password: str) -> None:
        """Give a user another password.

        Raises:
            UserError: no such user, or the password cannot be used.
        """
        user = self._existing(name)
        self._write({**self.all, name: User(user.role, hashed(_checked(password)))})

    def set_role(self, name: str, role: Role) -> None:
        """Give a user another role.

        Raises:
            UserError: no such user, or no administrator would be left.
        """
        user = self._existing(name)
        changed = {**self.all, name: msgspec.structs.replace(user, role=role.name.lower())}
        if not any(other.role == Role.ADMINISTRATOR.name.lower() for other in changed.values()):
            raise UserError(f"{name!r} is the last administrator")
        self._write(changed)

    def first(self) -> str | None:
        """Make the first user, an administrator, where there is none yet: its password, to be shown once."""
        if self.all:
            return None
        password = secrets.token_urlsafe(15)
        self.add(FIRST_USER, Role.ADMINISTRATOR, password)
        return password

    def _existing(self, name: str) -> User:
        user = self.all.get(name)
        if user is None:
            raise UserError(f"no user {name!r}; there are: {', '.join(self.all) or 'none'}")
        return user

    def _write(self, users: Mapping[str, User]) -> None:
        text = msgspec.json.format(msgspec.json.encode(_File(FORMAT, dict(users))), indent=1)
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, beside = tempfile.mkstemp(dir=self._path.parent, prefix=".users-")  # mode 0600
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(text + b"\n")
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, self._path)
        except OSError:
            os.unlink(beside)
            raise


def _checked(password: str) -> str:
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise UserError(f"a password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters")
    return password


def _parse(path: Path, content: bytes) -> Mapping[str, User]:
    try:
        file = msgspec.json.decode(content, type=_File)
        for user in file.users.values():
            bytes.fromhex(user.scrypt.salt + user.scrypt.digest)
    except (ValueError, msgspec.MsgspecError) as broken:
        raise UserError(f"{path} cannot be used: {broken}") from broken
    if file.format != FORMAT:
        raise UserError(f"{path} has format {file.format}; this version reads {FORMAT}")
    for user in file.users.values():
        Role.of(user.role)
    return file.users


@dataclass(frozen=True, slots=True)
class Tries:
    """How often in a row a login failed, when last, and until when the next one is refused unseen."""

    failed: int = 0
    last: Ns = START
    locked_until: Ns = START

    def after_failure(self, now: Ns, free: int = 3) -> "Tries":
        """One more failure; behind the first `free` ones each doubles the wait, from 1 s to 5 minutes.

        One failure is forgotten every 15 minutes, not all of them at once: who rests gains no more guesses than who waits.
        """
        failed = max(self.failed - (now - self.last) // FORGOTTEN, 0) + 1
        wait_s = 0 if failed <= free else min(2 ** min(failed - free - 1, 9), LONGEST_WAIT_S)
        return Tries(failed, now, Ns(now + wait_s * S))


class Lock:
    """Failed logins of each of something. Bounded: when full, the entry that is free again first is forgotten.

    Args:
        free: how many failures cost no wait.
    """

    MOST = 1000

    def __init__(self, free: int = 3) -> None:
        self._free = free
        self._tries: dict[tuple[str, ...], Tries] = {}

    def __len__(self) -> int:
        return len(self._tries)

    def locked(self, who: tuple[str, ...], now: Ns) -> bool:
        """Whether a login is refused without a look at its password."""
        return now < self._tries.get(who, Tries()).locked_until

    def failed(self, who: tuple[str, ...], now: Ns) -> None:
        """A login failed."""
        if who not in self._tries and len(self._tries) >= self.MOST:
            del self._tries[min(self._tries, key=lambda other: self._tries[other].locked_until)]
        self._tries[who] = self._tries.get(who, Tries()).after_failure(now, self._free)

    def succeeded(self, who: tuple[str, ...]) -> None:
        """A login succeeded: what failed before is forgotten."""
        self._tries.pop(who, None)
