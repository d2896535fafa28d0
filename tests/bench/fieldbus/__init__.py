"""`python -m tests.bench fieldbus [--json]`: the scan engine, history and take-over against what has to be reached.

Each module of MODULES tells its rows: `ROWS` maps a row's name to a function that measures it, or `measure()` gives all of them.
A row's value is one figure, or figures by their names where it has several.
"""

import importlib
import importlib.util
from collections.abc import Callable, Iterator
from typing import Any

MODULES = ("scan", "history", "takeover")


def rows(wanted: Callable[[str], bool]) -> Iterator[tuple[str, Any]]:
    """Name and value of each row that is wanted, measured now."""
    for name in MODULES:
        if importlib.util.find_spec(f"{__name__}.{name}") is None:
            continue
        module = importlib.import_module(f"{__name__}.{name}")
        if not hasattr(module, "ROWS"):
            yield from ((row, value) for row, value in module.measure().items() if wanted(row))
            continue
        for row, measure in module.ROWS.items():
            if wanted(row):
                yield row, measure()
