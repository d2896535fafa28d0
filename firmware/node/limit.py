"""A Status number that is too large, as a Status bit."""

import micropython


class Above:
    """A block: the bit is set while the number lies above `limit`, and until it has fallen below `clear`, all as they are in the
    registers. A number outside `low` to `high` is no reading: the bit stays as it is. It stands behind the block that
    makes the number, so that an interlock on the bit acts in the same tick.
    """

    KEYS = ("of", "signed", "low", "high", "limit", "clear", "at")

    def __init__(self, config, bank, effective):
        self._bank = bank
        (self._of,) = config["of"]
        self._signed = config["signed"]
        self._low, self._high = config["low"], config["high"]
        self._limit, self._clear = config["limit"], config["clear"]
        self._at, self._bit = config["at"]
        self._seen = -1

    @micropython.native
    def read(self):
        """Number to bit."""
        value = self._bank.u16(self._of)
        if value == self._seen:
            return
        self._seen = value
        if self._signed and value & 0x8000:
            value -= 0x10000
        if not self._low <= value <= self._high:
            return
        if value > self._limit:
            self._bank.put_bit(self._at, self._bit, 1)
        elif value < self._clear:
            self._bank.put_bit(self._at, self._bit, 0)
