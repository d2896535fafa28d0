"""Which folder the loader picks, and what boot.py leaves open: in the VM, on folders that the test lays out."""

import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from controller.nodes import sign
from hil import micropython
from tests.firmware.rig import FIRMWARE
from tests.firmware.test_update import KEY

FILES = {"node/__init__.py": b"", "node/app.py": b"NAME = 'an application'\n"}
ENTER = "import loader\ntry:\n loader.enter()\n print(loader.running())\nexcept loader.Refused as wrong:\n print(wrong.args[1])"


def interpreted(folder: Path, code: str) -> str:
    """The last line that some code says in the VM."""
    done = subprocess.run(
        [*micropython.command(), "-c", code],
        cwd=folder,
        env={"MICROPYPATH": f".frozen:{FIRMWARE}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout.splitlines()[-1]


def state(folder: Path, text: str) -> None:
    """Slot, confirmed, starts, lowest secure version."""
    (folder / "slot.state").write_text(f"{text} {zlib.crc32(text.encode()):x}")


@pytest.fixture
def flash(tmp_path: Path) -> Path:
    """Two slots with an application each, secure versions 4 and 5; `a` is wanted."""
    (tmp_path / "update.keys").write_text(sign.public_line(KEY))
    for slot, secure in (("a", 4), ("b", 5)):
        packed = sign.packed(sign.manifest(FILES, "1.0", secure, "any"), KEY)
        for path, content in {**FILES, "manifest": packed}.items():
            place = tmp_path / slot / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
    state(tmp_path, "a 1 0 4")
    return tmp_path


def test_the_wanted_slot_is_run(flash: Path) -> None:
    assert interpreted(flash, ENTER) == "a"
    state(flash, "b 1 0 4")
    assert interpreted(flash, ENTER) == "b"
    assert interpreted(flash, ENTER + "\nfrom node import app\nprint(app.__file__)") == "b/node/app.py"


SPOILT: dict[str, Callable[[Path], object]] = {
    "a flipped bit": lambda slot: (slot / "node/app.py").write_bytes(b"NAME = 'an applicatiom'\n"),
    "a file cut short": lambda slot: (slot / "node/app.py").write_bytes(b"NAME"),
    "a file missing": lambda slot: (slot / "node/app.py").unlink(),
    "a file more": lambda slot: (slot / "node/app.mpy").write_bytes(b"M"),
    "an empty folder": lambda slot: (slot / "node/app").mkdir(),
    "no manifest": lambda slot: (slot / "manifest").unlink(),
    "a manifest of the other slot's": lambda slot: (slot / "manifest").write_bytes(b"\0" * 500),
}


@pytest.mark.parametrize("case", SPOILT)
def test_a_slot_that_is_not_as_signed_is_left_for_the_other(flash: Path, case: str) -> None:
    SPOILT[case](flash / "a")
    assert interpreted(flash, ENTER) == "b"
    SPOILT[case](flash / "b")
    assert interpreted(flash, ENTER) == "neither slot can be trusted"


def test_a_secure_version_that_is_too_low_is_not_run_either(flash: Path) -> None:
    state(flash, "a 1 0 5")
    assert interpreted(flash, ENTER) == "b"
    state(flash, "a 1 0 6")
    assert interpreted(flash, ENTER) == "neither slot can be trusted"


@pytest.mark.parametrize("lost", ["", "a 1 0 4 0", "b 0 1", "a 1 0 4 11111111\n", "c 1 0 4 3d4ac5d5"])
def test_without_a_state_that_can_be_believed_the_newer_slot_is_run_and_remembered(flash: Path, lost: str) -> None:
    (flash / "slot.state").write_text(lost)
    assert interpreted(flash, ENTER) == "b"
    assert (flash / "slot.state").read_text().startswith("b 1 0 5 ")


def test_a_slot_on_trial_is_started_three_times_and_what_fails_once(flash: Path) -> None:
    state(flash, "b 0 0 4")
    assert [interpreted(flash, ENTER) for _ in range(5)] == ["b", "b", "b", "a", "a"]
    state(flash, "b 0 0 4")
    assert interpreted(flash, ENTER + "\nprint(loader.failed())") == "True"
    assert interpreted(flash, ENTER) == "a"
    assert interpreted(flash, ENTER + "\nprint(loader.failed())") == "False"  # that one was confirmed


def test_a_start_that_cannot_be_counted_is_not_on_trial(flash: Path) -> None:
    state(flash, "b 0 0 4")
    (flash / "slot.state.new").mkdir()
    assert interpreted(flash, ENTER) == "a"


# ---- boot.py

BOOT = """
import os, sys
class Board:
    def __init__(self): self.calls = []
    def alloc_emergency_exception_buf(self, size): pass
    def kbd_intr(self, character): self.calls.append(character)
board = Board()
sys.modules["micropython"] = board
exec(open("%s/boot.py").read())
print(board.calls, "webrepl" in sys.modules)
"""


@pytest.mark.parametrize(
    ("config", "calls"),
    [
        (None, "[]"),
        ('{\n "format": 2,\n "repl": true\n}\n', "[]"),
        ('{\n "format": 2\n}\n', "[-1]"),
        ("", "[-1]"),
        ("\x01", "[-1]"),
        (b'{\n "node": "\xff\xfe"\n}\n', "[-1]"),
    ],
)
def test_ctrl_c_stops_no_node_that_is_not_being_worked_on(tmp_path: Path, config: str | bytes | None, calls: str) -> None:
    if config is not None:
        (tmp_path / "node.json").write_bytes(config if isinstance(config, bytes) else config.encode())
    assert interpreted(tmp_path, BOOT % FIRMWARE) == f"{calls} False"
