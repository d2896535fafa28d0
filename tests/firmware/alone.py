"""Modules of the firmware alone, under CPython, in a time that stands in a test's hands."""

import builtins
import importlib
import sys
from types import ModuleType
from typing import Any
from unittest import mock

from tests.firmware.rig import FIRMWARE

WRAP = 1 << 30  # a board's ticks start again there


class Ticks:
    """A board's time.

    Attributes:
        us: since it was switched on.
    """

    def __init__(self, ms: int = 0) -> None:
        self.us = 1000 * ms

    @property
    def ms(self) -> int:
        return self.us // 1000 % WRAP

    @ms.setter
    def ms(self, value: int) -> None:
        self.us = 1000 * value

    def module(self) -> ModuleType:
        """What it is to `from time import ...`."""
        return _module(
            "time",
            ticks_ms=lambda: self.ms,
            ticks_us=lambda: self.us % WRAP,
            ticks_add=lambda ticks, more: (ticks + more) % WRAP,
            ticks_diff=lambda end, start: (end - start + WRAP // 2) % WRAP - WRAP // 2,
        )


def load(*names: str, ticks: Ticks | None = None, **stands_in: dict[str, Any]) -> list[ModuleType]:
    """Modules of the firmware, new ones each time, with what CPython lacks, and what else stands in for a board's module."""
    plain = {name: lambda thing: thing for name in ("const", "native", "viper")}
    lacking = {"micropython": _module("micropython", **plain), "time": (ticks or Ticks()).module()}
    lacking |= {name: _module(name, **holds) for name, holds in stands_in.items()}
    with (
        mock.patch.dict(sys.modules, lacking),
        mock.patch.dict(vars(builtins), ptr8=bytes, ptr16=bytes),  # of viper's annotations
        mock.patch.object(sys, "path", [str(FIRMWARE), *sys.path]),
        mock.patch.object(sys, "dont_write_bytecode", True),
    ):
        return [importlib.import_module(f"node.{name}") for name in names]


def _module(name: str, **holds: Any) -> ModuleType:
    made = ModuleType(name)
    vars(made).update(holds)
    return made
