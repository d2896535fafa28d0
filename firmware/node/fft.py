"""A real Fourier transform in place, in whole numbers: 16-bit samples, a table of sines in Q14, nothing above 2^30.

Each of the transform's stages halves what it makes, so that nothing overflows: the result is X[k] / n. For samples within
±2^14 each part of it is within 4 units of the true one, whatever the samples (tests/firmware/test_fft.py, against numpy).
"""

from array import array
from math import pi, sin

import micropython

ONE = 16384  # of the table


def sines(n):
    """sin(2πk/n) for k up to three quarters of n, of which cosines are read too. `n` is a power of 2 from 8 to 512."""
    table = array("h", bytes(2 * (3 * n // 4 + 1)))
    for k in range(len(table)):
        table[k] = round(ONE * sin(2 * pi * k / n))
    return table


@micropython.viper
def window(x: ptr16, sine: ptr16, n: int):  # noqa: F821
    """Multiply `n` samples with a Hann window."""
    quarter = n >> 2
    for i in range(n):
        near = i if i < n - i else n - i
        weight = (16384 - ((int(sine[quarter + near]) ^ 0x8000) - 0x8000)) >> 1
        x[i] = (((int(x[i]) ^ 0x8000) - 0x8000) * weight + 8192) >> 14


@micropython.viper
def transform(x: ptr16, sine: ptr16, n: int):  # noqa: F821
    """Overwrite `n` samples with X[k] / n: real part at 2k, imaginary at 2k + 1; X[n/2], which is real, lies at 1."""
    half = n >> 1
    quarter = n >> 2
    # The samples as n/2 complex numbers, in bit-reversed order.
    j = 0
    for i in range(1, half):
        bit = quarter
        while j & bit:
            j ^= bit
            bit >>= 1
        j ^= bit
        if i < j:
            a = int(x[2 * i])
            x[2 * i] = x[2 * j]
            x[2 * j] = a
            a = int(x[2 * i + 1])
            x[2 * i + 1] = x[2 * j + 1]
            x[2 * j + 1] = a
    span = 1
    stride = half
    while span < half:
        k = 0
        while k < span:
            at = k * stride
            wr = (int(sine[at + quarter]) ^ 0x8000) - 0x8000
            wi = (int(sine[at]) ^ 0x8000) - 0x8000
            a = 2 * k
            while a < n:
                b = a + 2 * span
                br = (int(x[b]) ^ 0x8000) - 0x8000
                bi = (int(x[b + 1]) ^ 0x8000) - 0x8000
                tr = (br * wr + bi * wi + 8192) >> 14
                ti = (bi * wr - br * wi + 8192) >> 14
                ar = (int(x[a]) ^ 0x8000) - 0x8000
                ai = (int(x[a + 1]) ^ 0x8000) - 0x8000
                x[a] = (ar + tr + 1) >> 1
                x[a + 1] = (ai + ti + 1) >> 1
                x[b] = (ar - tr + 1) >> 1
                x[b + 1] = (ai - ti + 1) >> 1
                a += 4 * span
            k += 1
        span += span
        stride >>= 1
    # Each number of the real transform comes of a pair of these.
    a0 = (int(x[0]) ^ 0x8000) - 0x8000
    b0 = (int(x[1]) ^ 0x8000) - 0x8000
    x[0] = (a0 + b0 + 1) >> 1
    x[1] = (a0 - b0 + 1) >> 1
    k = 1
    while k <= quarter:
        a = 2 * k
        b = n - a
        ar = (int(x[a]) ^ 0x8000) - 0x8000
        ai = (int(x[a + 1]) ^ 0x8000) - 0x8000
        br = (int(x[b]) ^ 0x8000) - 0x8000
        bi = (int(x[b + 1]) ^ 0x8000) - 0x8000
        wr = (int(sine[k + quarter]) ^ 0x8000) - 0x8000
        wi = (int(sine[k]) ^ 0x8000) - 0x8000
        odd_r = ai + bi
        odd_i = br - ar
        tr = (odd_r * wr + odd_i * wi + 8192) >> 14
        ti = (odd_i * wr - odd_r * wi + 8192) >> 14
        x[a] = (ar + br + tr + 2) >> 2
        x[a + 1] = (ai - bi + ti + 2) >> 2
        x[b] = (ar + br - tr + 2) >> 2
        x[b + 1] = (bi - ai + ti + 2) >> 2
        k += 1


@micropython.viper
def energy(x: ptr16, first: int, end: int) -> int:  # noqa: F821
    """Sum of |X[k] / n|² over `first` <= k < `end`, 1 at least and n/2 at most."""
    total = 0
    k = first
    while k < end:
        re = (int(x[2 * k]) ^ 0x8000) - 0x8000
        im = (int(x[2 * k + 1]) ^ 0x8000) - 0x8000
        total += re * re + im * im
        k += 1
    return total
