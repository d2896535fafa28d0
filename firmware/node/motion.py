"""The Job in work: reads its records, plays them, and does what stands between them."""

from struct import unpack_from
from time import ticks_diff

from micropython import const

from node import pins
from node import registers as reg
from node.feed import Feed
from node.homing import Homing
from node.pins import FRAME_US
from node.player import BATCH, CHUNK, Player

_HEAT = const(1)
_WAIT = const(2)
_FAN = const(3)
_HOME = const(4)
_MOTORS = const(5)
_LINE = const(6)
_PROBE = const(11)
_END = const(255)
_REPORT = const(5)  # ticks between two reports of where the axes are


class Motion:
    """Plays one Job at a time."""

    magic = b"LSJ1"
    homing = Homing
    cause = reg.FAULT_NONE  # no fault of a Job's lasts longer than the Job

    def __init__(self, config, bank, store, heaters, fans):
        self.axes = config["axes"]
        self._finish = config["on_link_loss"] == "finish"
        self.bank = bank
        self.feed = Feed(store, self.magic, config["fingerprint"])
        self._heaters = heaters
        self._fans = fans
        self.stream = pins.Stream(config["clock_pin"], config["latch_pin"], config["data_pin"])
        self.motors = pins.output(config["motors_pin"])
        self.endstops = [pins.input(axis["endstop_pin"]) if "endstop_pin" in axis else None for axis in self.axes]
        self.accelerations = [axis["acceleration"] for axis in self.axes]
        while len(self.accelerations) < 4:
            self.accelerations.append(1)
        self.player = Player(max(4, len(self.axes)))
        self._alone = False
        self._sent = self._made = 0  # words of the player's that the stream has taken, and that it was given
        self.steps = [0] * len(self.player.n)
        self._chunks = 0
        self._ticks = 0
        self._wait = None
        self._errand = None
        self._stopping = False
        self._starved = False
        self._state = reg.JOB_STATE_NONE
        self.homed = False
        self.fault = reg.FAULT_NONE
        self._follow(config)
        self._put_state(reg.JOB_STATE_NONE)

    def _follow(self, config):
        """What must know how far the stream has been played: servos and a probe, where there are any."""
        self.servos = ()
        self.played = None
        self.probe = config.get("probe")
        servos = [k for k in range(len(self.axes)) if "servo" in self.axes[k]]
        if servos or self.probe:
            from node.servo import Played, Servo

            self.played = Played(self.player, list(range(len(self.axes))) if self.probe else servos)
            self.servos = [Servo(k, self.axes[k]["servo"]) for k in servos]
        if self.probe:
            self.probe_pin = pins.input(self.probe["pin"])

    # ---- what the rest of the node asks for

    @property
    def moving(self):
        """Words are being played, or about to be."""
        return self.ahead_us() > 0 or self._errand is not None

    @property
    def running(self):
        """A Job is in work."""
        return reg.JOB_STATE_READY <= self._state <= reg.JOB_STATE_HOLDING

    @property
    def finishes(self):
        """The Job goes on without the link: it lies whole in the flash, and its machine's spec says so."""
        return self._alone and self.running

    def start(self, job_id):
        """Open a Job and begin; returns a Reason, 0 when it runs. A stored one is READY until its CRC has been found right."""
        if self.running or self.moving:
            return reg.REASON_BUSY
        reason = self.feed.open(job_id)
        if reason:
            return reason
        self._alone = self._finish and self.feed.stored
        self._chunks = 0
        self._wait = None
        self._errand = None
        self._stopping = False
        self._starved = False
        self.player.forget()
        self.player.peak = 0
        self.bank.put32(reg.S_JOB_ID, job_id)
        self.bank.put32(reg.S_JOB_LINE, 0)
        self.bank.put32(reg.S_JOB_CHUNKS, 0)
        self._put_state(reg.JOB_STATE_READY if self.feed.stored else reg.JOB_STATE_RUNNING)
        return reg.REASON_NONE

    def stop(self):
        """Decelerate along the path, then give the Job up. It cannot be taken up again."""
        if self.running:
            self._stopping = True

    def errand_ended(self, fault):
        """A homing or a probing is over."""
        self._errand = None
        if fault:
            self.fault = fault
            self._give_up()

    def tick(self, now_us, run, deadline_us):
        """Keep the stream ahead. Without `run`, and for frames played after `deadline_us`, the axes slow down and rest."""
        silent = deadline_us is not None and ticks_diff(now_us, deadline_us) >= 0
        if self.running:
            if silent and not self._alone:
                self.stop()
            run = run and not self._stopping
            if self._state == reg.JOB_STATE_READY:
                self._tick_check()
            elif self._errand is not None:
                self._errand.tick(run)
            elif self._wait is not None and not self._stopping:
                self._tick_wait()
            if self.running and self._state != reg.JOB_STATE_READY:
                self._tick_stream(now_us, run, deadline_us)
        for servo in self.servos:
            servo.follow(self.played.at(servo.axis, now_us), silent and not self.running)
        self._ticks += 1
        if self._ticks >= _REPORT:
            self._ticks = 0
            self._report()

    def rest(self):
        """Set points to their fallback; the stream runs dry by itself."""
        for servo in self.servos:
            servo.rest()

    def power(self, level):
        """The motors' drivers on or off."""
        self.motors.value(level)
        for servo in self.servos:
            servo.power(level)

    def _tick_check(self):
        if self._stopping:
            self._give_up()
            return
        reason = self.feed.check()
        if reason:
            self._bad_job(reason)
        elif reason is not None:
            self._put_state(reg.JOB_STATE_RUNNING)

    # ---- the stream

    def ahead_us(self):
        """Time until all that was generated has been played."""
        return self.stream.ahead_us() + (self._made - self._sent) * FRAME_US

    def pump(self):
        """Hand on what was generated and not taken yet; whether all of it has been taken."""
        if self._sent < self._made:
            self._sent += self.stream.write(self.player.words(self._sent, self._made))
        return self._sent == self._made

    def produce(self, frames):
        """Generate up to `frames` words more; False when there were none to make. All earlier ones must have been taken."""
        self._sent = 0
        self._made = self.player.fill(frames)
        self.pump()
        if self.played is not None:
            self.played.note(self._made, self.ahead_us())
        return self._made > 0

    def cut(self):
        """End the stream at once. Where the axes are is no longer known from it."""
        self.stream.cut()
        self._sent = self._made = 0
        self.player.forget()
        if self.played is not None:
            self.played.forget()

    def _tick_stream(self, now_us, run, deadline_us):
        player = self.player
        if self._starved and self.stream.ahead_us() == 0:
            self._starved = False
            if player.full:
                self._count_underrun()
        if player.rate == 0 or (not run and player.idle):
            if self.ahead_us() == 0 and not run:
                if self._stopping:
                    self._abandon()
                    return
                if self._wait is None and self._state != reg.JOB_STATE_HOLDING:
                    self._put_state(reg.JOB_STATE_HOLDING)
        if run and self._state == reg.JOB_STATE_HOLDING:
            self._put_state(reg.JOB_STATE_RUNNING)
        while self.pump() and self.running and self._wait is None:
            frames = BATCH * CHUNK
            going = run
            ahead = self.ahead_us()
            errand = self._errand
            if errand is not None and errand.near_us:
                frames = min(frames, (errand.near_us - ahead) // FRAME_US)
                if frames < CHUNK:
                    break
            if going and deadline_us is not None and not self._alone:
                left = (ticks_diff(deadline_us, now_us) - ahead) // FRAME_US
                if left < CHUNK:
                    going = False
                else:
                    frames = min(frames, left)
            if not going and (player.rate == 0 or (player.idle and ahead == 0)):
                break
            if player.idle:
                if not (self._next() if errand is None else errand.next()):
                    break
                continue
            self._steer(going)
            if not self.produce(frames):
                break
            self._starved = errand is None
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
        bank = self.bank
        bank.put16(reg.S_UNDERRUNS, bank.u16(reg.S_UNDERRUNS) + 1 & 0xFFFF)

    def _abandon(self):
        if self._errand is not None:
            self._errand.abandon()
        self._give_up()

    def _give_up(self):
        self.player.forget()
        self._close(reg.JOB_STATE_ABORTED)

    def _close(self, state):
        self.feed.close()
        self._stopping = False
        self._starved = False
        self._wait = None
        self._errand = None
        self._put_state(state)
        for heater in self._heaters:
            if state == reg.JOB_STATE_ABORTED:
                heater.set(0)
        if state == reg.JOB_STATE_ABORTED:
            for fan in self._fans:
                fan.set(0)

    # ---- records

    def _need(self, count):
        """Whether so many bytes of the Job are there; a Job that ends before them is a bad one."""
        if self.feed.have(count):
            return True
        if self.feed.ended and self.ahead_us() == 0:
            self._bad_job()
        return False

    def _next(self):
        """Take the next record; False when there is none to play now."""
        if not self._need(2):
            return False
        (head,) = unpack_from("<H", self.feed.buffer, self.feed.at)
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
        at = self.feed.at + 2
        steps = self.steps
        for k in range(4):
            if mask >> k & 1:
                (steps[k],) = unpack_from("<h", self.feed.buffer, at)
                at += 2
            else:
                steps[k] = 0
        alpha = 32768
        if mask:
            (alpha,) = unpack_from("<H", self.feed.buffer, at)
        self.feed.at += size
        if mask:
            self.power(1)
        self._chunks += head & 0xFFF
        self.player.load(head & 0xFFF, steps, alpha)
        return True

    def _bad_job(self, reason=reg.REASON_BAD_JOB):
        self.bank.put16(reg.S_JOB_FAULT, reason)
        self.fault = reg.FAULT_JOB
        self._give_up()

    def _operate(self):
        """What stands between movements. Those that need the axes at rest wait until all has been played."""
        op, argument, value = unpack_from("<BBi", self.feed.buffer, self.feed.at + 2)
        if op in (_WAIT, _HOME, _MOTORS, _PROBE, _END) and self.ahead_us() > 0:
            self._starved = False
            return False
        if (op in (_HEAT, _WAIT) and argument >= len(self._heaters)) or (op == _FAN and argument >= len(self._fans)):
            self._bad_job()
            return False
        self.feed.at += 8
        if op == _HEAT:
            self._heaters[argument].set(value)
        elif op == _WAIT:
            heater = self._heaters[argument]
            heater.set(value)
            self._wait = heater
            return False
        elif op == _FAN:
            self._fans[argument].set(min(max(value, 0), 0xFFFF))
        elif op == _HOME:
            self.homed = False
            return self._send(self.homing(self, argument))
        elif op == _PROBE:
            if self.probe is None or argument >= len(self.axes) or "homing_rate" not in self.axes[argument] or not value:
                self._bad_job()
                return False
            from node.probe import Probe

            return self._send(Probe(self, argument, value))
        elif op == _MOTORS:
            self.power(argument)
            if not argument:
                self.homed = False
        elif op == _LINE:
            self.bank.put32(reg.S_JOB_LINE, value)
        elif op == _END:
            self._close(reg.JOB_STATE_DONE)
            return False
        else:
            self._bad_job()
            return False
        return True

    def _send(self, errand):
        """Let an errand move the axes; its pieces come next, and records when it is over."""
        self._starved = False
        self._errand = errand
        errand.begin()
        return self._errand is not None

    def _tick_wait(self):
        if self._wait.ready():
            self._wait = None

    # ---- status

    def _put_state(self, state):
        self._state = state
        self._ticks = _REPORT
        self.bank.put16(reg.S_JOB_STATE, state)

    def _report(self):
        bank = self.bank
        player = self.player
        for k in range(len(self.axes)):
            axis = self.axes[k]
            self.tell(k, axis["at"], player.where(k))
            if "endstop" in axis:
                register, bit = axis["endstop"]
                bank.put_bit(register, bit, self.endstops[k].value())
        played = self._chunks - player.left - self.ahead_us() // (FRAME_US * CHUNK)
        bank.put32(reg.S_JOB_CHUNKS, played if played > 0 else 0)
        bank.put32(reg.S_PEAK_RATE, (player.peak >> 4) * 100000 >> 26)
        bank.put_bit(reg.S_MOVING, reg.S_MOVING_BIT, self.moving)
        bank.put_bit(reg.S_HOMED, reg.S_HOMED_BIT, self.homed)
        bank.put_bit(reg.S_HEATER_WAIT, reg.S_HEATER_WAIT_BIT, self._wait is not None)
        bank.put_bit(reg.S_HOMING, reg.S_HOMING_BIT, self._errand is not None and not self._errand.near_us)

    def tell(self, k, at, steps):
        """A place of an axis to the Status, in thousandths of its unit."""
        self.bank.put32(at[0], round(steps * 1000 / self.axes[k]["steps_per_unit"]) & 0xFFFFFFFF)
