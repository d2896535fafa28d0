"""`lockstep hil nodes FACTORY --state DIR`: the virtual nodes of a factory and the world around them, in factory time.

What it has to say goes to standard output as JSON, one object a line: `pace` while it runs, `event` for what happens in the
world, `summary` at the end. It ends on SIGTERM, on SIGINT, or when its standard input is closed.
"""

import argparse
import dataclasses
import json
import os
import select
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from hil.follow import Follower
from hil.judging.journey import journey
from hil.judging.verdict import judge
from hil.rig import UNPACED, NodeEnded, Rig
from hil.targets.vm import BOARD, FREE
from twin import motion
from twin.clock import Ns, S, seconds, wall_ns, wall_sleep
from twin.factory import Factory, read

REPORT = Ns(S // 4)
KEPT = 1000
COSTS = {"board": BOARD, "free": FREE}


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """The command's arguments."""
    nodes = commands.add_parser("nodes", help="run the virtual nodes of a factory, for a core of its own")
    nodes.add_argument("factory", type=Path)
    nodes.add_argument("--state", type=Path, required=True, help="where the nodes' file systems and the clock's socket lie")
    nodes.add_argument("--speed", type=float, default=1.0, help="factory time per wall time; 0 for as fast as it goes")
    nodes.add_argument("--costs", choices=COSTS, default="board", help="cost model of the boards")
    nodes.add_argument("--follow", metavar="MACHINE=PROGRAM", action="append", default=[], help="compare steps with a plan")
    nodes.add_argument("--judge", action="store_true", help="judge at the end what became of the parts that arms carry")
    nodes.set_defaults(do=_nodes)


def _nodes(options: argparse.Namespace) -> int:
    return _run(read(options.factory), options)


class _Ended:
    """Set by a signal, or when whoever started this process has closed its standard input."""

    def __init__(self) -> None:
        self._signalled = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._signal)

    def _signal(self, number: int, frame: FrameType | None) -> None:
        self._signalled = True

    def __call__(self) -> bool:
        if not self._signalled and select.select([sys.stdin], [], [], 0)[0]:
            self._signalled = not os.read(sys.stdin.fileno(), 1)
        return self._signalled


def _run(factory: Factory, options: argparse.Namespace) -> int:
    ended = _Ended()
    folder = options.state / "nodes"
    costs, unpaced = COSTS[options.costs], options.speed == UNPACED
    with Rig(factory, folder, costs=costs, speed=options.speed, kept=KEPT, together=unpaced) as rig:
        for pair in options.follow:
            name, _, program = pair.partition("=")
            rig.world.followers[name] = _follower(factory, name, Path(program))
        rig.open_door(options.state / "clock.sock")
        _say("ready", nodes=sorted(rig.nodes))
        while not rig.guests and not ended():
            rig.let_in()
            wall_sleep(0.01)
        while not ended():
            began, from_now = wall_ns(), rig.now
            rig.pass_time(Ns(2**61), lambda began=began: wall_ns() - began > REPORT)  # type: ignore[misc]
            passed = max(1, wall_ns() - began)
            for line in ended_since(rig, from_now):
                print(line, flush=True)
            _say("pace", now_s=seconds(rig.now), pace=(rig.now - from_now) / passed, behind_s=seconds(rig.behind))
        _say("summary", **summary(rig), verdicts=verdicts(rig) if options.judge else [])
    return 0


def ended_since(rig: Rig, since: Ns) -> list[str]:
    """One line for each node whose firmware has ended by itself since then, with the last that it said."""
    return [
        f"node {entry.what.subject}: its firmware has ended: {entry.what.console or 'it said nothing'}"
        for entry in rig.trace.of(NodeEnded)
        if since <= entry.time < rig.now
    ]


def _follower(factory: Factory, name: str, program: Path) -> Follower:
    machine = factory.machines[name]
    assert machine.type.limits is not None, f"{name} plans no Jobs"
    limits = machine.type.limits(machine.params)
    plan = motion.plan(program.read_text(encoding="utf-8"), limits)
    return Follower(plan.vertices(), limits.steps_per_mm)


def summary(rig: Rig) -> dict[str, Any]:
    """What is known at the end: the trace's digest up to the last thing that happened to a Part, and how steps compare with plans.

    What comes after that ends when somebody says so, in wall time, and is in no digest.
    """
    followed = {name: dataclasses.asdict(follower.result) for name, follower in rig.world.followers.items()}
    return {"now_s": seconds(rig.now), "digest": rig.world.digest, "followed": followed}


def verdicts(rig: Rig) -> list[dict[str, Any]]:
    """On the way of every Part that an arm has carried."""
    found = judge(journey(rig.factory), rig.trace)
    return [{"requirement": one.requirement, "passed": one.passed, "evidence": one.evidence} for one in found]


def _say(kind: str, **facts: Any) -> None:
    print(json.dumps({"kind": kind, **facts}), flush=True)
