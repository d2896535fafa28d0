"""The Job in work, on a Marlin board: sends it the lines of a checked Job, and waits where there is to wait.

The board plans and steps. It is kept AHEAD_US of planned motion ahead and no further, so that a hold, which only stops sending,
ends at rest soon and loses no step. A stop is M410, with everything off behind it, in the tick in which it is due.
"""

from struct import unpack_from
from time import ticks_add, ticks_diff, ticks_ms, ticks_us

from micropython import const

from node import registers as reg
from node.feed import Feed
from node.printer import LOST, REFUSED, Printer, after_s
from node.talk import LONGEST

AHEAD_US = const(500_000)
READY_BAND = const(20)  # tenths of a degree around a target
READY_POLLS = const(3)  # reports in a row within it
MARGIN = const(150)  # tenths of a degree above the highest target at which the board is halted
_CHUNK_US = const(40)
_HEAD = const(6)
_SPARE = const(4)  # lines: heat on and off again, for two heaters
_REPORT = const(10)  # ticks between two reports
_DRAIN = const(8)  # not in a Job: the board is to come to rest
_NOTHING, _MOVE, _SET, _WAIT_HOTEND, _WAIT_BED, _DWELL, _HOME, _MOTORS_OFF, _END = 0, 1, 2, 3, 4, 5, 6, 7, 255
# Faults after which the board is halted and must be reset; after any other it is stopped.
_HARD = (reg.FAULT_OVER_TEMPERATURE, reg.FAULT_HEATER_STUCK, reg.FAULT_SENSOR, reg.FAULT_INTERLOCK, reg.FAULT_INTERNAL)


class Marlin:
    """Plays one Job at a time. The same face as node.motion.Motion."""

    magic = b"LSG1"

    def __init__(self, config, bank, store, effective):
        self._config = config
        self._finish = config["on_link_loss"] == "finish"
        self._alone = False
        self._bank = bank
        self._feed = Feed(store, self.magic, config["fingerprint"])
        self._effective = effective
        self._permit = config["permit"]
        self._highest = config["highest"]
        self._board = Printer(config, bank)
        self._talk = self._board.talk
        self.rest = self._board.rest
        self._state = reg.JOB_STATE_NONE
        self._ticks = 0
        self._line = self._chunks = 0
        self._due_us = ticks_us()
        self._sent_us = ticks_us()
        self._piece_us = 0
        self._awaited = -1  # number of the line whose end is waited for, and what for
        self._await = _NOTHING
        self._rested = True
        self._targets = [0, 0]  # what the Job wants; tenths of a degree
        self._waits = 0  # bit 0 the hotend, bit 1 the bed
        self._near = 0
        self._fresh = 0
        self._hot = self._cooled = False
        self._too_hot = False
        self._above = 0
        self._fan = 0
        self.homed = False
        self.fault = reg.FAULT_NONE
        self._put_state(reg.JOB_STATE_NONE)

    # ---- what the rest of the node asks for

    @property
    def running(self):
        """A Job is in work."""
        return reg.JOB_STATE_READY <= self._state <= reg.JOB_STATE_HOLDING

    @property
    def finishes(self):
        """The Job goes on without the link: it lies whole in the flash, and its machine's spec says so."""
        return self._alone and self.running

    @property
    def cause(self):
        """The Fault whose cause is still there: the board is too hot, or has halted and not been reset."""
        if self._too_hot:
            return reg.FAULT_OVER_TEMPERATURE
        return reg.FAULT_PRINTER if self._board.killed else reg.FAULT_NONE

    @property
    def moving(self):
        """The board moves, as far as the plan tells."""
        return self._await == _HOME or self._ahead_us(ticks_us()) > 0

    def start(self, job_id):
        """Open a Job and begin; returns a Reason, 0 when it runs. A stored one is READY until its CRC has been found right."""
        if self.running or self.moving:
            return reg.REASON_BUSY
        if not self._board.ready:
            return reg.REASON_BUSY if self._board.found else reg.REASON_NO_PRINTER
        reason = self._feed.open(job_id)
        if reason:
            return reason
        self._alone = self._finish and self._feed.stored
        self._line = self._chunks = 0
        self._waits = self._near = 0
        self._await = _NOTHING
        self._targets[0] = self._targets[1] = 0
        self._talk.failed = False
        self._bank.put32(reg.S_JOB_ID, job_id)
        self._bank.put32(reg.S_JOB_LINE, 0)
        self._bank.put32(reg.S_JOB_CHUNKS, 0)
        self._put_state(reg.JOB_STATE_READY if self._feed.stored else reg.JOB_STATE_RUNNING)
        return reg.REASON_NONE

    def stop(self):
        """Stop at once, all off. The Job cannot be taken up again, and the axes must be homed before they are to be trusted."""
        bank = self._bank
        latched = bank.bit(reg.S_LATCHED, reg.S_LATCHED_BIT)
        if latched and bank.u16(reg.S_FAULT) in _HARD:
            self._board.halt()
            self.homed = self._hot = False
        elif self.running:
            self._quiet()
            self._board.must_stop = latched
        if self.running:
            self._close(reg.JOB_STATE_ABORTED)

    def tick(self, now_us, run, deadline_us):
        """Listen, and send what is due. Without `run` no more is sent; past `deadline_us` all stops."""
        now_ms = ticks_ms()
        board = self._board
        talk = board.talk
        happened = board.attend(now_ms)
        if happened == LOST:
            self._lose()
        elif happened == REFUSED and self.running:
            self._give_up(reg.FAULT_PRINTER, reg.REASON_BAD_JOB)
        permitted = self._effective.bit(self._permit[0], self._permit[1])
        if board.ready:
            self._watch_heat()
        if self.running:
            if deadline_us is not None and ticks_diff(now_us, deadline_us) >= 0 and not self._alone:
                self.stop()
            elif self._state == reg.JOB_STATE_READY:
                self._check()
            elif board.ready:
                self._tick_job(now_us, run and permitted and not self._cooled)
        if not permitted:
            self._cool()
        elif self._cooled:
            self._warm()
        board.poll(now_ms)
        talk.send(now_ms, talk.window)
        self._ticks += 1
        if self._ticks >= _REPORT:
            self._ticks = 0
            self._report(now_us)

    # ---- the board

    def _lose(self):
        """The board is not what it was: nothing that it was told holds any more."""
        self.homed = self._hot = self._too_hot = False
        if self.running:
            self.fault = reg.FAULT_PRINTER
            self._bank.put16(reg.S_JOB_FAULT, reg.REASON_NO_PRINTER)
            self._close(reg.JOB_STATE_ABORTED)

    def _quiet(self):
        """Axes, heat and fan: all at rest at once."""
        self._board.quiet(True)
        self.homed = self._hot = False
        self._due_us = ticks_us()

    def _give_up(self, fault, reason):
        self.fault = fault
        self._bank.put16(reg.S_JOB_FAULT, reason)
        self._quiet()
        self._close(reg.JOB_STATE_ABORTED)

    def _watch_heat(self):
        talk = self._talk
        if talk.fresh == self._fresh:
            return
        self._fresh = talk.fresh
        near = True
        above = False
        for k in range(2):
            temperature = talk.temperatures[k]
            above = above or temperature > self._highest[k] + MARGIN
            target = self._targets[k]
            if self._waits >> k & 1 and target and (abs(temperature - target) > READY_BAND or talk.targets[k] != target):
                near = False
        self._near = self._near + 1 if near else 0
        self._too_hot = above
        self._above = self._above + 1 if above else 0
        if self._above > 1:  # once may be a broken line
            self._above = 0
            self.fault = reg.FAULT_OVER_TEMPERATURE

    def _cool(self):
        """Heat is not permitted: off at once where there may be any."""
        if not self._hot or not self._board.ready:
            return
        if self.running:
            if self._talk.left < 2:
                return  # in the next tick, then
            self._cooled = True
            self._board.say(b"M104 S0")
            self._board.say(b"M140 S0")
        else:
            self._board.quiet(False)
        self._hot = False

    def _warm(self):
        """Heat is permitted again: what the Job had asked for, and no line of it before that is reached."""
        if not self.running or not self._board.ready:
            self._cooled = False
            return
        if self._talk.left < _SPARE:
            return  # not before the board has taken what waits: there must always be a line left to switch off with
        self._cooled = False
        for k in range(2):
            target = self._targets[k]
            if target:
                self._board.say(("M1%s4 S%d.%d" % ("04"[k], target // 10, target % 10)).encode())
                self._waits |= 1 << k
                self._hot = True
        self._near = 0

    # ---- the Job

    def _check(self):
        """Nothing is sent of a stored Job before the whole of it has been found to be what was stored."""
        reason = self._feed.check()
        if reason:
            self._give_up(reg.FAULT_JOB, reason)
        elif reason is not None:
            self._put_state(reg.JOB_STATE_RUNNING)

    def _ahead_us(self, now_us):
        """Motion that the board has been given and has not made yet, as planned."""
        ahead = ticks_diff(self._due_us, now_us)
        if ahead > 0:
            return ahead
        self._due_us = now_us
        return 0

    def _tick_job(self, now_us, run):
        talk = self._talk
        if self._await != _NOTHING:
            if talk.acked < self._awaited:
                return
            self._reached()
        if self._waits:
            if self._near < READY_POLLS:
                self._show_hold(run)
                return
            self._waits = 0
        if not talk.free:
            return
        if not run:
            if self._rested:
                self._show_hold(run)
            else:
                self._expect(b"M400", _DRAIN)
            return
        self._show_hold(run)
        if talk.room >= 0 and talk.most - talk.room < 2 and self._ahead_us(now_us) > self._piece_us and not self._rested:
            self._due_us = ticks_add(now_us, self._piece_us)  # it is quicker than planned: there is but the last move left
        while talk.free and self._await == _NOTHING and not self._waits and self.running:
            if not self._next(now_us):
                break
            talk.send(ticks_ms(), talk.window)

    def _show_hold(self, run):
        if run == (self._state == reg.JOB_STATE_HOLDING):
            self._put_state(reg.JOB_STATE_RUNNING if run else reg.JOB_STATE_HOLDING)

    def _expect(self, text, why):
        self._awaited = self._board.say(text)
        self._await = why

    def _reached(self):
        """The line that was waited for has been carried out."""
        if self._await == _HOME:
            self.homed = True
        self._await = _NOTHING
        self._rested = True
        self._due_us = ticks_us()

    def _next(self, now_us):
        """Take the next record; False when there is nothing to send now."""
        if not self._need(_HEAD):
            return False
        feed = self._feed
        lines, chunks, kind, length = unpack_from("<HHBB", feed.buffer, feed.at)
        if length > LONGEST:
            self._bad_job()
            return False
        if not self._need(_HEAD + length):
            return False
        ahead = self._ahead_us(now_us)
        if kind == _MOVE and not self._rested:
            if ahead >= AHEAD_US:
                return False
            if self._talk.room == 0 and ticks_diff(now_us, self._sent_us) < self._piece_us:
                return False  # its planner is full, and a line that waits for room there keeps others waiting
        elif kind > _SET and not self._rested:
            self._expect(b"M400", _DRAIN)
            return False
        elif self._rested and ahead > 0:
            return False  # a dwell lasts
        at = feed.at + _HEAD
        feed.at = at + length
        self._line += lines
        self._chunks += chunks
        self._bank.put32(reg.S_JOB_LINE, self._line)
        if kind == _MOVE:
            self._rested = False
            self._sent_us = now_us
            self._piece_us = chunks * _CHUNK_US
            self._due_us = ticks_add(self._due_us, self._piece_us)
            self._talk.put(feed.buffer, length, at)
        elif kind == _DWELL:
            self._due_us = ticks_add(self._due_us, chunks * _CHUNK_US)
        elif kind == _END:
            self._close(reg.JOB_STATE_DONE)
        elif kind in (_SET, _WAIT_HOTEND, _WAIT_BED):
            self._set(at, length)
            if kind != _SET and self._targets[kind - _WAIT_HOTEND]:
                self._waits = 1 << kind - _WAIT_HOTEND
                self._near = 0
        elif kind in (_HOME, _MOTORS_OFF):
            self._expect(feed.buffer[at : at + length], kind)
            self.homed = False
        elif kind != _NOTHING:
            self._bad_job()
        return True

    def _set(self, at, length):
        """A line that moves nothing; heaters and the fan are remembered."""
        buffer = self._feed.buffer
        self._talk.put(buffer, length, at)
        if buffer[at] == 77 and buffer[at + 1] == 49 and length > 3:  # M1
            value = after_s(buffer, at + 4, at + length)
            if buffer[at + 2] == 48 and buffer[at + 3] == 52:
                self._heat(0, value)
            elif buffer[at + 2] == 52 and buffer[at + 3] == 48:
                self._heat(1, value)
            elif buffer[at + 2] == 48 and buffer[at + 3] in (54, 55):
                self._fan = value * 100 // 255 if buffer[at + 3] == 54 else 0

    def _heat(self, heater, target):
        if target > self._highest[heater]:
            self._bad_job()
            return
        self._targets[heater] = target
        self._hot = self._targets[0] > 0 or self._targets[1] > 0

    def _need(self, count):
        """Whether `count` bytes stand at the reading place; a Job that ends before them is a bad one."""
        if self._feed.have(count):
            return True
        if self._feed.ended:
            self._bad_job()
        return False

    def _bad_job(self):
        self._give_up(reg.FAULT_JOB, reg.REASON_BAD_JOB)

    def _close(self, state):
        self._feed.close()
        self._await = _NOTHING
        self._waits = 0
        self._rested = True
        self._cooled = False
        if state == reg.JOB_STATE_ABORTED:
            self._fan = 0
            self._targets[0] = self._targets[1] = 0
        self._put_state(state)

    # ---- status

    def _put_state(self, state):
        self._state = state
        self._ticks = _REPORT
        self._bank.put16(reg.S_JOB_STATE, state)

    def _report(self, now_us):
        bank = self._bank
        self._board.show()
        bank.put16(self._config["fan"][0], self._fan)
        played = self._chunks - self._ahead_us(now_us) // _CHUNK_US
        bank.put32(reg.S_JOB_CHUNKS, played if played > 0 else 0)
        bank.put_bit(reg.S_MOVING, reg.S_MOVING_BIT, self.moving)
        bank.put_bit(reg.S_HOMED, reg.S_HOMED_BIT, self.homed)
        bank.put_bit(reg.S_HEATER_WAIT, reg.S_HEATER_WAIT_BIT, self._waits)
        bank.put_bit(reg.S_HOMING, reg.S_HOMING_BIT, self._await == _HOME)
