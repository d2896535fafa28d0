"""The process: its first start, its lines, its end, and what it says when it cannot start."""

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.opcua.__main__ import main
from controller.users import Role, Users
from tests.controller.factories import SHOP, belts
from tests.controller.opcua.rig import Core, Face, connected, node, running, status_of

CANNOT, WRONG_FACTORY, OTHER_FACTORY = 1, 2, 3


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Face]:
    """A server at its first start, without a core."""
    with running(SHOP, tmp_path_factory.mktemp("first") / "state") as face:
        yield face


def password(face: Face) -> str:
    """What the first start has shown."""
    (line,) = (line for line in face.lines if line.startswith("first user operator, an administrator"))
    return line.split("password ")[1].split()[0]


async def enter(face: Face) -> str:
    """What the first user's reading ends with."""
    async with connected(face, "operator", password(face)) as client:
        return await status_of(client.get_node("i=2258").read_value())


def test_the_first_start_shows_a_password_that_lets_an_administrator_in(first: Face) -> None:
    assert len(password(first)) >= 20
    assert asyncio.run(enter(first)) == "Good"
    assert Users(first.state / "users.json").role("operator") is Role.ADMINISTRATOR


def test_the_first_start_keeps_its_secrets_to_itself(first: Face) -> None:
    assert password(first) not in (first.state / "users.json").read_text()
    assert first.state.stat().st_mode & 0o077 == 0
    made = [*(first.state / "pki").iterdir(), first.state / "users.json"]
    assert {file.name for file in made} >= {"server.pem", "server.der", "client.pem", "client.der", "users.json"}
    assert {file.stat().st_mode & 0o777 for file in made if file.is_file()} == {0o600}
    assert {folder.stat().st_mode & 0o777 for folder in (first.state / "pki").rglob("*") if folder.is_dir()} == {0o700}


def test_without_a_core_nothing_is_known(first: Face) -> None:
    async def read() -> str:
        async with connected(first) as client:
            value = await client.get_node(node("printer-1/status/x")).read_data_value(raise_on_bad_status=False)
            return str(value.StatusCode.name)

    assert asyncio.run(read()) == "BadWaitingForInitialData"


def test_it_ends_when_told_to_and_starts_again_as_it_was(first: Face) -> None:
    certificate = (first.state / "pki/server.der").read_bytes()
    code, said = first.end()
    assert code == 0
    assert "no core at" in said and "Traceback" not in said
    with running(SHOP, first.state) as again:
        assert not [line for line in again.lines if line.startswith("first user")]
        again.lines += [line for line in first.lines if line.startswith("first user")]
        assert asyncio.run(enter(again)) == "Good"
    assert (first.state / "pki/server.der").read_bytes() == certificate


def fails(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, list[str]]:
    """The exit status, and what is told."""
    code = main([str(argument) for argument in arguments])
    return code, capsys.readouterr().err.splitlines()


def test_a_taken_port_is_told_in_one_line(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, told = fails(capsys, SHOP, "--state", state, "--port", port)
    assert code == CANNOT
    assert told == [f"port {port} is in use: stop what listens there, or choose another with --port"]


def test_missing_nodesets_are_told_in_one_line(
    state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCKSTEP_NODESETS", str(tmp_path))
    code, told = fails(capsys, SHOP, "--state", state, "--port", 0)
    assert code == CANNOT
    assert told == [f"the OPC UA nodesets are missing: run `make setup` (looked in {tmp_path})"]


@pytest.mark.parametrize("file", ["pki/server.pem", "users.json"])
def test_a_secret_that_others_can_read_is_not_used(state: Path, file: str, capsys: pytest.CaptureFixture[str]) -> None:
    (state / "pki").mkdir()
    (state / file).write_text("{}")
    (state / file).chmod(0o644)
    code, told = fails(capsys, SHOP, "--state", state, "--port", 0)
    assert code == CANNOT
    assert len(told) == 1 and told[0].startswith(f"{state / file} can be read by others")


def test_a_wrong_factory_file_is_told_with_its_key(state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text(SHOP.read_text().replace('type = "conveyor"', 'type = "escalator"'))
    code, told = fails(capsys, file, "--state", state)
    assert code == WRONG_FACTORY
    assert told[0].startswith(f"{file}: machines.belt-1.type: must be one of")


def test_another_factorys_core_ends_it_with_one_clear_line(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    core = Core(belts([256]), state)
    core.start()
    try:
        code, told = fails(capsys, SHOP, "--state", state, "--port", 0)
    finally:
        core.stop()
    assert code == OTHER_FACTORY
    assert len(told) == 1 and told[0].startswith(f"the core at {state / 'feed.sock'} runs another factory")
