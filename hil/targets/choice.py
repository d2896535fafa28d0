"""The targets by name."""

import importlib
import tempfile
from pathlib import Path

from hil.targets import Absent, Target
from hil.targets.vm import FREE, Costs, Vm

TARGETS = {
    "vm": "hil.targets.vm:Vm",
    "model": "hil.targets.model:Model",
    "qemu": "hil.targets.qemu:Qemu",
    "board": "hil.targets.board:Board",
}
DEFAULT = "vm"


def make(target: str, node: str, folder: Path, costs: Costs = FREE) -> Target:
    """A node on a target; costs are a virtual board's alone.

    Raises:
        KeyError: there is no such target.
    """
    if target == DEFAULT:
        return Vm(node, folder, costs)
    module, _, name = TARGETS[target].partition(":")
    made: Target = getattr(importlib.import_module(module), name)(node, folder)
    return made


def why_absent(target: str) -> str:
    """Why a target is not to be had here; empty where it is."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            make(target, "probe", Path(folder)).open()
        except Absent as absent:
            return str(absent)
    return ""
