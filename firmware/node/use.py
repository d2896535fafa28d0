"""Whether the node was in use, remembered over a restart by a file that is there meanwhile and for a minute after."""

from time import ticks_diff, ticks_ms

from node.registers import S_LATCHED, S_LATCHED_BIT, S_STORAGE_FAILED, S_STORAGE_FAILED_BIT
from node.store import remove, write_counter

MARK = "in-use"
IDLE_MS = 60_000


class Use:
    """The flash is written when a use begins and when it has been over for a minute, never between.

    Attributes:
        before: the node was in use when it lost its power or was reset.
    """

    def __init__(self, bank):
        self._bank = bank
        self.before = self._marked = _marked()
        self._since_ms = ticks_ms()

    def begin(self):
        """Something is about to leave its safe state. Where the flash refuses, that is shown, and the node goes on."""
        self._since_ms = ticks_ms()
        if self._marked:
            return
        self._marked = True
        if not write_counter(MARK, 1):
            self._bank.put_bit(S_STORAGE_FAILED, S_STORAGE_FAILED_BIT, 1)

    def look(self, idle):
        """Let time pass, as often as one likes but once in a while."""
        if not self._marked:
            return
        now_ms = ticks_ms()
        if not idle:
            self._since_ms = now_ms
        elif ticks_diff(now_ms, self._since_ms) >= IDLE_MS:
            self.end()

    def end(self):
        """It is over, as of now: a restart that follows was meant. A latched node's is not: that waits for its reset."""
        if self._marked and not self._bank.bit(S_LATCHED, S_LATCHED_BIT):
            self._marked = False
            remove(MARK)


def _marked():
    try:
        open(MARK).close()
    except OSError:
        return False
    return True
