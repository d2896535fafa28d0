"""The process: its first start, its lines, its end."""

import asyncio
import socket
from pathlib import Path

import pytest

from controller.users import Role, Users
from tests.controller.factories import DEMO
from tests.controller.opcua.rig import connected, launch, node, running, status_of

REFUSED = 1


def test_the_first_start_makes_keys_and_an_administrator_and_shows_the_password_once(state: Path) -> None:
    async def enter(face: object, password: str) -> str:
        async with connected(face, "operator", password) as client:  # type: ignore[arg-type]
            return await status_of(client.get_node("i=2258").read_value())

    with running(DEMO, state) as face:
        (line,) = (line for line in face.lines if line.startswith("first user"))
        password = line.split("password ")[1].split()[0]
        assert len(password) >= 20
        assert asyncio.run(enter(face, password)) == "Good"
        assert face.end()[0] == 0
    assert Users(state / "users.json").role("operator") is Role.ADMINISTRATOR
    assert password not in (state / "users.json").read_text()
    for file in (*(state / "pki").iterdir(), state / "users.json"):
        assert file.stat().st_mode & 0o777 == 0o600, file
    certificate = (state / "pki/server.der").read_bytes()
    with running(DEMO, state) as again:
        assert not [line for line in again.lines if line.startswith("first user")]
        assert asyncio.run(enter(again, password)) == "Good"
    assert (state / "pki/server.der").read_bytes() == certificate


def test_without_a_core_it_serves_and_says_that_nothing_is_known(state: Path) -> None:
    async def read() -> str:
        async with connected(face) as client:
            value = await client.get_node(node("printer-1/status/x")).read_data_value(raise_on_bad_status=False)
            return str(value.StatusCode.name)

    with running(DEMO, state) as face:
        assert asyncio.run(read()) == "BadWaitingForInitialData"
        code, said = face.end()
    assert code == 0
    assert "no core at" in said and "Traceback" not in said


def test_a_taken_port_is_told_in_one_line(state: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, said = launch(DEMO, state, "--port", str(port)).ended()
    assert (code, said) == (
        REFUSED,
        f"opcua: port {port} is in use: stop what listens there, or choose another with --port",
    )


def test_missing_nodesets_are_told_in_one_line(state: Path, tmp_path: Path) -> None:
    code, said = launch(DEMO, state, "--port", "0", env={"LOCKSTEP_NODESETS": str(tmp_path)}).ended()
    assert code == REFUSED
    assert said.splitlines()[-1] == f"opcua: the OPC UA nodesets are missing: run `make setup` (looked in {tmp_path})"


@pytest.mark.parametrize("file", ["pki/server.pem", "users.json"])
def test_a_secret_that_others_can_read_is_not_used(state: Path, file: str) -> None:
    (state / "pki").mkdir()
    (state / file).write_text("{}")
    (state / file).chmod(0o644)
    code, said = launch(DEMO, state, "--port", "0").ended()
    assert code == REFUSED
    assert f"{state / file} can be read by others" in said and "Traceback" not in said


def test_a_wrong_factory_file_is_told_with_its_key(state: Path, tmp_path: Path) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text(DEMO.read_text().replace('type = "conveyor"', 'type = "escalator"'))
    code, said = launch(file, state).ended()
    assert code == 2
    assert "machines.belt-1.type" in said and "Traceback" not in said
