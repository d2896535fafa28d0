"""asyncua's own server; see the package for what it does."""

import asyncio
import logging
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from asyncua import Server, ua

from tests.bench.opcua.peers.writing import every_100_ms, until_input_ends

BEGIN = time.perf_counter()


async def main(count: int, folders: int, state: Path) -> None:
    """Serve."""
    server = Server()
    await server.init()
    server.set_endpoint("opc.tcp://127.0.0.1:0/peer")
    server.set_security_policy([ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt])
    await server.load_certificate(state / "pki/server.der")
    await server.load_private_key(state / "pki/server.pem")
    await server.register_namespace("urn:bench")
    nodes = []
    per = max(1, count // folders)
    for index in range(count):
        if index % per == 0:
            name = f"f{index // per}"
            folder = await server.nodes.objects.add_folder(ua.NodeId(name, 2), ua.QualifiedName(name, 2))
        name = f"v{index}"
        node = await folder.add_variable(ua.NodeId(name, 2), ua.QualifiedName(name, 2), 0.0, ua.VariantType.Double)
        nodes.append(node.nodeid)
    await server.start()
    port = server.bserver._server.sockets[0].getsockname()[1]
    print(f"ready opc.tcp://127.0.0.1:{port}/peer {time.perf_counter() - BEGIN:.3f}", flush=True)

    async def write(generation: int) -> None:
        now = datetime.now(UTC)
        for index, node in enumerate(nodes):
            value = ua.DataValue(ua.Variant(float(generation), ua.VariantType.Double), SourceTimestamp=now, ServerTimestamp=now)
            await server.write_attribute_value(node, value)
            if index % 500 == 499:
                await asyncio.sleep(0)

    await until_input_ends(every_100_ms(write))
    await server.stop()


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR)
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])))
