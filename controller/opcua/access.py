"""Who a client is: nobody in particular, or a user with a password."""

import hmac
import logging
import struct
from dataclasses import dataclass, field
from typing import Any

from asyncua import ua
from asyncua.common.utils import ServiceError
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.status_codes import StatusCodes
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from controller.opcua.link.policies import ENCRYPTIONS
from controller.opcua.logins import Logins
from controller.opcua.names import standard
from controller.users import Role, Users
from twin.clock import Clock

log = logging.getLogger("lockstep.opcua")

LONGEST_SECRET = 1024
OAEP = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)  # what Basic256Sha256 asks for


@dataclass(frozen=True, slots=True)
class Who:
    """A client's user: the empty name is nobody in particular, who may look.

    Attributes:
        generation: of the password that was shown: what a user may do ends with it.
    """

    name: str = ""
    generation: str = field(default="", compare=False, repr=False)


NOBODY = Who()


class Access:
    """Who users are, by their passwords, and what they may do at this moment."""

    def __init__(self, users: Users, key: rsa.RSAPrivateKey, clock: Clock) -> None:
        self._users = users
        self._key = key
        self._logins = Logins(users, clock)

    def may(self, who: Who, role: Role) -> bool:
        """Whether a user has a role, or a higher one, at this moment."""
        has = self._users.role(who.name, who.generation) if who.name else None
        return has is not None and has >= role

    def role(self, who: Who) -> Role:
        """A user's role at this moment; nobody in particular, and whose user is gone or has another password, is an observer."""
        return (self._users.role(who.name, who.generation) if who.name else None) or Role.OBSERVER

    async def identify(
        self, token: Any, nonce: bytes, address: str, key: rsa.RSAPrivateKey | None = None, client: str = ""
    ) -> Who:
        """Who shows a token.

        Args:
            nonce: what the server sent last; a password is encrypted together with it.
            key: of the certificate that it is encrypted for, if that is not the present one.
            client: thumbprint of the certificate of the application that asks; without one its address stands for it.

        Raises:
            ServiceError: the token is of no kind that is served, or name and password aren't right, or not to be tried
                again yet. Which of the last two is not told.
        """
        if isinstance(token, ua.ExtensionObject) and token.TypeId == standard(ObjectIds.Null):
            return NOBODY  # Part 4: no token is an anonymous one
        if isinstance(token, ua.AnonymousIdentityToken):
            return NOBODY
        if not isinstance(token, ua.UserNameIdentityToken):
            raise ServiceError(StatusCodes.BadIdentityTokenRejected)
        name, password = token.UserName or "", self._password(token, nonce, key or self._key)
        generation = self._users.generation(name)
        if not await self._logins.right(name, password, client or address):
            log.warning("login refused: user %r from %s", name[:64], address)
            raise ServiceError(StatusCodes.BadUserAccessDenied)
        log.info("login: user %r from %s", name, address)
        return Who(name, generation)

    def _password(self, token: ua.UserNameIdentityToken, nonce: bytes, key: rsa.RSAPrivateKey) -> str:
        """The password, encrypted for this server and this nonce, so that a recorded one is worth nothing."""
        secret = token.Password or b""
        block = key.key_size // 8
        padded = ENCRYPTIONS.get(token.EncryptionAlgorithm or "")
        if padded is None:
            raise ServiceError(StatusCodes.BadIdentityTokenInvalid)
        if not secret or len(secret) > LONGEST_SECRET or len(secret) % block:
            raise ServiceError(StatusCodes.BadIdentityTokenInvalid)
        try:
            parts = (secret[at : at + block] for at in range(0, len(secret), block))
            plain = b"".join(key.decrypt(part, padded) for part in parts)
            (length,) = struct.unpack_from("<I", plain)
            password, fresh = plain[4 : 4 + length - len(nonce)], plain[4 + length - len(nonce) : 4 + length]
            if length < len(nonce) or len(plain) < 4 + length or not hmac.compare_digest(fresh, nonce):
                raise ServiceError(StatusCodes.BadIdentityTokenInvalid)
            return password.decode()
        except (ValueError, struct.error) as broken:
            raise ServiceError(StatusCodes.BadIdentityTokenInvalid) from broken
