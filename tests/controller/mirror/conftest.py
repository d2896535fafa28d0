"""One press process for all tests that leave it as they found it."""

from collections.abc import Iterator

import pytest

from tests.controller.mirror.rig import Press, pressing


@pytest.fixture(scope="session")
def press(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Press]:
    """A running press."""
    with pressing(tmp_path_factory.mktemp("press")) as found:
        yield found
