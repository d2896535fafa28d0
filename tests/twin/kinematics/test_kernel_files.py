"""Generated files: named by what they are made from, written once, never stale."""

import os
import shutil
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.twin.kinematics.chains import chain
from twin.kinematics import Robot
from twin.kinematics import kernels as kernel_files
from twin.kinematics.generate import parts as parts_module
from twin.kinematics.generate.parts import Part, PartError, needed, stripped
from twin.kinematics.kernels import MOST_FILES, Kernels, KernelsError, file_of, kernels

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
    for name in ("twin/arrays.py", "twin/clock.py", "twin/kernel.py", "twin/__init__.py"):
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
    assert {found.name for found in place.iterdir()} == {path.name, "__pycache__"}, "no draft is left"


def test_files_that_were_not_used_for_longest_make_room_and_nothing_else_does(place):
    first = file_of(ROBOT, "single")
    written = first.stat().st_mtime_ns
    os.utime(first, ns=(0, written))
    mine = place / "mine.py"
    mine.write_text("")
    os.utime(mine, (0, 0))
    for number in range(MOST_FILES + 5):
        old = place / f"old_{number:016x}.py"
        old.write_text("")
        os.utime(old, (number + 1, 10**9 - number))
    assert file_of(ROBOT, "single") == first
    assert first.stat().st_mtime_ns == written, "Numba would compile it again"
    path = file_of(replace(ROBOT, name="two"), "single")
    left = {found.name for found in place.glob("*.py")}
    assert len(left) == MOST_FILES + 1
    assert {path.name, first.name, mine.name, f"old_{MOST_FILES + 4:016x}.py"} < left and f"old_{0:016x}.py" not in left


def test_a_use_is_noted_even_where_reading_leaves_no_trace(place, monkeypatch):
    path = file_of(ROBOT, "single")
    written, later = path.stat().st_mtime_ns, time.time_ns() + 10**12
    os.utime(path, ns=(later - 10**11, written))
    monkeypatch.setattr(kernel_files, "utc_ns", lambda: later)
    file_of(ROBOT, "single")
    assert (path.stat().st_atime_ns, path.stat().st_mtime_ns) == (later, written)


def test_drafts_of_processes_that_ended_are_swept_and_those_being_written_are_not(place):
    file_of(ROBOT, "single")
    for name, age in (("stale", 7200), ("fresh", 60)):
        draft = place / f"kernels_{name}.new"
        draft.write_text("")
        os.utime(draft, (time.time() - age, time.time() - age))
    file_of(replace(ROBOT, name="two"), "single")
    assert [draft.name for draft in place.glob("*.new")] == ["kernels_fresh.new"]


@pytest.mark.parametrize("keep", [0, 100, -1], ids=["empty", "cut", "but for one letter"])
def test_a_file_that_is_not_whole_is_written_again(place, keep):
    path = file_of(ROBOT, "single")
    whole = path.read_bytes()
    path.write_bytes(whole[:keep])
    assert file_of(ROBOT, "single") == path and path.read_bytes() == whole


def planted(robot: Robot, source: str) -> Path:
    """The robot's file, whole but with other kernels in it."""
    path = file_of(robot, "single")
    end = path.read_text().splitlines()[-1]
    path.write_text(f"{source}\n{end}\n")
    return path


def test_a_thread_never_gets_a_module_that_has_not_run_yet(place):
    robot = replace(ROBOT, name="slow")
    planted(robot, "import time\ntime.sleep(0.2)\nfriction = 'there'")
    with ThreadPoolExecutor(4) as threads:
        asked = [threads.submit(lambda: Kernels(robot).friction) for _ in range(4)]
        assert [one.result() for one in asked] == ["there"] * 4


def test_a_module_that_failed_to_run_is_asked_anew(place):
    robot = replace(ROBOT, name="fails")
    path = planted(robot, "raise OverflowError")
    for _ in range(2):
        with pytest.raises(OverflowError):
            _ = Kernels(robot).friction
    path.unlink()
    out = np.empty(1)
    Kernels(robot).friction.py_func(np.array([1.0]), out)
    assert out[0] == pytest.approx(ROBOT.joints[0].viscous + ROBOT.joints[0].coulomb)


def homeless() -> Path:
    raise RuntimeError("Could not determine home directory.")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda place, monkeypatch: place.chmod(0o770), "770"),
        (lambda place, monkeypatch: place.chmod(0o757), "757"),
        (lambda place, monkeypatch: (place / "__pycache__").chmod(0o775), "__pycache__, its mode is 775"),
        (lambda place, monkeypatch: monkeypatch.setattr(os, "geteuid", lambda: place.stat().st_uid + 1), "belongs to user"),
        (lambda place, monkeypatch: (shutil.rmtree(place), place.write_text("")), "File exists"),
        (lambda place, monkeypatch: monkeypatch.setenv("LOCKSTEP_KERNELS", "/dev/null/kernels"), "/dev/null/kernels"),
        (lambda place, monkeypatch: monkeypatch.setattr(os, "replace", lambda *_: os.mkdir(place)), "File exists"),
    ],
    ids=["group", "others", "machine code", "another user's", "a file", "below a file", "cannot be written"],
)
def test_a_folder_that_cannot_be_used_or_trusted_is_named_with_the_way_out(place, monkeypatch, spoil, said):
    file_of(ROBOT, "single")
    spoil(place, monkeypatch)
    with pytest.raises(KernelsError, match=f"kernels cannot be kept in .*{said}.*LOCKSTEP_KERNELS"):
        file_of(replace(ROBOT, name="two"), "single")


def test_who_has_no_home_is_told_how_to_name_a_folder(monkeypatch):
    for name in ("LOCKSTEP_KERNELS", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(KernelsError, match=r"home directory.*LOCKSTEP_KERNELS"):
        file_of(ROBOT, "single")


def test_a_folder_named_from_here_stays_the_same_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOCKSTEP_KERNELS", "here")
    assert file_of(ROBOT, "single").parent == tmp_path / "here"


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
