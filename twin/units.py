"""Units of measure: symbol, UNECE code and size in SI.

The codes are those of UNECE Recommendation 20, which OPC UA's EngineeringUnits carry as unitId.
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit that people read.

    Attributes:
        symbol: what is shown.
        code: UNECE common code, one to three characters.
        size: one of it in SI units. Temperatures are held in °C, itself an SI unit, so that nothing needs an offset.
        name: its name in English.
    """

    symbol: str
    code: str
    size: float
    name: str

    @property
    def unit_id(self) -> int:
        """The code's bytes as one number, as OPC UA Part 8 (5.6.3.4) lays it down."""
        return int.from_bytes(self.code.encode("ascii"), "big")

    def of(self, si: float) -> float:
        """An SI value in this unit."""
        return si / self.size

    def si(self, value: float) -> float:
        """A value in this unit in SI."""
        return value * self.size


ONE = Unit("", "C62", 1.0, "one")
PERCENT = Unit("%", "P1", 0.01, "percent")
DEG = Unit("°", "DD", math.pi / 180, "degree")
DEG_PER_S = Unit("°/s", "E96", math.pi / 180, "degree per second")
M = Unit("m", "MTR", 1.0, "metre")
MM = Unit("mm", "MMT", 1e-3, "millimetre")
M_PER_S = Unit("m/s", "MTS", 1.0, "metre per second")
MM_PER_S = Unit("mm/s", "C16", 1e-3, "millimetre per second")
MM_PER_S2 = Unit("mm/s²", "M41", 1e-3, "millimetre per second squared")
M_PER_S2 = Unit("m/s²", "MSK", 1.0, "metre per second squared")
PER_MM = Unit("1/mm", "", 1e3, "reciprocal millimetre")  # has no code in UNECE Recommendation 20
KG = Unit("kg", "KGM", 1.0, "kilogram")
DEG_C = Unit("°C", "CEL", 1.0, "degree Celsius")
S = Unit("s", "SEC", 1.0, "second")
MS = Unit("ms", "C26", 1e-3, "millisecond")
HZ = Unit("Hz", "HTZ", 1.0, "hertz")
OHM = Unit("Ω", "OHM", 1.0, "ohm")
W = Unit("W", "WTT", 1.0, "watt")
AMPERE = Unit("A", "AMP", 1.0, "ampere")
PASCAL = Unit("Pa", "PAL", 1.0, "pascal")

ALL = (ONE, PERCENT, DEG, DEG_PER_S, M, MM, M_PER_S, MM_PER_S, MM_PER_S2, M_PER_S2, KG, DEG_C, S, MS, HZ, OHM, W, AMPERE, PASCAL)
