"""Updates on the node: what is believed, and what is left when the power goes at the worst moment."""

import json
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from controller.nodes import sign
from hil import micropython
from tests.firmware import forged
from tests.firmware.factories import LAMPS, node_file
from tests.firmware.rig import FIRMWARE, STANDINS
from twin.export import sealed

VM = Path(__file__).with_name("update_vm.py")
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
FIRST = {"node/__init__.py": b"first", "node/app.py": random.Random(1).randbytes(2100), "node/same.py": bytes(range(200)) * 4}
SECOND = {"node/app.py": random.Random(2).randbytes(1900), "node/more.py": b"x = 1\n" * 50, "node/same.py": FIRST["node/same.py"]}


def release(files: dict[str, bytes], secure: int) -> dict[str, Any]:
    packed = sign.packed(sign.manifest(files, f"0.{secure}", secure, "any"), KEY)
    return {"manifest": packed.hex(), "files": {path: content.hex() for path, content in files.items()}}


def configs(folder: Path) -> list[str]:
    """Two of the same node, known apart by their map's hash: 1 and 2."""
    made = json.loads(node_file(folder, LAMPS))
    return [sealed({**made, "map_hash": number}) for number in (1, 2)]


def cut(folder: Path, cuts: list[list[int]], first: int = 0, step: int = 1) -> Any:
    """What came of lives with these cuts, each in the VM and on a littlefs."""
    given = {
        "keys": sign.public_line(KEY),
        "uid": 4711,
        "releases": [release(FIRST, 1), release(SECOND, 2)],
        "configs": configs(folder),
        "cuts": cuts,
        "first": first,
        "step": step,
    }
    (folder / "pins.bin").write_bytes(bytes(256))
    (folder / "given.json").write_text(json.dumps(given))
    done = subprocess.run(
        [*micropython.command(), "-X", "heapsize=4M", str(VM), "given.json"],
        cwd=folder,
        env={"MICROPYPATH": f"{STANDINS}:.frozen:{FIRMWARE}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:] + done.stdout[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_a_power_cut_at_any_flash_operation_leaves_the_old_or_the_new(tmp_path: Path) -> None:
    told = cut(tmp_path, [], first=0, step=1)
    assert told["wrong"] == []
    assert told["runs"] == told["operations"] > 70


def test_two_cuts_at_random_leave_the_old_or_the_new(tmp_path: Path) -> None:
    told = cut(tmp_path, pairs(10))
    assert (told["wrong"], told["runs"]) == ([], 10)


@pytest.mark.soak
def test_a_thousand_pairs_of_cuts_at_random_leave_the_old_or_the_new(tmp_path: Path) -> None:
    told = cut(tmp_path, pairs(1000))
    assert (told["wrong"], told["runs"]) == ([], 1000)


def pairs(count: int) -> list[list[int]]:
    """Two moments each: operations from the start, and from the restart on."""
    draw = random.Random(count)
    return [[draw.randrange(75), draw.randrange(40)] for _ in range(count)]


OTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def interpreted(folder: Path, script: str, *words: str) -> str:
    """What a script says in the VM, in a folder, with the firmware at hand."""
    done = subprocess.run(
        [*micropython.command(), str(VM.with_name(script)), *words],
        cwd=folder,
        env={"MICROPYPATH": f"{STANDINS}:.frozen:{FIRMWARE}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def believed(folder: Path, manifests: list[bytes]) -> tuple[int, int]:
    """How many manifests the loader was shown in the VM, and how many of them it believed."""
    (folder / "update.keys").write_text(sign.public_line(OTHER) + sign.public_line(KEY))
    (folder / "forged.bin").write_bytes(b"".join(len(one).to_bytes(4, "little") + one for one in manifests))
    asked, found = interpreted(folder, "forged_vm.py").split()
    return int(asked), int(found)


@pytest.mark.parametrize("count", [100, pytest.param(10_000, marks=pytest.mark.soak)])
def test_no_forged_cut_old_or_flipped_manifest_is_believed(tmp_path: Path, count: int) -> None:
    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    made = list(forged.forged(KEY, stranger, count, seed=count))
    assert believed(tmp_path, made) == (count, 0)


def test_true_manifests_are_believed_whichever_key_signed_them(tmp_path: Path) -> None:
    made = [sign.packed(forged.text(secure=secure), key) for key in (KEY, OTHER) for secure in (7, 8, 99_999_999)]
    assert believed(tmp_path, made) == (6, 6)
