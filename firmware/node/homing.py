"""Finds the end switches: fast, back off, slow. Where the slow approach ends is the axis's zero."""

from node import registers as reg
from node.player import BATCH, CHUNK


class Homing:
    """Finds the low end switches of some axes, one after the other: fast, back off, slow."""

    def __init__(self, motion, mask):
        self._motion = motion
        self._todo = [k for k in range(3) if mask >> k & 1 and "endstop_pin" in motion.axes[k]]
        self._phase = None

    def begin(self):
        """Power the motors and set off."""
        self._motion.motors.value(1)
        self._begin_axis()

    def _begin_axis(self):
        if not self._todo:
            self._done(reg.FAULT_NONE)
            return
        self._k = self._todo[0]
        axis = self._motion.axes[self._k]
        self._switch = self._motion.endstops[self._k]
        self._switch.irq(self._pressed, self._switch.IRQ_RISING)
        self._back = max(1, round(5 * axis["steps_per_unit"]))
        if self._switch.value():
            self._move("back", self._back, axis["homing_rate"])
        else:
            self._move("fast", -(axis["travel"] + self._back), axis["homing_rate"])

    def _move(self, phase, steps, rate):
        self._phase = phase
        self._left = abs(steps)
        self._sign = 1 if steps > 0 else -1
        self._rate = rate
        self._speed = min(rate, self._motion.axes[self._k]["jerk"])

    def _pressed(self, pin):
        """The switch closes: the pulse train ends here."""
        if self._phase in ("fast", "slow"):
            self._motion.stream.halt()
            self._phase = "fast done" if self._phase == "fast" else "slow done"

    def abandon(self):
        """Homing was broken off: where the axes are is not known."""
        self._switch.irq(None)
        self._motion.cut()

    def tick(self, run):
        """Keep the stream ahead of the movement in work, or go to the next."""
        motion = self._motion
        if motion.stream.halted:
            motion.cut()
            self._left = 0
        if not run and self._phase != "slow done":
            if motion.ahead_us():
                motion.cut()
            self._speed = min(self._rate, motion.axes[self._k]["jerk"])
            return
        axis = motion.axes[self._k]
        if self._phase == "fast done":
            self._move("back", self._back, axis["homing_rate"])
        elif self._phase == "slow done":
            self._arrived()
            return
        if self._left == 0 and motion.player.idle and motion.ahead_us() == 0:
            if self._phase == "back":
                if self._switch.value():
                    self._done(reg.FAULT_HOMING)
                else:
                    self._move("slow", -2 * self._back, max(1, axis["homing_rate"] // 10))
            else:
                self._done(reg.FAULT_HOMING)  # the whole travel, and no switch
            return
        self._feed()

    def _feed(self):
        motion = self._motion
        player = motion.player
        while motion.pump():
            if player.idle:
                if self._left == 0:
                    return
                self._load()
            motion.produce(BATCH * CHUNK)

    def _load(self):
        """A piece of about 20 ms at the speed reached; the speed grows by the axis's acceleration until it is the wanted one."""
        motion = self._motion
        steps = max(1, min(self._left, self._speed // 50))
        chunks = max(1, min(4095, steps * 25000 // self._speed))
        piece = motion.steps
        for k in range(len(piece)):
            piece[k] = 0
        piece[self._k] = self._sign * steps
        motion.player.load(chunks, piece, 32768)
        self._left -= steps
        self._speed = min(self._rate, self._speed + max(1, motion.accelerations[self._k] * chunks // 25000))

    def _arrived(self):
        motion = self._motion
        motion.player.position[self._k] = 0
        self._switch.irq(None)
        self._todo.pop(0)
        self._begin_axis()

    def _done(self, fault):
        motion = self._motion
        if fault:
            self._switch.irq(None)
            motion.cut()
        motion.homing_ended(fault)
