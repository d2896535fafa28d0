"""How many records a minute something may bring: the others are counted, and their sum is told when the minute is over."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from controller.audit.chain import Record
from twin.clock import Ns, S

MINUTE: Final = Ns(60 * S)
MOST_COUNTED: Final = 1_000
"""Minutes that run at a time; whoever comes beyond them shares one."""


@dataclass(slots=True)
class _Minute:
    """What came since a time, and the record that its sum will be told in."""

    since: Ns
    most: int
    told: Record
    count: int = 0


class Quotas:
    """Counts, each by what it is about and whose it is.

    Args:
        steady: a clock that never goes back.
        tell: takes the record of a sum.
    """

    def __init__(self, steady: Callable[[], Ns], tell: Callable[[Record], None]) -> None:
        self._steady, self._tell = steady, tell
        self._minutes: dict[tuple[str, str], _Minute] = {}

    def take(self, what: str, whose: str, most: int, told: Callable[[], Record]) -> bool:
        """Whether one more gets a record of its own.

        Args:
            told: makes the record of the sum, in whose text the number goes in front.
        """
        now = self._steady()
        key = (what, whose) if (what, whose) in self._minutes or len(self._minutes) < MOST_COUNTED else (what, "")
        minute = self._minutes.get(key)
        if minute is None or now - minute.since >= MINUTE:
            if minute is not None:
                self._sum_up(minute)
            minute = self._minutes[key] = _Minute(now, most, told())
        minute.count += 1
        return minute.count <= minute.most

    def look(self, ends: bool = False) -> None:
        """Tell the sums of the minutes that are over; `ends`: of all."""
        now = self._steady()
        for key, minute in tuple(self._minutes.items()):
            if ends or now - minute.since >= MINUTE:
                del self._minutes[key]
                self._sum_up(minute)

    def _sum_up(self, minute: _Minute) -> None:
        if minute.count > minute.most:
            text = f"{minute.count - minute.most} more {minute.told.text}, more than {minute.most} a minute"
            self._tell(replace(minute.told, text=text))
