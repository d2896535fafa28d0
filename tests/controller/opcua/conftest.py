"""One server process with a core, for all tests that leave both as they found them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from controller.users import Role, Users
from tests.controller.factories import SHOP, shop
from tests.controller.opcua.rig import Core, Face, running

PASSWORDS = {"olga": "observer-1", "otto": "operator-1", "erin": "engineer-1", "anna": "administrator-1"}
ROLES = {"olga": Role.OBSERVER, "otto": Role.OPERATOR, "erin": Role.ENGINEER, "anna": Role.ADMINISTRATOR}


@dataclass
class Site:
    """A server, its core, and its users."""

    face: Face
    core: Core
    users: Users


@pytest.fixture(scope="session")
def _site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    state = tmp_path_factory.mktemp("site")
    state.chmod(0o700)
    users = Users(state / "users.json")
    for name, role in ROLES.items():
        users.add(name, role, PASSWORDS[name])
    core = Core(shop(), state)
    core.publish("printer-1/status/hotend_temperature", 210.5)
    core.publish("printer-1/status/x", 0.1205)
    core.publish("printer-1/status/hotend_power", 0.625)
    core.publish("printer-1/status/filament", True)
    core.publish("printer-1/job/program", "cube.gcode")
    core.publish("belt-1/status/parts", 65_535)
    core.publish("belt-1/status/speed", 0.25)
    core.publish("node:printer-1/status/fault", 1)
    core.publish("node:printer-1/status/boot_id", 4_000_000_000)
    core.start()
    with running(SHOP, state) as face:
        yield Site(face, core, users)
    core.stop()


@pytest.fixture
def site(_site: Site) -> Site:
    """A running server and its core."""
    _site.core.asked.clear()
    return _site


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state folder of one's own."""
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    return folder
