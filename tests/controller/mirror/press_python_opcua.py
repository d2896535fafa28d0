"""The same press by python-opcua, in an environment of its own: PORT FOLDER, and the same lines on stdin."""

import json
import logging
import sys

from opcua import Server, ua, uamethod  # type: ignore[import-not-found, unused-ignore]

NODES = {
    "Press.Speed": (125.5, ua.VariantType.Double),
    "Press.Temperature": (40.0, ua.VariantType.Float),
    "Press.Closed": (True, ua.VariantType.Boolean),
    "Press.Mode": (1, ua.VariantType.Int32),
    "Press.Program": ("cap.nc", ua.VariantType.String),
    "Press.Serial": ("P-4711", ua.VariantType.String),
    "Press.Pressure": (101_325.0, ua.VariantType.Double),
}
WRITABLE = ("Press.Speed", "Press.Mode", "Press.Program")


def main():
    """Serve until stdin ends."""
    port, folder = int(sys.argv[1]), sys.argv[2]
    logging.disable(logging.CRITICAL)
    server = Server()
    server.set_endpoint(f"opc.tcp://127.0.0.1:{port}/press")
    server.set_application_uri("urn:press:server")
    server.load_certificate(f"{folder}/press.der")
    server.load_private_key(f"{folder}/press.pem")
    server.set_security_policy([ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt])
    server.set_security_IDs(["Username"])
    server.user_manager.set_user_manager(lambda _, user, password: (user, password) == ("otto", "press-1"))
    at = server.register_namespace("urn:press")
    press = server.nodes.objects.add_object(ua.NodeId("Press", at), ua.QualifiedName("Press", at))
    nodes = {}
    for name, (value, kind) in NODES.items():
        node = press.add_variable(ua.NodeId(name, at), ua.QualifiedName(name.split(".")[1], at), value, kind)
        if name in WRITABLE:
            node.set_writable()
        nodes[name] = node
    calls = []

    @uamethod
    def stroke(_, count, depth):
        calls.append([count, depth])
        return count * depth

    press.add_method(
        ua.NodeId("Press.Stroke", at), ua.QualifiedName("Stroke", at), stroke,
        [ua.VariantType.UInt16, ua.VariantType.Double], [ua.VariantType.Double],
    )  # fmt: skip
    server.start()
    print("ready", flush=True)
    for line in sys.stdin:
        what, *rest = line.split(maxsplit=2)
        told = "done"
        if what == "set":
            nodes[rest[0]].set_value(ua.Variant(json.loads(rest[1]), NODES[rest[0]][1]))
        elif what == "get":
            told = json.dumps(nodes[rest[0]].get_value())
        elif what == "calls":
            told = json.dumps(calls)
        print(told, flush=True)
    server.stop()


main()
