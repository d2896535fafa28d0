"""`lockstep trust …`: which clients' certificates the OPC UA server trusts."""

import argparse
import sys
from pathlib import Path


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Give `lockstep` its command `trust`."""
    trust = commands.add_parser("trust", help="which clients' certificates the OPC UA server trusts")
    trust.add_argument("--state", type=Path, metavar="DIR", required=True, help="the factory's state; it may run meanwhile")
    actions = trust.add_subparsers(required=True, metavar="ACTION")

    actions.add_parser("list", help="trusted, issuers, rejected, revocation lists").set_defaults(do=_do, action="list")

    add = actions.add_parser("add", help="trust a certificate that was rejected, or that of a file")
    add.add_argument("what", metavar="THUMBPRINT|FILE", help="its first digits as `list` shows them, or a DER or PEM file")
    kind = add.add_mutually_exclusive_group()
    kind.add_argument("--issuer", action="store_true", help="an authority that completes chains, and is not trusted by itself")
    kind.add_argument("--crl", action="store_true", help="the file is a revocation list of an authority that is here")
    add.set_defaults(do=_do, action="add")

    reject = actions.add_parser("reject", help="trust a certificate no longer; whoever is connected by it is cut off")
    remove = actions.add_parser("remove", help="take a certificate or a revocation list out of all lists")
    for parser, name in ((reject, "reject"), (remove, "remove")):
        parser.add_argument("what", metavar="THUMBPRINT", help="its first digits as `list` shows them")
        parser.set_defaults(do=_do, action=name)


def _do(options: argparse.Namespace) -> int:
    from controller.opcua.trust.asked import do  # cryptography is loaded only where it is needed
    from controller.opcua.trust.store import TrustError

    try:
        for line in do(options):
            print(line)
    except (TrustError, OSError) as refused:
        print(f"lockstep trust: {refused}", file=sys.stderr)
        return 1
    return 0
