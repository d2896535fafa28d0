"""Comes in by Basic256Sha256, with a password and without, and reads a value: URL CERTIFICATE KEY -> JSON on stdout."""

import json
import sys

from opcua import Client

url, certificate, key = sys.argv[1:]
told = []
for mode, user in (("Sign", ""), ("SignAndEncrypt", "otto")):
    client = Client(url, timeout=30)
    client.application_uri = "urn:example.org:FreeOpcUa:opcua-asyncio"
    if user:
        client.set_user(user)
        client.set_password(f"{user}-password")
    client.set_security_string(f"Basic256Sha256,{mode},{certificate},{key}")
    client.connect()
    told.append(["Basic256Sha256", mode, user, client.get_node("i=2258").get_value()])
    client.disconnect()
print(json.dumps(told))
