"""A press that speaks OPC UA, by asyncua: PORT FOLDER. Lines on stdin are carried out, each is answered with one on stdout.

`deaf`: after the next write and the next call their connections are cut before they are answered.
`late`: from now on there is a variable more.

set NODE VALUE | bad NODE STATUS | at NODE NANOSECONDS VALUE | get NODE | calls | writes | deaf | hears | late URI NAME VALUE
"""

import asyncio
import json
import logging
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from asyncua import Server, ua
from asyncua.crypto.permission_rules import SimpleRoleRuleset, User, UserRole
from asyncua.server import binary_server_asyncio
from asyncua.server.uaprocessor import UaProcessor
from asyncua.server.user_managers import UserManager

from controller.opcua.certificate import own

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


class Users(UserManager):
    """One user."""

    def get_user(self, iserver, username=None, password=None, certificate=None):
        return User(role=UserRole.User, name="otto") if (username, password) == ("otto", "press-1") else None


async def made(port, folder):
    """The server, ready to start."""
    server = Server(user_manager=Users())
    await server.init()
    server.set_endpoint(f"opc.tcp://127.0.0.1:{port}/press")
    await server.set_application_uri("urn:press:server")
    identity = own(folder, "press", "urn:press:server")
    await server.load_certificate(str(identity.certificate_file))
    await server.load_private_key(str(identity.key_file))
    server.set_security_policy(
        [ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt, ua.SecurityPolicyType.Basic256Sha256_Sign],
        permission_ruleset=SimpleRoleRuleset(),
    )
    server.set_identity_tokens([ua.UserNameIdentityToken])
    return server


class Deaf(UaProcessor):
    """Does what it is asked, and, where it is told to, hangs up instead of answering."""

    now = False
    writes = 0
    write, call = (ua.NodeId(getattr(ua.ObjectIds, f"{name}Request_Encoding_DefaultBinary")) for name in ("Write", "Call"))

    async def _process_message(self, typeid, requesthdr, seqhdr, body):
        Deaf.writes += typeid == self.write
        if not Deaf.now or typeid not in (self.write, self.call):
            return await super()._process_message(typeid, requesthdr, seqhdr, body)
        self.send_response = lambda *_, **__: None
        done = await super()._process_message(typeid, requesthdr, seqhdr, body)
        del self.send_response
        asyncio.get_running_loop().call_later(0.5, self._transport.close)
        return done


async def filled(server):
    """The press, and its nodes by name."""
    await server.register_namespace("urn:somebody:else")
    at = await server.register_namespace("urn:press")
    press = await server.nodes.objects.add_object(ua.NodeId("Press", at), ua.QualifiedName("Press", at))
    nodes = {}
    for name, (value, kind) in NODES.items():
        node = await press.add_variable(ua.NodeId(name, at), ua.QualifiedName(name.split(".")[1], at), value, kind)
        if name in WRITABLE:
            await node.set_writable()
        nodes[name] = node
    await nodes["Press.Speed"].add_property(ua.NodeId("Press.Speed.Range", at), ua.QualifiedName("EURange", 0), ua.Range(0, 400))
    calls = []

    async def stroke(_, count, depth):
        calls.append([count.Value, depth.Value])
        if count.Value > 100:
            return ua.StatusCode("BadOutOfRange")
        return [ua.Variant(count.Value * depth.Value, ua.VariantType.Double), ua.Variant("pressed")]

    method = await press.add_method(
        ua.NodeId("Press.Stroke", at), ua.QualifiedName("Stroke", at), stroke,
        [ua.VariantType.UInt16, ua.VariantType.Double], [ua.VariantType.Double, ua.VariantType.String],
    )  # fmt: skip
    assert method
    return nodes, calls


async def obey(line, server, nodes, calls):
    """Carry a line out; its answer."""
    match line.split(maxsplit=2):
        case ["late", uri, rest]:
            name, value = rest.split()
            at = await server.register_namespace(uri)
            await server.nodes.objects.add_variable(ua.NodeId(name, at), ua.QualifiedName(name, at), json.loads(value))
        case ["set", name, value]:
            await nodes[name].write_value(ua.Variant(json.loads(value), NODES[name][1]))
        case ["bad", name, status]:
            value, kind = NODES[name]
            await nodes[name].write_value(ua.DataValue(ua.Variant(value, kind), StatusCode=ua.StatusCode(status)))
        case ["at", name, rest]:
            told_ns, value = rest.split()
            at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(told_ns) // 1000)
            await nodes[name].write_value(ua.DataValue(ua.Variant(json.loads(value), NODES[name][1]), SourceTimestamp=at))
        case ["get", name]:
            return json.dumps(await nodes[name].read_value())
        case ["calls"]:
            return json.dumps(calls)
        case ["writes"]:
            return json.dumps(Deaf.writes)
        case ["deaf"]:
            Deaf.now = True
        case ["hears"]:
            Deaf.now = False
    return "done"


async def main():
    """Serve until stdin ends."""
    port, folder = int(sys.argv[1]), Path(sys.argv[2])
    logging.disable(logging.CRITICAL)
    binary_server_asyncio.UaProcessor = Deaf
    server = await made(port, folder)
    nodes, calls = await filled(server)
    async with server:
        print("ready", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            print(await obey(line.strip(), server, nodes, calls), flush=True)


asyncio.run(main())
