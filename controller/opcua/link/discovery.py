"""Discovery: where and how this server can be reached, told to everyone (Part 4 §5.4)."""

import re
import struct
from dataclasses import dataclass
from typing import Any, Final

from asyncua import ua

from controller.opcua.asked import Asked, Handle
from controller.opcua.encoding import structure, ticks
from controller.opcua.link.policies import POLICIES, Policy
from controller.opcua.link.terms import Own, Terms
from twin.clock import utc_ns

TRANSPORT: Final = "http://opcfoundation.org/UA-Profile/Transport/uatcp-uasc-uabinary"
MODES: Final = (ua.MessageSecurityMode.SignAndEncrypt, ua.MessageSecurityMode.Sign)
MOST_KEPT: Final = 16
ANONYMOUS: Final = "anonymous"
LONGEST_AUTHORITY: Final = 255
_ADDRESS = re.compile(r"opc\.tcp://((?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?)(?:/.*)?", re.DOTALL)


def password_policy(policy: Policy) -> str:
    """Name of the way in with a password that is encrypted by a policy."""
    return f"username-{policy.name}"


@dataclass(frozen=True, slots=True)
class About:
    """What a server tells everyone of itself.

    Attributes:
        uri: ApplicationUri.
        url: where it listens.
    """

    uri: str
    product: str
    name: str
    url: str


class Discovery:
    """GetEndpoints, FindServers and FindServersOnNetwork."""

    def __init__(self, about: About, terms: Terms) -> None:
        self.about = about
        self._terms = terms
        self._path = about.url.partition("://")[2].partition("/")[2]
        self._since = utc_ns()
        self._kept: dict[str, tuple[Own, bytes]] = {}

    def services(self) -> dict[str, Handle]:
        """What is served here."""
        return {
            "GetEndpoints": self.get_endpoints,
            "FindServers": self.find_servers,
            "FindServersOnNetwork": self.find_servers_on_network,
        }

    def get_endpoints(self, asked: Asked) -> bytes:
        """All endpoints, the best first, under the host that the client asks: it may see us under another name than we do."""
        given = asked.decoded(ua.GetEndpointsParameters)
        profiles = given.ProfileUris or (TRANSPORT,)
        return self.endpoints(given.EndpointUrl) if TRANSPORT in profiles else struct.pack("<i", 0)

    def find_servers(self, asked: Asked) -> bytes:
        """This server alone."""
        given = asked.decoded(ua.FindServersParameters)
        wanted = given.ServerUris or (self.about.uri,)
        if self.about.uri not in wanted:
            return struct.pack("<i", 0)
        return struct.pack("<i", 1) + structure(self._application(self.address(given.EndpointUrl)))

    def find_servers_on_network(self, asked: Asked) -> bytes:
        """None: we know of no others."""
        asked.decoded(ua.FindServersOnNetworkParameters)
        return struct.pack("<qi", ticks(self._since), 0)

    def address(self, url: str | None) -> str:
        """Our address as a client calls it, if what it calls us can be one."""
        found = _ADDRESS.fullmatch(url or "")
        if found is None or len(found[1]) > LONGEST_AUTHORITY:
            return self.about.url
        return f"opc.tcp://{found[1]}/{self._path}"

    def endpoints(self, url: str | None) -> bytes:
        """All endpoints, encoded, as GetEndpoints and CreateSession tell them to who calls us by an address."""
        address, own = self.address(url), self._terms.own
        kept, known = self._kept.get(address, (None, b""))
        if kept is not own:  # to encode them takes a millisecond, and whoever asks need not be known
            application = self._application(address)
            known = struct.pack("<i", len(MODES) * len(_BY_LEVEL)) + b"".join(
                structure(self._endpoint(address, application, mode, policy)) for mode in MODES for policy in _BY_LEVEL
            )
            if len(self._kept) >= MOST_KEPT:
                self._kept.pop(next(iter(self._kept)))
            self._kept[address] = (own, known)
        return known

    def _application(self, address: str) -> Any:
        made: Any = ua.ApplicationDescription()
        made.ApplicationUri, made.ProductUri = self.about.uri, self.about.product
        made.ApplicationName = ua.LocalizedText(self.about.name, "en")
        made.ApplicationType = ua.ApplicationType.Server
        made.DiscoveryUrls = [address]
        return made

    def _endpoint(self, address: str, application: Any, mode: ua.MessageSecurityMode, policy: Policy) -> Any:
        made: Any = ua.EndpointDescription()
        made.EndpointUrl, made.Server = address, application
        made.ServerCertificate = self._terms.own.chain
        made.SecurityMode, made.SecurityPolicyUri = mode, policy.uri
        made.UserIdentityTokens = [_anonymous(), _password(policy)]
        made.TransportProfileUri = TRANSPORT
        made.SecurityLevel = policy.level * 10 + (100 if mode == ua.MessageSecurityMode.SignAndEncrypt else 0)
        return made


_BY_LEVEL: Final = sorted(POLICIES.values(), key=lambda policy: -policy.level)


def _anonymous() -> Any:
    made: Any = ua.UserTokenPolicy()
    made.PolicyId, made.TokenType = ANONYMOUS, ua.UserTokenType.Anonymous
    return made


def _password(policy: Policy) -> Any:
    made: Any = ua.UserTokenPolicy()
    made.PolicyId, made.TokenType = password_policy(policy), ua.UserTokenType.UserName
    made.SecurityPolicyUri = policy.uri
    return made
