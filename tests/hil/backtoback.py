"""Two targets driven alike, step by step, and compared: what they answer, what they say of themselves, what their pins do."""

import asyncio
import contextlib
import json
import socket
import struct
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from controller.factory_loop import FactoryClock, TimeEnded, run_on
from controller.modbus.client import Link
from controller.modbus.pdu import Write
from hil.ports import free_port
from hil.rig import Rig
from hil.targets import Output, PinSet, Target
from hil.targets.model import Model
from hil.targets.vm import Vm
from tests.firmware.factories import (
    BEACON,
    BELT,
    BELT_COMMAND,
    BELT_STATUS,
    HEAD,
    LAMP,
    LAMPS,
    LAMPS_COMMAND,
    LAMPS_STATUS,
    RUN,
    SPEED,
    TRIPPED,
    node_file,
)
from twin.clock import MS, Ns, S
from twin.export import sealed
from twin.factory import Factory, parse
from twin.node import COMMAND_AT, NodeCommand, NodeStatus, Op
from twin.wire import decode, encode, layout

TICK_MS = 10
FULL = 5000
RAMP_TOLERANCE = 65535 // 40  # of a duty: how fast a set point ramps is told to within this a tick
SET_POINT_TOLERANCE = FULL // 40
STATUS_SIZE = layout(NodeStatus).size
TOLD = (
    "leased latched fault epoch owner heartbeat refused late_refused repeated foreign old_epochs sequence result reason executions "
    "command_id leases_lost"
).split()
FOREVER = 2**31 - 1


@dataclass
class Bench:
    """A node driven alone, its clients on real sockets; `patience_ms` passes while an answer is not there yet."""

    target: Target
    port: int
    patience_ms: float = 0.0
    clients: dict[int, socket.socket] = field(default_factory=dict)
    outputs: list[Output] = field(default_factory=list)
    levels: dict[int, int] = field(default_factory=dict)

    def pass_ms(self, duration_ms: float) -> None:
        self.target.advance(Ns(self.target.now + round(duration_ms * MS)))
        self.outputs += self.target.capture()

    def ask(self, peer: int, pdu: bytes) -> bytes:
        """The reply's PDU."""
        if peer not in self.clients:
            self.clients[peer] = socket.create_connection(("127.0.0.1", self.port))
            self.clients[peer].setblocking(False)
        link = self.clients[peer]
        link.sendall(struct.pack(">HHHB", 1, 0, len(pdu) + 1, 1) + pdu)
        for _ in range(100):
            self.pass_ms(self.patience_ms)
            with contextlib.suppress(BlockingIOError):
                return link.recv(300)[7:]
        raise AssertionError(f"{self.target.name} does not answer")

    def write(self, peer: int, first: int, words: Sequence[int]) -> bytes:
        head = struct.pack(">BHHB", 16, first, len(words), 2 * len(words))
        return self.ask(peer, head + struct.pack(f">{len(words)}H", *words))

    def read(self, first: int, count: int) -> tuple[int, ...]:
        return struct.unpack(f">{count}H", self.ask(9, struct.pack(">BHH", 3, first, count))[2:])

    def status(self) -> NodeStatus:
        return decode(NodeStatus, self.read(0, STATUS_SIZE))

    def close(self) -> None:
        for link in self.clients.values():
            link.close()
        self.target.power(False)

    def said(self) -> dict[str, Any]:
        """What it says of itself that does not depend on what it runs on."""
        status = self.status()
        belt, lamps = list(self.read(BELT_STATUS, 5)), self.read(LAMPS_STATUS, 3)
        told = {name: getattr(status, name) for name in TOLD}
        return {**told, "set point": belt.pop(1), "belt": belt, "lamps": lamps}


def bench(kind: type[Target], folder: Path, text: str | None = None, **how: Any) -> Bench:
    folder.mkdir(parents=True, exist_ok=True)
    config = json.loads(text or node_file(folder, BELT + LAMPS))
    config["link"]["port"] = free_port()
    (folder / "node.json").write_text(sealed(config))
    made = Bench(kind("n", folder, **how), config["link"]["port"])
    made.target.power(True)
    made.pass_ms(33)  # off the ticks: what happens on one may be seen by it or by the next
    return made


@contextlib.contextmanager
def pair(folder: Path, **how: Any) -> Iterator[tuple[Bench, Bench]]:
    """The firmware in the VM, and the reference."""
    both = bench(Vm, folder / "vm", **how), bench(Model, folder / "model")
    try:
        yield both
    finally:
        for one in both:
            one.close()


def levels(outputs: Sequence[Output], pin: int, until: Ns) -> np.ndarray[Any, np.dtype[np.int64]]:
    """What a pin put out at each millisecond."""
    found = np.zeros(until // MS + 1, np.int64)
    for output in outputs:
        if isinstance(output, PinSet) and output.pin == pin:
            found[-(-output.time // MS) :] = output.value
    return found


def agree(first: Bench, second: Bench, pin: int, tolerance: int = 0) -> None:
    """Whether a pin did the same, earlier or later by at most one tick."""
    until = first.target.now
    ours, theirs = levels(first.outputs, pin, until), levels(second.outputs, pin, until)
    for one, other in ((ours, theirs), (theirs, ours)):
        padded = np.pad(other, TICK_MS, mode="edge")
        windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * TICK_MS + 1)
        outside = (one < windows.min(axis=1) - tolerance) | (one > windows.max(axis=1) + tolerance)
        assert not outside.any(), f"GPIO {pin} differs from {int(np.argmax(outside))} ms on"


def all_agree(first: Bench, second: Bench) -> None:
    for pin in (RUN, LAMP, BEACON):
        agree(first, second, pin)
    agree(first, second, SPEED, RAMP_TOLERANCE)


# ---- a script that both follow


@dataclass(frozen=True)
class Beat:
    """A write of the whole Grant."""

    peer: int = 0
    owner: int = 11
    epoch: int = 1
    lease: int = 500
    heartbeat: int = 1
    sequence: int = 0
    op: int = 0
    command_id: int = 0
    not_after: int = FOREVER


@dataclass(frozen=True)
class Put:
    """A write into a machine's Command."""

    first: int
    words: tuple[int, ...]
    peer: int = 0


@dataclass(frozen=True)
class Sense:
    """An input changes."""

    pin: int
    level: int


@dataclass(frozen=True)
class Pass:
    """Time passes."""

    duration_ms: int


Step = Beat | Put | Sense | Pass


def follow(one: Bench, step: Step) -> bytes:
    """What it answers, where it is asked something."""
    match step:
        case Beat():
            words = encode(NodeCommand(owner=step.owner, epoch=step.epoch, lease=step.lease, heartbeat=step.heartbeat,
                                       sequence=step.sequence, command_id=step.command_id, not_after=step.not_after))  # fmt: skip
            words[layout(NodeCommand)["op"].registers[0]] = step.op
            return one.write(step.peer, COMMAND_AT, words)
        case Put():
            return one.write(step.peer, step.first, step.words)
        case Sense():
            if one.levels.get(step.pin, 0) != step.level:  # a target is told of changes only
                one.levels[step.pin] = step.level
                one.target.write(step.pin, step.level)
        case Pass():
            one.pass_ms(step.duration_ms)
    return b""


def back_to_back(vm: Bench, model: Bench, script: Sequence[Step]) -> None:
    for number, step in enumerate(script):
        answers = follow(vm, step), follow(model, step)
        assert answers[0] == answers[1], f"step {number}: {step}"
        if isinstance(step, Sense):
            for one in (vm, model):
                one.pass_ms(2 * TICK_MS)  # every node has seen it
        said, expected = vm.said(), model.said()
        expected["set point"] = pytest.approx(expected["set point"], abs=SET_POINT_TOLERANCE)
        assert said == expected, f"after step {number}: {step}"
    all_agree(vm, model)


def beats(count: int, first: int = 1, **how: Any) -> list[Step]:
    """A heartbeat each 100 ms."""
    made: list[Step] = []
    for number in range(count):
        made += [Beat(heartbeat=first + number, **how), Pass(100)]
    return made


SILENT: list[Step] = [
    *beats(2),
    Put(BELT_COMMAND, (1, FULL)),
    Put(LAMPS_COMMAND, (1, 1 << 9)),
    *beats(5, 3),
    Pass(1600),
]
RESET: list[Step] = [
    *beats(2, 30, epoch=2),
    Put(BELT_COMMAND, (0, 0)),
    Put(BELT_COMMAND, (1, 2500)),
    Beat(heartbeat=39, epoch=2, sequence=2, op=Op.START, command_id=6),
    Beat(heartbeat=40, epoch=2, sequence=1, op=Op.RESET, command_id=6),  # overtaken by the one before: it is not heard
    Beat(heartbeat=40, epoch=2, sequence=3, op=Op.RESET, command_id=7),
    Beat(heartbeat=41, epoch=2, sequence=4, op=Op.START, command_id=8),
    Pass(50),
    Put(LAMPS_COMMAND, (0, 0)),
    Put(LAMPS_COMMAND, (1, 0)),
    Put(BELT_COMMAND, (1, 100)),
    Pass(50),
    Put(BELT_COMMAND, (0, 0)),
    Put(BELT_COMMAND, (1, 100)),
    *beats(3, 50, epoch=2, sequence=4),
    *[Beat(heartbeat=53, epoch=2, sequence=4), Pass(200)] * 4,  # one that does not change is silence
]
TRIP: list[Step] = [
    Beat(epoch=3, lease=5000),
    Put(BELT_COMMAND, (0, 0)),
    Put(LAMPS_COMMAND, (0, 0)),
    Beat(epoch=3, lease=5000, heartbeat=9, sequence=9, op=Op.RESET, command_id=9),
    Put(BELT_COMMAND, (1, 1234)),
    Put(LAMPS_COMMAND, (1, 1 << 9)),
    Pass(100),
    Sense(TRIPPED, 1),
    Pass(300),
    Beat(epoch=3, lease=5000, heartbeat=2, sequence=10, op=Op.RESET, command_id=1),
    Sense(TRIPPED, 0),
    Beat(epoch=3, lease=5000, heartbeat=3, sequence=11, op=Op.RESET, command_id=2),
    Pass(100),
    Put(BELT_COMMAND, (0, 0)),
    Put(BELT_COMMAND, (1, 400)),
    Pass(100),
]


# ---- in a rig


def belt() -> Factory:
    return parse(HEAD.replace("15999", str(free_port())) + BELT, Path("."))


def cut_link(folder: Path, kind: type[Target]) -> Rig:
    """A rig after a link was cut and healed while a client ran the belt."""
    factory = belt()
    rig = Rig(factory, folder, links=True)
    rig.nodes["n"] = kind("n", rig.nodes["n"].folder)  # type: ignore[assignment]
    near, far = socket.socketpair()
    thread = threading.Thread(target=_run, args=(far, rig.links["n"].port))
    with rig:
        thread.start()
        rig.admit("script", near)
        rig.run(Ns(1500 * MS))
        rig.cut("n")
        rig.run(Ns(2500 * MS))
        rig.heal("n")
        rig.run(Ns(5 * S))
    thread.join(20)
    return rig


def _run(far: socket.socket, port: int) -> None:
    async def command(clock: FactoryClock) -> None:
        await clock.until(Ns(50 * MS))  # a node in the VM listens a little after its start
        link = Link("script", "127.0.0.1", port, clock)
        keeping = asyncio.create_task(link.run())
        beat = 0
        while True:
            beat += 1
            grant = encode(NodeCommand(owner=11, epoch=1, heartbeat=beat, not_after=FOREVER))
            asked = [Write(COMMAND_AT, tuple(grant)), Write(BELT_COMMAND, (1, 2000))]
            await link.ask(asked, Ns(clock.now() + 90 * MS))
            await clock.until(Ns(clock.now() // (100 * MS) * (100 * MS) + 100 * MS))
            assert not keeping.done()

    with contextlib.suppress(TimeEnded):
        run_on(far, command)
