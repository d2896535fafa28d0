"""What a factory's History keeps, for how long and how exactly: the table [history] of factory.toml."""

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from twin.tables import Reader

KEYS = ("keep_days", "keep_mb", "cold_after_h", "reserve_mb", "leave_out", "bounds")
LONGEST_DAYS = 36_500
MOST_MB = 100_000_000
LARGEST_BOUND = 1e9


@dataclass(frozen=True, slots=True)
class Recording:
    """How History is kept.

    Attributes:
        keep_days, keep_mb: what is older goes, and the oldest where all of it is larger.
        cold_after_h: what is older becomes Parquet.
        reserve_mb: of the disk, which History leaves to the orders: it stops before less is free.
        leave_out: patterns of the Signals that are not kept.
        bounds: (pattern, by how much what is kept may be off, in the Signal's declared unit); the first that fits counts.
    """

    keep_days: float = 400.0
    keep_mb: int = 4096
    cold_after_h: float = 24.0
    reserve_mb: int = 64
    leave_out: tuple[str, ...] = ()
    bounds: tuple[tuple[str, float], ...] = ()

    def keeps(self, path: str) -> bool:
        """Whether a Signal is kept."""
        return not any(fnmatchcase(path, pattern) for pattern in self.leave_out)

    def bound(self, path: str) -> float | None:
        """The declared bound of a Signal; None where none is declared."""
        return next((bound for pattern, bound in self.bounds if fnmatchcase(path, pattern)), None)


def recording(reader: Reader, value: Any) -> Recording:
    """The table's content; mistakes are noted."""
    table = reader.table("history", value, KEYS)
    plain = Recording()
    bounds = reader.table("history.bounds", table.get("bounds", {}))
    left = table.get("leave_out", [])
    if not isinstance(left, list):
        reader.wrong("history.leave_out", f"must be a list of paths or patterns, not {left!r}")
        left = []
    made = Recording(
        reader.number("history.keep_days", table.get("keep_days", plain.keep_days), 0.01, LONGEST_DAYS),
        reader.integer("history.keep_mb", table.get("keep_mb", plain.keep_mb), 1, MOST_MB),
        reader.number("history.cold_after_h", table.get("cold_after_h", plain.cold_after_h), 0.1, 24 * LONGEST_DAYS),
        reader.integer("history.reserve_mb", table.get("reserve_mb", plain.reserve_mb), 0, MOST_MB),
        tuple(reader.text(f"history.leave_out[{i}]", one) for i, one in enumerate(left)),
        tuple((p, reader.number(f'history.bounds."{p}"', one, 0, LARGEST_BOUND)) for p, one in bounds.items()),
    )
    if made.cold_after_h > 24 * made.keep_days:
        most = f"{24 * made.keep_days:g} h that history.keep_days={made.keep_days:g} keeps"
        reader.wrong("history.cold_after_h", f"{made.cold_after_h:g} is more than the {most}")
    return made
