"""The targets by name."""

import importlib
import tempfile
from pathlib import Path

from hil.targets import Absent, Target
from hil.targets.vm import FREE, Costs

TARGETS = {
    "vm": "hil.targets.vm:Vm",
    "narrow": "hil.targets.narrow:Narrow",
    "model": "hil.targets.model:Model",
    "qemu": "hil.targets.qemu:Qemu",
    "board": "hil.targets.board:Board",
}
DEFAULT = "vm"
VIRTUAL = ("vm", "narrow")


def make(target: str, node: str, folder: Path, costs: Costs = FREE) -> Target:
    """A node on a target; costs are a virtual board's alone.

    Raises:
        KeyError: there is no such target.
    """
    module, _, name = TARGETS[target].partition(":")
    kind = getattr(importlib.import_module(module), name)
    made: Target = kind(node, folder, costs) if target in VIRTUAL else kind(node, folder)
    return made


def why_absent(target: str) -> str:
    """Why a target is not to be had here; empty where it is."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            make(target, "probe", Path(folder)).open()
        except Absent as absent:
            return str(absent)
    return ""
