"""Runs in the MicroPython VM: transforms what stdin holds.

First line: n, and 1 with a Hann window or 0. Then records of `n` samples i16 in, and of `n` numbers i16 out. At the end of
the input one line to stderr: by how much the heap has grown since the first record.
"""

import gc
import sys
from array import array

from node import fft


def run():
    n, windowed = (int(word) for word in sys.stdin.buffer.readline().split())
    sine, x = fft.sines(n), array("h", bytes(2 * n))
    used = 0
    while sys.stdin.buffer.readinto(x) == 2 * n:
        if not used:
            gc.collect()
            gc.disable()
            used = gc.mem_alloc()
        if windowed:
            fft.window(x, sine, n)
        fft.transform(x, sine, n)
        fft.energy(x, 1, n // 2)
        sys.stdout.buffer.write(x)
    print(gc.mem_alloc() - used, file=sys.stderr)


run()
