"""What everyone is told: where we are, under the name that we are called by."""

from typing import Any

import pytest
from asyncua import ua

from controller.opcua.link.policies import POLICIES
from controller.opcua.link.terms import Own
from tests.controller.opcua.raw import URL
from tests.controller.opcua.wired import SEALED, SIGN, URI, Raw, Wired, identity

TRANSPORT = "http://opcfoundation.org/UA-Profile/Transport/uatcp-uasc-uabinary"


@pytest.fixture
def stranger(wired: Wired) -> Raw:
    """A client without security."""
    client = wired.raw()
    client.open(None)
    return client


def endpoints(client: Raw, url: str | None = None, profiles: Any = None) -> Any:
    return client.ask("GetEndpoints", ua.GetEndpointsParameters(EndpointUrl=url, ProfileUris=profiles or [])).Endpoints


def test_there_are_six_endpoints_the_best_first(wired: Wired, stranger: Raw) -> None:
    found = endpoints(stranger)
    told = {(one.SecurityPolicyUri, one.SecurityMode) for one in found}
    assert told == {(uri, mode) for uri in POLICIES for mode in (SIGN, SEALED)}
    levels = [one.SecurityLevel for one in found]
    assert levels == sorted(set(levels), reverse=True) and found[0].SecurityPolicyUri.endswith("#Aes256_Sha256_RsaPss")
    for one in found:
        assert (one.EndpointUrl, one.TransportProfileUri, one.ServerCertificate) == (URL, TRANSPORT, wired.own.der)
        assert (one.Server.ApplicationUri, one.Server.ApplicationType) == (URI, ua.ApplicationType.Server)
        tokens = {token.TokenType.name: token for token in one.UserIdentityTokens}
        assert set(tokens) == {"Anonymous", "UserName"} and tokens["UserName"].SecurityPolicyUri == one.SecurityPolicyUri
    ways = {(token.PolicyId, token.SecurityPolicyUri) for one in found for token in one.UserIdentityTokens}
    assert len(ways) == len({name for name, _ in ways}) == 4  # a name stands for one way in


@pytest.mark.parametrize(
    ("called", "told"),
    [
        ("opc.tcp://plant.example.org:48400/elsewhere", "opc.tcp://plant.example.org:48400/lockstep"),
        ("opc.tcp://192.168.7.9:4840", "opc.tcp://192.168.7.9:4840/lockstep"),
        ("opc.tcp://[fe80::1]:4840/lockstep", "opc.tcp://[fe80::1]:4840/lockstep"),
        ("opc.tcp://localhost", "opc.tcp://localhost/lockstep"),
        (None, URL),
        ("", URL),
        ("http://127.0.0.1/", URL),
        ("opc.tcp://", URL),
        ("opc.tcp://a b:1/", URL),
        ("opc.tcp://host:123456/", URL),
        ("opc.tcp://" + "x" * 300, URL),
        ("opc.tcp://evil\x00.example:1/", URL),
    ],
)
def test_a_client_is_told_the_address_that_it_came_by_if_it_is_one(stranger: Raw, called: str | None, told: str) -> None:
    (address,) = {one.EndpointUrl for one in endpoints(stranger, called)}
    assert address == told
    servers = stranger.ask("FindServers", ua.FindServersParameters(EndpointUrl=called)).Servers
    assert [server.DiscoveryUrls for server in servers] == [[told]]


def test_many_addresses_are_not_kept(wired: Wired, stranger: Raw) -> None:
    for number in range(40):
        endpoints(stranger, f"opc.tcp://host-{number}:1/")
    assert len(wired.link.discovery._kept) <= 16


def test_a_new_certificate_is_told_at_once_and_old_channels_keep_theirs(wired: Wired, stranger: Raw) -> None:
    endpoints(stranger)
    client, new = wired.client("otto"), identity("renewed", URI)
    old, wired.link.terms.own = wired.own, Own(new.key, new.certificate)
    assert {one.ServerCertificate for one in endpoints(stranger)} == {wired.link.terms.own.der}
    client.renew(bytes(range(32, 64)))
    client.activate("otto")  # what it signs and encrypts is for the certificate that it knows
    wired.own = wired.link.terms.own
    assert wired.client("otto") and old.der != wired.own.der


def test_other_transports_have_no_endpoints(stranger: Raw) -> None:
    assert endpoints(stranger, profiles=["http://opcfoundation.org/UA-Profile/Transport/https-uabinary"]) == []
    assert len(endpoints(stranger, profiles=["x", TRANSPORT])) == 6


def test_servers_are_found_by_their_name(stranger: Raw) -> None:
    find = lambda *names: stranger.ask("FindServers", ua.FindServersParameters(ServerUris=list(names))).Servers  # noqa: E731
    assert len(find()) == len(find("urn:x", URI)) == 1 and find("urn:x") == []


def test_others_on_the_network_are_not_known(stranger: Raw) -> None:
    assert stranger.ask("FindServersOnNetwork", ua.FindServersOnNetworkParameters()).Servers == []
