"""How links are tried: one case for each kind."""

from tests.hil.faults.belts import (
    Case,
    Controller,
    Firmware,
    always,
    ask,
    fed,
    off,
    on,
    reaches,
    runs_on,
    stops,
    strike,
    trip,
    untrip,
)
from tests.hil.jobs import one_printer
from twin.node import MAGIC, TransferState

NO_EXPIRY = Firmware(
    "node/safety.py", "ticks_diff(now_ms, self._heard_ms) < self._lease_ms:", "ticks_diff(now_ms, self._heard_ms) < 10**6:"
)
NO_LATCH = Firmware("node/safety.py", "elif motion.running or not self.commands.idle:", "elif motion.running:")
NO_EPOCH = Firmware("node/safety.py", "elif not 0 < epoch", "elif not 0 <= epoch")
NO_RETURN = Firmware("node/modbus.py", "            self._free.append(connection)\n", "")
NO_AGE = Controller("controller.image", "now - sample.at > limit", "now - sample.at > 1000 * limit")
NO_SILENCE = Controller("controller.modbus.client", "now() - since >= self.silence", "now() - since >= 1000 * self.silence")
NO_FRESH_FRAMES = Controller(
    "controller.modbus.client", "self._frames = Frames()", 'self._frames = link.__dict__.setdefault("frames", Frames())'
)
NO_PAUSE = Controller("controller.modbus.client", "flaps = 0 if lived >= STEADY else flaps + 1", "flaps = 0")
NO_PATIENCE = Controller(
    "controller.nodes.lines", "deadline = Ns(now + line.period * 5 // 2)", "deadline = Ns(now + line.period // 2)"
)
NO_TOLERANCE = Controller(
    "controller.modbus.client",
    "            if transaction in self._late:\n",
    '            raise ProtocolError("nobody asked")\n            if transaction in self._late:\n',
)
POP = "asked = self._in_flight.pop(transaction, None)"
ANY_TRANSACTION = Controller(
    "controller.modbus.client", POP, POP + " or (self._in_flight.pop(next(iter(self._in_flight))) if self._in_flight else None)"
)
IN_TURN = Controller("controller.modbus.client", POP, "asked = self._in_flight.pop(next(iter(self._in_flight), -1), None)")
NO_REST = Controller("controller.modbus.pdu", "        del held[:at]\n", "        held.clear()\n")
NO_DROP = Controller("controller.modbus.client", "            self.drop(str(broken))\n", "")
NO_UNIT = Controller("controller.modbus.client", "if unit != wanted:", "if False:")
NO_FUNCTION = Controller("controller.modbus.pdu", "if pdu[0] == function:", "if pdu[0] < 0x80:")
NO_COUNT = Controller(
    "controller.modbus.pdu",
    "if len(reply) != 2 + 2 * self.count or reply[1] != 2 * self.count:",
    "if len(reply) != 2 + 2 * self.count:",
)
NO_SIZE = Controller(
    "controller.modbus.pdu",
    "        if len(reply) != 2 + 2 * self.count or reply[1] != 2 * self.count:\n",
    '        reply = reply.ljust(2 + 2 * self.count, b"\\0")\n        if False:\n',
)
NO_PROTOCOL = Controller("controller.modbus.pdu", "if protocol != 0:", "if False:")
NO_LENGTH = Controller("controller.modbus.pdu", "if not SHORTEST <= length <= LONGEST:", "if False:")
NO_EXCEPTION = Controller(
    "controller.modbus.pdu", "        raise Refused(function, pdu[1])", '        return (0,) * getattr(request, "count", 0)'
)
NO_IDENTITY = Controller("controller.image", "self.shape.expected[node].refuses(said)", '""')
BELIEVED = ("core/a/quality", lambda quality: quality == "good")
LOST = ("core/a/quality", lambda quality: quality != "good")
HEARD = ("core/node:a/link", lambda standing: standing != "lost")
OURS = ("core/node:a/link", lambda standing: standing == "ours")
REFUSED = ("core/node:a/link", lambda standing: standing == "refused")
LATCHED = ("a/node/latched", bool)
NO_HEADER = Firmware("node/modbus.py", "inbox[at + 3] or length < 2 or length > 254:", "inbox[at + 3] or length < 2:")
NO_OWNER = Firmware("node/safety.py", "        if not self._owns(peer):\n", "        if not self._leased:\n")
# Both that a Grant that was overtaken is not heard, and that a command that has run does not run again.
NO_MEMORY = Firmware("node/safety.py", "        if newer > 0x7FFF:", "        if newer > 0x7FFF and self._done.clear():")
NO_ROOM = Firmware("node/modbus.py", "oldest.silence(now) > STALE_MS:", "oldest.silence(now) > 100 * STALE_MS:")
NO_GRACE = Firmware("node/modbus.py", "oldest.silence(now) > STALE_MS:", "True:")
NO_BLOCK_CRC = Firmware("node/transfer.py", "if crc32(body) != _u32(data, 16):", "if False:")
ZIGZAG = "G28\n" + "".join(f"G1 X{20 + 3 * (k % 7)} Y{20 + k % 40} F6000\n" for k in range(200)) + "M84\n"
OUTAGE = 0.15  # s: one scan, and no more


def _no(value: object) -> bool:
    return not value


def _stored(state: TransferState) -> bool:
    return state is TransferState.STORED


def _held(state: str) -> bool:
    return state == "HELD"


def unused(kind: str, defence: Controller | Firmware, **parameters: float) -> Case:
    """Replies that are not to be used: the core loses sight of the node, and then the belt stops."""
    return Case(
        kind,
        (
            reaches("the core believes nothing of it", *LOST, on(kind), 0.5),
            always("nor does it at any time", *LOST, on(kind), 0.5),
            stops(on(kind), 1.2),
        ),
        defence,
        until=3.0,
        parameters=parameters,
    )


def survived(kind: str, defence: Controller | Firmware, lasts: float = OUTAGE, **parameters: float) -> Case:
    """So short a fault that core and node find together again before the lease ends."""
    return Case(kind, (runs_on(on(kind)),), defence, lasts=lasts, until=3.0, parameters=parameters)


CASES = (
    Case("link-cut", (stops(on("link-cut")),), NO_EXPIRY, lasts=1.2),
    Case("link-cut-to-node", (stops(on("link-cut-to-node")),), NO_LATCH, lasts=1.2),
    Case("link-cut-from-node", (stops(on("link-cut-from-node"), 0.9),), NO_AGE, lasts=2.5),
    Case(
        "link-half-open",
        (
            stops(on("link-half-open")),
            reaches("the core gives the connection up", *LOST, on("link-half-open"), 1.5),
            reaches("and comes back over a new one", *HEARD, on("link-cut-from-node"), 2.5),
        ),
        NO_SILENCE,
        beside=(strike(1.9, "link-cut-from-node", 0.01),),  # an instant to count from
    ),
    Case(
        "link-reset",
        (always("the core hears the node again, and goes on hearing it", *BELIEVED, off("link-reset"), 1.5),),
        NO_FRESH_FRAMES,
        lasts=0.3,
    ),
    Case("link-refused", (stops(on("link-refused")),), NO_LATCH, lasts=0.8),
    Case(
        "link-flapping",
        (
            stops(on("link-flapping")),
            reaches("the core holds the order", "core/factory/order/state", _held, on("link-flapping"), 6.0),
        ),
        NO_LATCH,
        until=8.0,
        parameters={"period": 1.2},
    ),
    Case(
        "link-delay",
        (stops(on("link-delay")), always("late Grants are no claim", "a/node/leased", _no, on("link-delay"), 0.7)),
        NO_EPOCH,
        until=3.0,
        parameters={"delay": 0.6},
    ),
    Case("link-jitter", (runs_on(on("link-jitter")),), NO_PATIENCE, parameters={"spread": 0.1}),
    Case("link-held", (stops(on("link-held")),), NO_LATCH, lasts=0.8),
    Case("link-loss", (fed(),), NO_EXPIRY, until=6.0, parameters={"share": 0.6}),
    Case("link-duplicate", (runs_on(on("link-duplicate")),), NO_TOLERANCE),
    Case("link-reorder", (runs_on(on("link-reorder")),), IN_TURN),
    Case("link-bytewise", (runs_on(on("link-bytewise")),), NO_REST, until=2.0),
    survived("link-truncate", NO_DROP),
    Case(
        "link-spoilt-block",
        (reaches("the Job is stored", "printer-1/node/transfer_state", _stored, on("link-spoilt-block", "printer-1"), 3.0),),
        NO_BLOCK_CRC,
        at=0.0,
        until=3.5,
        target="printer-1",
        factory=lambda *_: one_printer(),
        programs={"zigzag.gcode": ZIGZAG},
        recipe="print",
    ),
    unused("link-wrong-transaction", ANY_TRANSACTION),
    unused("link-wrong-unit", NO_UNIT),
    unused("link-wrong-function", NO_FUNCTION),
    unused("link-byte-count", NO_COUNT),
    unused("link-fewer-registers", NO_SIZE),
    unused("link-wrong-protocol", NO_PROTOCOL),
    survived("link-wrong-length", NO_LENGTH),
    Case(
        "link-wrong-request",
        (always("the node takes a new connection at once", *BELIEVED, off("link-wrong-request"), 0.4),),
        NO_HEADER,
        lasts=OUTAGE,
        parameters={"length": 65_535},
    ),
    Case(
        "link-exception",
        (
            stops(on("link-exception"), 1.2),
            always("the core takes no value of it", "core/node:a/status/magic", lambda magic: magic == MAGIC, on("link-exception")),
        ),
        NO_EXCEPTION,
    ),
    Case("link-junk", (runs_on(on("link-junk")),), NO_RETURN, beside=(strike(2.5, "link-reset", 0.02),)),
    Case(
        "link-foreign-master",
        (
            always("no belt moves", "a/pin/run", _no, on("link-foreign-master")),
            always("the owner stays", "a/node/owner", lambda owner: owner & 0xFFFF == 1, on("link-foreign-master")),
        ),
        NO_OWNER,
        order=False,
    ),
    Case(
        "link-replay",
        (reaches("the node latches", *LATCHED, on("link-replay"), 1.0), always("for good", *LATCHED, on("link-replay"), 1.0)),
        NO_MEMORY,
        at=0.5,
        parameters={"after": 1.5},
        # Only a Grant with another sequence than the last one is judged at all, so there are two commands.
        story=((0.55, ask("reset", machine="a")), (0.75, ask("reset", machine="a")), (1.1, trip()), (1.4, untrip())),
    ),
    Case(
        "link-hoarding",
        (always("the core gets its place back", *OURS, on("link-reset"), 8.0),),
        NO_ROOM,
        until=11.0,
        beside=(strike(2.0, "link-reset", 0.2),),
    ),
    Case("link-knocking", (runs_on(on("link-knocking")),), NO_RETURN, beside=(strike(2.5, "link-reset", 0.02),)),
    Case("link-dawdling", (runs_on(on("link-dawdling")),), NO_GRACE, parameters={"period": 0.05}),
    Case(
        "link-swapped",
        (
            always("the other belt does not move", "b/pin/run", _no, on("link-swapped")),
            reaches("the core refuses the node", *REFUSED, on("link-swapped"), 1.5),
            stops(on("link-swapped")),
        ),
        NO_IDENTITY,
        nodes=("a", "b"),
        beside=(strike(0.8, "link-cut", target="b"),),
    ),
)
