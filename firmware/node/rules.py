"""What must never be, of signals that other blocks show: looked at in every tick, before anything is written."""

from time import ticks_diff, ticks_ms

import micropython

from node import registers as reg
from node.bank import place


class Exclusive:
    """Two switches that cannot both be on: where they are, one of them lies, and nobody knows which."""

    KEYS = ("first", "second")

    def __init__(self, config, bank, effective):
        self._registers = bank.bytes
        self._at, self._mask = place(*config["first"])
        self._other, self._others = place(*config["second"])

    @micropython.native
    def watch(self):
        """Both are on."""
        if self._registers[self._at] & self._mask and self._registers[self._other] & self._others:
            return reg.FAULT_END_SWITCHES
        return reg.FAULT_NONE


class Travel:
    """While an output is on, a switch must have the `level` that it is to bring about within so many ms."""

    KEYS = ("output", "until", "level", "within")

    def __init__(self, config, bank, effective):
        self._registers = bank.bytes
        self._effective = effective.bytes
        self._output, self._outputs = place(*config["output"])
        self._until, self._untils = place(*config["until"])
        self._level = bool(config["level"])
        self._within_ms = config["within"]
        self._begun = self._there = False
        self._since_ms = 0

    @micropython.native
    def watch(self):
        """It has been on for as long, and the switch has not been seen."""
        if not self._effective[self._output] & self._outputs:
            self._begun = self._there = False
            return reg.FAULT_NONE
        if self._there:
            return reg.FAULT_NONE
        if bool(self._registers[self._until] & self._untils) == self._level:
            self._there = True
            return reg.FAULT_NONE
        now_ms = ticks_ms()
        if not self._begun:
            self._begun = True
            self._since_ms = now_ms
        return reg.FAULT_TRAVEL if ticks_diff(now_ms, self._since_ms) >= self._within_ms else reg.FAULT_NONE


class Stall:
    """A motor's driver says that the motor does not follow; while the axes look for their switches it may say so."""

    KEYS = ("signal",)

    def __init__(self, config, bank, effective):
        self._bank = bank
        self._at, self._mask = place(*config["signal"])

    @micropython.native
    def watch(self):
        """The driver says so."""
        bank = self._bank
        if bank.bytes[self._at] & self._mask and not bank.bit(reg.S_HOMING, reg.S_HOMING_BIT):
            return reg.FAULT_STALL
        return reg.FAULT_NONE
