"""The VM's end of factory time: it asks for time, is granted it, and reports what its pins did.

The rig names two pipes in the environment: LOCKSTEP_RIG=FROM,TO, numbers of file descriptors.
LOCKSTEP_QUIET may name pins whose changes reach nobody at once.

rig -> VM, 88 bytes: now [µs] u64, grant [µs] u64, number of inputs u8, fault u8 (0: none), through u8, 1 spare, argument of the
fault u32, then 16 x (pin u8, spare u8, value u16)
VM -> rig: records of 16 bytes: time [µs] u64, kind u8, pin u8, value u16, length u32, then `length` bytes.
"""

import os
import struct
import sys

import micropython

WAIT, LEVEL, DUTY, FRAMES, CUT, FED, SENT = 0, 1, 2, 3, 4, 5, 6
INPUTS = 16
FOREVER = (1 << 62) - 1

now = 0  # µs; runs ahead of what was granted while the processor is charged for work
granted = 0  # the rig's time at the last exchange
grant = 0  # until here the VM runs alone
through = 0  # also after it has met something on a socket
fresh = True  # a socket may hold something not looked at since the last exchange
active = False  # a socket was ready since the last exchange
settling = False  # busy with a request whose answer is still to be sent
io_due = False  # a task that was woken by a socket has not run yet
inputs = {}  # pin -> value
watchers = {}  # pin -> function called when its value changes
strike = print  # what breaks the node from inside, called with a number and its argument; boot_vm sets it
quiet = [int(pin) for pin in (os.getenv("LOCKSTEP_QUIET") or "").split()]  # pins that nobody outside reacts to
failing_reads = 0  # so many readings of digital inputs fail from here on

switch_us = 0  # cost model: charged for each resumed task
exchange_us = 0  # for each socket that was ready
collect_us = 0  # for each garbage collection
byte_ns = 0  # for each byte of a stream

_from, _to = (os.getenv("LOCKSTEP_RIG") or "0,1").split(",")
_from_rig = open("/dev/fd/" + _from, "rb")
_to_rig = open("/dev/fd/" + _to, "wb")
_in = bytearray(88)
_out = bytearray(16384)  # records that have not been sent yet
_view = memoryview(_out)
_filled = 0
_frames_at = -1  # where in it the record of frames begins that comes last
_frames_end = 0  # when the last of them will have been played
_frames_pin = 0


@micropython.native
def send(kind, pin, value, length=0, time=None):
    """Put a record's head into the buffer; it goes with the next exchange."""
    global _filled, _frames_at
    _frames_at = -1
    at = _filled
    if at > 16368:
        flush()
        at = 0
    struct.pack_into("<QBBHI", _out, at, now if time is None else time, kind, pin, value, length)
    _filled = at + 16


def frames(pin, data, start, end):
    """Words that are played from `start` to `end`; what follows on from the record before lengthens it."""
    global _frames_at, _frames_end, _frames_pin
    size = len(data)
    if _frames_at >= 0 and pin == _frames_pin and start == _frames_end and _filled + size <= 16384:
        at = _frames_at + 12
        (length,) = struct.unpack_from("<I", _out, at)
        struct.pack_into("<I", _out, at, length + size)
    else:
        if _filled + 16 + size > 16384:
            flush()
        send(FRAMES, pin, 0, size, start)
        _frames_at, _frames_pin = _filled - 16, pin
    write(data)
    _frames_end = end


def flush():
    """Send what is in the buffer."""
    global _filled, _frames_at
    _frames_at = -1
    if _filled:
        _to_rig.write(_view[:_filled])
        _filled = 0


def output(kind, pin, value):
    """A pin has changed. What follows may come back, so the VM goes on alone no longer than to its next wait."""
    global grant
    send(kind, pin, value)
    if pin not in quiet:
        grant = 0


def sent(uart, count, end):
    """A UART has been given bytes. Until the last has left nothing can come back, and then something may."""
    global grant
    send(SENT, uart, count)
    if grant > end:
        grant = end


@micropython.native
def write(data):
    """The bytes that belong to the record before."""
    global _filled
    at = _filled
    size = len(data)
    if at + size > 16384:  # longer than the buffer, which frames() has emptied but for the head
        flush()
        _to_rig.write(data)
        return
    _out[at : at + size] = data
    _filled = at + size


def exchange(wake):
    """Report, and block until the rig grants time: at the latest at `wake`, earlier when an input changed."""
    global now, granted, grant, through, fresh, active
    send(WAIT, (1 if active else 0) | (2 if settling else 0), 0, 0, wake)
    flush()
    active = False
    got = _from_rig.readinto(_in)
    if got != len(_in):
        sys.exit(0)  # the rig is gone
    granted, grant = struct.unpack_from("<QQ", _in, 0)
    if granted > now:
        now = granted
    fresh = True
    through = _in[18]
    at = 24
    for _ in range(_in[16]):
        pin = _in[at]
        value = _in[at + 2] | _in[at + 3] << 8
        inputs[pin] = value
        if pin in watchers:
            watchers[pin](value)
        at += 4
    if _in[17]:
        strike(_in[17], struct.unpack_from("<I", _in, 20)[0])


@micropython.native
def wait_until(wake):
    """Let time pass, at most until `wake`; the caller looks at `now` again."""
    global now
    if wake <= now:
        return
    if wake <= grant:
        now = wake
    else:
        exchange(wake)


def settle():
    """Wait out the time that the processor was charged for, so that an answer leaves when it would on a board."""
    global grant, settling, active
    while granted < now:
        settling = True
        exchange(now)
    settling = False
    active = True
    if not through:
        grant = 0  # what is sent now must reach the others before this VM goes on alone


def configure(costs):
    """Switch the cost model on: task switch, socket exchange and collection [µs], stream byte [ns]."""
    global switch_us, exchange_us, collect_us, byte_ns
    switch_us, exchange_us, collect_us, byte_ns = costs
