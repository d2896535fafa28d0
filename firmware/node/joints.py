"""An arm's Job: six axes in 12 bytes a record, a gripper, what must be so before it goes on, and half-disc home cams."""

from struct import unpack_from

from node import pins
from node import registers as reg
from node.homing import Homing
from node.motion import Motion

_HOME, _SET, _EXPECT, _AT, _DWELL = 4, 7, 8, 9, 10
_RECORD = 12


class CamHoming(Homing):
    """Finds joints' zeros by cams that are high from the home angle on: the level says which way to go.

    The edge that counts is always the rising one, come to slowly from below.
    """

    def __init__(self, motion, mask):
        Homing.__init__(self, motion, 0)
        self._todo = [k for k in motion.order if mask >> k & 1]

    def _begin_axis(self):
        if not self._todo:
            self._done(reg.FAULT_NONE)
            return
        self._k = self._todo[0]
        axis = self._motion.axes[self._k]
        self._switch = self._motion.endstops[self._k]
        self._switch.irq(self._pressed, self._switch.IRQ_RISING | self._switch.IRQ_FALLING)
        self._back = -axis["back"]
        way = axis["travel"] + axis["back"]
        if self._switch.value():
            self._move("leave", -way, axis["homing_rate"])
        else:
            self._move("fast", way, axis["homing_rate"])

    def _pressed(self, pin):
        """The cam's edge passes: the pulse train ends here."""
        if self._phase in ("leave", "fast", "slow"):
            self._motion.stream.halt()
            self._phase = "slow done" if self._phase == "slow" else "fast done"

    def _arrived(self):
        k = self._k
        Homing._arrived(self)
        self._motion.player.position[k] = self._motion.axes[k]["home"]


class Valve:
    """An output that a Job switches. Whatever ends the Job leaves it as it is: a gripper must not let go."""

    def __init__(self, config, bank):
        self._pin = pins.output(config["pin"])
        self._bank = bank
        self._at, self._bit = config["at"]

    def set(self, level):
        """Level to pin and Status."""
        self._pin.value(level)
        self._bank.put_bit(self._at, self._bit, level)


class JointMotion(Motion):
    """Plays an arm's Job. While the drives have tripped the joints are not where the steps say."""

    magic = b"LSJ2"
    homing = CamHoming

    def __init__(self, config, bank, store, heaters, fans):
        self.order = config["order"]
        self._inputs = config["inputs"]
        self._tripped = config["tripped"]
        self._valves = [Valve(valve, bank) for valve in config["valves"]]
        Motion.__init__(self, config, bank, store, heaters, fans)

    def tick(self, now_us, run, deadline_us):
        """As any Motion's; once the drives have tripped the arm must be homed again."""
        if self.homed and self._tripped and self.bank.bit(self._tripped[0], self._tripped[1]):
            self.homed = False
        Motion.tick(self, now_us, run, deadline_us)

    def _next(self):
        """24 bits chunks | alpha << 10, then 24 bits for two axes each, 12 bits an axis; or an operation."""
        if not self._need(2):
            return False
        (head,) = unpack_from("<H", self.feed.buffer, self.feed.at)
        if head == 0:
            return self._need(8) and self._operate()
        if not self._need(_RECORD):
            return False
        chunks = head & 0x3FF
        if chunks == 0:
            self._bad_job()
            return False
        data = self.feed.buffer
        at = self.feed.at
        alpha = (head >> 10 | data[at + 2] << 6) << 2
        steps = self.steps
        moves = False
        for k in range(0, 6, 2):
            at += 3
            pair = data[at] | data[at + 1] << 8 | data[at + 2] << 16
            steps[k] = ((pair & 0xFFF) ^ 0x800) - 0x800
            steps[k + 1] = (pair >> 12 ^ 0x800) - 0x800
            moves = moves or pair != 0
        self.feed.at += _RECORD
        if moves:
            self.power(1)
        self._chunks += chunks
        self.player.load(chunks, steps, alpha)
        return True

    def _operate(self):
        op, argument, value = unpack_from("<BBi", self.feed.buffer, self.feed.at + 2)
        if op == _HOME and argument != (1 << len(self.axes)) - 1:
            self._bad_job()
            return False
        if op not in (_SET, _EXPECT, _AT, _DWELL):
            return Motion._operate(self)
        if self.ahead_us() > 0:
            self._starved = False
            return False
        self.feed.at += 8
        if op == _DWELL:
            if value > 0:
                self._dwell(value)
            return True
        if op == _SET:
            if argument >= len(self._valves):
                self._bad_job()
                return False
            self._valves[argument].set(1 if value else 0)
            return True
        return self._expect(op, argument, value)

    def _dwell(self, chunks):
        for k in range(len(self.steps)):
            self.steps[k] = 0
        self._chunks += chunks
        self.player.load(chunks, self.steps, 0)

    def _expect(self, op, argument, value):
        """Whether an input has the level, or a joint the place [steps], that the Job was made for."""
        if argument >= len(self._inputs if op == _EXPECT else self.axes):
            self._bad_job()
            return False
        if op == _EXPECT:
            at, bit = self._inputs[argument]
            met = self.bank.bit(at, bit) == value
        else:
            met = self.homed and self.player.position[argument] == value
        if not met:
            self._bad_job(reg.REASON_NOT_AS_EXPECTED)
        return met
