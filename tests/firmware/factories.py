"""Small factories for the firmware's tests, and their nodes' files."""

import json
from pathlib import Path
from typing import Any

from twin import export, factory

HEAD = """
[factory]
name = "bench"
[cells.bench]
[nodes.n]
uid = 4711
port = 15999
virtual = true
"""
BELT = """
[machines.belt]
type = "conveyor"
cell = "bench"
node = "n"
base = 256
pins = { at_entry = 34, at_exit = 35, tripped = 32, run = 16, speed = 17 }
"""
LAMPS_SPEC = """
from typing import Annotated as A

from twin.machine import Input, Never, Output
from twin.wire import HOLD, OFF, Bit, OnSilence, record


@record
class Status:
    open: A[bool, Bit(0, 0)]
    shut: A[bool, Bit(0, 15)]


@record
class Command:
    lamp: A[bool, OnSilence(OFF), Bit(0, 0)] = False
    beacon: A[bool, OnSilence(HOLD), Bit(1, 9)] = False


BLOCKS = (Input("open"), Input("shut", invert=True), Output("lamp"), Output("beacon"))
INTERLOCKS = (Never("lamp", when="open"),)
"""
LAMPS = """
[types.lamps]
path = "lamps"
[machines.lamps]
type = "lamps"
cell = "bench"
node = "n"
base = 300
pins = { open = 13, shut = 12, lamp = 14, beacon = 15 }
"""
CONTROL = "def decide(sample, wish, params, now):\n    return None, ()\n"

AT_ENTRY, AT_EXIT, TRIPPED, RUN, SPEED = 34, 35, 32, 16, 17
SHUT, OPEN, LAMP, BEACON = 12, 13, 14, 15
BELT_STATUS, BELT_COMMAND = 256, 259
LAMPS_STATUS, LAMPS_COMMAND = 300, 301


def node_file(folder: Path, machines: str) -> str:
    """The node.json of the one node of a factory with these machines."""
    types = folder / "lamps"
    types.mkdir(parents=True, exist_ok=True)
    (types / "spec.py").write_text(LAMPS_SPEC)
    (types / "control.py").write_text(CONTROL)
    made = factory.parse(HEAD + machines, folder)
    return export.node_json(made, made.nodes["n"])


def with_jobs(text: str, **motion: Any) -> str:
    """A node file with a motion of its own: it runs while the belt's run bit is set."""
    config = json.loads(text)
    config["motion"] = {"run": [BELT_COMMAND, 0], "axes": [], "ring": 2048, "on_link_loss": "stop", **motion}
    return json.dumps(config)
