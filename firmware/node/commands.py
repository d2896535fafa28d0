"""The machines' Command records: what was written, and what takes effect."""

from time import ticks_diff, ticks_ms


class Commands:
    """The machines' Command records: what was written, and what takes effect."""

    def __init__(self, records, bank, effective):
        self._bank = bank
        self.effective = effective
        self._records = []
        for first, words in records:
            self._records.append((2 * first, 2 * (first + len(words))))
            for k in range(len(words)):
                bank.put16(first + k, words[k])
                effective.put16(first + k, words[k])
        self._defaults = bytes(effective.bytes)
        self._armed = bytearray(len(self._records))
        self._aged = []  # of each output with a maximum age: its byte, its bits, the age, when it was written last, its block
        self.arm()

    def age(self, place, most_ms, block):
        """An output of this `place` (register, bit; a whole register without one) must be written anew within most_ms."""
        at = 2 * place[0]
        if len(place) == 1:
            self._aged += [[at, 255, most_ms, ticks_ms(), block], [at + 1, 255, most_ms, ticks_ms(), block]]
        else:
            self._aged.append([at + 1 - (place[1] >> 3), 1 << (place[1] & 7), most_ms, ticks_ms(), block])

    def written(self, start, end):
        """The bytes from start to end have been written, be it with what stood there."""
        for aged in self._aged:
            if start <= aged[0] < end:
                aged[3] = ticks_ms()

    def overdue(self, now_ms):
        """The block whose output is not at its default and has not been written within its age; -1 where there is none."""
        for at, bits, most_ms, written_ms, block in self._aged:
            if ticks_diff(now_ms, written_ms) >= most_ms and (self.effective.bytes[at] ^ self._defaults[at]) & bits:
                return block
        return -1

    def writable(self, start, end):
        """Whether the bytes lie in one machine's record."""
        return any(first <= start and end <= last for first, last in self._records)

    @property
    def idle(self):
        """Every command is at its default."""
        return all(self._at_default(k) for k in range(len(self._records)))

    @property
    def resting(self):
        """What takes effect is the default of every command."""
        return self.effective.bytes == self._defaults

    def disarm(self):
        """From now on a machine's commands act only after all of them have been seen at their defaults."""
        for k in range(len(self._armed)):
            self._armed[k] = 0

    def arm(self):
        """Note whose commands are at their defaults."""
        for k in range(len(self._armed)):
            if not self._armed[k] and self._at_default(k):
                self._armed[k] = 1

    def settle(self, obeyed):
        """What takes effect: the commands where they are obeyed and armed, else the defaults."""
        target = self.effective.bytes
        for k in range(len(self._records)):
            source = self._bank.bytes if obeyed and self._armed[k] else self._defaults
            first, last = self._records[k]
            for at in range(first, last):
                target[at] = source[at]

    def _at_default(self, k):
        first, last = self._records[k]
        return self._bank.view[first:last] == self._defaults[first:last]
