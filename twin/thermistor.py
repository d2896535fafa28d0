"""A thermistor behind a pull-up: temperature to resistance and back (Steinhart and Hart), and the ADC that reads it."""

import functools
import math
from dataclasses import dataclass

ZERO_C = 273.15
ADC_FULL = 65_535

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Thermistor:
    """An NTC resistor in series with a pull-up.

    Attributes:
        points: three pairs of temperature [°C] and resistance [Ω], from the data sheet.
        pull_up: resistance to the supply [Ω]; the ADC's full scale is the supply.
    """

    points: tuple[Point, Point, Point]
    pull_up: float

    def resistance(self, temperature: float) -> float:
        """Ohms at a temperature [°C]: the real root of the curve's cubic, after Cardano."""
        a, b, c = coefficients(self.points)
        half = (a - 1 / (temperature + ZERO_C)) / c / 2
        root = math.hypot((b / c / 3) ** 1.5, half)
        return math.exp(math.cbrt(root - half) - math.cbrt(root + half))

    def temperature(self, resistance: float) -> float:
        """°C at a resistance [Ω]."""
        a, b, c = coefficients(self.points)
        log = math.log(resistance)
        return 1 / (a + log * (b + log * log * c)) - ZERO_C

    def adc(self, resistance: float) -> int:
        """What an ideal 16-bit ADC reads between the resistor and its pull-up; infinity is an open circuit."""
        return ADC_FULL if math.isinf(resistance) else round(ADC_FULL * resistance / (resistance + self.pull_up))

    def seen(self, reading: int) -> float:
        """Ohms that an ADC reading means: 0 for a short circuit, infinity for an open one."""
        return math.inf if reading >= ADC_FULL else self.pull_up * reading / (ADC_FULL - reading)


@functools.cache
def coefficients(points: tuple[Point, Point, Point]) -> tuple[float, float, float]:
    """a, b, c of 1/T = a + b ln R + c (ln R)³ [1/K] through three points."""
    (y1, l1), (y2, l2), (y3, l3) = ((1 / (t + ZERO_C), math.log(r)) for t, r in points)
    g2, g3 = (y2 - y1) / (l2 - l1), (y3 - y1) / (l3 - l1)
    c = (g3 - g2) / (l3 - l2) / (l1 + l2 + l3)
    b = g2 - c * (l1 * l1 + l1 * l2 + l2 * l2)
    return y1 - l1 * (b + l1 * l1 * c), b, c


# EPCOS B57560G104F, the glass bead in most hotends, with the usual pull-up.
EPCOS_100K = Thermistor(points=((25.0, 100_000.0), (150.0, 1_641.9), (250.0, 226.15)), pull_up=4_700.0)
