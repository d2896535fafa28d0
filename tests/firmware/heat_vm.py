"""Runs in the MicroPython VM: many heaters in lockstep with a plant, over stdin and stdout, one record each a tick.

First line: their `highest` as a list, in JSON. Then for each tick and heater 6 bytes in (ADC u16, new target i16 or -1,
permitted u8, tick in ms u8), and 10 bytes out (duty u16, fault u8, ready u8, then the registers: temperature i16,
target u16, power u16). At the end of the input one line of JSON: bytes in use after 1000 ticks and at the end, and what
each heater has learnt.
"""

import gc
import json
import struct
import sys

from node.bank import Bank
from node.heat import Heater


class Pin:
    """A duty to read, or a reading to give."""

    def __init__(self):
        self.value = 0

    def duty_u16(self, value):
        self.value = value

    def read_u16(self):
        return self.value


class Pins:
    """Two pins a heater."""

    def __init__(self):
        self.made = {}

    def pwm(self, number):
        return self.made.setdefault(number, Pin())

    adc = pwm


def run():
    highest = json.loads(sys.stdin.buffer.readline())
    pins, bank = Pins(), Bank(4 * len(highest))
    heaters = []
    for k, limit in enumerate(highest):
        config = {
            "name": "it", "heater_pin": 2 * k, "sensor_pin": 2 * k + 1, "highest": limit,
            "temperature": [4 * k], "target": [4 * k + 1], "power": [4 * k + 2],
        }  # fmt: skip
        heaters.append(Heater(config, bank, pins))
    given, taken = bytearray(6 * len(heaters)), bytearray(10 * len(heaters))
    ticks = used = 0
    while sys.stdin.buffer.readinto(given) == len(given):
        for k, heater in enumerate(heaters):
            adc, target, permitted, dt_ms = struct.unpack_from("<HhBB", given, 6 * k)
            pins.made[2 * k + 1].value = adc
            if target >= 0:
                heater.set(target)
            fault = heater.tick(permitted, dt_ms)
            struct.pack_into(
                "<HBBhHH", taken, 10 * k, pins.made[2 * k].value, fault, heater.ready(),
                bank.i16(4 * k), bank.u16(4 * k + 1), bank.u16(4 * k + 2),
            )  # fmt: skip
        sys.stdout.buffer.write(taken)
        ticks += 1
        if ticks == 1000:
            gc.collect()
            used = gc.mem_alloc()
    gc.collect()
    print(json.dumps({"used": [used, gc.mem_alloc()], "learnt": [[h.law.rate, h.law.lag] for h in heaters]}))


run()
