"""A node as it should be, without firmware: the reference that a node of ours is compared with.

It has a virtual board's interface and serves the same real Modbus TCP socket in factory time. It plays no Jobs.
"""

import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from controller.modbus.pdu import Frames, ProtocolError, frame
from hil.targets import Absent, Inject, Output, PinSet, Target, WatchdogFed
from hil.targets.ideal import IdealNode
from hil.targets.serving import answer
from twin.clock import MS, Ns
from twin.node import TICK_MS

TICK = Ns(TICK_MS * MS)
CLIENTS = 4
FEED = Ns(500 * MS)
WATCHDOG_MS = 2000
NEVER = Ns(2**62)
_PIECE = 4096


@dataclass
class _Client:
    link: socket.socket
    peer: int
    frames: Frames = field(default_factory=Frames)


class Model(Target):
    """The reference node: ticks to the nanosecond, an unbounded heap, flash that never fails."""

    def __init__(self, name: str, folder: Path) -> None:
        super().__init__(name, folder)
        self._node: IdealNode | None = None
        self._server: socket.socket | None = None
        self._clients: list[_Client] = []
        self._peers = 0
        self._outputs: list[Output] = []
        self._started = Ns(0)
        self._tick = Ns(0)
        self._feed = Ns(0)
        self._away = Ns(0)

    @property
    def alive(self) -> bool:
        """Whether it has power."""
        return self._node is not None

    def flash(self, firmware: Path) -> None:
        """There is nothing to flash.

        Raises:
            Absent: always.
        """
        raise Absent(f"model: {self.name} runs no firmware")

    def power_on(self) -> None:
        """Start it.

        Raises:
            Absent: its machine plays Jobs, or it is to have what a model has not.
        """
        config = json.loads((self.folder / "node.json").read_text(encoding="utf-8"))
        if config["motion"] is not None:
            raise Absent(f"model: {self.name} plays Jobs; the model has neither axes nor heaters")
        if self.drift_ppm or self.clock_start_us:
            raise Absent(f"model: {self.name} has no clock of its own that could drift or wrap")
        boot_id, epoch, used = self._recall()
        self._node = IdealNode(config, boot_id + 1, epoch, used)
        self._keep_in_flash()
        self._server = socket.create_server((config["link"]["host"], config["link"]["port"]))
        self._server.setblocking(False)
        self._started = self._away = NEVER
        self._outputs = []
        self.wake = self.now

    def power_off(self) -> None:
        """Take the power away, at once."""
        self._node = None
        for client in self._clients:
            client.link.close()
        self._clients.clear()
        if self._server is not None:
            self._server.close()
            self._server = None

    def grant(self, now: Ns, until: Ns, inputs: Mapping[int, int], through: bool = False) -> None:
        """Let it run to `now`, and alone on to `until`; see Target."""
        node = self._node
        self.now = now
        if node is None:
            return
        self.active = False
        if self._started == NEVER:
            self._begin(node)
        node.sense(inputs)
        if now < self._away:
            self.wake = self._away
            return
        node.now = Ns(now - self._started)
        self._serve(node)
        if self.active and not through:
            until = now  # what it answered must reach the others first
        while self._tick <= until and not (self._outputs and self._tick > now):
            self._do_tick(node)
        self.wake = self._tick

    def collect(self) -> list[Output]:
        """What it did until it waited."""
        done, self._outputs = self._outputs, []
        return done

    def inject(self, what: Inject, argument: int = 0) -> None:
        """Break it from inside.

        Raises:
            Absent: it has no heap, no flash that could fail, no tasks to be loaded.
        """
        if what is Inject.PAUSE:
            self._away = Ns(self.now + argument * 1000)
        elif what is Inject.HANG:
            self._away = NEVER
        else:
            raise Absent(f"model: {self.name} cannot be given {what.name}")

    def console(self, characters: int = 800) -> str:
        """It prints nothing."""
        return ""

    # ---- time

    def _begin(self, node: IdealNode) -> None:
        """Power has come on just now."""
        self._started = self._feed = self._away = self.now
        self._tick = Ns(self.now + TICK)
        self._outputs = [PinSet(self.now, pin, value) for pin, value in node.outputs.items()]

    def _do_tick(self, node: IdealNode) -> None:
        due = max(self._tick, self._away)
        node.now = Ns(due - self._started)
        before, used = dict(node.outputs), node.used
        node.tick()
        if node.used != used:
            self._keep_in_flash()
        self._outputs += [PinSet(due, pin, value) for pin, value in node.outputs.items() if before[pin] != value]
        if due >= self._feed:
            self._outputs.append(WatchdogFed(due, WATCHDOG_MS))
            self._feed = Ns(due + FEED)
        self._tick = Ns(due + TICK)

    # ---- sockets

    def _serve(self, node: IdealNode) -> None:
        self._accept()
        for client in list(self._clients):
            if (data := self._received(client)) is not None:
                self.active = True
                self._reply(node, client, data)

    def _accept(self) -> None:
        assert self._server is not None
        while True:
            try:
                link, _ = self._server.accept()
            except BlockingIOError:
                return
            self.active = True
            if len(self._clients) == CLIENTS:
                link.close()
                continue
            link.setblocking(False)
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._peers += 1
            self._clients.append(_Client(link, self._peers))

    def _received(self, client: _Client) -> bytes | None:
        """What has come; empty when it has closed, None when nothing has happened."""
        try:
            return client.link.recv(_PIECE)
        except BlockingIOError:
            return None
        except OSError:
            return b""

    def _reply(self, node: IdealNode, client: _Client, data: bytes) -> None:
        epoch = node.epoch
        try:
            asked = client.frames.feed(data)
            replies = [frame(number, unit, answer(node, client.peer, unit, pdu)) for number, unit, pdu in asked]
            client.link.sendall(b"".join(replies))
            gone = not data
        except (ProtocolError, OSError):
            gone = True
        if node.epoch != epoch:
            self._keep_in_flash()
        if gone:
            client.link.close()
            self._clients.remove(client)

    # ---- flash

    @property
    def _flash(self) -> Path:
        return self.folder / "model.json"

    def _recall(self) -> tuple[int, int, bool]:
        """How often it was started, the highest epoch it granted, and whether it was in use."""
        if not self._flash.exists():
            return 0, 0, False
        kept = json.loads(self._flash.read_text(encoding="utf-8"))
        return int(kept["boot_id"]), int(kept["epoch"]), bool(kept.get("used"))

    def _keep_in_flash(self) -> None:
        assert self._node is not None
        kept = {"boot_id": self._node.boot_id, "epoch": self._node.epoch, "used": self._node.used}
        self._flash.write_text(json.dumps(kept), encoding="utf-8")
