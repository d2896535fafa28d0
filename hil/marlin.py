"""A printer's Marlin board, simulated behind a node's UART in factory time.

Written from the public description of the protocol: https://reprap.org/wiki/G-code (checking, replies from the RepRap machine to
the host) and https://marlinfw.org/docs/gcode/ (M105, M110, M112 to M115, M155, M400, M410) with its pages on EMERGENCY_PARSER,
ADVANCED_OK and HOST_KEEPALIVE_FEATURE. It models what a host can notice, not how Marlin is written.
"""

import dataclasses
import random
import re
from collections import deque
from collections.abc import Callable, Sequence
from functools import reduce
from operator import xor
from typing import Any

from hil.bus import Station
from hil.marlin_planner import MOVES, Heat, Moved, Planner
from hil.rig import Rig
from hil.targets import Output, SerialSent
from twin.clock import MS, Ns, S, seconds
from twin.export import PRINTER_UART
from twin.factory import Machine
from twin.machines.gcode_printer import plant

BUFFERED = 4  # commands that have been read and not begun
RECEIVED = 128  # bytes of the receive buffer
BUSY = Ns(2 * S)
SHOWN = Ns(100 * MS)
HOMING = Ns(3 * S)
_WORD = re.compile(r"([A-Z])\s*([-+]?[0-9]*\.?[0-9]*)")
_EMERGENCY = re.compile(rb"\A(?:N[0-9]+ )?(M112|M410)[\s*]?\Z")


class Board:
    """The board of one gcode_printer. A Participant of its rig.

    Attributes:
        commands: what it has carried out, in order, with when.
        moves: what it has planned; those that an M410 cut short end where they were cut.
        lines: (when, text) of every line as it came, whole or spoilt.
        halted: by M112 or by itself. deaf: it hears nothing and says nothing. spoil: what becomes of bytes on their way, by
            direction: "in" to the board, "out" from it.

    Args:
        quick: it has the EMERGENCY_PARSER; advanced: ADVANCED_OK.
        lag: of its heaters [s].
    """

    name, pid, reacts, gone = "marlin", 0, False, False

    def __init__(self, rig: Rig, machine: str, *, quick: bool = True, advanced: bool = True, lag: float = 1.0) -> None:
        self._rig = rig
        self._machine: Machine = rig.factory.machines[machine]
        self._node = self._machine.node
        self._station = Station(self.name, rig.nodes[self._node].folder / f"uart{PRINTER_UART}")
        self._character = round(1e10 / self._machine.params.baud)  # ns
        self.quick, self.advanced, self._lag = quick, advanced, lag
        self.wake, self.active = Ns(0), False
        self.halted = self.deaf = False
        self.spoil: Callable[[str, bytes], bytes] = lambda way, data: data
        self.commands: list[tuple[Ns, str]] = []
        self.moves: list[Moved] = []
        self.lines: list[tuple[Ns, str]] = []
        self._coming: deque[tuple[Ns, bytes]] = deque()
        self._shown = Ns(0)
        self._now = Ns(0)
        self._wipe()
        rig.listeners.append(self._listen)
        rig.guests.append(self)

    def _wipe(self) -> None:
        self._received, self._line = bytearray(), b""
        self._queue: deque[str] = deque()
        self._blocked: tuple[str, Ns] | None = None
        self._busied = self._now
        self._last, self._report, self._reported = 0, Ns(0), self._now
        self._planner = Planner(self.moves)
        self._fan, self._motors = 0, False
        self.hotend, self.bed = Heat(self._lag, 22.0), Heat(2 * self._lag, 22.0)

    # ---- what a test does to it

    def reset(self) -> None:
        """It starts anew, as after its reset button or a moment without power."""
        self._planner.stop(self._now)
        self.halted = False
        self._wipe()
        self._say("start")
        self._say("echo:Marlin 2.1.2 (simulated)")
        self._tell_plant(self._now)
        self.wake = self._now

    def kill(self, why: str = "Heating failed") -> None:
        """It halts itself."""
        self._say(f"Error:{why}")
        self._halt(self._now)

    def close(self) -> None:
        """Take it away."""
        self._station.close()

    def random_faults(self, seed: int, share: float, ways: tuple[str, ...] = ("in", "out")) -> None:
        """From now on this share of bytes is another one when it arrives."""
        rng = random.Random(seed)

        def spoil(way: str, data: bytes) -> bytes:
            if way not in ways:
                return data
            return bytes(rng.randrange(32, 127) if byte != 10 and rng.random() < share else byte for byte in data)

        self.spoil = spoil

    # ---- the rig's side

    def dismiss(self) -> None:
        """Nothing is kept."""

    def _listen(self, node: str, outputs: Sequence[Output]) -> None:
        for output in outputs:
            if node == self._node and isinstance(output, SerialSent) and output.uart == PRINTER_UART:
                data = self._station.take(output.count)
                self._coming.append((Ns(output.time + len(data) * self._character), self.spoil("in", data)))
                self.wake = min(self.wake, self._coming[0][0])

    def ask(self, now: Ns) -> None:
        """Let it come to `now`."""
        self.active = False
        self._pass(Ns(now - self._now))
        self._now = now
        while self._coming and self._coming[0][0] <= now:
            data = self._coming.popleft()[1]
            if not self.deaf:
                self._hear(data)
        self._work(now)
        if now - self._shown >= SHOWN:
            self._tell_plant(now)
        self.wake = self._due(now)

    def _due(self, now: Ns) -> Ns:
        dues = [Ns(now + S), *(due for due, _ in list(self._coming)[:1])]
        if self._blocked is not None and not self.halted:
            dues += [self._blocked[1], Ns(self._busied + BUSY)]
        if self._report and not self.halted:
            dues.append(Ns(self._reported + self._report))
        return max(Ns(now + 1), min(dues))

    def _pass(self, elapsed: Ns) -> None:
        for heat in (self.hotend, self.bed):
            heat.pass_time(seconds(elapsed))

    def _tell_plant(self, now: Ns) -> None:
        x, y, z, e = self._planner.where(now)
        self._shown = now
        shown: dict[str, Any] = {
            "position": (x, y, z),
            "fed": e,
            "hotend": self.hotend.now,
            "bed": self.bed.now,
            "heating": self.hotend.target > 0,
            "motors": self._motors,
        }

        def change(state: plant.State, params: Any) -> plant.State:
            return dataclasses.replace(state, most=max(state.most, e), **shown)

        self._rig.world.touch(self._machine.name, change, now)

    # ---- the wire

    def _say(self, text: str) -> None:
        if self.deaf:
            return
        self._station.hear(self.spoil("out", text.encode() + b"\n"))
        self.active = True

    def _hear(self, data: bytes) -> None:
        for byte in data:
            if byte in b"\r\n":
                self._line = b""
            elif len(self._line) < 16:
                self._line += bytes([byte])
            if self.quick and not self.halted and (found := _EMERGENCY.match(self._line + (b"\n" if byte in b"\r\n" else b""))):
                self._emergency(found[1].decode())
                self._line += b"!"  # once is enough
            if len(self._received) < RECEIVED:
                self._received.append(byte)
        self._read()

    def _emergency(self, code: str) -> None:
        if code == "M112":
            self.lines.append((self._now, code))
            self._halt(self._now)
        else:
            self._planner.stop(self._now)
            if self._blocked is not None:
                self._blocked = (self._blocked[0], self._now)

    def _read(self) -> None:
        """Take lines out of the receive buffer as long as the queue has room."""
        while len(self._queue) < BUFFERED and b"\n" in self._received and not self.halted:
            raw, _, rest = bytes(self._received).partition(b"\n")
            self._received = bytearray(rest)
            text = raw.decode("latin-1").strip()
            if text:
                self.lines.append((self._now, text))
                self._accept(text)

    def _accept(self, text: str) -> None:
        body, star, check = text.partition("*")
        if text.startswith("N"):
            number = re.match(r"N(-?[0-9]+)", text)
            if number is None or (int(number[1]) != self._last + 1 and "M110" not in body):
                return self._refuse("Line Number is not Last Line Number+1")
            if not star:
                return self._refuse("No Checksum with line number")
            if not check.isdigit() or reduce(xor, body.encode("latin-1"), 0) != int(check):
                return self._refuse("checksum mismatch")
            self._last = int(number[1])
        elif star:
            return self._refuse("No Line Number with checksum")
        self._queue.append(body.strip())
        return None

    def _refuse(self, why: str) -> None:
        self._received.clear()
        self._say(f"Error:{why}, Last Line: {self._last}")
        self._say(f"Resend: {self._last + 1}")
        self._say("ok")

    def _ok(self, text: str, extra: str = "") -> None:
        number = re.match(r"N[0-9]+", text)
        room = MOVES - 1 - len(self._planner.waiting(self._now))
        told = f"{' ' + number[0] if number else ''} P{room} B{BUFFERED - len(self._queue)}"
        self._say("ok" + extra + (told if self.advanced and not extra else ""))

    # ---- what it is told to do

    def _work(self, now: Ns) -> None:
        while not self.halted:
            if self._blocked is not None:
                text, until = self._blocked
                if now < until:
                    if now - self._busied >= BUSY:
                        self._busied = now
                        self._say("echo:busy: processing")
                    break
                self._blocked = None
                self._carry_out(text, now, waited=True)
            elif self._queue:
                self._carry_out(self._queue.popleft(), now)
            else:
                break
            self._read()
        if self._report and not self.halted and now - self._reported >= self._report:
            self._reported = now
            self._say(" " + self._temperatures())

    def _halt(self, now: Ns) -> None:
        self._planner.stop(now)
        self.hotend.target = self.bed.target = 0.0
        self._fan, self._motors, self._report, self._blocked = 0, False, Ns(0), None
        self._queue.clear()
        self._say("Error:Printer halted. kill() called!")
        self.halted = True
        self._tell_plant(now)

    def _temperatures(self) -> str:
        return f"T:{self.hotend.now:.2f} /{self.hotend.target:.2f} B:{self.bed.now:.2f} /{self.bed.target:.2f} @:0 B@:0"

    def _carry_out(self, text: str, now: Ns, waited: bool = False) -> None:
        body = re.sub(r"^N[0-9]+\s*", "", text)
        code = body.partition(" ")[0]
        words = {letter: float(value) if value.strip(".-+") else 0.0 for letter, value in _WORD.findall(body[len(code) :])}
        waiting = self._planner.waiting(now)
        if not waited and ((code in ("M400", "M84", "G28") and waiting) or (code == "G1" and len(waiting) >= MOVES - 1)):
            self._busied = now
            self._blocked = (text, waiting[0].end if code == "G1" else waiting[-1].end)
            if code == "G28":
                self._blocked = (text, Ns(self._blocked[1] + HOMING))
            return
        if code == "G28" and not waited:
            self._busied = now
            self._blocked = (text, Ns(now + HOMING))
            return
        self.commands.append((now, body))
        extra = self._do(code, words, now)
        if not self.halted:
            self._ok(text, extra)

    def _do(self, code: str, words: dict[str, float], now: Ns) -> str:
        """Carry one command out; what its ok says beside."""
        match code:
            case "G0" | "G1":
                self._planner.move(words, now)
                self._motors = True
            case "G28":
                self._planner.home(words, now)
                self._motors = True
            case "G90" | "G91":
                self._planner.relative = self._planner.relative_e = code == "G91"
            case "M82" | "M83":
                self._planner.relative_e = code == "M83"
            case "G92":
                self._planner.at[3] = words.get("E", self._planner.at[3])
            case "M104":
                self.hotend.target = words.get("S", 0.0)
            case "M140":
                self.bed.target = words.get("S", 0.0)
            case "M106" | "M107":
                self._fan = int(words.get("S", 255.0)) if code == "M106" else 0
            case "M17" | "M84":
                self._motors = code == "M17"
                self._tell_plant(now)
            case "M105":
                return " " + self._temperatures()
            case "M114":
                x, y, z, e = self._planner.at
                self._say(f"X:{x:.2f} Y:{y:.2f} Z:{z:.2f} E:{e:.2f} Count X:0 Y:0 Z:0")
            case "M115":
                self._say("FIRMWARE_NAME:Marlin 2.1.2 (simulated) PROTOCOL_VERSION:1.0 MACHINE_TYPE:3D Printer EXTRUDER_COUNT:1")
                self._say("Cap:AUTOREPORT_TEMP:1")
                self._say(f"Cap:EMERGENCY_PARSER:{int(self.quick)}")
            case "M155":
                self._report = Ns(round(words.get("S", 0.0) * S))
                self._reported = now
            case "M110":
                self._last = int(words.get("N", self._last))
            case "M410":
                self._planner.stop(now)
            case "M112":
                self._halt(now)
            case "G21" | "M201" | "M203" | "M204" | "M205" | "M220" | "M221" | "M400" | "G4":
                pass
            case _:
                self._say(f'echo:Unknown command: "{code}"')
        return ""
