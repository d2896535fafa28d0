"""Runs in the MicroPython VM: an Accelerometer of the firmware on a bus that plays what stdin says.

First line: the edges of the bands, in JSON. Then a line for each burst: {"kind": good, missing, dead, late or other, "samples": X,
Y and Z alike}. A line for each comes out: its seven numbers, the bursts, failed, and the most samples that a tick took.
"""

import json
import sys

import node
from node.bank import Bank


class Bus:
    """An ADXL345 that has eight samples ready whenever it is asked, of which it throws the first eight away."""

    def __init__(self):
        self.kind, self.samples, self.at, self.taken = "good", [], -8, 0

    def readfrom_mem_into(self, address, register, buffer):
        if self.kind == "missing" or address != 0x53:
            raise OSError(19)
        if register == 0x00:
            buffer[0] = 0xE5 if self.kind != "other" else 0x33
        elif register == 0x39:
            buffer[0] = {"dead": 0, "late": 32}.get(self.kind, 8)
        else:
            value = self.samples[self.at] if self.at >= 0 else 999
            for k in range(6):
                buffer[k] = (value >> 8 if k & 1 else value) & 0xFF
            self.at += 1
            self.taken += 1

    def writeto_mem(self, address, register, values):
        if self.kind == "missing":
            raise OSError(19)
        if register == 0x38:
            self.at = -8


class Pins:
    """The one bus."""

    bus = Bus()

    @staticmethod
    def i2c(scl, sda):
        return Pins.bus


def run():
    node.pins = sys.modules["node.pins"] = Pins
    from node.sense import Accelerometer

    bank = Bank(16)
    config = {
        "scl_pin": 1, "sda_pin": 2, "axis": 2, "every_ms": 1000, "bands": json.loads(sys.stdin.readline()),
        "at": list(range(7)), "bursts": [7], "failed": [8, 3],
    }  # fmt: skip
    sensor = Accelerometer(config, bank, None)
    for line in sys.stdin:
        told = json.loads(line)
        Pins.bus.kind, Pins.bus.samples = told["kind"], told.get("samples")
        most = 0
        for tick in range(100):
            Pins.bus.taken = 0
            sensor.read()
            most = max(most, Pins.bus.taken)
            if tick % 10 == 9:
                sensor.slow(100)
        print(json.dumps([bank.u16(at) for at in range(8)] + [bank.bit(8, 3), most]))


run()
