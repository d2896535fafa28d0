"""`python -m tests.bench opcua [--json]`: our OPC UA server against others, in the same run.

Servers run on core 0 and the counting client on core 1; those that are not being measured stand still. Every server serves the
same Doubles, and writes all of them every 100 ms; sessions are anonymous over Basic256Sha256 with SignAndEncrypt, for all alike.
Figures are medians over rounds that go from one server to the next; `spread` is the least and the most of them.
"""

import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any


def rows(wanted: Callable[[str], bool]) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Name, figures and line of each row that is wanted, measured now."""
    from tests.bench.opcua import figures, storm

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that servers are ended and folders go
    names = [name for name in (*figures.ROWS, *storm.ROWS) if wanted(name)]
    with figures.Field([name for name in names if name in figures.ROWS]) as field:
        for name in names:
            if name in figures.ROWS:
                found = figures.ROWS[name](field)
                yield name, found, figures.line(name, found)
    for name in names:
        if name in storm.ROWS:
            found = storm.ROWS[name]()
            yield name, found, figures.line(name, found)
