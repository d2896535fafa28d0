"""What becomes of old History, and what gives way on a full disk: History first, orders never. Pure, but for the reserve's file."""

import enum
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from controller.history.hot import Size
from twin.clock import S
from twin.recording import Recording

MB = 1_000_000
HOUR = 3600 * S
DAY = 24 * HOUR
LEAST_KEPT = HOUR
"""The last hour is not shed: History stops before it gives that away."""
RESERVE = "reserve"


class Stand(enum.StrEnum):
    """How History stands."""

    RECORDING = "recording"
    SHEDDING = "shedding"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Turn:
    """What is to be done now.

    Attributes:
        cool, forget: what is older [UTC ns] becomes Parquet, is thrown away; 0: nothing.
        reserve: the reserve's bytes are to be held.
    """

    stand: Stand
    cause: str
    cool: int
    forget: int
    reserve: bool


class Age:
    """How old a time is, in time really recorded: one reading of a wrong clock makes nothing old.

    A gap counts too, but a day at most. Without spans it is what the clock says.

    Args:
        spans: in which somebody recorded, in their order [UTC ns].
    """

    def __init__(self, spans: Sequence[tuple[int, int]], now: int) -> None:
        ends = [end for _, end in spans]
        gaps = [then - end for end, (then, _) in zip(ends, [*spans, (now, now)][1:], strict=True)]
        self._gaps = [(end, end + gap) for end, gap in zip(ends, gaps, strict=True) if gap > DAY]
        self._now = now

    def of(self, time: int) -> int:
        """The age of a time [ns]."""
        left = sum(max(0, end - max(time, begin) - DAY) for begin, end in self._gaps if end > time)
        return self._now - time - left

    def before(self, age: int) -> int:
        """The time that is so old [UTC ns]."""
        time = self._now - age
        for begin, end in reversed(self._gaps):
            if time < end - DAY:
                time -= end - begin - DAY
        return time


def decide(settings: Recording, size: Size, free: int, reserved: int, now: int, stopped: bool) -> Turn:
    """What is to be done at `now` [UTC ns].

    Args:
        free: bytes that the disk has left; `reserved` are held for the orders beside them.
        stopped: nothing is recorded any more because the disk is full.
    """
    reserve, age = settings.reserve_mb * MB, Age(size.spans, now)
    cool = age.before(int(settings.cold_after_h * HOUR)) // DAY * DAY  # a day in each segment, no crumbs
    keep = int(settings.keep_days * DAY)
    grain = min(DAY, keep // 24)
    forget = age.before(keep) // grain * grain
    oldest = size.oldest_ns if size.oldest_ns is not None else now
    taken, whole = size.hot + size.cold, age.of(oldest)
    wanted = reserve + (reserve - reserved if stopped else 0)  # once stopped, only with room for the whole reserve again
    excess, missing = taken - settings.keep_mb * MB, wanted - free
    can = whole > LEAST_KEPT
    if max(excess, missing) > 0 and can:
        share = min(1.0, 1.1 * max(excess, missing) / max(taken, 1))
        forget = max(forget, age.before(max(int((1 - share) * whole) - S, LEAST_KEPT)))
    if missing > 0 and not can and (stopped or free < reserve // 4):
        return Turn(Stand.STOPPED, f"the disk has {free // MB} MB left: kept for the orders", 0, forget, False)
    if missing > 0:  # what becomes Parquet is there twice for a while
        return Turn(Stand.STOPPED if stopped else Stand.SHEDDING, f"the disk has {free // MB} MB left", 0, forget, reserved > 0)
    return Turn(Stand.RECORDING, "", cool, forget, True)


def free_bytes(folder: Path) -> int:
    """What the disk has left for us."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


class Reserve:
    """Bytes of the disk that nobody else can take, until the orders need them."""

    def __init__(self, folder: Path, fill: Callable[[int, int, int], None] = os.posix_fallocate) -> None:
        self._path, self._fill = folder / RESERVE, fill

    @property
    def held(self) -> int:
        """How many bytes are held."""
        try:
            return self._path.stat().st_blocks * 512
        except FileNotFoundError:
            return 0

    def hold(self, size: int) -> bool:
        """Hold that many; whether the disk had them."""
        if not size:
            self.release()
            return True
        if self.held >= size:
            return True
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            self._fill(handle, 0, size)
        except OSError:
            os.ftruncate(handle, 0)
            return False
        finally:
            os.close(handle)
        return True

    def release(self) -> None:
        """Give them back."""
        self._path.unlink(missing_ok=True)
