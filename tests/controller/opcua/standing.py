"""A clock for tests in which nothing waits."""

from twin.clock import Ns


class Standing:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.time = Ns(0)

    def now(self) -> Ns:
        """The time."""
        return self.time

    async def until(self, due: Ns) -> None:
        """Nothing here waits."""
        raise AssertionError(due)
