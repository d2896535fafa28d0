"""Units of measure: symbol, UNECE code and size in SI.

The codes are those of UNECE Recommendation 20, which OPC UA's EngineeringUnits carry as unitId.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


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

RAD = Unit("rad", "C81", 1.0, "radian")
MRAD = Unit("mrad", "C25", 1e-3, "milliradian")
RAD_PER_S = Unit("rad/s", "2A", 1.0, "radian per second")
PER_MIN = Unit("r/min", "M46", math.tau / 60, "revolution per minute")
MIN = Unit("min", "MIN", 60.0, "minute")
HOUR = Unit("h", "HUR", 3600.0, "hour")
DAY = Unit("d", "DAY", 86_400.0, "day")
GRAM = Unit("g", "GRM", 1e-3, "gram")
NEWTON = Unit("N", "NEW", 1.0, "newton")
NEWTON_M = Unit("N·m", "NU", 1.0, "newton metre")
BAR = Unit("bar", "BAR", 1e5, "bar")
MBAR = Unit("mbar", "MBR", 1e2, "millibar")
KILOPASCAL = Unit("kPa", "KPA", 1e3, "kilopascal")
LITRE = Unit("l", "LTR", 1e-3, "litre")
CUBIC_M = Unit("m³", "MTQ", 1.0, "cubic metre")
LITRE_PER_MIN = Unit("l/min", "L2", 1e-3 / 60, "litre per minute")
CUBIC_M_PER_H = Unit("m³/h", "MQH", 1 / 3600, "cubic metre per hour")
MA = Unit("mA", "4K", 1e-3, "milliampere")
VOLT = Unit("V", "VLT", 1.0, "volt")
MV = Unit("mV", "2Z", 1e-3, "millivolt")
KV = Unit("kV", "KVT", 1e3, "kilovolt")
KW = Unit("kW", "KWT", 1e3, "kilowatt")
MW = Unit("MW", "MAW", 1e6, "megawatt")
VA = Unit("VA", "D46", 1.0, "volt - ampere")
KVA = Unit("kVA", "KVA", 1e3, "kilovolt - ampere")
VAR = Unit("var", "D44", 1.0, "var")
KVAR = Unit("kvar", "KVR", 1e3, "kilovar")
JOULE = Unit("J", "JOU", 1.0, "joule")
WH = Unit("Wh", "WHR", 3600.0, "watt hour")
KWH = Unit("kWh", "KWH", 3.6e6, "kilowatt hour")
MWH = Unit("MWh", "MWH", 3.6e9, "megawatt hour")
KVARH = Unit("kvarh", "K3", 3.6e6, "kilovolt ampere reactive hour")
KVAH = Unit("kVAh", "C79", 3.6e6, "kilovolt ampere hour")
AH = Unit("Ah", "AMH", 3600.0, "ampere hour")
PPM = Unit("ppm", "59", 1e-6, "part per million")

ALL = (
    ONE, PERCENT, DEG, DEG_PER_S, M, MM, M_PER_S, MM_PER_S, MM_PER_S2, M_PER_S2, KG, DEG_C, S, MS, HZ, OHM, W, AMPERE, PASCAL,
    RAD, MRAD, RAD_PER_S, PER_MIN, MIN, HOUR, DAY, GRAM, NEWTON, NEWTON_M, BAR, MBAR, KILOPASCAL, LITRE, CUBIC_M, LITRE_PER_MIN,
    CUBIC_M_PER_H, MA, VOLT, MV, KV, KW, MW, VA, KVA, VAR, KVAR, JOULE, WH, KWH, MWH, KVARH, KVAH, AH, PPM,
)  # fmt: skip

SYMBOLS: Mapping[str, Unit] = MappingProxyType({unit.symbol: unit for unit in (*ALL, PER_MM)})
"""Every unit by what is shown."""

_SPELLINGS = {
    "deg": DEG, "deg/s": DEG_PER_S, "mm/s2": MM_PER_S2, "m/s2": M_PER_S2, "ohm": OHM, "degC": DEG_C, "C": DEG_C, "rpm": PER_MIN,
    "Nm": NEWTON_M, "L": LITRE, "L/min": LITRE_PER_MIN, "m3": CUBIC_M, "m3/h": CUBIC_M_PER_H, "VAr": VAR, "kVAr": KVAR,
    "kVArh": KVARH, "Pct": PERCENT, "AH": AH, "Secs": S,
}  # fmt: skip
_KNOWN = {**{unit.code: unit for unit in ALL}, **_SPELLINGS, **SYMBOLS}


def find(text: str) -> Unit | None:
    """The unit of a symbol, of a usual spelling of it, or of a UNECE code; None where there is none."""
    return _KNOWN.get(text)
