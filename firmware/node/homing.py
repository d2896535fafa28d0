"""Finds the end switches: fast, back off, slow. Where the slow approach ends is the axis's zero."""

from math import sqrt

from micropython import const

from node import registers as reg

_PIECES = const(50)  # a second


class Errand:
    """Movements of one axis that no record holds: the Motion takes its pieces as it takes records, held and resumed alike.

    A piece lasts about 20 ms. Its speed begins with what the axis may jump to, rises and falls by the axis's acceleration,
    and ends with what it may jump from.

    Attributes:
        near_us: how much may be generated ahead of what is played, None for as much as the stream takes.
    """

    near_us = None

    def __init__(self, motion):
        self._motion = motion
        self._k = 0
        self._phase = None
        self._left = 0

    def _move(self, phase, steps, rate):
        self._phase = phase
        self._left = abs(steps)
        self._sign = 1 if steps > 0 else -1
        self._rate = rate
        axis = self._motion.axes[self._k]
        self._jump = max(1, min(rate, axis["jerk"]))
        self._gain = axis["acceleration"]
        self._speed = self._jump

    def next(self):
        """Load the next piece; False where the movement is over."""
        if self._left == 0:
            return False
        motion = self._motion
        before = self._speed
        rest = max(0, self._left - min(self._rate, before + self._gain // _PIECES) // _PIECES)
        most = int(sqrt(self._jump * self._jump + 2.0 * self._gain * rest))  # above that it could not stop in time
        after = max(self._jump, min(self._rate, before + self._gain // _PIECES, most))
        mean = (before + after + 1) // 2
        steps = max(1, min(self._left, mean // _PIECES))
        chunks = max(1, min(4095, steps * 25000 // mean))
        piece = motion.steps
        for k in range(len(piece)):
            piece[k] = 0
        piece[self._k] = self._sign * steps
        motion.player.load(chunks, piece, min(65535, (before << 15) // mean))
        self._left -= steps
        self._speed = after
        return True

    @property
    def _over(self):
        """The movement has been played to its end."""
        motion = self._motion
        return self._left == 0 and motion.player.idle and motion.ahead_us() == 0


class Homing(Errand):
    """Finds the low end switches of some axes, one after the other: fast, back off, slow."""

    def __init__(self, motion, mask):
        Errand.__init__(self, motion)
        self._todo = [k for k in range(3) if mask >> k & 1 and "homing_rate" in motion.axes[k]]
        self._switch = None

    def begin(self):
        """Power the motors and set off."""
        self._motion.power(1)
        self._begin_axis()

    def _begin_axis(self):
        if not self._todo:
            self._done(reg.FAULT_NONE)
            return
        self._k = self._todo[0]
        axis = self._motion.axes[self._k]
        if "endstop_pin" not in axis:  # a set point knows its place: it goes to its zero
            self._switch = None
            self._move("goes", -self._motion.player.position[self._k], axis["homing_rate"])
            return
        self._switch = self._motion.endstops[self._k]
        self._switch.irq(self._pressed, self._switch.IRQ_RISING)
        self._back = max(1, round(5 * axis["steps_per_unit"]))
        if self._switch.value():
            self._move("back", self._back, axis["homing_rate"])
        else:
            self._move("fast", -(axis["travel"] + self._back), axis["homing_rate"])

    def _pressed(self, pin):
        """The switch closes: the pulse train ends here."""
        if self._phase in ("fast", "slow"):
            self._motion.stream.halt()
            self._phase = "fast done" if self._phase == "fast" else "slow done"

    def abandon(self):
        """Homing was broken off: where the axes are is not known."""
        if self._switch is not None:
            self._switch.irq(None)
        self._motion.cut()

    def tick(self, run):
        """See to what the switches have said, and to what follows a movement that is over."""
        motion = self._motion
        if motion.stream.halted:
            motion.cut()
            self._left = 0
        if not run:
            return
        axis = motion.axes[self._k]
        if self._phase == "fast done":
            self._move("back", self._back, axis["homing_rate"])
        elif self._phase == "slow done":
            self._arrived()
        elif self._over:
            if self._phase == "goes":
                self._next_axis()
            elif self._phase == "back":
                if self._switch.value():
                    self._done(reg.FAULT_HOMING)
                else:
                    self._move("slow", -2 * self._back, max(1, axis["homing_rate"] // 10))
            else:
                self._done(reg.FAULT_HOMING)  # the whole travel, and no switch

    def _arrived(self):
        motion = self._motion
        motion.player.position[self._k] = 0
        self._next_axis()

    def _next_axis(self):
        if self._switch is not None:
            self._switch.irq(None)
        self._todo.pop(0)
        self._begin_axis()

    def _done(self, fault):
        motion = self._motion
        if fault:
            self.abandon()
        else:
            motion.homed = True
        motion.errand_ended(fault)
