"""A node with two slots, in the real interpreter and in real time, that starts again when it resets itself."""

import functools
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path

from controller.nodes import image, sign
from hil import micropython
from hil.ports import free_port
from tests.firmware.factories import HEAD, LAMPS, LAMPS_SPEC
from tests.firmware.rig import STANDINS, eventually
from twin import export, factory

CONTROL = "def decide(sample, wish, params, now):\n    return None, ()\n"


def written(folder: Path, *lines: str) -> Path:
    """A factory file with lamps on one node `n`, at a free port."""
    (folder / "lamps").mkdir(parents=True, exist_ok=True)
    (folder / "lamps" / "spec.py").write_text(LAMPS_SPEC)
    (folder / "lamps" / "control.py").write_text(CONTROL)
    path = folder / "factory.toml"
    head = HEAD.replace("port = 15999", f"port = {free_port()}")
    path.write_text(head + "\n".join(lines) + LAMPS)
    return path


class Board:
    """A flash with the firmware in slot a, and power.

    Attributes:
        said: what it has printed, of each start; starts: how many there were.
    """

    def __init__(self, folder: Path, plan: Path, application: Mapping[str, bytes], key: Path) -> None:
        self.folder = folder
        self.said: list[str] = []
        private = sign.load_key(key)
        made = factory.read(plan)
        manifest = sign.packed(sign.manifest(application, "0.0.9", 1, "x64"), private)
        slot = {f"a/{path}": content for path, content in {**application, "manifest": manifest}.items()}
        for path, content in {**beside(), **slot}.items():
            place = folder / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
        (folder / "b").mkdir()
        (folder / "update.keys").write_text(sign.public_line(private))
        (folder / "node.json").write_text(export.node_json(made, made.nodes["n"]))
        (folder / "pins.bin").write_bytes(bytes(256))
        self._process: subprocess.Popen[str] | None = None
        self._stopping = False
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> "Board":
        """Power on."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Power off."""
        self._stopping = True
        if self._process is not None:
            self._process.kill()
        self._thread.join()

    def last(self) -> None:
        """Its next end is its last one: it does not start again."""
        self._stopping = True

    def cycle(self) -> None:
        """Off and on again."""
        assert self._process is not None
        before = self._process
        before.kill()
        eventually(lambda: self._process is not before)

    def _run(self) -> None:
        while not self._stopping:
            self._process = subprocess.Popen(
                [*micropython.command(), "-X", "heapsize=160K", "main.py"],
                cwd=self.folder,
                env={"MICROPYPATH": f"{STANDINS}:.frozen"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            said, _ = self._process.communicate()
            self.said.append(said)


@functools.cache
def beside() -> Mapping[str, bytes]:
    """What no update replaces."""
    return image.starters("x64")


@functools.cache
def compiled() -> Mapping[str, bytes]:
    """The firmware for the VM."""
    return image.application("x64")


def application(release: str = "0.0.9") -> dict[str, bytes]:
    """The firmware for the VM, under the name of a release."""
    made = {path: content for path, content in compiled().items() if path != "node/__init__.mpy"}
    return {**made, "node/__init__.py": f'RELEASE = "{release}"\n'.encode()}
