"""A second stack goes through everything that an operator's client may do, and the server is killed under it."""

import json
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from asyncua import ua

from controller.history import FOLDER
from controller.history.hot import Hot
from controller.history.kept import GOOD, Kept
from controller.opcua.certificate import own
from controller.orders.turn import Answer, Request
from controller.users import Users
from tests.controller.factories import SHOP, shop
from tests.controller.opcua.conftest import PASSWORDS, ROLES
from tests.controller.opcua.rig import PATIENCE_S, Core, Face, launch, trust, yes

SCRIPT = Path(__file__).with_name("script_node_opcua.js")
URI = "urn:lockstep:test:script"
T0_MS = 1_760_000_000_000
RECORDED = [3, 1, 4, 1, 5, 9, 2, 6]
AT_LEAST = 60


def no(request: Request) -> Answer:
    """What a core says that has nothing to do."""
    return Answer(request.id, False, f"{request.args.get('machine', '')}: nothing to start")


class Play:
    """What the script asks for.

    Attributes:
        face: the server as it runs now.
    """

    def __init__(self, core: Core, face: Face) -> None:
        self.core, self.face = core, face
        self._speed, self._parts = 0.25, 1

    def answer(self, word: str) -> None:
        """Bring what is needed."""
        ways: dict[str, Callable[[], None]] = {
            "refuse": lambda: setattr(self.core, "answer", no),
            "agree": lambda: setattr(self.core, "answer", yes),
            "change": self._change,
            "ramp": lambda: self._ramp(10),
            "long ramp": lambda: self._ramp(20),
            "trigger": self._trigger,
            "kill": self._kill,
        }
        ways[word]()

    def _change(self) -> None:
        self._parts += 1
        self.core.publish("belt-1/status/parts", self._parts)

    def _ramp(self, steps: int) -> None:
        for _ in range(steps):
            self._speed = round(self._speed + 0.004, 6)
            self.core.publish("belt-1/status/speed", self._speed)
            time.sleep(0.03)  # each a publication of its own

    def _trigger(self) -> None:
        self.core.publish("belt-1/status/at_exit", True)
        time.sleep(0.3)
        self.core.publish("belt-1/status/at_entry", True)

    def _kill(self) -> None:
        port, state = self.face.address[1], self.face.state
        self.face.process.kill()
        self.face.process.wait(PATIENCE_S)
        self.face = launch(SHOP, state, "--port", str(port))
        self.face.read_until("try:")


@pytest.fixture
def play(state: Path) -> Iterator[Play]:
    """A server with users, a core, and a past."""
    users = Users(state / "users.json")
    for name, role in ROLES.items():
        users.add(name, role, PASSWORDS[name])
    hot = Hot(state / FOLDER)
    number = hot.declare([Kept("belt-1/status/parts", int)])["belt-1/status/parts"]
    hot.commit(hot.samples([(number, (T0_MS + 1_000 * i) * 10**6, n, GOOD, "") for i, n in enumerate(RECORDED)]))
    hot.close()
    core = Core(shop(), state)
    core.publish("belt-1/status/speed", 0.25)
    core.publish("belt-1/status/parts", 1)
    core.publish("belt-1/status/at_entry", False)
    core.publish("belt-1/status/at_exit", False)
    core.publish("printer-1/job/program", "cube.gcode")
    core.start()
    face = launch(SHOP, state, "--port", "0")
    face.read_until("try:")
    made = Play(core, face)
    yield made
    made.face.end()
    core.stop()


def configured(play: Play, folder: Path) -> dict[str, Any]:
    """What the script is told."""
    client, stranger = own(folder, "client", URI), own(folder, "stranger", URI)
    trust(play.face, client.certificate)
    aggregates = {"Average": 31 / 8, "Minimum": 1, "Maximum": 9, "Count": 8, "Start": 3, "Delta": 3}
    return {
        "url": play.face.url,
        "uri": URI,
        "folder": str(folder),
        "client": [str(client.certificate_file), str(client.key_file)],
        "stranger": [str(stranger.certificate_file), str(stranger.key_file)],
        "passwords": PASSWORDS,
        "setpoint": "belt-1/setpoint/speed",
        "history": {
            "node": "belt-1/status/parts",
            "span": [T0_MS, T0_MS + 8_000],
            "values": RECORDED,
            "aggregates": [[n, getattr(ua.ObjectIds, f"AggregateFunction_{n}"), value] for n, value in aggregates.items()],
        },
    }


def test_node_opcua_goes_through_every_service_and_survives_a_killed_server(play: Play, tmp_path: Path) -> None:
    node = shutil.which("node")
    assert node, "node is missing: run `make setup-test`"
    command = [node, str(SCRIPT), json.dumps(configured(play, tmp_path))]
    script = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert script.stdin is not None and script.stdout is not None and script.stderr is not None
    errors: list[str] = []
    threading.Thread(target=lambda: errors.extend(script.stderr or ()), daemon=True).start()
    ended = threading.Timer(4 * PATIENCE_S, script.kill)
    ended.start()
    steps = []
    for line in script.stdout:
        if not line.startswith("{"):
            continue
        told = json.loads(line)
        if "need" in told:
            play.answer(told["need"])
            script.stdin.write("done\n")
            script.stdin.flush()
        else:
            steps.append(told)
    code = script.wait(PATIENCE_S)
    ended.cancel()
    failed = [f"{step['step']} {step['name']}: {step['note']}" for step in steps if not step["ok"]]
    assert not failed, "\n".join(failed)
    assert code == 0, "".join(errors)
    assert len(steps) >= AT_LEAST
