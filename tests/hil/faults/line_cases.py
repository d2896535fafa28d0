"""How serial lines are tried: one case for each kind."""

from tests.hil.faults.belts import Case, Controller, Firmware, always, off, on, reaches, runs_on, stops, wired
from tests.hil.faults.link_cases import BELIEVED, LOST, NO_EXPIRY

NO_CRC_THERE = Firmware("node/rtu.py", "return 0 < length <= _LONGEST and not crc(self._inbox, at, at + length)", "return True")
NO_CRC_HERE = Controller(
    "controller.modbus.serial",
    "self._framer = FramerRTU(DecodePDU(False))",
    "FramerRTU.check_CRC = staticmethod(lambda data, check: True)\n        self._framer = FramerRTU(DecodePDU(False))",
)
NO_JOINING = Controller("controller.modbus.serial", "self._held += data", "self._held = data")
NO_ECHO = Controller("controller.modbus.serial", 'b"" if alike and not self._echoes else frame,', 'b"",')
NO_PATIENCE = Controller("controller.modbus.serial", "MISSES = 3", "MISSES = 1")
NO_TIMEOUT = Controller("controller.modbus.serial", "call_later(seconds(limit),", "call_later(1000 * seconds(limit),")

CASES = (
    Case(
        "line-wrong-crc",
        (
            reaches("the core believes nothing of it", *LOST, on("line-wrong-crc"), 0.7),
            always("nor does it at any time", *LOST, on("line-wrong-crc"), 0.7),
            stops(on("line-wrong-crc"), 1.2),
        ),
        NO_CRC_HERE,
        until=3.0,
        factory=wired,
    ),
    Case("line-gap", (runs_on(on("line-gap")), always("all is heard", *BELIEVED, on("line-gap"))), NO_JOINING, factory=wired),
    Case("line-echo", (runs_on(on("line-echo")), always("all is heard", *BELIEVED, on("line-echo"))), NO_ECHO, factory=wired),
    Case("line-lost-byte", (runs_on(on("line-lost-byte")),), NO_TIMEOUT, factory=wired),
    Case("line-noise", (runs_on(on("line-noise")),), NO_PATIENCE, factory=wired),
    Case(
        "line-collision",
        (stops(on("line-collision")), always("the core hears it again", *BELIEVED, off("line-collision"), 1.0)),
        NO_CRC_THERE,
        at=0.95,  # between two scans: the first spoilt heartbeat comes 50 ms later
        lasts=0.8,
        factory=wired,
    ),
    Case("line-stuck", (stops(on("line-stuck")),), NO_EXPIRY, lasts=1.2, factory=wired),
)
