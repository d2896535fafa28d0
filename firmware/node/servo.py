"""Set points in step with the step stream: what has been played is where an axis is meant to be, not what was generated."""

from array import array
from time import ticks_add, ticks_diff, ticks_us

import micropython
from micropython import const

from node import pins
from node.pins import FRAME_US

_MARKS = const(32)  # two of them are more than _APART from each other, so that they reach over the 51 ms that lie ahead
_APART = const(384)  # frames
_BASE = const(1 << 28)  # of the count of frames, which starts anew here


class Played:
    """Where axes were at a time, between what has been played and what is still to come.

    A piece of the stream leaves a mark of where the axes are at its end; between two marks the way is straight.
    """

    def __init__(self, player, axes):
        self._player = player
        self._axes = axes
        self._frames = array("i", [0] * _MARKS)
        self._places = [array("i", [0] * _MARKS) for _ in axes]
        self._newest = 0
        self._end_us = ticks_us()  # when the newest mark is played
        self.forget()

    def forget(self):
        """The axes stand where the player says: nothing is under way."""
        for i in range(_MARKS):
            self._frames[i] = 0
        for j in range(len(self._axes)):
            place = self._player.where(self._axes[j])
            for i in range(_MARKS):
                self._places[j][i] = place

    def note(self, made, ahead_us):
        """So many frames more have been generated, and all is played in so many µs."""
        self._end_us = ticks_add(ticks_us(), ahead_us)
        frames = self._frames
        newest = self._newest
        count = frames[newest] + made
        if count > _BASE:
            count -= _BASE
            for i in range(_MARKS):
                frames[i] -= _BASE
        if count - frames[newest - 1] > _APART:  # index -1 is the last one
            newest = (newest + 1) % _MARKS
            self._newest = newest
        frames[newest] = count
        for j in range(len(self._axes)):
            self._places[j][newest] = self._player.where(self._axes[j])

    def at(self, axis, time_us):
        """Where an axis was at a time, in steps: now, or since what was generated last."""
        frames = self._frames
        places = self._places[self._axes.index(axis)]
        i = self._newest
        left = ticks_diff(self._end_us, time_us)
        if left < 0:
            left = 0
            self._end_us = time_us  # ticks wrap: an end that stays behind lies ahead again nine minutes later
        wanted = frames[i] - left // FRAME_US
        for _ in range(_MARKS - 1):
            before = i - 1 if i else _MARKS - 1
            if frames[before] <= wanted:
                span = frames[i] - frames[before]
                if not span or wanted >= frames[i]:
                    return places[i]
                way = places[i] - places[before]
                return places[before] + (way * (wanted - frames[before]) + span // 2) // span
            i = before
        return places[i]


class Servo:
    """An axis that follows a set point: the pulse of an RC servo, or the duty of an analogue drive.

    It is off until the motors are on. When the owner is silent and the Job has come to rest it holds, or is off, as declared.
    """

    def __init__(self, axis, config):
        self.axis = axis
        self._pwm = pins.pwm(config["pin"], config["freq"])
        self._low, self._high = config["duty"]
        self._span = config["span"]  # steps from the low end to the high one
        self._first = config["first"]  # steps at the low end
        self._off = config["silence"] == "off"
        self._duty = 0
        self._on = False

    def power(self, on):
        """Whether there is a set point at all."""
        self._on = on
        if not on:
            self._put(0)

    @micropython.native
    def follow(self, place, silent):
        """The set point of a place in steps; beyond its ends the axis stays at them."""
        if not self._on:
            return
        if silent and self._off:
            self.power(False)
            return
        way = min(max(place - self._first, 0), self._span)
        self._put(self._low + (way * (self._high - self._low) + self._span // 2) // self._span)

    def _put(self, duty):
        if duty != self._duty:
            self._duty = duty
            self._pwm.duty_u16(duty)

    def rest(self):
        """Off where that is its fallback; else the hardware goes on putting out what it had."""
        if self._off:
            self.power(False)
