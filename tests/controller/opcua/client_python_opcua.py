"""Reads variables with python-opcua, in an environment of its own: URL CERTIFICATE KEY NODEID... -> JSON on stdout."""

import json
import sys

from opcua import Client, ua  # type: ignore[import-not-found, unused-ignore]


def property_of(node, name):
    """The value of a node's property, or None where it has none."""
    try:
        return node.get_child(f"0:{name}").get_value()
    except ua.UaStatusCodeError:
        return None


def told(node):
    """What a variable says of itself."""
    value = node.get_data_value()
    unit, limits = property_of(node, "EngineeringUnits"), property_of(node, "EURange")
    return {
        "value": value.Value.Value,
        "type": value.Value.VariantType.name,
        "status": value.StatusCode.name,
        "time": value.SourceTimestamp.isoformat() if value.SourceTimestamp else None,
        "unit": unit.DisplayName.Text if unit else None,
        "unit_id": unit.UnitId if unit else None,
        "range": [limits.Low, limits.High] if limits else None,
    }


def main():
    """Connect as nobody in particular, read, and leave."""
    url, certificate, key, *nodes = sys.argv[1:]
    client = Client(url, timeout=30)
    client.application_uri = "urn:example.org:FreeOpcUa:opcua-asyncio"  # as the certificate says
    client.set_security_string(f"Basic256Sha256,SignAndEncrypt,{certificate},{key}")
    client.connect()
    try:
        print(json.dumps({node: told(client.get_node(node)) for node in nodes}))
    finally:
        client.disconnect()


main()
