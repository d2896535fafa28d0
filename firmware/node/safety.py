"""Who may command, for how long, and what holds when nobody does.

What the machines do follows the EFFECTIVE commands: those the live owner wrote, or the defaults, their safe state.
"""

from time import ticks_add, ticks_diff, ticks_ms, ticks_us

import micropython

from node import registers as reg
from node.bank import place
from node.codec import FAILED
from node.commands import Commands  # noqa: F401  (of one piece with Safety)
from node.store import read_counter, write_counter

MIN_LEASE_MS = 50
MAX_LEASE_MS = 5000
REMEMBERED = 16  # ids of commands that have been executed
_FIRST = 2 * reg.COMMAND_AT
_UPTIME = 2 * reg.S_UPTIME
_IDENTITY = 8  # bytes of owner and epoch, which come first
_ANSWERED = 2 * (reg.COMMAND_AT + reg.C_SIZE)
_NO_BLOCK = 0xFFFF
_FARTHEST = 1 << 24  # above the highest epoch that a claim may be: more than a controller makes in all its life
# What takes even a held output off, and is shown in the place of what latched before it.
_HARD = (reg.FAULT_OVER_TEMPERATURE, reg.FAULT_HEATER_STUCK, reg.FAULT_SENSOR, reg.FAULT_INTERLOCK, reg.FAULT_INTERNAL)
_NOT_LATCHED, _SILENCED, _SOFT, _HARDEST = -1, 0, 1, 2


class Safety:
    """The Grant, the lease, the latch and the interlocks; and the one door through which clients write.

    Args:
        interlocks: of node.json.
        jobs: the store; window: the transfer window.
        motion, heaters, fans: what a latch stops.
        use: is told when the node comes into use, by its begin(), or None.
        run: register and bit of the command that lets a Job run, or None.

    Attributes:
        heater_fault, block_fault: what the heaters, and the other blocks, said last.
        changed: what takes effect is no longer what it was at the last tick.
        silent: at the last tick the owner had fallen silent, nobody had reset since, and nothing else had latched.
        ops: what other parts of the node carry out: by Op, a function of the argument that returns a Reason.
    """

    def __init__(self, interlocks, bank, commands, jobs, window, motion, heaters, fans, use=None, run=None):
        self.commands = commands
        self.heater_fault = self.block_fault = reg.FAULT_NONE
        self.changed = self.silent = True
        self._bank = bank
        self._effective = commands.effective
        self._jobs = jobs
        self._window = window
        self._motion = motion
        self._heaters = heaters
        self._fans = fans
        self.ops = {}
        self._use = use
        self._run_at = run
        self._rules = [place(*rule["when"]) + place(*rule["output"]) for rule in interlocks if "when" in rule]
        self._pairs = [place(*rule["beside"]) + place(*rule["output"]) for rule in interlocks if "beside" in rule]
        self._leased = False
        self._severity = _NOT_LATCHED
        self._finishing = self._kept_on = False
        self._fault = reg.FAULT_NONE
        self._peer = 0
        self._lease_ms = reg.LEASE_MS
        self._heard_ms = ticks_ms()
        self._heard_us = ticks_us()
        self._sequence = 0
        self._done = []
        self._epoch = read_counter("epoch")
        self._unkept = False
        self._next = bytearray(2 * reg.C_SIZE)
        self._stale = True
        self._last_ms = ticks_ms()
        bank.put32(reg.S_EPOCH, self._epoch)

    # ---- the door

    def writable(self, first, count):
        """Whether a write may go there: into the Grant, one machine's Command, or the transfer window with its head."""
        if first >= reg.MACHINES_AT:
            return self.commands.writable(2 * first, 2 * (first + count))
        if first == reg.TRANSFER_AT:
            return count >= reg.TRANSFER_HEAD and 2 * (count - reg.TRANSFER_HEAD) <= reg.TRANSFER_BYTES
        return first >= reg.COMMAND_AT and first + count <= reg.COMMAND_AT + reg.C_SIZE

    def write(self, peer, first, data, touched=None):
        """Carry out a write of one client, whole or not at all; returns 0 or an exception code.

        peer: above 0 a connection of its own, below 0 a line on which all masters look alike, 0 nobody: a broadcast.
        touched: what the client wrote itself: of bit numbers (as of coils) the first, the end, and a mask for a register; or all.
        """
        now_ms = ticks_ms()
        self._pass(now_ms)
        self._expire(now_ms)
        if not peer:
            return self._refuse_foreign()
        if first < reg.TRANSFER_AT:
            return self._write_grant(peer, first + first - _FIRST, data)
        if first == reg.TRANSFER_AT and data[1] == reg.TRANSFER_OP_READ and data[0] == 0:
            return self._window.read(data)  # by anybody: it changes nothing
        if not self._owns(peer):
            return self._refuse_foreign()
        if first == reg.TRANSFER_AT:
            return self._window.write(data)
        self._bank.view[first + first : first + first + len(data)] = data
        self.commands.arm()
        self.commands.written(first + first, first + first + len(data), touched)
        self._stale = True
        if self._use and not self.latched and not self.commands.idle:
            self._use.begin()
        return 0

    def _owns(self, peer):
        return self._leased and peer == self._peer

    # ---- the Grant

    def _write_grant(self, peer, at, data):
        grant = self._next
        # Without owner and epoch in it, a write says nothing of who sends it: only the owner's own connection may.
        if (at > 0 or len(data) < _IDENTITY) and (peer < 0 or not self._owns(peer)):
            return self._refuse_foreign()
        grant[:] = self._bank.view[_FIRST:_ANSWERED]
        grant[at : at + len(data)] = data
        if not (grant[0] or grant[1] or grant[2] or grant[3]):
            return 0  # no owner: asks for nothing
        owner, epoch = _u32(grant, 0), _u32(grant, 4)
        if self._leased:
            if owner != self._bank.u32(reg.S_OWNER) or epoch != self._epoch:
                if peer == self._peer:
                    self._peer = 0  # somebody else speaks there too: the owner must say again that it is the owner
                at = reg.S_OLD_EPOCHS if epoch < self._epoch else reg.S_FOREIGN
                return self._refuse(at, reg.REASON_LEASE_LIVE)
            return self._renew(grant, peer)
        elif not 0 < epoch - self._epoch <= _FARTHEST:
            return self._refuse(reg.S_OLD_EPOCHS, reg.REASON_OLD_EPOCH)
        else:
            self._claim(grant, peer, owner, epoch)
        return 0

    def _refuse(self, at, reason):
        """Count it in its own register too, and say why."""
        self._count(at)
        self._count(reg.S_REFUSED)
        self._bank.put16(reg.S_REASON, reason)
        return 0

    def _refuse_foreign(self):
        self._refuse(reg.S_FOREIGN, reg.REASON_NOT_OWNER)
        return FAILED

    def _claim(self, grant, peer, owner, epoch):
        """A new owner. Its first write commands nothing: what it finds from before a restart must not run twice."""
        self._epoch = epoch
        self._keep_epoch()
        self._leased = True
        self._finishing = False
        self._sequence = _u16(grant, 12)
        self._stale = True
        bank = self._bank
        bank.put32(reg.S_EPOCH, epoch)
        bank.put32(reg.S_OWNER, owner)
        bank.put_bit(reg.S_LEASED, reg.S_LEASED_BIT, 1)
        self._hear(grant, peer)

    def _keep_epoch(self):
        """To the flash, which holds the processor up for longer than a step stream lasts: later, where anything moves."""
        self._unkept = self._motion.running or self._bank.bit(reg.S_MOVING, reg.S_MOVING_BIT)
        if not self._unkept and not write_counter("epoch", self._epoch):  # the fence lasts until the next start only
            self._bank.put_bit(reg.S_STORAGE_FAILED, reg.S_STORAGE_FAILED_BIT, 1)

    def _renew(self, grant, peer):
        sequence = _u16(grant, 12)
        newer = sequence - self._sequence & 0xFFFF
        if newer > 0x7FFF:  # it was overtaken on its way: neither its command nor its heartbeat counts any more
            return self._refuse(reg.S_REPEATED, reg.REASON_REPEATED)
        if _u16(grant, 10) != self._bank.u16(reg.S_HEARTBEAT):
            self._hear(grant, peer)
        else:
            self._take(grant, peer)
        if newer:
            self._sequence = sequence
            self._judge(sequence, _u16(grant, 14), _u32(grant, 16), _u32(grant, 20), _u32(grant, 24))
        return 0

    def _take(self, grant, peer):
        """Keep what the owner wrote."""
        self._peer = peer
        self._bank.view[_FIRST:_ANSWERED] = grant

    def _hear(self, grant, peer):
        """The lease starts anew."""
        self._take(grant, peer)
        self._lease_ms = min(max(_u16(grant, 8), MIN_LEASE_MS), MAX_LEASE_MS)
        self._heard_ms = ticks_ms()
        self._heard_us = ticks_us()
        self._bank.put16(reg.S_HEARTBEAT, _u16(grant, 10))

    # ---- commands that run at most once

    def _judge(self, sequence, op, command_id, argument, not_after):
        bank = self._bank
        executions = 0
        result = reg.RESULT_DONE
        reason = reg.REASON_NONE
        if op == reg.OP_NONE:
            result = reg.RESULT_NONE
        elif command_id in self._done:
            executions = 1  # it has run; it does not run again
            reason = reg.REASON_REPEATED
            self._count(reg.S_REPEATED)
            self._count(reg.S_REFUSED)
        else:
            late = bank.u32(reg.S_UPTIME) - not_after & 0xFFFFFFFF
            if late == 0 or late > 0x7FFFFFFF:
                reason = self._run(op, argument)
            else:
                reason = reg.REASON_TOO_LATE
                self._count(reg.S_LATE_REFUSED)
            if reason:
                result = reg.RESULT_REFUSED
                self._count(reg.S_REFUSED)
            else:
                executions = 1
                if len(self._done) == REMEMBERED:
                    self._done.pop(0)
                self._done.append(command_id)
        bank.put32(reg.S_COMMAND_ID, command_id)
        bank.put16(reg.S_SEQUENCE, sequence)
        bank.put16(reg.S_RESULT, result)
        bank.put16(reg.S_REASON, reason)
        bank.put16(reg.S_EXECUTIONS, executions)

    def _run(self, op, argument):
        """Carry a command out; returns a Reason."""
        if op == reg.OP_RESET:
            return self._reset()
        if op == reg.OP_STOP:
            self._motion.stop()
            return reg.REASON_NONE
        if op == reg.OP_START:
            return self._start(argument)
        if op == reg.OP_RELEASE:
            self._end_lease()
            return reg.REASON_NONE
        if op in self.ops:
            return self.ops[op](argument)
        return reg.REASON_UNKNOWN_COMMAND

    def _start(self, job_id):
        if self.latched:
            return reg.REASON_LATCHED
        reason = self._motion.start(job_id)
        if not reason and self._use:
            self._use.begin()
        return reason

    def _reset(self):
        if not self.latched:
            return reg.REASON_NONE
        if self._cause():
            return reg.REASON_LATCHED
        self._severity = _NOT_LATCHED
        self._bank.put16(reg.S_FAULT_BLOCK, _NO_BLOCK)
        self.commands.disarm()
        self.commands.arm()
        self._stale = True
        self._show_latch(reg.FAULT_NONE)
        return reg.REASON_NONE

    def _cause(self):
        """Whether what latched the outputs is still so. Silence is over when somebody asks, a Job's fault with the Job."""
        registers = self._bank.bytes
        if self._fault == reg.FAULT_INTERLOCK:
            if any(registers[at] & mask for at, mask, _, _ in self._rules):
                return True
            if any(registers[at] & mask and registers[other] & others for at, mask, other, others in self._pairs):
                return True  # both are still asked for
        return bool(self.heater_fault or self.block_fault or self._motion.cause)

    # ---- the latch

    def latch(self, fault, block=_NO_BLOCK):
        """Everything to its safe state, until an operator's reset. The first fault is shown, until a harder one comes."""
        severity = _HARDEST if fault in _HARD else _SOFT
        if fault == reg.FAULT_SILENCE and block == _NO_BLOCK:
            severity = _SILENCED
        if severity <= self._severity:
            return
        self._severity = severity
        self._bank.put16(reg.S_FAULT_BLOCK, block)
        self._finishing = self._kept_on = False
        self._stale = True
        self._show_latch(fault)
        self._motion.stop()
        for heater in self._heaters:
            heater.off()
        for fan in self._fans:
            fan.set(0)

    def _show_latch(self, fault):
        self._fault = fault
        self._bank.put16(reg.S_FAULT, fault)
        self._bank.put_bit(reg.S_LATCHED, reg.S_LATCHED_BIT, fault)

    @property
    def latched(self):
        """Outputs are safe until a reset."""
        return self._severity != _NOT_LATCHED

    @property
    def idle(self):
        """Nothing is commanded, nothing runs, and nobody's reset is waited for."""
        return not self.latched and not self._motion.running and self.commands.resting

    # ---- the tick

    @micropython.native
    def _pass(self, now_ms):
        """The uptime, as of now."""
        registers = self._bank.bytes
        low = (registers[_UPTIME + 2] << 8 | registers[_UPTIME + 3]) + ticks_diff(now_ms, self._last_ms)
        self._last_ms = now_ms
        if low > 0xFFFF:  # in two halves, so that no integer outgrows the board's small ones
            self._bank.put16(reg.S_UPTIME, self._bank.u16(reg.S_UPTIME) + (low >> 16))
        registers[_UPTIME + 2] = low >> 8 & 0xFF
        registers[_UPTIME + 3] = low & 0xFF

    @micropython.native
    def tick(self, now_ms):
        """Let time pass: the lease, the commands that take effect, the interlocks."""
        self._pass(now_ms)
        if self._unkept:
            self._keep_epoch()
        if self._leased and ticks_diff(now_ms, self._heard_ms) >= self._lease_ms:
            self._expire(now_ms)
        if self._finishing and (not self._motion.running or self._bank.u16(reg.S_JOB_STATE) == reg.JOB_STATE_HOLDING):
            self.latch(reg.FAULT_SILENCE)
        overdue = self.commands.overdue(now_ms)
        if overdue >= 0:
            self.latch(reg.FAULT_SILENCE, overdue)
        self.changed = self._stale
        if self.changed:
            self._stale = False
            self.commands.settle((self._leased or self._finishing) and not self.latched, self._holding())
        registers = self._bank.bytes
        for at, mask, output_at, output_mask in self._rules:
            if registers[at] & mask and self._effective.bytes[output_at] & output_mask:
                self._forbid(output_at, output_mask)
        for at, mask, output_at, output_mask in self._pairs:
            if self._effective.bytes[at] & mask and self._effective.bytes[output_at] & output_mask:
                self._forbid(at, mask)
                self._forbid(output_at, output_mask)
        self.silent = self._fault == reg.FAULT_SILENCE or not (self._leased or self.latched)

    def _holding(self):
        """Whether nothing but the owner's silence is why a command is not obeyed."""
        return self._severity == _SILENCED or (not self.latched and (self._kept_on or not self._leased))

    def deadline(self, now_us):
        """When the lease ends, in ticks_us; now where there is none, None where a Job may finish without."""
        if self._finishing:
            return None
        if self._leased:
            return ticks_add(self._heard_us, self._lease_ms * 1000)
        return now_us

    @micropython.native
    def _expire(self, now_ms):
        """Where the owner has been silent for its lease, that ends."""
        if not self._leased or ticks_diff(now_ms, self._heard_ms) < self._lease_ms:
            return
        self._count(reg.S_LEASES_LOST)
        self._end_lease()

    def _end_lease(self):
        """Nobody commands any more: what is not idle goes to its safe state, but for a Job that may finish."""
        bank = self._bank
        self._leased = False
        self._peer = 0
        bank.put32(reg.S_OWNER, 0)
        bank.put_bit(reg.S_LEASED, reg.S_LEASED_BIT, 0)
        self._stale = True
        motion = self._motion
        run = self._run_at
        runs = run is None or self._effective.bit(run[0], run[1])  # one that is held would never come to its end
        if motion.finishes and runs and not self.latched and self._jobs.stored(bank.u32(reg.S_JOB_ID)):
            self._finishing = self._kept_on = True
            self.commands.disarm(run)
            self.commands.arm()
        elif motion.running or not self.commands.idle:
            self.latch(reg.FAULT_SILENCE)

    def _forbid(self, at, mask):
        """An output that an interlock forbids is off at once, and everything is latched."""
        if self._severity < _HARDEST:
            self.latch(reg.FAULT_INTERLOCK)
            self.commands.settle(False)
        self._effective.bytes[at] &= ~mask
        self._stale = self.changed = True

    def _count(self, at):
        self._bank.put16(at, self._bank.u16(at) + 1)


def _u16(data, at):
    return data[at] << 8 | data[at + 1]


def _u32(data, at):
    return data[at] << 24 | data[at + 1] << 16 | data[at + 2] << 8 | data[at + 3]
