"""`time` in factory time: what the port's module offers, on the clock that the rig grants."""

import micropython
import vm_link

_PERIOD = 1 << 30
_EPOCH_S = 820_454_400  # 2026-01-01 in seconds since 2000, as boards count


@micropython.native
def ticks_us():
    return vm_link.now & (_PERIOD - 1)


ticks_cpu = ticks_us


@micropython.native
def ticks_ms():
    return vm_link.now // 1000 & (_PERIOD - 1)


@micropython.viper
def ticks_add(ticks: int, delta: int) -> int:
    return (ticks + delta) & 0x3FFFFFFF


@micropython.viper
def ticks_diff(end: int, start: int) -> int:
    return ((end - start + 0x20000000) & 0x3FFFFFFF) - 0x20000000


def time_ns():
    return _EPOCH_S * 1_000_000_000 + vm_link.now * 1000


def time():
    return _EPOCH_S + vm_link.now // 1_000_000


def sleep_us(us):
    end = vm_link.now + us
    while vm_link.now < end:
        vm_link.wait_until(end)


def sleep_ms(ms):
    sleep_us(ms * 1000)


def sleep(s):
    sleep_us(int(s * 1_000_000))
