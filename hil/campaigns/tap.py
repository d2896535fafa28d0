"""What went over the links, as facts of the Trace: what a node was really told, and what it said.

For every node with a Link, `watch` writes these Signals:

    NODE/told/heartbeat   (owner, epoch, heartbeat, lease [ms]) of a delivered Grant; a new entry is a changed heartbeat
    NODE/told/errand     (owner, epoch, sequence, op, command id, argument, not-after [ms]) of a delivered Grant
    MACHINE/told/command the registers of a delivered Command
    NODE/said/result      (boot id, sequence, result, reason, executions, command id) out of a delivered reply
    NODE/said/state       (leased, latched, fault) out of a delivered reply
    NODE/said/uptime      [ms] out of a delivered reply: when it is new, so was the reply

A frame is taken as it was delivered: what a fault has made of it on the way is what the other end heard.
"""

import struct
from collections.abc import Sequence

from controller.modbus.pdu import HEAD, READ_HOLDING, WRITE_MANY, WRITE_ONE
from hil.rig import Rig
from twin.clock import Ns
from twin.factory import Machine, Node
from twin.node import COMMAND_AT, LEASE_MS, STATUS_AT, NodeCommand, NodeStatus
from twin.trace import Trace
from twin.wire import WireError, decode, layout, value

_GRANT = layout(NodeCommand).size
_STATUS = layout(NodeStatus).size
_STATUS_WORDS = struct.Struct(f">{_STATUS}H")
_UPTIME = layout(NodeStatus)["uptime"]
_UID = layout(NodeStatus)["uid"]
_LEASE = tuple(layout(NodeCommand)[name] for name in ("owner", "epoch", "lease", "heartbeat"))
_BEATING = frozenset(layout(NodeCommand)["heartbeat"].registers)
_NAMES = ("boot_id", "fault", "leased", "latched", "sequence", "result", "reason", "executions", "command_id")
_SAID = tuple(sorted({register for name in _NAMES for register in layout(NodeStatus)[name].registers}))
_MOST_ASKED = 32  # reads whose reply may still come


def watch(rig: Rig) -> None:
    """Put what passes every Link of a rig into its Trace from now on."""
    for name, link in rig.links.items():
        link.taps.append(_Tap(rig.trace, rig.factory.nodes[name], rig.factory.on(name)))


class _Tap:
    """One link's frames. Writes are kept as the node keeps them: a part of the Grant changes only that part."""

    def __init__(self, trace: Trace, node: Node, machines: Sequence[Machine]) -> None:
        self._trace, self._node, self._uid = trace, node.name, node.uid
        self._grant = [0] * _GRANT
        self._grant[layout(NodeCommand)["lease"].binding.register] = LEASE_MS
        self._commands = {m.base + m.type.layouts[0].size: (m, [0] * m.type.layouts[1].size) for m in machines}
        self._asked: dict[int, tuple[int, int]] = {}
        self._errand: list[int] = []
        self._last: list[int] = []

    def __call__(self, now: Ns, toward_node: bool, frame: bytes) -> None:
        if len(frame) < HEAD.size + 1:
            return
        transaction = HEAD.unpack_from(frame)[0]
        pdu = frame[HEAD.size :]
        if toward_node:
            self._told(now, transaction, pdu)
        elif pdu[0] == READ_HOLDING:
            self._said(now, transaction, pdu)

    # ---- toward the node

    def _told(self, now: Ns, transaction: int, pdu: bytes) -> None:
        if len(pdu) < 5:
            return
        function, first = pdu[0], int.from_bytes(pdu[1:3])
        count = int.from_bytes(pdu[3:5])
        if function == READ_HOLDING:
            if len(self._asked) >= _MOST_ASKED:
                del self._asked[next(iter(self._asked))]
            self._asked[transaction] = (first, count)
        elif function == WRITE_MANY and len(pdu) == 6 + 2 * count and pdu[5] == 2 * count:
            self._written(now, first, [int.from_bytes(pdu[at : at + 2]) for at in range(6, len(pdu), 2)])
        elif function == WRITE_ONE and len(pdu) == 5:
            self._written(now, first, [count])

    def _written(self, now: Ns, first: int, words: list[int]) -> None:
        at = first - COMMAND_AT
        if at >= 0 and at + len(words) <= _GRANT:
            self._grant[at : at + len(words)] = words
            self._tell_grant(now)
        else:
            self._tell_command(now, first, words)

    def _tell_grant(self, now: Ns) -> None:
        node, trace, words = self._node, self._trace, self._grant
        owner, epoch, lease, heartbeat = (value(signal, words) for signal in _LEASE)
        trace.value(now, f"{node}/told/heartbeat", (owner, epoch, heartbeat, lease))
        errand = [word for index, word in enumerate(words) if index not in _BEATING]
        if errand == self._errand:
            return
        self._errand = errand
        try:
            given = decode(NodeCommand, words)
        except WireError:
            return  # an op that there is not
        asked = (given.sequence, given.op.name, given.command_id, given.argument, given.not_after)
        trace.value(now, f"{node}/told/errand", (given.owner, given.epoch, *asked))

    def _tell_command(self, now: Ns, first: int, words: list[int]) -> None:
        for base, (machine, held) in self._commands.items():
            if base <= first and first + len(words) <= base + len(held):
                held[first - base : first - base + len(words)] = words
                self._trace.value(now, f"{machine.name}/told/command", tuple(held))

    # ---- from the node

    def _said(self, now: Ns, transaction: int, pdu: bytes) -> None:
        asked = self._asked.pop(transaction, None)
        if asked is None or len(pdu) != 2 + 2 * asked[1] or pdu[1] != 2 * asked[1]:
            return
        first, count = asked
        if first > STATUS_AT or first + count < STATUS_AT + _STATUS:
            return
        at = 2 + 2 * (STATUS_AT - first)
        words = _STATUS_WORDS.unpack_from(pdu, at)
        if value(_UID, words) != self._uid:
            return  # another node at the end of this link
        self._trace.value(now, f"{self._node}/said/uptime", value(_UPTIME, words))
        rest = [words[index] for index in _SAID]
        if rest == self._last:
            return
        self._last = rest
        try:
            said = decode(NodeStatus, words)
        except WireError:
            return  # damaged on the way
        result = (said.result.name, said.reason.name, said.executions, said.command_id)
        self._trace.value(now, f"{self._node}/said/result", (said.boot_id, said.sequence, *result))
        self._trace.value(now, f"{self._node}/said/state", (said.leased, said.latched, said.fault.name))
