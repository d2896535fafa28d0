"""What the repository promises about itself: locked and hashed, bound to no machine, whole when built, rooms apart."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.compile_firmware import BOARDS, compile_for, files

ROOT = Path(__file__).resolve().parents[1]
LOCKS = (ROOT / "requirements.lock", *sorted((ROOT / "tests").glob("requirements-*.lock")))
MADE = {"node_modules", "__pycache__", "build", "dist"}
# A path of somebody's machine, and not the middle of a longer path or of a web address.
MACHINE_PATH = re.compile(rb"(?<![\w./:-])/(home|root|work|opt|Users)/[\w.]")


def sources() -> Iterator[Path]:
    """Every file that we wrote."""

    def ours(name: str) -> bool:
        return name not in MADE and (not name.startswith(".") or name == ".ci")

    for folder, folders, names in os.walk(ROOT):
        folders[:] = sorted(filter(ours, folders))  # what others wrote is not even listed
        yield from (Path(folder, name) for name in sorted(names) if ours(name))


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_every_locked_requirement_has_a_version_and_a_hash_and_no_address(lock: Path) -> None:
    text = lock.read_text()
    assert not re.search(r"://|^\s*-(?!-hash)|--(index|extra|find|trusted)|file:| @ ", text, re.MULTILINE)
    requirements = re.split(r"\n(?=\S)", text.strip())
    unhashed = [r for r in requirements if not re.match(r"[\w.-]+==\S+[^\n]*\\\n\s+--hash=sha256:[0-9a-f]{64}", r)]
    assert requirements and unhashed == []


@pytest.mark.parametrize("folder", ["tests", "tests/bench/opcua/peers"])
def test_every_locked_npm_package_has_a_hash_and_no_address(folder: str) -> None:
    lock = (ROOT / folder / "package-lock.json").read_text()
    packages = {name: entry for name, entry in json.loads(lock)["packages"].items() if name}
    assert packages and all(entry["integrity"].startswith("sha512-") for entry in packages.values())
    assert "resolved" not in lock and "://" not in lock


def test_every_version_asked_for_is_in_the_lock() -> None:
    asked = json.loads((ROOT / "tests" / "package.json").read_text())
    locked = json.loads((ROOT / "tests" / "package-lock.json").read_text())["packages"]
    for name, version in (asked["dependencies"] | asked["devDependencies"] | asked["overrides"]).items():
        assert locked[f"node_modules/{name}"]["version"] == version


def test_no_file_names_a_path_of_somebodys_machine() -> None:
    found = {
        f"{path.relative_to(ROOT)}: {match.group().decode()}"
        for path in sources()
        for match in MACHINE_PATH.finditer(path.read_bytes())
    }
    assert found == set()


def test_every_firmware_file_compiles_for_the_board(tmp_path: Path) -> None:
    complaints = {(board, path.name): compile_for(board, path, tmp_path) for board in BOARDS for path in files()}
    assert complaints
    assert {name: complaint for name, complaint in complaints.items() if complaint} == {}


def test_a_file_that_the_board_cannot_run_does_not_compile(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.py"
    wrong.write_text("match 1:\n    case 1: pass\n")
    assert all("SyntaxError" in compile_for(board, wrong, tmp_path) for board in BOARDS)


def test_the_wheel_carries_every_file_of_the_four_rooms(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(argv, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (wheel,) = tmp_path.glob("lockstep_factory-*.whl")
    carried = set(zipfile.ZipFile(wheel).namelist())
    rooms = ("twin", "controller", "hil", "firmware")
    wanted = {str(path.relative_to(ROOT)) for path in sources() if path.relative_to(ROOT).parts[0] in rooms}
    assert wanted and wanted - carried == set()


IMPORTS = {
    "a machine's control imports a plant": ("twin/machines/belt/control.py", "import twin.machines.belt.plant"),
    "a machine's control reaches the world": ("twin/machines/belt/control.py", "import twin.plant"),
    "the twin imports the controller": ("twin/factory.py", "import controller.scan"),
    "the twin opens a socket": ("twin/factory.py", "import socket"),
    "the twin imports a protocol": ("twin/factory.py", "from asyncua import ua"),
    "the controller imports the rig": ("controller/scan.py", "import hil.rig"),
    "the controller imports the firmware": ("controller/scan.py", "import firmware.node.modbus"),
    "the controller imports a plant": ("controller/scan.py", "import twin.machines.belt.plant"),
    "the controller imports the world": ("controller/scan.py", "import twin.plant"),
    "the controller imports faults": ("controller/scan.py", "import twin.faults"),
    "the controller reaches a plant through the twin": ("twin/factory.py", "import twin.machines.belt.plant"),
}


def judge_imports(folder: Path, edits: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run the repository's own contracts over a small house with the same rooms."""
    house = {
        "twin/plant.py": "import twin.machines.belt.plant",
        "twin/faults.py": "",
        "twin/factory.py": "",
        "twin/machines/__init__.py": "",
        "twin/machines/belt/__init__.py": "",
        "twin/machines/belt/plant.py": "import numpy",
        "twin/machines/belt/control.py": "",
        "controller/scan.py": "import twin.factory, twin.machines.belt.control",
        "controller/shadow.py": "import twin.plant, twin.faults, twin.machines.belt.plant",
        "hil/rig.py": "import controller.scan, twin.plant, twin.faults",
    }
    packages = dict.fromkeys(("twin/__init__.py", "controller/__init__.py", "hil/__init__.py"), "")
    for name, text in (packages | house | edits).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    shutil.copy(ROOT / "pyproject.toml", folder)
    linter = shutil.which("lint-imports")
    assert linter is not None
    argv = [linter, "--no-cache"]
    return subprocess.run(argv, cwd=folder, check=False, capture_output=True, text=True, timeout=120)


def test_a_house_that_keeps_its_rooms_apart_passes_the_contracts(tmp_path: Path) -> None:
    judged = judge_imports(tmp_path, {})
    assert judged.returncode == 0, judged.stdout


@pytest.mark.parametrize("case", IMPORTS)
def test_an_import_across_the_rooms_breaks_a_contract(case: str, tmp_path: Path) -> None:
    name, text = IMPORTS[case]
    judged = judge_imports(tmp_path, {name: text})
    assert judged.returncode == 1 and "BROKEN" in judged.stdout, judged.stdout
