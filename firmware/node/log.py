"""What has happened on this node since it started: lines in a ring of bytes, read by anybody through the transfer window.

A line is the uptime in seconds, a letter (i: to know, w: to see to, e: broken), and a text without secrets.
"""

from time import ticks_diff, ticks_ms

from node import registers as reg

SIZE = 2048
_ring = bytearray(SIZE)
_view = memoryview(_ring)
_end = 0  # bytes ever written
_bank = None
_last_ms = ticks_ms()
_uptime_ms = 0


def attach(bank):
    """From now on the Status tells how much there is."""
    global _bank
    _bank = bank
    bank.put32(reg.S_LOG_END, _end)


def age():
    """Milliseconds since the start. To be asked at least once in six days, or it loses some."""
    global _last_ms, _uptime_ms
    now = ticks_ms()
    _uptime_ms += ticks_diff(now, _last_ms)
    _last_ms = now
    return _uptime_ms


def say(level, text):
    """Append a line; the oldest give way."""
    global _end
    at = age()
    line = ("%d.%03d %s %s\n" % (at // 1000, at % 1000, level, text)).encode()[: SIZE // 4]
    place = _end % SIZE
    first = min(len(line), SIZE - place)
    _ring[place : place + first] = line[:first]
    _ring[: len(line) - first] = line[first:]
    _end += len(line)
    if _bank is not None:
        _bank.put32(reg.S_LOG_END, _end)


def read(offset, buffer):
    """Fill a buffer with what was written from an offset on, or from the oldest byte left; returns that offset and how much."""
    start = max(_end - SIZE, min(offset, _end), 0)
    count = min(len(buffer), _end - start)
    place = start % SIZE
    first = min(count, SIZE - place)
    buffer[:first] = _view[place : place + first]
    buffer[first:count] = _view[: count - first]
    return start, count
