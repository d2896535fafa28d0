"""A process that writes the book is killed at random instants: every commit that it had told of is there, and none is corrupt."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


def killed(folder: Path, kills: int, seed: int) -> dict[str, object]:
    """What the harness found; it forks, so it has a process of its own."""
    command = [sys.executable, "-m", "tests.durability.killer", str(folder), str(kills), str(seed)]
    return dict(json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout))


def test_what_a_killed_process_had_acknowledged_is_there(tmp_path: Path) -> None:
    found = killed(tmp_path, 15, seed=1)
    assert found["wrong"] == [] and int(str(found["acknowledged"])) > 15


@pytest.mark.soak
@pytest.mark.parametrize("seed", [2, 3])
def test_after_two_thousand_kills_nothing_is_lost_and_nothing_is_corrupt(tmp_path: Path, seed: int) -> None:
    found = killed(tmp_path, 1000, seed)
    assert found["wrong"] == [] and int(str(found["acknowledged"])) > 2000
