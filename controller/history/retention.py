"""What becomes of old History, and what gives way on a full disk: History first, orders never. Pure, but for the reserve's file."""

import enum
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from controller.history.hot import Size
from twin.clock import S
from twin.recording import Recording

MB = 1_000_000
HOUR = 3600 * S
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


def decide(settings: Recording, size: Size, free: int, reserved: int, now: int, stopped: bool) -> Turn:
    """What is to be done at `now` [UTC ns].

    Args:
        free: bytes that the disk has left; `reserved` are held for the orders beside them.
        stopped: nothing is recorded any more because the disk is full.
    """
    reserve = settings.reserve_mb * MB
    cool = now - int(settings.cold_after_h * HOUR)
    forget = now - int(settings.keep_days * 24 * HOUR)
    oldest = size.oldest_ns if size.oldest_ns is not None else now
    taken = size.hot + size.cold
    wanted = reserve + (reserve - reserved if stopped else 0)  # once stopped, only with room for the whole reserve again
    excess, missing = taken - settings.keep_mb * MB, wanted - free
    can = oldest < now - LEAST_KEPT
    if max(excess, missing) > 0 and can:
        share = min(1.0, 1.1 * max(excess, missing) / max(taken, 1))
        forget = max(forget, min(oldest + int(share * (now - oldest)) + S, now - LEAST_KEPT))
    if missing > 0 and not can and (stopped or free < reserve // 4):
        return Turn(Stand.STOPPED, f"the disk has {free // MB} MB left: kept for the orders", 0, forget, False)
    if missing > 0:
        return Turn(Stand.STOPPED if stopped else Stand.SHEDDING, f"the disk has {free // MB} MB left", cool, forget, reserved > 0)
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
