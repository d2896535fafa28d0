"""What every test gets."""

import gc
import os
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import settings

# The tools that setup puts beside this Python are found, also when its environment is not activated.
os.environ["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))

# Many tests start processes, and each worker imports everything: what one has compiled is there for all.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# No test is timed: two busy cores must not fail one. CI draws the same examples every time; a desk draws new ones.
settings.register_profile("lockstep", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("lockstep")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Thousands of tests, and all that they import, are no garbage: no later collection looks at them again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.collect()
        gc.freeze()


def pytest_unconfigure() -> None:
    """What dies with the process is to die in order."""
    gc.unfreeze()
