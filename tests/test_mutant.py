"""Mutants take effect where they should, and nowhere else."""

import fcntl
import subprocess
from pathlib import Path

import pytest

from tests.firmware.rig import eventually
from tests.mutant import FIRMWARE, ROOT, firmware_with, run_mutant

PAST = ("controller.nodes.grant", "& 0xFFFFFFFF < 1 << 31", "& 0xFFFFFFFF > 1 << 31")
ASK = "from controller.nodes.grant import past; print(past(2, 1))"


def test_a_copied_firmware_differs_in_one_place(tmp_path: Path) -> None:
    made = firmware_with(tmp_path, "node/safety.py", "MIN_LEASE_MS = 50\n", "MIN_LEASE_MS = 51\n")
    assert "MIN_LEASE_MS = 51\n" in (made / "node" / "safety.py").read_text()
    names = sorted(path.relative_to(FIRMWARE) for path in FIRMWARE.rglob("*.py"))
    differing = [str(name) for name in names if (made / name).read_bytes() != (FIRMWARE / name).read_bytes()]
    assert differing == ["node/safety.py"]


@pytest.mark.parametrize("before", ["there is no such text", "return"])
def test_an_edit_names_one_place_or_fails(tmp_path: Path, before: str) -> None:
    with pytest.raises(AssertionError, match="times, not once"):
        firmware_with(tmp_path, "node/safety.py", before, "")
    with pytest.raises(AssertionError, match="times, not once"):
        run_mutant("controller.nodes.grant", before, "", ASK)


def test_a_module_is_imported_with_its_edit_and_the_sources_stay_as_they_are() -> None:
    cached = {path: path.read_bytes() for path in (ROOT / "controller" / "nodes").rglob("grant*.pyc")}
    assert run_mutant(*PAST, ASK).stdout == "False\n"
    assert {path: path.read_bytes() for path in cached} == cached
    assert run_mutant("controller.nodes.grant", "Ns(400 * MS)", "Ns(401 * MS)", ASK).stdout == "True\n"


def test_child_processes_see_the_edit_too() -> None:
    code = f"import subprocess, sys; import controller.nodes.grant; sys.exit(subprocess.call([sys.executable, '-c', {ASK!r}]))"
    assert run_mutant(*PAST, code).stdout == "False\n"


UNPACK = """
import numpy as np
from twin.motion.unpacking import unpack
head = np.zeros((1, 5), np.int64)
unpack(np.array([0, 1, 5, 0xFFFF], np.uint16), head, np.zeros((1, 4), np.int64), np.zeros(1, np.int64))
print(head[0, 3])
"""


def test_what_a_kernel_calls_is_compiled_anew_and_kept_nowhere() -> None:
    kept = {path: path.stat().st_mtime_ns for path in (ROOT / "twin" / "motion").rglob("unpacking*.nb?")}
    assert run_mutant("twin.motion.unpacking", "value - 65536 if", "value - 65535 if", UNPACK).stdout == "5\n"
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_a_module_that_nothing_imports_is_no_proof() -> None:
    with pytest.raises(AssertionError, match="nothing has imported"):
        run_mutant(*PAST, "print(1)")


def test_a_mutant_that_hangs_is_killed_with_its_children(tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.touch()
    child = f"import fcntl, signal; file = open({str(locked)!r}); fcntl.flock(file, fcntl.LOCK_EX); signal.pause()"
    code = f"import controller.nodes.grant, subprocess, sys; subprocess.call([sys.executable, '-c', {child!r}])"
    with pytest.raises(subprocess.TimeoutExpired):
        run_mutant(*PAST, code, timeout_s=2)

    def free() -> bool:
        with locked.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

    eventually(free, "the child still lives")
