"""The machines' Command records: what was written, and what takes effect."""

from time import ticks_diff, ticks_ms

from node.bank import place


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
        self._holds = {}  # bits that may stay as they are when nobody commands, by their byte
        self._aged = []  # of each output with a maximum age: its byte, its bits, the age, when it was written last, its block
        self.arm()

    def age(self, where, most_ms, block):
        """An output at `where` (register, bit; a whole register without one) must be written anew within most_ms."""
        for at, bits in _bits(where):
            self._aged.append([at, bits, most_ms, ticks_ms(), block])

    def hold(self, where):
        """An output at `where` stays as it is while it is but the owner's silence that takes its command away."""
        for at, bits in _bits(where):
            self._holds[at] = self._holds.get(at, 0) | bits

    def written(self, start, end, touched=None):
        """The bytes from start to end have been written, be it with what stood there; of them what is `touched`, or all."""
        for aged in self._aged:
            if start <= aged[0] < end and (touched is None or _is_touched(aged[0], aged[1], touched)):
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

    def disarm(self, but=None):
        """From now on commands act only after all of their machine's have been seen at their defaults, except where `but` lies."""
        for k in range(len(self._armed)):
            first, last = self._records[k]
            if but is None or not first <= 2 * but[0] < last:
                self._armed[k] = 0

    def arm(self):
        """Note whose commands are at their defaults."""
        for k in range(len(self._armed)):
            if not self._armed[k] and self._at_default(k):
                self._armed[k] = 1

    def settle(self, obeyed, holding=False):
        """What takes effect: the commands where they are obeyed and armed, else the defaults, or where `holding` what did."""
        target = self.effective.bytes
        for k in range(len(self._records)):
            acts = obeyed and self._armed[k]
            source = self._bank.bytes if acts else self._defaults
            first, last = self._records[k]
            for at in range(first, last):
                held = self._holds.get(at, 0) if holding and not acts else 0
                target[at] = source[at] & ~held | target[at] & held

    def _at_default(self, k):
        first, last = self._records[k]
        return self._bank.view[first:last] == self._defaults[first:last]


def _bits(where):
    """Bytes and bits of a register's bit, or of a whole register."""
    if len(where) == 2:
        return (place(where[0], where[1]),)
    return (2 * where[0], 255), (2 * where[0] + 1, 255)


def _is_touched(at, bits, touched):
    """Whether any of a byte's bits is among those."""
    first, end, mask = touched
    number = (at ^ 1) << 3
    bits &= mask >> (number & 8)
    for k in range(8):
        if bits >> k & 1 and first <= number + k < end:
            return True
    return False
