"""Checksums of the book's rows, so that what rots on the disk is found and never taken for an order."""

import hashlib
import json
from collections.abc import Iterable
from typing import Any

WRAP = (1 << 63) - 1


def check(table: str, row: Iterable[Any]) -> int:
    """The checksum of one row, 63 bits of BLAKE2b: over its table's name and all its other columns."""
    text = json.dumps([table, *row], separators=(",", ":"))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") & WRAP


class Seal:
    """One number over all rows that still matter, whatever their order: a row that is missing, or old, is found as well.

    A row's checksum goes with the row. Only the sum here tells that a whole row, rightly sealed, has gone.
    """

    def __init__(self) -> None:
        self._of: dict[tuple[str, int], int] = {}
        self._sum = 0

    def put(self, table: str, number: int, checks: Iterable[int]) -> None:
        """The rows of one order or command as they stand now; without any it matters no longer."""
        total = sum(checks)
        self._sum += total - self._of.pop((table, number), 0)
        if total:
            self._of[table, number] = total

    def over(self, counters: Iterable[tuple[str, int]]) -> int:
        """The number to keep beside the counters."""
        return (self._sum + check("counters", sorted(counters))) & WRAP
