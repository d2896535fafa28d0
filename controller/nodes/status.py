"""What a node says of itself and has written to its log: for people, and as JSON. Plain readers, beside whoever commands it."""

import random
import zlib
from dataclasses import dataclass
from typing import Any

from controller.image import Expected
from controller.modbus.pdu import Read, Write
from controller.nodes.grant import words
from controller.nodes.reach import STATUS as STATUS_READ
from controller.nodes.reach import NodeError, Reached
from twin.export import map_hash
from twin.factory import Factory, Node
from twin.node import TRANSFER_AT, TRANSFER_BYTES, TRANSFER_HEAD, NodeStatus, Slot, Transfer, TransferKind, TransferOp
from twin.wire import decode, encode

WINDOW = Read(TRANSFER_AT, TRANSFER_HEAD + TRANSFER_BYTES // 2)
NO_BLOCK = 0xFFFF
OURS = "lockstep"
TRIALS = 3
"""Starts without a confirmation, after which a node falls back: firmware/loader.py."""
_COUNTERS = ("refused", "late_refused", "repeated", "foreign", "old_epochs", "leases_lost", "underruns")
_TRIES = 10


async def look(factory: Factory, reached: Reached) -> dict[str, Any]:
    """All there is to say of a node now.

    Raises:
        NodeError: it does not answer, or is no node of ours.
    """
    status = await reached.status()
    return {"runs": _firmware(reached.node), "release": await _release(reached), **told(factory, reached.node.name, status)}


def _firmware(node: Node) -> str:
    """What a node runs: lockstep, the name of the folder with its own firmware, or the kind of device that it is."""
    if node.foreign is not None:
        return "moonraker"
    return node.firmware.name if node.firmware else OURS


async def _release(reached: Reached) -> str:
    """Empty where a node that does not run our firmware tells none."""
    if reached.node.foreign is not None:
        return ""
    try:
        return await reached.release()
    except NodeError:
        if reached.node.firmware is None:
            raise
        return ""


def told(factory: Factory, name: str, status: NodeStatus) -> dict[str, Any]:
    """A Status in the words of the command line."""
    expected = Expected(factory.nodes[name].uid, map_hash(factory, name))
    return {
        "uid": status.uid,
        "unfit": expected.refuses(status),
        "map_hash": status.map_hash,
        "boot_id": status.boot_id,
        "uptime_s": status.uptime / 1000,
        "reset_cause": words(status.reset_cause.name),
        "slot": "" if status.slot is Slot.NONE else status.slot.name.lower(),
        "secure_version": status.secure_version,
        "unconfirmed": status.unconfirmed,
        "boots": status.boots,
        "lease": {"live": status.leased, "owner": status.owner, "epoch": status.epoch},
        "latched": status.latched,
        "fault": words(status.fault.name),
        "fault_block": None if status.fault_block == NO_BLOCK else status.fault_block,
        "heap_free": status.heap_free,
        "late_us": status.late,
        "storage_failed": status.storage_failed,
        "counters": {name: getattr(status, name) for name in _COUNTERS},
        "log_end": status.log_end,
    }


def lines(name: str, found: dict[str, Any]) -> list[str]:
    """The same for people."""
    lease, slot = found["lease"], found["slot"]
    commanded = f"by {lease['owner']:#010x}" if lease["live"] else "by nobody"
    slots = f"slot {slot}, secure version {found['secure_version']}" if slot else "no slots"
    trial = f", NOT CONFIRMED, start {found['boots']} of {TRIALS}" if found["unconfirmed"] else ""
    identity = f"NOT AS IN THE FACTORY: {found['unfit']}" if found["unfit"] else "as in the factory"
    block = f", block {found['fault_block']}" if found["fault_block"] is not None else ""
    fault = ("fault", f"{found['fault']}{block}" + (", outputs safe until a reset" if found["latched"] else ""))
    if found["runs"] != OURS:
        release = f", release {found['release']}" if found["release"] else ""
        rows = [("runs", f"{found['runs']}, not our firmware{release}"), ("identity", f"uid {found['uid']}, {identity}"), fault]
        return [name] + [f"  {key:10} {text}" for key, text in rows]
    rows = [
        ("release", f"{found['release']}, {slots}{trial}"),
        ("identity", f"uid {found['uid']}, {identity}"),
        ("started", f"{found['uptime_s']:.0f} s ago after {found['reset_cause']}, start number {found['boot_id']}"),
        ("commanded", f"{commanded}, epoch {lease['epoch']}"),
        fault,
        ("heap", f"{found['heap_free']} bytes free"),
        ("lateness", f"{found['late_us']} us at worst"),
        ("counters", ", ".join(f"{key.replace('_', ' ')} {count}" for key, count in found["counters"].items() if count) or "all 0"),
    ]
    if found["storage_failed"]:
        rows.append(("flash", "HAS REFUSED A WRITE"))
    return [name] + [f"  {key:10} {text}" for key, text in rows]


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of a node's log.

    Attributes:
        boot_id: of the run that wrote it; begin, end: which bytes of it these are.
    """

    boot_id: int
    begin: int
    end: int
    text: bytes


async def piece(reached: Reached, offset: int) -> Piece:
    """The log from an offset on: some of it, nothing where there is no more yet.

    Where others read at the same time, each knows its own answer by an id.

    Raises:
        NodeError: it does not answer, or others always come between.
    """
    for _ in range(_TRIES):
        mine = random.getrandbits(32)
        asked = Transfer(op=TransferOp.READ, kind=TransferKind.LOG, id=mine, offset=offset, length=0, crc=0)
        _, window, words_of_status = await reached.ask(Write(TRANSFER_AT, tuple(encode(asked))), WINDOW, STATUS_READ)
        head = decode(Transfer, window[:TRANSFER_HEAD])
        body = b"".join(word.to_bytes(2, "big") for word in window[TRANSFER_HEAD:])[: head.length]
        if head.id == mine and head.crc == zlib.crc32(body):
            return Piece(reached.known(words_of_status).boot_id, head.offset, head.offset + len(body), body)
    raise NodeError(f"{reached.node.name}: others read its log at the same time, again and again")


@dataclass
class Log:
    """A reader of a node's log that keeps its place.

    Attributes:
        offset: what was read up to; boot_id: in which run of the node.
    """

    reached: Reached
    offset: int = 0
    boot_id: int | None = None

    async def more(self) -> str:
        """What has come since; a line in brackets tells of what is lost or of a restart.

        Raises:
            NodeError: the node does not answer.
        """
        found = b""
        while True:
            got = await piece(self.reached, self.offset)
            if self.boot_id is not None and got.boot_id != self.boot_id:
                found += b"[the node has started anew]\n"
                self.boot_id, self.offset = got.boot_id, 0
                continue
            if got.begin > self.offset and got.text:
                found += b"[older lines are gone]\n"
                got = Piece(got.boot_id, got.begin, got.end, got.text[got.text.find(b"\n") + 1 :])
            self.boot_id, self.offset = got.boot_id, got.end
            if got.begin == got.end:
                return found.decode("utf-8", "replace")
            found += got.text
