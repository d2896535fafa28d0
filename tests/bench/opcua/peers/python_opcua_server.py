"""python-opcua's server, in an environment of its own; see the package for what it does."""

import logging
import sys
import threading
import time
from datetime import datetime
from pathlib import Path

from opcua import Server, ua

BEGIN = time.perf_counter()


def main(count: int, folders: int, state: Path) -> None:
    """Serve."""
    server = Server()
    server.set_endpoint("opc.tcp://127.0.0.1:0/peer")
    server.set_security_policy([ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt])
    server.load_certificate(str(state / "pki/server.der"))
    server.load_private_key(str(state / "pki/server.pem"))
    server.register_namespace("urn:bench")
    nodes = []
    per = max(1, count // folders)
    for index in range(count):
        if index % per == 0:
            name = f"f{index // per}"
            folder = server.nodes.objects.add_folder(ua.NodeId(name, 2), ua.QualifiedName(name, 2))
        name = f"v{index}"
        nodes.append(folder.add_variable(ua.NodeId(name, 2), ua.QualifiedName(name, 2), 0.0, ua.VariantType.Double).nodeid)
    server.start()
    port = server.bserver._server.sockets[0].getsockname()[1]
    print(f"ready opc.tcp://127.0.0.1:{port}/peer {time.perf_counter() - BEGIN:.3f}", flush=True)
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    due, generation = time.monotonic(), 0
    while not ended.wait(max(0.0, due - time.monotonic())):
        generation += 1
        now = datetime.utcnow()
        for node in nodes:
            value = ua.DataValue(ua.Variant(float(generation), ua.VariantType.Double))
            value.SourceTimestamp = value.ServerTimestamp = now
            server.set_attribute_value(node, value)
        due = max(due + 0.1, time.monotonic())
    server.stop()


if __name__ == "__main__":
    logging.basicConfig(level=logging.CRITICAL)
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
