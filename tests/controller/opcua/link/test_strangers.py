"""Three client stacks that are not ours come in over a real socket, by every policy and mode they know."""

import asyncio
import contextlib
import json
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from asyncua import Client, ua
from asyncua.crypto import security_policies

from controller.opcua.access import Access
from controller.opcua.link.discovery import About
from controller.opcua.link.terms import Own
from controller.opcua.link.whole import Link
from controller.users import Cost, User, Users, hashed
from tests.controller.opcua.link.conftest import read
from tests.controller.opcua.rig import PATIENCE_S, ROOT
from tests.controller.opcua.test_clients import needed
from tests.controller.opcua.wired import SEALED, SIGN, URI, TrustAll, identity
from twin.clock import LoopClock

HERE = Path(__file__).parent
POLICIES = {
    "Basic256Sha256": security_policies.SecurityPolicyBasic256Sha256,
    "Aes128_Sha256_RsaOaep": security_policies.SecurityPolicyAes128Sha256RsaOaep,
    "Aes256_Sha256_RsaPss": security_policies.SecurityPolicyAes256Sha256RsaPss,
}


@contextlib.asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[str]:
    """A server on a socket: its address."""
    loop = asyncio.get_running_loop()
    clock, me = LoopClock(loop), identity("server", URI)
    users = Users(folder / "users.json")
    users._write({"otto": User("operator", hashed("otto-password", Cost(2, 1)))})
    made: list[Link] = []
    server = await loop.create_server(lambda: made[0].gates(), "127.0.0.1", 0)
    url = f"opc.tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}/lockstep"
    about = About(URI, "urn:lockstep", "Lockstep", url)
    made.append(Link(Own(me.key, me.certificate), TrustAll(), Access(users, me.key, clock), clock, about))
    made[0].dispatch.offer({"Read": read})
    sweeps = asyncio.create_task(made[0].gates.run())
    try:
        yield url
    finally:
        sweeps.cancel()
        made[0].gates.close()
        server.close()


async def script(url: str, *command: str) -> Any:
    """What a client's script tells."""
    me = identity("client")
    run = await asyncio.create_subprocess_exec(
        *command, url, str(me.certificate_file), str(me.key_file), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(PATIENCE_S):
        out, errors = await run.communicate()
    assert run.returncode == 0, errors.decode()
    return json.loads(out.decode().strip().splitlines()[-1])


def expected(*policies: str) -> list[list[Any]]:
    return [[policy, mode, user, 1.5] for policy in policies for mode in ("Sign", "SignAndEncrypt") for user in ("", "otto")]


def test_asyncua_comes_in(tmp_path: Path) -> None:
    async def come() -> list[list[Any]]:
        me, told = identity("client"), []
        async with serving(tmp_path) as url:
            for name, policy in POLICIES.items():
                for mode in (SIGN, SEALED):
                    for user in ("", "otto"):
                        client = Client(url, timeout=PATIENCE_S)
                        await client.set_security(policy, me.certificate_file, me.key_file, mode=mode)
                        if user:
                            client.set_user(user)
                            client.set_password(f"{user}-password")
                        async with client:
                            value = await client.get_node("i=2258").read_value()
                            told.append([name, ua.MessageSecurityMode(mode).name, user, value])
        return told

    assert asyncio.run(come()) == expected(*POLICIES)


def test_node_opcua_comes_in(tmp_path: Path) -> None:
    async def come() -> Any:
        async with serving(tmp_path) as url:
            return await script(url, needed("node", shutil.which("node")), str(HERE / "client_node_opcua.js"))

    assert asyncio.run(come()) == expected(*POLICIES)


def test_python_opcua_comes_in(tmp_path: Path) -> None:
    named = os.environ.get("LOCKSTEP_OPCUA_PYTHON") or str(ROOT / ".venv-opcua/bin/python")

    async def come() -> Any:
        async with serving(tmp_path) as url:
            return await script(url, needed("python-opcua", named), str(HERE / "client_python_opcua.py"))

    assert asyncio.run(come()) == [["Basic256Sha256", "Sign", "", 1.5], ["Basic256Sha256", "SignAndEncrypt", "otto", 1.5]]
