"""Probing: an axis moves slowly until an input closes, tells where that was, and goes back to where it began."""

from time import ticks_us

from node import registers as reg
from node.homing import Errand

NEAR_US = 20_000  # lies ahead at most, so the axis goes no further than that beyond what it has touched


class Probe(Errand):
    """One probing; no step is dropped, so that the Job's places hold afterwards.

    The input's edge is timed by its interrupt, and the place is that of the step stream at that moment. Then nothing more is
    generated. The speed is that of a slow homing, at most what the axis may jump to and from.
    """

    near_us = NEAR_US

    def __init__(self, motion, axis, steps):
        Errand.__init__(self, motion)
        self._k = axis
        self._steps = steps
        self._from = motion.player.where(axis)
        config = motion.probe
        self._config = config
        self._pin = motion.probe_pin
        self._level = 0 if config["invert"] else 1
        self._edge_us = None

    def begin(self):
        """Set off; what is closed before the start would be found nowhere."""
        motion = self._motion
        axis = motion.axes[self._k]
        motion.bank.put_bit(reg.S_PROBED, reg.S_PROBED_BIT, 0)
        if self._pin.value() == self._level:
            motion.errand_ended(reg.FAULT_HOMING)
            return
        motion.power(1)
        motion.played.forget()
        self._pin.irq(self._touched, self._pin.IRQ_RISING if self._level else self._pin.IRQ_FALLING)
        self._slow = max(1, min(axis["homing_rate"] // 10, axis["jerk"]))
        self._move("down", self._steps, self._slow)

    def _touched(self, pin):
        if self._edge_us is None:
            self._edge_us = ticks_us()

    def abandon(self):
        """The Job is given up; the axis is where the player says."""
        self._pin.irq(None)
        self._motion.player.forget()

    def tick(self, run):
        """See whether something was touched, and to what follows."""
        motion = self._motion
        if self._phase == "down" and self._edge_us is not None:
            place = motion.played.at(self._k, self._edge_us)
            motion.tell(self._k, self._config["touched"], place)
            motion.bank.put_bit(reg.S_PROBED, reg.S_PROBED_BIT, 1)
            motion.player.forget()
            self._left = 0
            self._phase = "rests"
        if not run or not self._over:
            return
        if self._phase == "rests":
            self._move("back", self._from - motion.player.where(self._k), self._slow)
        else:
            self._pin.irq(None)
            motion.errand_ended(reg.FAULT_TRAVEL if self._phase == "down" else reg.FAULT_NONE)
