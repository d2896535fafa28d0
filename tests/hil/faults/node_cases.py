"""How nodes are tried: one case for each kind."""

from hil.judging.verdict import happened
from hil.rig import NodeEnded, PowerOn
from tests.hil.faults.belts import Case, Controller, Firmware, always, belts, on, reaches, runs_on, stops, strike
from twin.export import node_json

NO_LATCH = Firmware("node/app.py", "if self.use.before:", "if False:")
NO_DOG = Firmware("node/app.py", "WATCHDOG_MS = 2000", "WATCHDOG_MS = 60000")
GREEDY = Firmware("node/app.py", "        self.beat = True\n", "        self.beat = len(bytearray(4000)) > 0\n")
NO_PARDON = Firmware(
    "node/store.py",
    "    except OSError:\n        return False\n    return True",
    "    except ValueError:\n        pass\n    return True",
)
NO_MAP = Controller("controller.image", "if status.map_hash != self.map_hash:", "if False:")
NO_CHECKSUM = Firmware("node/settings.py", 'crc32(body.encode()) != config.pop("check", None)', 'config.pop("check", None) is None')
NO_BRACES = Firmware("node/settings.py", 'if text.count("{") != text.count("}") or', "if False and")
NO_NUMBER = Firmware("node/store.py", "    except (OSError, ValueError):", "    except OSError:")
NO_DIFF = Firmware("node/safety.py", "or ticks_diff(now_ms, self._heard_ms) <", "or now_ms - self._heard_ms <")
NO_EXPIRY = Firmware("node/safety.py", "not self._leased or ticks_diff(now_ms, self._heard_ms) < self._lease_ms:", "True:")
NO_REST = Firmware("node/app.py", "        finally:\n            self.rest()", "        finally:\n            pass")
BY_TICKS = Firmware(
    "node/safety.py",
    "        if not self._leased or ticks_diff(now_ms, self._heard_ms) < self._lease_ms:\n",
    "        if self._heard_ms != getattr(self, '_last_heard', None):\n"
    "            self._last_heard, self._silent = self._heard_ms, 0\n"
    "        self._silent += 1\n"
    "        if not self._leased or self._silent < self._lease_ms // 10:\n",
)
OURS = ("core/node:a/link", lambda standing: standing == "ours")
REFUSED = ("core/node:a/link", lambda standing: standing == "refused")
KILLED = on("controller-killed", "core")


def _low(level: int) -> bool:
    return level == 0


def _bit_of_a_pin() -> int:
    """The lowest bit of the last digit of the run pin in node.json: flipped, it is another pin."""
    made = belts("a")
    text = node_json(made, made.nodes["a"])
    return 8 * (text.index(",", text.index('"run_pin"')) - 1)


def restarted(kind: str, lasts: float | None = None, **parameters: float) -> Case:
    """The node loses its power while the belt runs."""
    return Case(
        kind,
        (
            stops(on(kind), 0.02),
            reaches("the node comes back latched", "a/said/state", lambda said: said[2] == "RESTARTED", on(kind), 3.0),
            reaches("the order is held", "core/factory/order/state", lambda s: s == "HELD", on(kind), 3.0),
        ),
        NO_LATCH,
        lasts=lasts,
        until=5.0,
        parameters=parameters,
    )


CASES = (
    restarted("node-reset"),
    restarted("node-power-cut", 0.8),
    restarted("node-brown-out", dips=2),
    restarted("node-reset-loop", 1.2, period=0.5),
    Case("node-hang", (stops(on("node-hang"), 2.1), happened("the watchdog resets the node", PowerOn, PowerOn)), NO_DOG),
    Case("node-pause", (stops(on("node-pause"), 1.02),), NO_EXPIRY, parameters={"pause": 1.0}),
    Case(
        "node-overload",
        (stops(KILLED, 0.6),),
        BY_TICKS,
        parameters={"load": 0.03},
        beside=(strike(1.5, "controller-killed", target="core"),),
    ),
    Case("node-no-heap", (runs_on(on("node-no-heap")),), GREEDY),
    Case(
        "node-flash-read-only",
        (always("the core has the node", *OURS, on("node-flash-read-only"), 0.6),),
        NO_PARDON,
        at=0.05,
        until=2.0,
    ),
    Case(
        "node-config-flip",
        (
            reaches("the core refuses the node", *REFUSED, on("node-config-flip"), 0.8),
            stops(on("node-config-flip"), 0.02),
        ),
        NO_CHECKSUM,
        parameters={"bit": _bit_of_a_pin()},
    ),
    Case(
        "node-config-foreign",
        (
            reaches("the core refuses the node", *REFUSED, on("node-config-foreign"), 0.6),
            always("no belt moves", "a/pin/run", _low, on("node-config-foreign")),
        ),
        NO_MAP,
        at=0.05,
        until=2.0,
    ),
    Case(
        "node-config-short",
        (happened("the firmware does not start", PowerOn, PowerOn, NodeEnded), stops(on("node-config-short"), 0.02)),
        NO_BRACES,
        parameters={"share": 0.9985},
    ),
    Case("node-counter-lost", (always("the core has the node again", *OURS, on("node-counter-lost"), 1.2),), NO_NUMBER),
    Case("node-counter-spoilt", (always("the core has the node again", *OURS, on("node-counter-spoilt"), 1.2),), NO_NUMBER),
    Case(
        "node-clock-wraps",
        (stops(KILLED),),
        NO_DIFF,
        at=0.02,
        parameters={"before": 2.0},
        beside=(strike(1.9, "controller-killed", target="core"),),
    ),
    Case(
        "node-clock-drifts",
        (reaches("the belt runs", "a/pin/run", bool, on("node-clock-drifts"), 0.7), stops(KILLED, 0.58)),
        NO_EXPIRY,
        at=0.02,
        parameters={"ppm": -100_000},
        beside=(strike(2.0, "controller-killed", target="core"),),
    ),
    Case("node-pin-error", (stops(on("node-pin-error"), 0.02),), NO_REST, until=2.9),
)
