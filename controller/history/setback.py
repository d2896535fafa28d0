"""Where the wall clock is set back, what was recorded while it was ahead goes to the times at which it was."""

import zlib
from typing import Any

import numpy as np

from controller.history.bits import pack, unpack
from controller.history.block import HEAD, sound
from controller.history.hot import Hot
from controller.history.kept import micros
from twin.clock import S

STEP = 3600 * S
"""A wall clock that is off by more has been set; less is made up for slowly."""


def set_back(hot: Hot, now_ns: int, step_ns: int | None) -> int:
    """Move the spans that were recorded after the clock went ahead back before `now`; up to when History tells then.

    They are the ones that begin after `now`, behind a gap of more than STEP or at History's beginning. They are moved by the
    clock's step, where somebody has seen it, but never into what was recorded before; else they end at `now`. Nothing is moved
    where there is no such span, or where part of it is in a segment already.

    Raises:
        HistoryFull, HistoryError: nothing was moved.
    """
    hot.fold()
    now, before = micros(now_ns), hot.until_ns // 1000
    with hot.transaction() as file:
        found = _ahead(file, now)
        if found is not None:
            begin, earliest = found
            least = earliest - begin
            moved = -micros(step_ns) if step_ns is not None else now - 1 - before
            _move(hot, file, begin, max(least, moved))
    hot.look_again()
    return hot.until_ns


def _ahead(file: Any, now: int) -> tuple[int, int] | None:
    """When what is ahead begins, and the earliest time to which it may go [us]."""
    spans = file.execute("SELECT begin_us, end_us FROM spans ORDER BY begin_us").fetchall()
    for i, (begin, _) in enumerate(spans):
        after = spans[i - 1][1] if i else None
        if begin > now and (after is None or begin - after > STEP // 1000):
            cold = file.execute("SELECT 1 FROM segments WHERE last_us >= ? LIMIT 1", (begin,)).fetchall()
            return None if cold else (begin, 0 if after is None else after + 1)
    return None


def _move(hot: Hot, file: Any, begin: int, by: int) -> None:
    """Move all from `begin` on by so many microseconds, the past side."""
    into = "INSERT OR REPLACE INTO blocks SELECT ?, signal, ?, ?, count, ?, ? FROM blocks WHERE id = ?"
    for row, head, body in file.execute("SELECT id, head, body FROM blocks WHERE last_us >= ?", (begin,)).fetchall():
        for made in _moved(head, body, begin, by):
            file.execute(into, (row, *made, row))
    file.execute("UPDATE events SET utc_ns = utc_ns + ? WHERE utc_ns >= ?", (by * 1000, begin * 1000))
    file.execute("UPDATE held SET time_us = time_us + ? WHERE time_us >= ?", (by, begin))
    file.execute("UPDATE spans SET begin_us = begin_us + ?, end_us = end_us + ? WHERE begin_us >= ?", (by, by, begin))


def _moved(head: bytes, body: bytes, begin: int, by: int) -> list[tuple[int, int, bytes, bytes]]:
    """First time, last time, head and body of a block whose samples from `begin` on have moved."""
    if not sound(head, body):
        return []
    top = np.frombuffer(head, HEAD).copy()
    end = int(top[0]["times"])
    times = unpack(body[:end], int(top[0]["count"]))
    elapsed = np.diff(times)
    times = np.where(times >= begin, times + by, times)
    if (np.diff(times) != elapsed).any():
        top[0]["good"] = 0  # a gap lies in it: its sum no longer holds
    packed = pack(times, 2)
    body = packed + body[end:]
    top[0]["first_us"], top[0]["last_us"], top[0]["times"] = times[0], times[-1], len(packed)
    top[0]["body_crc"] = zlib.crc32(body)
    top[0]["head_crc"] = zlib.crc32(top.tobytes()[:-4])
    return [(int(times[0]), int(times[-1]), top.tobytes(), body)]
