"""What a node must do, without its firmware: registers, lease, latch, commands and blocks, written from the documents.

Time is an argument, in nanoseconds since power came on. Nothing here was taken from the firmware, so that two that agree are
right or wrong for different reasons.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hil.targets.serving import FAILED, ILLEGAL_ADDRESS
from twin.clock import MS, Ns
from twin.node import (
    COMMAND_AT,
    MAGIC,
    REGISTERS,
    STATUS_AT,
    TICK_MS,
    TRANSFER_AT,
    TRANSFER_BYTES,
    TRANSFER_HEAD,
    VERSION,
    Fault,
    NodeCommand,
    NodeStatus,
    Op,
    Reason,
    Result,
    TransferState,
)
from twin.wire import encode, layout

SHORTEST_LEASE_MS, LONGEST_LEASE_MS = 50, 5000
IDLE_MS = 60_000
FULL_DUTY = 65_535
FARTHEST_EPOCH = 1 << 24  # above the highest ever granted

_ASKED = struct.Struct(">IIHHHHIII")
_CLAIM_WORDS = 4  # owner and epoch
_GRANT_WORDS = layout(NodeCommand).size
_TRANSFER_WORDS = range(TRANSFER_HEAD, TRANSFER_HEAD + TRANSFER_BYTES // 2 + 1)


@dataclass(frozen=True, slots=True)
class Asked:
    """A Grant as it was written: an op may be one that there is not."""

    owner: int
    epoch: int
    lease: int
    heartbeat: int
    sequence: int
    op: int
    command_id: int
    argument: int
    not_after: int


class IdealNode:
    """A node of `node.json`'s tables, from power-on to power-off.

    Attributes:
        outputs: what its pins put out, by GPIO: levels and duties.
        epoch: the highest ever granted; used: it is in use, or was within the last minute. Whoever holds its flash keeps both.

    Args:
        config: what `node.json` says. One that plays Jobs is not for this node.
        boot_id: how often it was started, this time included.
    """

    size = REGISTERS
    identity = (b"Lockstep", b"node", b"0.1.0")

    def __init__(self, config: Mapping[str, Any], boot_id: int, epoch: int, used: bool = False) -> None:
        self.config = config
        self.boot_id = boot_id
        self.epoch = epoch
        self.words = [0] * REGISTERS
        self.words[COMMAND_AT : COMMAND_AT + _GRANT_WORDS] = encode(NodeCommand())
        self.now = Ns(0)
        self.inputs: dict[int, int] = {}
        self.outputs: dict[int, int] = {}
        self._machines = [(int(first), tuple(default)) for first, default in config["commands"]]
        self._armed = {first: True for first, _ in self._machines}
        for first, default in self._machines:
            self.words[first : first + len(default)] = default
        self._owner, self._peer, self._deadline = 0, -1, Ns(0)
        self._heartbeat = self._refused = self._leases_lost = 0
        self._counted = dict.fromkeys(("late", "repeated", "foreign", "old"), 0)
        self.used = used
        self._used_at = Ns(0)
        self._fault = Fault.RESTARTED if used else Fault.NONE
        self._sequence = self._sequence_seen = self._command_id = self._executions = 0
        self._result, self._reason = Result.NONE, Reason.NONE
        self._ran: set[int] = set()
        self._transfer = TransferState.IDLE, Reason.NONE
        self._set_points: dict[int, float] = {}
        self.tick()

    @property
    def latched(self) -> bool:
        """Whether its outputs are safe until a reset."""
        return self._fault is not Fault.NONE

    @property
    def uptime(self) -> int:
        """ms since power came on."""
        return self.now // MS & 0xFFFF_FFFF

    # ---- what clients see

    def read(self, first: int, count: int) -> Sequence[int]:
        """Registers, all of which there are."""
        status = encode(self._status())
        self.words[STATUS_AT : STATUS_AT + len(status)] = status
        return self.words[first : first + count]

    def _status(self) -> NodeStatus:
        unused = {signal.name: signal.type(0) for signal in layout(NodeStatus).signals}
        told = {
            "magic": MAGIC, "version": VERSION, "map_hash": self.config["map_hash"], "uid": self.config["uid"],
            "boot_id": self.boot_id, "uptime": self.uptime, "fault": self._fault, "leased": self._owner != 0,
            "latched": self.latched, "epoch": self.epoch, "owner": self._owner, "heartbeat": self._heartbeat,
            "refused": self._refused & 0xFFFF, "late_refused": self._counted["late"], "repeated": self._counted["repeated"],
            "foreign": self._counted["foreign"], "old_epochs": self._counted["old"], "fault_block": 0xFFFF,
            "sequence": self._sequence, "result": self._result, "reason": self._reason,
            "executions": self._executions, "command_id": self._command_id,
            "transfer_state": self._transfer[0], "transfer_reason": self._transfer[1],
            "leases_lost": self._leases_lost & 0xFFFF,
        }  # fmt: skip
        return NodeStatus(**{**unused, **told})

    def write(self, peer: int, first: int, words: Sequence[int]) -> int:
        """Write registers of one connection; 0, or the exception code."""
        self._expire()
        last = first + len(words) - 1
        if first >= COMMAND_AT and last < COMMAND_AT + _GRANT_WORDS:
            return self._write_grant(peer, first, words)
        if first == TRANSFER_AT and len(words) in _TRANSFER_WORDS:
            return self._write_transfer(peer)
        for at, default in self._machines:
            if at <= first and last < at + len(default):
                return self._write_command(peer, at, first, words)
        return ILLEGAL_ADDRESS

    def _write_transfer(self, peer: int) -> int:
        if not self._owned_by(peer):
            return self._turn_away()
        self._transfer = TransferState.REFUSED, Reason.WRONG_MACHINE
        return 0

    def _write_command(self, peer: int, at: int, first: int, words: Sequence[int]) -> int:
        if not self._owned_by(peer):
            return self._turn_away()
        self.words[first : first + len(words)] = words
        self._arm(at)
        return 0

    def _owned_by(self, peer: int) -> bool:
        return self._owner != 0 and self._peer == peer

    def _turn_away(self) -> int:
        """Who does not own it."""
        self._refuse(Reason.NOT_OWNER, "foreign")
        return FAILED

    def _refuse(self, reason: Reason, kind: str) -> None:
        self._refused += 1
        self._counted[kind] += 1
        self._reason = reason

    # ---- who commands

    def _write_grant(self, peer: int, first: int, words: Sequence[int]) -> int:
        claims = first == COMMAND_AT and len(words) >= _CLAIM_WORDS
        if not claims and not self._owned_by(peer):
            return self._turn_away()
        written = self.words[COMMAND_AT : COMMAND_AT + _GRANT_WORDS]
        written[first - COMMAND_AT : first - COMMAND_AT + len(words)] = words
        asked = Asked(*_ASKED.unpack(struct.pack(f">{_GRANT_WORDS}H", *written)))
        if not asked.owner:
            return 0
        if self._owner:
            return self._renew(peer, asked, written)
        return self._claim(peer, asked, written)

    def _claim(self, peer: int, asked: Asked, written: list[int]) -> int:
        if not self.epoch < asked.epoch <= self.epoch + FARTHEST_EPOCH:
            self._refuse(Reason.OLD_EPOCH, "old")
            return 0
        self.epoch, self._owner, self._peer = asked.epoch, asked.owner, peer
        self._take(asked, written)
        self._sequence_seen = asked.sequence  # a claim commands nothing
        return 0

    def _renew(self, peer: int, asked: Asked, written: list[int]) -> int:
        if (asked.owner, asked.epoch) != (self._owner, self.epoch):
            if peer == self._peer:
                self._peer = -1  # until the owner says again that it is there
            self._refuse(Reason.LEASE_LIVE, "old" if asked.epoch < self.epoch else "foreign")
            return 0
        if asked.sequence - self._sequence_seen & 0xFFFF >= 0x8000:
            self._refuse(Reason.REPEATED, "repeated")
            return 0
        self._peer = peer
        if asked.heartbeat != self._heartbeat:
            self._take(asked, written)
        self.words[COMMAND_AT : COMMAND_AT + _GRANT_WORDS] = written
        if asked.sequence != self._sequence_seen:
            self._sequence_seen = asked.sequence
            self._judge(asked)
        return 0

    def _take(self, asked: Asked, written: list[int]) -> None:
        """The lease lives from now on."""
        self.words[COMMAND_AT : COMMAND_AT + _GRANT_WORDS] = written
        self._heartbeat = asked.heartbeat
        lease_ms = min(LONGEST_LEASE_MS, max(SHORTEST_LEASE_MS, asked.lease))
        self._deadline = Ns(self.now + lease_ms * MS)

    def _expire(self) -> None:
        if not self._owner or self.now < self._deadline:
            return
        self._leases_lost += 1
        self._end_lease()

    def _end_lease(self) -> None:
        self._owner, self._peer = 0, -1
        if any(self._acts(at) and not self._at_default(at) for at, _ in self._machines):
            self._latch(Fault.SILENCE)

    # ---- commands that run once

    def _judge(self, asked: Asked) -> None:
        self._sequence, self._command_id = asked.sequence, asked.command_id
        if asked.op == Op.NONE:  # nothing was asked, whatever the id
            self._result, self._reason, self._executions = Result.NONE, Reason.NONE, 0
            return
        repeated = asked.command_id in self._ran
        reason = Reason.REPEATED if repeated else self._carry_out(asked)
        self._executions = int(asked.command_id in self._ran)
        self._result, self._reason = (Result.DONE if self._executions else Result.REFUSED), reason
        self._refused += bool(reason)
        self._counted["repeated"] += repeated
        self._counted["late"] += reason is Reason.TOO_LATE

    def _carry_out(self, asked: Asked) -> Reason:
        """Why it is not carried out; NONE once it is."""
        if 0 < (self.uptime - asked.not_after & 0xFFFF_FFFF) < 1 << 31:
            return Reason.TOO_LATE
        if asked.op == Op.RESET:
            if self._cause_persists():
                return Reason.LATCHED
            self._unlatch()
        elif asked.op == Op.START:
            return Reason.LATCHED if self.latched else Reason.UNKNOWN_COMMAND
        elif asked.op == Op.RELEASE:
            self._end_lease()
        elif asked.op != Op.STOP:
            return Reason.UNKNOWN_COMMAND
        self._ran.add(asked.command_id)
        return Reason.NONE

    # ---- the latch

    def _latch(self, fault: Fault) -> None:
        """An interlock is harder than whatever else there is here."""
        if not self.latched or fault is Fault.INTERLOCK:
            self._fault = fault

    def _unlatch(self) -> None:
        if self.latched:
            self._fault = Fault.NONE
            for at, _ in self._machines:
                self._armed[at] = False
                self._arm(at)

    def _arm(self, at: int) -> None:
        """A machine acts again once its whole Command was seen at its default after a reset."""
        if not self.latched and self._at_default(at):
            self._armed[at] = True

    def _at_default(self, at: int) -> bool:
        default = dict(self._machines)[at]
        return tuple(self.words[at : at + len(default)]) == default

    def _cause_persists(self) -> bool:
        return self._fault is Fault.INTERLOCK and any(self._bit(rule["when"]) for rule in self.config["interlocks"])

    def _acts(self, at: int) -> bool:
        return not self.latched and self._armed[at]

    # ---- a tick

    def tick(self) -> None:
        """What is done every 10 ms: inputs to Status, the law, effective commands to outputs."""
        for block in self.config["blocks"]:
            if block["kind"] == "Input":
                self._show(block["at"], bool(self.inputs.get(block["pin"], 0)) != block["invert"])
        self._expire()
        for rule in self.config["interlocks"]:
            if self._bit(rule["when"]) and self._works(rule["output"]):
                self._latch(Fault.INTERLOCK)
        for block in self.config["blocks"]:
            if block["kind"] == "Output":
                self._put_out(block)
            elif block["kind"] == "Drive":
                self._drive(block)
        self._note_use()

    def _note_use(self) -> None:
        works = self._owner != 0 and any(self._acts(at) and not self._at_default(at) for at, _ in self._machines)
        if works or (self.used and self.latched):
            self.used, self._used_at = True, self.now
        elif self.now - self._used_at >= IDLE_MS * MS:
            self.used = False

    def sense(self, changed: Mapping[int, int]) -> None:
        """Inputs have changed: rising edges are counted at once, levels are shown at the next tick."""
        for block in self.config["blocks"]:
            if block["kind"] == "Counter" and changed.get(block["pin"], 0) and not self.inputs.get(block["pin"], 0):
                (at,) = block["at"]
                self.words[at] = self.words[at] + 1 & 0xFFFF
        self.inputs.update(changed)

    def _bit(self, place: Sequence[int]) -> bool:
        return bool(self.words[place[0]] >> place[1] & 1)

    def _show(self, place: Sequence[int], on: bool) -> None:
        register, bit = place
        self.words[register] = self.words[register] & ~(1 << bit) | on << bit

    def _effective(self, register: int) -> int:
        """A register of a Command as it takes effect now."""
        for at, default in self._machines:
            if at <= register < at + len(default):
                acts = self._owner != 0 and self._acts(at)
                return self.words[register] if acts else default[register - at]
        raise AssertionError(f"register {register} is of no Command")

    def _works(self, place: Sequence[int]) -> bool:
        """Whether an output is commanded on, or held on."""
        held = any(
            self.outputs.get(block["pin"])
            for block in self.config["blocks"]
            if block["kind"] == "Output" and block["from"] == place and self._silent(block, "hold")
        )
        return held or bool(self._effective(place[0]) >> place[1] & 1)

    def _silent(self, block: Mapping[str, Any], fallback: str) -> bool:
        return self._fault is Fault.SILENCE and block["silence"] == fallback

    def _put_out(self, block: Mapping[str, Any]) -> None:
        if not self._silent(block, "hold"):
            register, bit = block["from"]
            self.outputs[block["pin"]] = self._effective(register) >> bit & 1

    def _drive(self, block: Mapping[str, Any]) -> None:
        register, bit = block["run"]
        level = self._effective(register) >> bit & 1
        (speed_at,) = block["speed"]
        set_point = self._set_point(block, speed_at)
        self.outputs[block["run_pin"]] = level
        self.outputs[block["speed_pin"]] = int(set_point) * FULL_DUTY // block["full"]
        self._show(block["running"], bool(level))
        if block["shown"] is not None:
            self.words[block["shown"][0]] = int(set_point)

    def _set_point(self, block: Mapping[str, Any], speed_at: int) -> float:
        """Raw, within its limits; on silence what is left of it on its way down."""
        before = self._set_points.get(speed_at, 0.0)
        if self._silent(block, "hold"):
            return before
        word = self._effective(speed_at)
        wanted = float(min(block["full"], max(0, word - (word >> 15 << 16))))
        if self._silent(block, "ramp"):
            wanted = max(wanted, before - block["full"] * TICK_MS / block["ramp"])
        self._set_points[speed_at] = wanted
        return wanted
