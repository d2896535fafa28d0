"""`lockstep mirror …`: whom we believe, and who we are, on OPC UA servers."""

import argparse
import asyncio
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from twin.devices import OpcUaServer
from twin.factory import Factory, read

if TYPE_CHECKING:
    from cryptography import x509


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Give `lockstep` its command `mirror`."""
    mirror = commands.add_parser("mirror", help="machines on OPC UA servers: whom to believe, and who we are")
    actions = mirror.add_subparsers(required=True, metavar="ACTION")

    trust = actions.add_parser("trust", help="fetch a server's certificate, show it, and keep it where factory.toml names it")
    trust.add_argument("node", metavar="NODE")
    trust.add_argument("--factory", type=Path, metavar="FILE", required=True, help="factory.toml")
    trust.add_argument("--yes", action="store_true", help="do not ask: the fingerprint was compared before")
    trust.set_defaults(do=_trust)

    certificate = actions.add_parser("certificate", help="show our own certificate, which servers must trust")
    certificate.add_argument("--factory", type=Path, metavar="FILE", required=True, help="factory.toml")
    certificate.add_argument("--state", type=Path, metavar="DIR", help="where state is kept (.lockstep/NAME)")
    certificate.set_defaults(do=_certificate)


def _server(factory: Factory, name: str) -> OpcUaServer | str:
    """The server of a node, or why there is none."""
    found = factory.devices.get(name)
    if found is None or not isinstance(found.reached, OpcUaServer):
        there = ", ".join(n for n, d in factory.devices.items() if isinstance(d.reached, OpcUaServer)) or "none"
        return f"{name} is no node of kind opcua; there are: {there}"
    if found.reached.certificate is None:
        return f"nodes.{name}.certificate: missing: say where its certificate is to be kept, such as certificate = '{name}.der'"
    return found.reached


def _trust(options: argparse.Namespace) -> int:
    from controller.mirror.__main__ import uri_of
    from controller.mirror.channel import BROKEN, fingerprint, offered, said

    factory = read(options.factory)
    server = _server(factory, options.node)
    if isinstance(server, str):
        return _no(server)
    logging.getLogger("asyncua").setLevel(logging.CRITICAL + 1)
    try:
        endpoints = asyncio.run(offered(server.url, uri_of(factory.name)))
    except BROKEN as failed:
        return _no(f"{server.url}: {said(failed)}")
    there = ", ".join(dict.fromkeys(f"{policy}/{mode}" for policy, mode, _ in endpoints)) or "nothing"
    print(f"{server.url} offers {there}")
    found = next((c for policy, mode, c in endpoints if (policy, mode) == (server.policy, server.mode) and c is not None), None)
    if found is None:
        return _no(f"no certificate for {server.policy}/{server.mode}, which nodes.{options.node} wants")
    for line in shown(found):
        print(line)
    assert server.certificate is not None, "checked above"
    before = _kept(server.certificate)
    if before is not None and fingerprint(before) == fingerprint(found):
        print(f"{server.certificate} has it already")
        return 0
    if server.certificate.exists():
        print(f"{server.certificate} has another one: {fingerprint(before) if before is not None else 'it cannot be read'}")
    if not options.yes and not _agreed(f"Is this the fingerprint that the machine itself shows? Write it to {server.certificate}?"):
        return _no("nothing was written")
    _write(server.certificate, found)
    print(f"{server.certificate}: written")
    return 0


def shown(certificate: "x509.Certificate") -> list[str]:
    """What people compare."""
    from cryptography import x509

    from controller.mirror.channel import fingerprint

    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    except (x509.ExtensionNotFound, ValueError):
        uris = []
    return [
        f"subject      {certificate.subject.rfc4514_string()}",
        f"URI          {', '.join(uris) or 'none'}",
        f"valid        {certificate.not_valid_before_utc:%Y-%m-%d} to {certificate.not_valid_after_utc:%Y-%m-%d}",
        f"SHA-256      {fingerprint(certificate)}",
    ]


def _kept(file: Path) -> "x509.Certificate | None":
    from controller.mirror.channel import Untrusted, declared

    try:
        return declared(file)
    except Untrusted:
        return None


def _agreed(question: str) -> bool:
    if not sys.stdin.isatty():
        print(f"{question} Say --yes where nobody can be asked.")
        return False
    return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")


def _write(file: Path, certificate: "x509.Certificate") -> None:
    from cryptography.hazmat.primitives.serialization import Encoding

    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_name(file.name + ".new")
    new.write_bytes(certificate.public_bytes(Encoding.PEM if file.suffix == ".pem" else Encoding.DER))
    os.replace(new, file)


def _certificate(options: argparse.Namespace) -> int:
    from controller.mirror.__main__ import identity_of
    from controller.opcua.certificate import CertificateError

    factory = read(options.factory)
    state: Path = options.state or Path(".lockstep") / factory.name
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        identity = identity_of(factory.name, state)
    except (CertificateError, OSError) as cannot:
        return _no(str(cannot))
    print(f"file         {identity.certificate_file}")
    for line in shown(identity.certificate):
        print(line)
    return 0


def _no(text: str) -> int:
    print(f"lockstep: {text}", file=sys.stderr)
    return 1
