"""A place for disks that only a test has."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.durability.story import ramdisk


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder where a write costs nothing, in memory where the system has such a place."""
    with tempfile.TemporaryDirectory(dir=ramdisk()) as folder:
        yield Path(folder)
