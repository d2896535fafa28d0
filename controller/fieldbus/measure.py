"""How long 99 of 100 things take, kept up while they happen at the price of one comparison each."""

KEPT = 128


class Slowest:
    """The 99th percentile of a stream, from its last KEPT values: renewed whenever so many have come, raised at once."""

    __slots__ = ("_kept", "_p99", "count")

    def __init__(self) -> None:
        self._kept: list[int] = []
        self._p99 = 0
        self.count = 0

    def add(self, value: int) -> None:
        """One more."""
        kept = self._kept
        kept.append(value)
        self.count += 1
        if len(kept) >= KEPT:
            kept.sort()
            self._p99 = kept[KEPT * 99 // 100]
            kept.clear()

    @property
    def p99(self) -> int:
        """99 of 100 are not above it; the largest of all before KEPT have come. 0 before the first."""
        return self._p99 or max(self._kept, default=0)
