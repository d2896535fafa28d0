"""`machine` for the firmware's tests in real time: levels and duties lie in a file that the test holds open.

`pins.bin`, 256 bytes: at n the level of input n (digital), at 64 + 2n its voltage (u16), at 144 + 2n what was put
out at pin n (u16), at 248 the number of times the watchdog was fed (u16). All little-endian.
"""

import io
import select
import struct
import termios

INPUTS, VOLTAGES, OUTPUTS, FED = 0, 64, 144, 248
_file = open("pins.bin", "r+b")  # noqa: SIM115  (as long as the node runs)
_word = bytearray(2)
_levels = {}
_handlers = {}


def _get(at):
    _file.seek(at)
    _file.readinto(_word)
    return _word[0] | _word[1] << 8


def _put(at, value):
    _file.seek(at)
    _file.write(struct.pack("<H", value))


class Pin:
    IN, OUT = 1, 3
    IRQ_RISING, IRQ_FALLING = 1, 2

    def __init__(self, number, mode=-1, value=None):
        self.number = number
        self._mode = mode
        if mode == Pin.OUT:
            _put(OUTPUTS + 2 * number, value or 0)

    def value(self, level=None):
        if level is not None:
            _put(OUTPUTS + 2 * self.number, 1 if level else 0)
        elif self._mode == Pin.OUT:
            return _get(OUTPUTS + 2 * self.number)
        else:
            level = _get(INPUTS + self.number) & 1
            before = _levels.get(self.number, 0)
            _levels[self.number] = level
            if level != before and self.number in _handlers:
                _handlers[self.number](self)
            return level

    def irq(self, handler=None, trigger=3):
        _handlers[self.number] = handler


class PWM:
    def __init__(self, pin, freq=1000, duty_u16=0):
        self._at = OUTPUTS + 2 * pin.number
        self.duty_u16(duty_u16)

    def duty_u16(self, duty):
        _put(self._at, duty)


class ADC:
    ATTN_11DB = 3

    def __init__(self, pin, atten=0):
        self._at = VOLTAGES + 2 * pin.number

    def read_u16(self):
        return _get(self._at)


class I2S:
    TX, STEREO = 1, 1

    def __init__(self, number, **settings):
        pass

    def write(self, words):
        return len(words)

    def deinit(self):
        pass


class UART(io.IOBase):
    """A serial port on the tty that the file `uart<number>` leads to, as fast as it will."""

    def __init__(self, number, **settings):
        self._tty = open(f"uart{number}", "r+b")  # noqa: SIM115
        mode = termios.tcgetattr(self._tty.fileno())
        mode[0] = mode[1] = mode[3] = 0  # nothing is made of any character
        mode[6][5] = mode[6][6] = 0  # and a read does not wait
        termios.tcsetattr(self._tty.fileno(), termios.TCSANOW, mode)
        self._poll = select.poll()
        self._poll.register(self._tty, select.POLLIN)

    def ioctl(self, request, argument):
        return self._tty.fileno() if request == 10 else -22

    def readinto(self, view):
        return self._tty.readinto(view) if self._poll.poll(0) else None

    def write(self, data):
        return self._tty.write(data)

    def txdone(self):
        return True


class WDT:
    def __init__(self, timeout):
        self._fed = 0

    def feed(self):
        self._fed += 1
        _put(FED, self._fed)


def unique_id():
    return b"\x30\xae\xa4\x00\x00\x01"


def reset():
    raise SystemExit


def reset_cause():
    return 1
