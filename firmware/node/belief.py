"""Which readings of a sensor are believed."""

BAD_READINGS = 3


class Belief:
    """A reading that is none, or too far from the last believed one, is passed over; the third in a row ends the belief.

    After that nothing is believed until readings have agreed with one another for a while: a jump that stays is no proof.

    Args:
        jump: what a value cannot change by from one reading to the next.
        agree: as near must readings be to the first of a row to belong to it; steady: readings such a row must have.

    Attributes:
        failed: nothing is believed.
        value: believed last.
    """

    def __init__(self, jump, agree, steady):
        self._jump = jump
        self._agree = agree
        self._steady = steady
        self.value = 0
        self.failed = False
        self._known = False
        self._bad = 0
        self._row = 0
        self._first = 0

    def take(self, good, reading):
        """Whether a reading is believed; `good`: it is one at all."""
        if self.failed:
            return self._again(good, reading)
        if good and (not self._known or abs(reading - self.value) <= self._jump):
            self._bad = 0
            self._known = True
            self.value = reading
            return True
        self._bad += 1
        self.failed = self._bad >= BAD_READINGS
        self._row = 0
        return False

    def _again(self, good, reading):
        if not good:
            self._row = 0
            return False
        if self._row == 0 or abs(reading - self._first) > self._agree:
            self._row = 0
            self._first = reading
        self._row += 1
        if self._row < self._steady:
            return False
        self.failed = False
        self._bad = 0
        self._known = True
        self.value = reading
        return True
