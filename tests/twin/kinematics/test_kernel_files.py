"""Generated files: named by what they are made from, written once, never stale."""

import os
import shutil
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.twin.kinematics.chains import chain
from twin.kinematics import Robot
from twin.kinematics.generate import parts as parts_module
from twin.kinematics.generate.parts import Part, PartError, needed, stripped
from twin.kinematics.kernels import MOST_FILES, Kernels, file_of, kernels

ROOT = Path(__file__).resolve().parents[3]
ROBOT = chain("R", "y", 7, "one")

ASK = """
import numpy as np
from tests.twin.kinematics.chains import chain
from twin.kinematics.kernels import file_of, kernels
robot, out, said = chain("R", "y", 7, "one"), np.empty(1), []
friction = kernels(robot, said.append).friction
friction(np.array([1.0]), out)
print(file_of(robot, "single").name, out[0], sum(friction.stats.cache_hits.values()), len(said))
"""


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("LOCKSTEP_KERNELS", str(tmp_path / "kernels"))
    return tmp_path / "kernels"


def copied(folder: Path) -> Path:
    """The package alone, to be edited."""
    for name in ("twin/kinematics", "tests/twin/kinematics"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("twin/kernel.py", "twin/__init__.py"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def ask(folder: Path, place: Path) -> tuple[str, float, int, int]:
    """What a new process gets from the package in a folder: file, friction, hits of the cache, lines said."""
    known = os.environ | {"PYTHONPATH": str(folder), "LOCKSTEP_KERNELS": str(place)}
    known.pop("NUMBA_CACHE_DIR", None)
    ran = subprocess.run([sys.executable, "-c", ASK], cwd=folder, env=known, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    name, friction, hits, said = ran.stdout.split()
    return name, float(friction), int(hits), int(said)


def test_editing_the_generator_or_a_part_never_yields_stale_code(tmp_path):
    folder, place = copied(tmp_path / "package"), tmp_path / "kernels"
    once = ROBOT.joints[0].viscous + ROBOT.joints[0].coulomb
    first = ask(folder, place)
    assert first[1:] == (pytest.approx(once), 0, 1)
    assert ask(folder, place) == (first[0], pytest.approx(once), 1, 0), "the second process finds the machine code"
    generator = folder / "twin/kinematics/generate/file.py"
    text = generator.read_text()
    assert "{joint.viscous!r}" in text
    generator.write_text(text.replace("{joint.viscous!r}", "{2.0 * joint.viscous!r}"))
    edited = ask(folder, place)
    assert edited[0] != first[0]
    assert edited[1] == pytest.approx(once + ROBOT.joints[0].viscous)
    part = folder / "twin/kinematics/parts/single.py"
    part.write_text(part.read_text() + "\n\n@kernel\ndef nothing(out: Floats) -> None:\n    out[0] = 0.0\n")
    assert ask(folder, place)[0] not in (first[0], edited[0])


def different() -> list[Robot]:
    joint, link = ROBOT.joints[0], ROBOT.links[0]
    joints = [
        replace(joint, **{slot: change(getattr(joint, slot))})
        for slot, change in {
            "name": lambda name: name + "x",
            "low": lambda value: value - 1e-9,
            "high": lambda value: value + 1e-9,
            "speed": lambda value: value * (1 + 1e-15),
            "effort": lambda value: value * (1 + 1e-15),
            "viscous": lambda value: value * (1 + 1e-15),
            "coulomb": lambda value: value * (1 + 1e-15),
            "xyz": lambda xyz: (np.nextafter(xyz[0], 9).item(), *xyz[1:]),
        }.items()
    ]
    return [
        *(replace(ROBOT, joints=(changed,)) for changed in joints),
        replace(ROBOT, links=(replace(link, mass=np.nextafter(link.mass, 9).item()),)),
        replace(ROBOT, gravity=(0.0, 0.0, -9.80665)),
        replace(ROBOT, flange_xyz=(0.0, 0.0, 1e-300)),
        replace(ROBOT, name="two"),
    ]


def test_a_robot_that_differs_in_any_number_has_another_file(place):
    files = {file_of(robot, "single") for robot in (ROBOT, *different())}
    assert len(files) == 1 + len(different())
    assert file_of(chain("R", "y", 7, "one"), "single") in files


def test_the_folder_belongs_to_the_user_and_a_file_is_written_once(place):
    path = file_of(ROBOT, "single")
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert path.suffix == ".py" and path.name.startswith("one_single_")
    before = path.stat().st_mtime_ns
    assert file_of(ROBOT, "single") == path and path.stat().st_mtime_ns == before
    assert [found.name for found in place.iterdir()] == [path.name], "no draft is left"


def test_old_files_make_room(place):
    place.mkdir(mode=0o700)
    for number in range(MOST_FILES + 5):
        old = place / f"old_{number}.py"
        old.write_text("")
        os.utime(old, (number, number))
    path = file_of(ROBOT, "single")
    left = {found.name for found in place.glob("*.py")}
    assert len(left) == MOST_FILES
    assert path.name in left and "old_0.py" not in left and f"old_{MOST_FILES + 4}.py" in left


def test_a_name_from_a_file_cannot_leave_the_folder(place):
    path = file_of(replace(ROBOT, name="../../escape\n\"'"), "single")
    assert path.parent == place


def test_the_same_robot_gets_the_same_kernels():
    assert kernels(ROBOT) is kernels(chain("R", "y", 7, "one"))
    assert isinstance(kernels(ROBOT, print), Kernels)


def part(name: str, text: str, needs: tuple[str, ...] = ()) -> Part:
    return Part(name, text, (), needs)


def test_a_part_may_not_call_what_the_cache_does_not_watch():
    with pytest.raises(PartError, match=r"twin\.motion"):
        stripped(part("bad", "from twin.motion.limits import AXES\n"))


def test_a_parts_imports_from_the_core_are_what_it_wants():
    text = '"""Words."""\n\nimport math\n\nfrom twin.kinematics.parts.core import (\n    AXES,\n    flange_of,\n)\n\nX = 1  # why\n'
    body, wanted = stripped(part("good", text))
    assert wanted == {"AXES", "flange_of"}
    assert "core" not in body and "Words" not in body
    assert "import math" in body and "X = 1  # why" in body


def test_parts_that_need_each_other_are_refused(monkeypatch):
    round_about = {"a": part("a", "", ("b",)), "b": part("b", "", ("a",)), "c": part("c", "", ("gone",))}
    monkeypatch.setattr(parts_module, "parts", lambda: round_about)
    with pytest.raises(PartError, match="a -> b"):
        needed("a")
    with pytest.raises(PartError, match="'gone'"):
        needed("c")


def test_what_a_part_needs_stands_before_it_once(monkeypatch):
    known = {"a": part("a", "", ("b", "c")), "b": part("b", "", ("c",)), "c": part("c", "")}
    monkeypatch.setattr(parts_module, "parts", lambda: known)
    assert [piece.name for piece in needed("a")] == ["c", "b", "a"]
