"""`lockstep run`: starts the processes, shows what they say, ends them."""

import asyncio
import shutil
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live

from controller import live, live_mirrored
from controller.brought import servers
from controller.children import Child, ChildEnded, Children, json_line
from controller.feed import Changes, FeedLost, FeedSignal, Follower, Gap, Snapshot, feed_signals, follow
from twin import motion
from twin.clock import Clock, LoopClock, Ns, S
from twin.factory import Factory, Machine

REDRAW = Ns(S // 8)
RETRY = Ns(S // 5)
LONGEST_SOCKET_PATH = 100
PRINT = "print"
ENDING = ("shadow", "mirror", "opcua", "core", "history", "rig")
ENDED = ("DONE", "HELD", "CANCELLED")
INTERRUPTED = 128 + signal.SIGINT


@dataclass(frozen=True, slots=True)
class Run:
    """What is to be run.

    Attributes:
        path: of the factory file.
        order: a program to place an order for at the start.
        ends: end when that order has ended.
    """

    path: Path
    factory: Factory
    state: Path
    speed: float
    order: Path | None
    recipe: str
    ends: bool


class _House:
    """The running factory as the terminal sees it."""

    def __init__(self, what: Run, clock: Clock) -> None:
        self.what = what
        self.shown = live.Shown()
        self.console = Console()
        self.clock = clock
        self.children = Children(clock, self.heard)
        self.virtual = any(n.virtual for n in what.factory.nodes.values()) or any(d.virtual for d in what.factory.devices.values())
        self.rig_summary: dict[str, Any] | None = None
        self.rig_ready = asyncio.Event()
        self.done = asyncio.Event()
        self.interrupted = False
        self.to_place: dict[str, str] | None = None
        if what.order is not None and not what.ends:
            self.to_place = {"recipe": what.recipe, "program": what.order.name}
        self._signals: tuple[FeedSignal, ...] = feed_signals(what.factory)

    # ---- what comes in

    def heard(self, child: str, line: str) -> None:
        """A line of a child's output."""
        facts = json_line(line) if child == "rig" else None
        if facts is None:
            if line:
                self.say(f"{child}: {line}")
            return
        if facts["kind"] == "ready":
            self.rig_ready.set()
        elif facts["kind"] == "pace":
            self.shown.pace, self.shown.now_s, self.shown.behind_s = facts["pace"], facts["now_s"], facts["behind_s"]
        elif facts["kind"] == "summary":
            self.rig_summary = facts

    def say(self, line: str) -> None:
        """A line that stays in the terminal, above the view."""
        if "opc.tcp://" in line and not self.shown.endpoint:
            self.shown.endpoint = next(word for word in line.split() if word.startswith("opc.tcp://"))
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)

    async def follow_feed(self) -> None:
        """Keep `shown` as the core says, across the core's restarts."""
        while True:
            with suppress(FeedLost):
                async with follow(self.what.state / "feed.sock") as follower:
                    await self._take(follower)
            await self.clock.until(Ns(self.clock.now() + RETRY))

    async def _take(self, follower: Follower) -> None:
        if self.to_place is not None:
            answer = await follower.ask("place_order", self.to_place, "start")
            self.to_place = None
            self.say(f"order: {answer.text}")
        async for message in follower:
            match message:
                case Snapshot(rows=rows) | Changes(rows=rows):
                    for row in rows:
                        path = self._signals[row.index].path
                        self.shown.values[path], self.shown.qualities[path] = row.value, row.quality
                case Gap(lost=lost):
                    self.shown.event(f"{lost} events were too fast to show")
                case _:
                    pass
            if isinstance(message, Changes):
                for event in message.events:
                    facts = " ".join(f"{name}={value}" for name, value in event.fields.items())
                    self.shown.event(f"{event.kind} {event.subject} {facts}")
            self._judge()
            await self.clock.until(Ns(self.clock.now() + REDRAW))

    def _judge(self) -> None:
        if self.what.ends and self.state() in ENDED:
            self.done.set()

    def interrupt(self) -> None:
        """End because somebody says so, before the order has ended or after."""
        self.interrupted = self.state() not in ENDED
        self.done.set()

    def state(self) -> str:
        """Where the order stands; empty before it is placed."""
        return str(self.shown.values.get("factory/order/state", "")).upper()

    # ---- processes

    def start(self) -> list[Child]:
        """The processes, in the order in which they start."""
        what = self.what
        place = [str(what.path), "--state", str(what.state)]
        core = list(place)
        found = []
        if self.virtual:
            arguments = ["nodes", *place, "--speed", str(what.speed), *(["--judge"] if what.ends else [])]
            for machine in what.factory.capable(PRINT) if what.ends and what.order is not None else ():
                arguments += ["--follow", f"{machine.name}={what.order}"]
            found.append(Child("rig", "hil", arguments, restart=False))
            core += ["--clock", str(what.state / "clock.sock")]
        if what.order is not None and what.ends:  # at a fixed factory time, so that the trace is the same each time
            core += ["--order", what.recipe, what.order.name]
        found.append(Child("core", "controller.core", core, restart=True))
        found.append(Child("opcua", "controller.opcua", place, restart=True))
        if servers(what.factory):
            found.append(Child("mirror", "controller.mirror", place, restart=True))
        found.append(Child("history", "controller.history", place, restart=True, vital=False))
        found.append(Child("shadow", "controller.shadow", place, restart=True, vital=False))
        return found

    async def draw(self, view: Live) -> None:
        """Keep the view up to date."""
        due = self.clock.now()
        while True:
            view.update(live.draw(self.what.factory, self.shown), refresh=True)
            due = Ns(max(due + REDRAW, self.clock.now()))
            await self.clock.until(due)


async def run(what: Run) -> int:
    """Run a factory until Ctrl-C, or until its order has ended where that is wanted; the exit code."""
    prepare(what)
    loop = asyncio.get_running_loop()
    house = _House(what, LoopClock(loop))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, house.interrupt)
    failed = ""
    view = Live(console=house.console, auto_refresh=False, transient=False) if house.console.is_terminal else None
    try:
        if view:
            view.start()
        failed = await _live(house, view)
    finally:
        await house.children.end(ENDING)
        if view:
            view.update(live.draw(what.factory, house.shown), refresh=True)
            view.stop()
    if what.order is not None:
        house.console.print(live.summary(facts(what, house.shown, house.rig_summary, house.interrupted)))
    if failed:
        print(f"lockstep: {failed}", file=sys.stderr)
    broken = [one for one in (house.rig_summary or {}).get("verdicts", ()) if not one["passed"]]
    if house.interrupted and not failed:
        return INTERRUPTED if what.ends else 0
    return 1 if failed or broken or (what.ends and house.state() != "DONE") else 0


async def _live(house: _House, view: Live | None) -> str:
    """Everything that goes on while the factory runs; why it could not go on, if it could not."""
    failed = ""
    try:
        async with asyncio.TaskGroup() as tasks:
            going = []
            for child in house.start():
                going.append(tasks.create_task(house.children.keep(child)))
                if child.name == "rig":
                    await _first(house.rig_ready, house.done, going[-1])
            going.append(tasks.create_task(house.follow_feed()))
            if view:
                going.append(tasks.create_task(house.draw(view)))
            await house.done.wait()
            await house.children.end(ENDING)
            for task in going:
                task.cancel()
    except* ChildEnded as ended:
        failed = str(ended.exceptions[0])
    return failed


async def _first(ready: asyncio.Event, done: asyncio.Event, ended: "asyncio.Task[None]") -> None:
    """Wait for one of two events, or for a task that ended before them."""
    waiting = [asyncio.create_task(ready.wait()), asyncio.create_task(done.wait())]
    await asyncio.wait({*waiting, ended}, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()


def prepare(what: Run) -> None:
    """Make the state's folder, with the order's program in it. A demo starts afresh, but keeps its users and certificate.

    Raises:
        OSError: the folder cannot be made, or its path is too long for a socket.
    """
    state = what.state
    state.mkdir(parents=True, exist_ok=True)
    state.chmod(0o700)
    if len(str(state / "clock.sock").encode()) > LONGEST_SOCKET_PATH:
        raise OSError(f"{state}: the path is too long for a Unix socket; choose a shorter --state")
    if what.ends:
        for folder in ("nodes", "programs"):
            shutil.rmtree(state / folder, ignore_errors=True)
        for name in state.glob("book.sqlite*"):
            name.unlink()
        (state / "epoch").unlink(missing_ok=True)
    (state / "programs").mkdir(exist_ok=True)
    shutil.copyfile(what.path, state / "factory.toml")  # so that an export has it
    if what.order is not None:
        shutil.copyfile(what.order, state / "programs" / what.order.name)


def facts(what: Run, shown: live.Shown, rig: Mapping[str, Any] | None, interrupted: bool = False) -> dict[str, str]:
    """The summary's lines: planned, executed and the slicer's estimate, errors, filament, rates, digest.

    Nothing is judged of an order that was still open when the run was `interrupted`.
    """
    assert what.order is not None
    state, reason = (shown.values.get(f"factory/order/{name}", "") for name in ("state", "reason"))
    stands = "interrupted" if interrupted else str(state) or "not placed"
    told: dict[str, str] = {"order": ": ".join(filter(None, (stands, reason)))}
    machine = next(iter(what.factory.capable(PRINT)), None)
    if machine is not None and machine.type.limits is not None:
        told |= _of_print(what.order, machine, shown, rig)
    for machine in what.factory.machines.values():
        if machine.type.limits is not None:
            node = f"node:{machine.node}/status"
            peak, dry = shown.values.get(f"{node}/peak_rate", 0), shown.values.get(f"{node}/underruns", "unknown")
            told[f"{machine.name}: steps"] = f"at most {peak} a second, {dry} underruns"
    told |= live_mirrored.facts(what.factory.mirrored, shown.values)
    if rig:
        told |= {} if interrupted else {one["requirement"]: verdict_line(one) for one in rig.get("verdicts", ())}
        told["factory time"] = live.clock(rig["now_s"])
        told["trace digest"] = rig["digest"] or "no part was made"
    return told


def verdict_line(verdict: Mapping[str, Any]) -> str:
    """A verdict of the rig's as the summary shows it."""
    return f"{'passed' if verdict['passed'] else 'FAILED'}: {verdict['evidence']}"


def _of_print(order: Path, machine: Machine, shown: live.Shown, rig: Mapping[str, Any] | None) -> dict[str, str]:
    """How a print compares with its plan."""
    assert machine.type.limits is not None, f"{machine.name} plans no Jobs"
    told: dict[str, str] = {}
    text = order.read_text(encoding="utf-8")
    plan = motion.plan(text, machine.type.limits(machine.params))
    told["planned"] = f"{plan.duration_s:.1f} s of motion"
    followed = (rig or {}).get("followed", {}).get(machine.name)
    if followed:
        told["executed"] = f"{followed['executed_s']:.1f} s of motion, {followed['steps']} steps"
    if (estimate := slicer_estimate(text)) is not None:
        told["slicer estimated"] = f"{estimate} s"
    if followed:
        told["segment ends reached"] = f"{followed['reached']} of {followed['vertices']}"
        told["largest path error"] = f"{followed['path_error_mm'] * 1000:.1f} µm between plan and steps"
        told["filament"] = f"{plan.filament_mm:.1f} mm planned, {followed['filament_mm']:.1f} mm fed"
    return told


def slicer_estimate(text: str) -> int | None:
    """The slicer's own estimate [s], where the program carries one."""
    marker = "; estimated printing time (normal mode) = "
    at = text.rfind(marker)
    if at < 0:
        return None
    units = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
    words = text[at + len(marker) : text.find("\n", at)].split()
    return sum(int(word[:-1]) * units[word[-1]] for word in words if word[-1] in units and word[:-1].isdigit())
