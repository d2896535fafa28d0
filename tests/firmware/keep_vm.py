"""Runs in the MicroPython VM, in a folder of its own: the firmware's kept counts on a flash whose power fails.

What came of it comes out as one line of JSON.
"""

import builtins
import json
import os
import random

from node import keep
from node import registers as reg
from node.bank import Bank

COUNT, BIT = 200, 202


class PowerCut(Exception):
    """Nothing more happens after so many bytes."""


class Flash:
    """What `open` is while a test runs: after `left` bytes the power fails, or every write is refused."""

    def __init__(self):
        self.left = None
        self.refuses = False
        self.writes = 0
        self._open = builtins.open

    def open(self, name, mode="r"):
        file = self._open(name, mode)
        if "w" not in mode:
            return file
        self.writes += 1
        if self.refuses:
            file.close()
            raise OSError(28)
        if self.left is None:
            return file
        return Torn(file, self)


class Torn:
    """A file that power leaves torn."""

    def __init__(self, file, flash):
        self._file, self._flash = file, flash

    def __enter__(self):
        return self

    def __exit__(self, *raised):
        self._file.close()

    def write(self, text):
        left, self._flash.left = self._flash.left, None
        self._file.write(text[:left])
        raise PowerCut


flash = Flash()
builtins.open = flash.open


def start(per=0):
    """A node that has just started: its bank and its one count."""
    bank = Bank(reg.REGISTERS)
    config = {"name": "fan.starts", "of": [BIT, 0], "signed": False, "per": per, "at": [COUNT]}
    return bank, keep.Kept(config, bank, None)


def run_once(bank, kept):
    """The bit is set and cleared: one start, one stop."""
    for level in (1, 0):
        bank.put_bit(BIT, 0, level)
        kept.read()


def write(kept):
    keep.book(kept._bank).write()


def write_torn(kept):
    """Whether it was written whole."""
    try:
        write(kept)
    except PowerCut:
        return False
    return True


def forget():
    for name in keep.FILES:
        if name in os.listdir():
            os.remove(name)


def failed(bank):
    return bank.bit(reg.S_STORAGE_FAILED, reg.S_STORAGE_FAILED_BIT)


def cuts():
    """What is counted after a cut at each byte of a write, once with each of the two files."""
    found = []
    for before in (1, 2):
        for left in range(23):
            forget()
            bank, kept = start()
            for _ in range(before):
                run_once(bank, kept)
                write(kept)
            run_once(bank, kept)
            flash.left = left
            write_torn(kept)
            bank, kept = start()
            found.append([before, kept.count, failed(bank)])
            run_once(bank, kept)
            write(kept)
            found.append([kept.count, start()[1].count, 0])
    return found


def many_cuts():
    """Cuts at random, one after the other: the count never falls behind what was written whole, nor runs ahead."""
    random.seed(3)
    forget()
    whole = true = 0
    for _ in range(300):
        bank, kept = start()
        if not whole <= kept.count <= true:
            return False
        true = whole = kept.count
        for _ in range(3):
            run_once(bank, kept)
            true += 1
            flash.left = random.randrange(60)
            if flash.left > 21:
                flash.left = None
            if not write_torn(kept):
                break
            whole = true
    return whole > 50


def flips():
    """Each byte of the newer file broken, then of both."""
    found = []
    for at in range(22):
        forget()
        bank, kept = start()
        for _ in range(2):
            run_once(bank, kept)
            write(kept)
        for names in (keep.FILES[:1], keep.FILES[1:]):
            for name in names:
                with open(name, "rb") as file:
                    text = bytearray(file.read())
                text[at] ^= 0x10
                with open(name, "wb") as file:
                    file.write(text)
            bank, kept = start()
            found.append([kept.count, failed(bank)])
    return found


def rhythm():
    """When it writes: [ms since the start, writes so far] each time that there is one, of a bit that goes on and off."""
    forget()
    bank, kept = start(per=1000)
    flash.writes, found, last = 0, [], 0
    for tenth in range(20_000):
        second = tenth / 10
        on = 10 <= second < 20 or 30 <= second < 40 or 300 <= second < 1700
        bank.put_bit(BIT, 0, on)
        bank.put_bit(reg.S_MOVING, reg.S_MOVING_BIT, 1250 <= second < 1400)
        kept.read()
        kept.slow(100)
        if flash.writes != last:
            last = flash.writes
            found.append(second)
    return found, kept.count


def refused():
    """A flash that refuses: counts, the bit, and what is there after it has been mended and written once more."""
    forget()
    bank, kept = start()
    run_once(bank, kept)
    write(kept)
    flash.refuses = True
    run_once(bank, kept)
    write(kept)
    run_once(bank, kept)
    found = [kept.count, failed(bank), start()[1].count]
    flash.refuses = False
    keep._book = None
    bank, kept = start()
    return found + [kept.count, failed(bank)]


def wraps():
    """The sequence and the count at their ends; a way, forwards and back."""
    forget()
    bank, kept = start()
    keep.book(bank).sequence = 0xFFFFFFFE
    kept.count = 0xFFFFFFFE
    found = []
    for _ in range(3):
        run_once(bank, kept)
        write(kept)
        found.append(start()[1].count)
        bank, kept = start()
    config = {"name": "fan.turns", "of": [BIT], "signed": True, "per": 10_000, "at": [COUNT]}
    way = keep.Kept(config, bank, None)
    for speed in (400, -400):  # 40 turns a second in steps of a tenth, for 5 s each
        bank.put16(BIT, speed)
        way.read()
        for _ in range(50):
            way.slow(100)
    return found + [bank.u32(COUNT)]


print(json.dumps({trial.__name__: trial() for trial in (cuts, many_cuts, flips, rhythm, refused, wraps)}))
