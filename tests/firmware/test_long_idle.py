"""A board's ticks start again every 18 minutes: a node that has done nothing for long must not take that for motion."""

from typing import Any

from tests.firmware.alone import Ticks, load

SECOND_US = 1_000_000
TICK_US = 10_000


class Transmitter:
    """An I2S that takes everything."""

    TX = STEREO = 0

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def write(self, words: bytes) -> int:
        return len(words)

    def deinit(self) -> None:
        pass


class Poll:
    def register(self, *_: Any) -> None:
        pass

    def poll(self, _: int) -> None:
        pass


def stream(ticks: Ticks) -> Any:
    names = ("ADC", "PWM", "WDT", "Pin", "reset", "reset_cause", "unique_id")
    machine = dict.fromkeys(names, lambda *_, **__: None) | {"I2S": Transmitter}
    (pins,) = load("pins", ticks=ticks, machine=machine, select={"POLLOUT": 4, "poll": Poll})
    return pins.Stream(26, 25, 22)


def test_a_stream_that_has_ended_never_lies_ahead_again() -> None:
    ticks = Ticks()
    found = stream(ticks)
    found.write(bytes(4 * 1000))
    ahead = []
    for _ in range(1300):
        ticks.us += SECOND_US
        ahead.append(found.ahead_us())
    assert set(ahead) == {0}


def test_what_was_written_is_ahead_until_it_has_been_played() -> None:
    ticks = Ticks()
    ticks.us = (1 << 30) - 4 * TICK_US  # the ticks wrap while it plays
    found = stream(ticks)
    found.write(bytes(4 * 1000))
    left = []
    for _ in range(12):
        left.append(found.ahead_us())
        ticks.us += 1000
    assert left == [*range(10_000, 0, -1000), 0, 0]
