"""How the controller is tried: one case for each kind."""

from hil.house import CoreRefused
from hil.judging.verdict import happened
from tests.hil.faults.belts import Case, Controller, Firmware, always, most, on, runs_on, stops

NO_EXPIRY = Firmware("node/safety.py", "not self._leased or ticks_diff(now_ms, self._heard_ms) < self._lease_ms:", "True:")
NO_LATCH = Firmware("node/safety.py", "elif motion.running or not self.commands.idle:", "elif motion.running:")
NO_AGE = Controller("controller.core", ".aged(now)", "")
NO_SKIP = Controller("controller.core", "while due < self._clock.now():", "while False:")
NO_OWNER = Controller("controller.nodes.grant", "    if status.leased:\n", "    if status.leased and status.owner == owner:\n")
NO_LOCK = Controller("controller.folder", "fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)", "pass")
BY_WALL_CLOCK = Controller(
    "controller.core",
    ".aged(now)",
    '.aged(Ns(utc_ns() - self.__dict__.setdefault("start", utc_ns() - now)))',
)
NO_HIGHEST = Controller("controller.scan", "highest = max(grant.epoch, sample.status.epoch)", "highest = grant.epoch")
UNDISPUTED = ("a/node/refused", lambda refused: refused == 0)

CASES = (
    Case("controller-killed", (stops(on("controller-killed", "core")),), NO_LATCH, lasts=0.8, until=5.0, target="core"),
    Case("controller-crash-loop", (stops(on("controller-crash-loop", "core")),), NO_EXPIRY, lasts=2.1, target="core"),
    Case(
        "controller-stalled",
        (
            stops(on("controller-stalled", "core")),
            always("what it finds afterwards it does not take for its own", *UNDISPUTED, on("controller-stalled", "core")),
            always("the core claims it anew", "a/node/epoch", lambda epoch: epoch == 2, on("controller-stalled", "core"), 1.6),
        ),
        NO_AGE,
        until=3.5,
        target="core",
        parameters={"stall": 1.0},
    ),
    Case(
        "controller-slow",
        (
            runs_on(on("controller-slow", "core")),
            most("scans that come too late are not made up for", "a/told/heartbeat", lambda told: told[2], 35),
        ),
        NO_SKIP,
        until=5.0,
        target="core",
    ),
    Case(
        "controller-second",
        (
            runs_on(on("controller-second", "core")),
            always("nobody else even claims the node", *UNDISPUTED, on("controller-second", "core")),
        ),
        NO_OWNER,
        target="core",
    ),
    Case("controller-twice", (happened("the second one refuses to run", CoreRefused),), NO_LOCK, until=2.0, target="core"),
    Case("controller-wall-clock", (runs_on(on("controller-wall-clock", "core")),), BY_WALL_CLOCK, lasts=1.0, target="core"),
    Case(
        "controller-epoch-lost",
        (always("no claim is refused", *UNDISPUTED, on("controller-epoch-lost", "core")),),
        NO_HIGHEST,
        target="core",
    ),
)
