"""A voltage as a number of the Status, and whether it can be believed."""

from micropython import const

from node import pins
from node.belief import BAD_READINGS, Belief
from node.registers import FAULT_NONE

_TICKS = const(10)  # of samples in a reading: their mean, without those that no whole wire gives


class Analog:
    """A straight line from the ADC's readings to the register's numbers.

    node.json: `counts` and `raw` are two points of the line, `wire` the readings of a whole wire, `range` what the register may
    show, `safe` what it may show without a latch, `jump` the most from one reading to the next, all raw; `bad` stands in the
    register while nothing is believed; `blind` is the Fault that this is, `beyond` the one of what is not safe, 0 for none.
    """

    KEYS = ("pin", "at", "counts", "raw", "wire", "range", "safe", "jump", "steady", "bad", "blind", "beyond")

    def __init__(self, config, bank, effective=None):
        self._adc = pins.adc(config["pin"])
        self._bank = bank
        (self._at,) = config["at"]
        self._count, end = config["counts"]
        self._raw, last = config["raw"]
        self._over = end - self._count
        self._rise = last - self._raw
        self._low, self._high = config["wire"]
        self._least, self._most = config["range"]
        self._safe = config["safe"]
        self._bad = config["bad"]
        self._blind = config["blind"]
        self._beyond = config["beyond"]
        jump = config["jump"]
        self._belief = Belief(jump, max(1, jump // 4), config["steady"] // 100)
        self._sum = self._good = self._seen = self._outside = 0
        bank.put16(self._at, self._bad)

    def read(self):
        """Look at the ADC; every tenth time take a reading."""
        adc = self._adc.read_u16()
        self._seen += 1
        if self._low <= adc <= self._high:
            self._sum += adc
            self._good += 1
        if self._seen == _TICKS:
            self._take()

    def watch(self):
        """What is wrong: nothing to be believed, or what is believed is not safe."""
        if self._belief.failed and self._blind:
            return self._blind
        return self._beyond if self._outside >= BAD_READINGS else FAULT_NONE

    def _take(self):
        good = 2 * self._good > _TICKS
        raw = 0
        if good:
            raw = self._raw + (self._sum // self._good - self._count) * self._rise // self._over
            good = self._least <= raw <= self._most
        self._sum = self._good = self._seen = 0
        if self._belief.take(good, raw):
            self._bank.put16(self._at, raw)
            safe = self._safe[0] <= raw <= self._safe[1]
            self._outside = 0 if safe else min(self._outside + 1, BAD_READINGS)
        elif self._belief.failed:
            self._bank.put16(self._at, self._bad)
