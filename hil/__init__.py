"""How we know: the rig, its targets, faults and verdicts. It also runs the demo's virtual nodes."""

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T", bound=Callable[..., object])

__all__ = ["requirement"]


def requirement(*ids: str) -> Callable[[T], T]:
    """Say which requirements a test shows: they go to JUnit and into the requirements matrix."""
    import pytest

    return pytest.mark.requirement(*ids)
