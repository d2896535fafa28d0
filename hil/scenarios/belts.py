"""What belts must do when the network to them breaks, or the controller does."""

from collections.abc import Callable
from typing import Any

from hil.judging.verdict import Is, Requirement, responds
from hil.rig import LinkCut
from hil.scenario import Number, Stage, scenario
from twin.clock import MS, Ns, S, ns
from twin.machine import Drive
from twin.node import LEASE_MS, TICK_MS
from twin.trace import Trace

LEASE_AND_TICK = Ns((LEASE_MS + TICK_MS) * MS)


def _last(signal: str, wanted: Any) -> Callable[[Trace], tuple[bool, str]]:
    """A rule: what a Signal's last value must be."""
    return lambda trace: (trace.last(signal) == wanted, f"{signal} is {trace.last(signal)!r} at the end")


CUT_S = Number(3.0, 0.6, 600.0, "how long the link stays cut")


@scenario("cut-while-running", factory="belt.toml", recipe="convey", requirements=("BELT-001", "BELT-002"), cut_s=CUT_S)
async def cut_while_running(stage: Stage) -> tuple[Requirement, ...]:
    """The link of a running belt is cut and joined again: the belt stops, and stays so."""
    machine = next(m for m in stage.rig.factory.machines.values() if any(isinstance(b, Drive) for b in m.type.blocks))
    node, pin = machine.node, f"{machine.name}/pin/run"
    await stage.after(S)
    stage.put_part(machine.name)
    await stage.until((pin, bool), within=Ns(10 * S))
    await stage.after(Ns((stage.seed % 100 + 20) * 10 * MS))
    stage.cut(node)
    await stage.after(ns(stage["cut_s"]))
    stage.heal(node)
    await stage.after(Ns(5 * S))
    return (
        responds("the belt is off by the end of its lease", LinkCut(node), pin, Is(0), LEASE_AND_TICK).named("BELT-001"),
        Requirement("nothing restarts when the link is back", _last(f"{node}/node/latched", True), "BELT-002"),
    )


@scenario("kill-the-controller", factory="belt.toml", recipe="convey", requirements=("BELT-003", "BELT-004"))
async def kill_the_controller(stage: Stage) -> tuple[Requirement, ...]:
    """The controller is killed while a belt runs, and started again: the belt stops, the order is held."""
    assert stage.house is not None
    machine = next(m for m in stage.rig.factory.machines.values() if any(isinstance(b, Drive) for b in m.type.blocks))
    pin = f"{machine.name}/pin/run"
    await stage.after(S)
    stage.put_part(machine.name)
    await stage.until((pin, bool), within=Ns(10 * S))
    await stage.after(Ns((stage.seed % 100 + 20) * 10 * MS))
    killed = stage.now
    stage.house.kill()
    await stage.until((pin, lambda run: not run), within=Ns(5 * S))
    stopped = Ns(stage.now - killed)
    stage.house.restart()
    await stage.until((f"core/node:{machine.node}/link", lambda link: link == "ours"), within=Ns(10 * S))
    await stage.after(Ns(2 * S))
    told = f"after {stopped / MS:.1f} ms"
    return (
        Requirement("the belt is off by the end of its lease", lambda _: (stopped <= LEASE_AND_TICK, told), "BELT-003"),
        Requirement("the order is held", _last("core/factory/order/state", "HELD"), "BELT-004"),
    )
