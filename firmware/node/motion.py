"""The Job in work: reads its records, plays them, and does what stands between them."""

from struct import unpack_from
from time import ticks_diff

import micropython

from node import pins
from node import registers as reg
from node.homing import Homing
from node.pins import FRAME_US
from node.player import BATCH, CHUNK, Player

_HEAT, _WAIT, _FAN, _HOME, _MOTORS, _LINE, _END = 1, 2, 3, 4, 5, 6, 255
_HEADER = 32
_REPORT = 5  # ticks between two reports of where the axes are


class Motion:
    """Plays one Job at a time."""

    magic = b"LSJ1"
    homing = Homing

    def __init__(self, config, bank, store, heaters, fans):
        self.axes = config["axes"]
        self._fingerprint = config["fingerprint"]
        self._finish = config["on_link_loss"] == "finish"
        self._bank = bank
        self._store = store
        self._heaters = heaters
        self._fans = fans
        self.stream = pins.Stream(config["clock_pin"], config["latch_pin"], config["data_pin"])
        self.motors = pins.output(config["motors_pin"])
        self.endstops = [pins.input(axis["endstop_pin"]) if "endstop_pin" in axis else None for axis in self.axes]
        self.accelerations = [axis["acceleration"] for axis in self.axes]
        while len(self.accelerations) < 4:
            self.accelerations.append(1)
        self.player = Player(max(4, len(self.axes)))
        self._reader = None
        self._buffer = bytearray(256)
        self._view = memoryview(self._buffer)
        self._filled = self._at = 0
        self._sent = self._made = 0  # words of the player's that the stream has taken, and that it was given
        self.steps = [0] * len(self.player.n)
        self._chunks = 0
        self._ticks = 0
        self._wait = None
        self._homing = None
        self._stopping = False
        self._starved = False
        self._state = reg.JOB_STATE_NONE
        self.homed = False
        self.fault = reg.FAULT_NONE
        self._put_state(reg.JOB_STATE_NONE)

    # ---- what the rest of the node asks for

    @property
    def moving(self):
        """Words are being played, or about to be."""
        return self.ahead_us() > 0 or self._homing is not None

    @property
    def running(self):
        """A Job is in work."""
        return self._state in (reg.JOB_STATE_RUNNING, reg.JOB_STATE_HOLDING)

    @property
    def finishes(self):
        """The Job goes on without the link."""
        return self._finish and self.running

    def start(self, job_id):
        """Open a Job and begin; returns a Reason, 0 when it runs."""
        if self.running or self.moving:
            return reg.REASON_BUSY
        reader = self._store.open(job_id)
        if reader is None:
            return reg.REASON_NO_SUCH_JOB
        if reader.readinto(self._view[:_HEADER]) != _HEADER:
            reader.close()
            return reg.REASON_BAD_JOB
        magic, frame_us, chunk, _, _, _, fingerprint = unpack_from("<4sHHIIII", self._buffer, 0)
        if magic != self.magic or frame_us != FRAME_US or chunk != CHUNK:
            reader.close()
            return reg.REASON_BAD_JOB
        if fingerprint != self._fingerprint:
            reader.close()
            return reg.REASON_WRONG_MACHINE
        self._reader = reader
        self._filled = self._at = 0
        self._chunks = 0
        self._wait = None
        self._homing = None
        self._stopping = False
        self._starved = False
        self.player.forget()
        self.player.peak = 0
        self._bank.put32(reg.S_JOB_ID, job_id)
        self._bank.put32(reg.S_JOB_LINE, 0)
        self._bank.put32(reg.S_JOB_CHUNKS, 0)
        self._put_state(reg.JOB_STATE_RUNNING)
        return reg.REASON_NONE

    def stop(self):
        """Decelerate along the path, then give the Job up. It cannot be taken up again."""
        if not self.running or self._stopping:
            return
        self._stopping = True
        if self._homing is not None:
            self._homing.abandon()
            self._homing = None

    def homing_ended(self, fault):
        """The axes are where their switches are, or were not found."""
        self._homing = None
        if fault:
            self.fault = fault
            self._give_up()
        else:
            self.homed = True

    def tick(self, now_us, run, deadline_us):
        """Keep the stream ahead. Without `run`, and for frames played after `deadline_us`, the axes slow down and rest."""
        if self.running:
            if deadline_us is not None and ticks_diff(now_us, deadline_us) >= 0 and not self._finish:
                self.stop()
            if self._homing is not None:
                self._homing.tick(run)
            elif self._wait is not None and not self._stopping:
                self._tick_wait()
            if self.running and self._homing is None:
                self._tick_stream(now_us, run and not self._stopping, deadline_us)
        self._ticks += 1
        if self._ticks >= _REPORT:
            self._ticks = 0
            self._report()

    # ---- the stream

    @micropython.native
    def ahead_us(self):
        """Time until all that was generated has been played."""
        return self.stream.ahead_us() + (self._made - self._sent) * FRAME_US

    @micropython.native
    def pump(self):
        """Hand on what was generated and not taken yet; whether all of it has been taken."""
        if self._sent < self._made:
            self._sent += self.stream.write(self.player.words(self._sent, self._made))
        return self._sent == self._made

    @micropython.native
    def produce(self, frames):
        """Generate up to `frames` words more; False when there were none to make. All earlier ones must have been taken."""
        self._sent = 0
        self._made = self.player.fill(frames)
        self.pump()
        return self._made > 0

    def cut(self):
        """End the stream at once. Where the axes are is no longer known from it."""
        self.stream.cut()
        self._sent = self._made = 0
        self.player.forget()

    @micropython.native
    def _tick_stream(self, now_us, run, deadline_us):
        player = self.player
        if player.rate == 0 or (not run and player.idle):
            if self.ahead_us() == 0 and not run:
                if self._stopping:
                    self._give_up()
                elif self._wait is None:
                    self._put_state(reg.JOB_STATE_HOLDING)
        if run and self._state == reg.JOB_STATE_HOLDING:
            self._put_state(reg.JOB_STATE_RUNNING)
        while self.pump() and self.running and self._wait is None and self._homing is None:
            frames = BATCH * CHUNK
            going = run
            ahead = self.ahead_us()
            if going and deadline_us is not None and not self._finish:
                left = (ticks_diff(deadline_us, now_us) - ahead) // FRAME_US
                if left < CHUNK:
                    going = False
                else:
                    frames = min(frames, left)
            if not going and (player.rate == 0 or (player.idle and ahead == 0)):
                break
            if player.idle:
                if not self._next():
                    break
                continue
            self._steer(going)
            if ahead == 0 and self._starved and player.full:
                self._count_underrun()
            if not self.produce(frames):
                break
            self._starved = True
            if self._sent < self._made:
                break  # the DMA is full
        if player.short:
            player.short = 0
            self.fault = reg.FAULT_JOB

    def _steer(self, going):
        """Begin or end a slowing-down where it is due."""
        player = self.player
        if going and player.held:
            player.resume()
        elif not going and not player.held:
            player.slow(self.accelerations)

    def _count_underrun(self):
        bank = self._bank
        bank.put16(reg.S_UNDERRUNS, bank.u16(reg.S_UNDERRUNS) + 1 & 0xFFFF)

    def _give_up(self):
        self.player.forget()
        self._close(reg.JOB_STATE_ABORTED)

    def _close(self, state):
        self._reader.close()
        self._reader = None
        self._stopping = False
        self._starved = False
        self._wait = None
        self._homing = None
        self._put_state(state)
        for heater in self._heaters:
            if state == reg.JOB_STATE_ABORTED:
                heater.set(0)
        if state == reg.JOB_STATE_ABORTED:
            for fan in self._fans:
                fan.set(0)

    # ---- records

    def _have(self, count):
        """Whether `count` bytes stand at the reading place; reads on where not."""
        if self._filled - self._at >= count:
            return True
        rest = self._filled - self._at
        self._buffer[:rest] = self._buffer[self._at : self._filled]
        self._at = 0
        self._filled = rest + self._reader.readinto(self._view[rest:])
        return self._filled >= count

    def _need(self, count):
        """The same; a Job that ends before them is a bad one."""
        if self._have(count):
            return True
        if self._reader.ended and self.ahead_us() == 0:
            self._bad_job()
        return False

    def _next(self):
        """Take the next record; False when there is none to play now."""
        if not self._need(2):
            return False
        (head,) = unpack_from("<H", self._buffer, self._at)
        if head == 0:
            return self._need(8) and self._operate()
        mask = head >> 12
        if head & 0xFFF == 0:
            self._bad_job()
            return False
        size = 2
        if mask:
            size = 4 + 2 * ((mask & 1) + (mask >> 1 & 1) + (mask >> 2 & 1) + (mask >> 3))
        if not self._need(size):
            return False
        at = self._at + 2
        steps = self.steps
        for k in range(4):
            if mask >> k & 1:
                (steps[k],) = unpack_from("<h", self._buffer, at)
                at += 2
            else:
                steps[k] = 0
        alpha = 32768
        if mask:
            (alpha,) = unpack_from("<H", self._buffer, at)
        self._at += size
        if mask:
            self.motors.value(1)
        self._chunks += head & 0xFFF
        self.player.load(head & 0xFFF, steps, alpha)
        return True

    def _bad_job(self, reason=reg.REASON_BAD_JOB):
        self._bank.put16(reg.S_JOB_FAULT, reason)
        self.fault = reg.FAULT_JOB
        self._give_up()

    def _operate(self):
        """What stands between movements. Those that need the axes at rest wait until all has been played."""
        op, argument, value = unpack_from("<BBi", self._buffer, self._at + 2)
        if op in (_WAIT, _HOME, _MOTORS, _END) and self.ahead_us() > 0:
            self._starved = False
            return False
        if (op in (_HEAT, _WAIT) and argument >= len(self._heaters)) or (op == _FAN and argument >= len(self._fans)):
            self._bad_job()
            return False
        self._at += 8
        if op == _HEAT:
            self._heaters[argument].set(value)
        elif op == _WAIT:
            heater = self._heaters[argument]
            heater.set(value)
            self._wait = heater
            return False
        elif op == _FAN:
            self._fans[argument].set(value)
        elif op == _HOME:
            self._starved = False
            self.homed = False
            self._homing = self.homing(self, argument)
            self._homing.begin()
            return False
        elif op == _MOTORS:
            self.motors.value(argument)
            if not argument:
                self.homed = False
        elif op == _LINE:
            self._bank.put32(reg.S_JOB_LINE, value)
        elif op == _END:
            self._close(reg.JOB_STATE_DONE)
            return False
        return True

    def _tick_wait(self):
        if self._wait.ready():
            self._wait = None

    # ---- status

    def _put_state(self, state):
        self._state = state
        self._ticks = _REPORT
        self._bank.put16(reg.S_JOB_STATE, state)

    def _report(self):
        bank = self._bank
        player = self.player
        for k in range(len(self.axes)):
            axis = self.axes[k]
            thousandths = round(player.where(k) * 1000 / axis["steps_per_unit"])
            bank.put32(axis["at"][0], thousandths & 0xFFFFFFFF)
            if "endstop" in axis:
                register, bit = axis["endstop"]
                bank.put_bit(register, bit, self.endstops[k].value())
        played = self._chunks - player.left - self.ahead_us() // (FRAME_US * CHUNK)
        bank.put32(reg.S_JOB_CHUNKS, played if played > 0 else 0)
        bank.put32(reg.S_PEAK_RATE, (player.peak >> 4) * 100000 >> 26)
        bank.put_bit(reg.S_MOVING, reg.S_MOVING_BIT, self.moving)
        bank.put_bit(reg.S_HOMED, reg.S_HOMED_BIT, self.homed)
        bank.put_bit(reg.S_HEATER_WAIT, reg.S_HEATER_WAIT_BIT, self._wait is not None)
        bank.put_bit(reg.S_HOMING, reg.S_HOMING_BIT, self._homing is not None)
