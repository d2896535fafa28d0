"""Programs that the motion tests share."""

import os
from pathlib import Path

import pytest

START = "G21\nG90\nM83\nM140 S60\nM104 S215\nG28\nM190 S60\nM109 S215\n"


@pytest.fixture(scope="session")
def parts() -> Path:
    """The folder of the six sliced parts; LOCKSTEP_SHARED names another place than beside the repository."""
    root = Path(__file__).resolve().parents[3]
    shared = Path(os.environ.get("LOCKSTEP_SHARED", root.parent / "shared"))
    if not (shared / "data" / "parts").is_dir():
        pytest.skip(f"{shared / 'data' / 'parts'} is not there; LOCKSTEP_SHARED can name the folder shared/")
    return shared / "data" / "parts"


@pytest.fixture(scope="session")
def start() -> str:
    """Heats and homes; extrusion is relative from here on."""
    return START
