"""A heater held at its target, and the watch over it: sensor, law, protection, registers."""

from array import array
from math import exp

from node.belief import Belief
from node.law import Law
from node.registers import FAULT_HEATER_STUCK, FAULT_NONE, FAULT_OVER_TEMPERATURE, FAULT_SENSOR

_FULL = 65535
NO_READING = -2731  # tenths of a degree: no temperature has this value, so the controller calls it bad
BAND = 1.5  # °C around the target within which a Job may go on
READY_S = 2.0
MARGIN = 5.0  # °C above `highest` that regulation may need

# EPCOS B57560G104F: coefficients of 1/T = a + b ln R + c (ln R)^3, and the pull-up in ohms.
A, B, C = 7.221363e-4, 2.1676657e-4, 8.929358e-8
PULL_UP = 4700.0
_LOWEST = -20  # °C
_STEP = 2  # °C between entries
_ENTRIES = 236  # up to 450 °C
_JUMP = 2000  # hundredths of a degree: further than a block comes from one reading to the next
_AGREE = 500  # as near are readings of a sensor that has failed, and is to be believed again
STEADY_MS = 1000  # so long they must be so, where node.json says nothing else


def _readings():
    """What the ADC reads at each temperature of the table, falling."""
    table = array("H", bytes(2 * _ENTRIES))
    log = 13.8  # ln R at the cold end; each entry starts from its neighbour's
    for k in range(_ENTRIES):
        inverse = 1.0 / (273.15 + _LOWEST + _STEP * k)
        for _ in range(5):
            log -= (A + log * (B + C * log * log) - inverse) / (B + 3.0 * C * log * log)
        ohms = exp(log)
        table[k] = int(_FULL * ohms / (ohms + PULL_UP) + 0.5)
    return table


READINGS = _readings()


def _hundredths(adc):
    """The temperature that a reading stands for, in hundredths of a degree."""
    low, high = 0, _ENTRIES - 1
    while high - low > 1:
        middle = (low + high) // 2
        if READINGS[middle] >= adc:
            low = middle
        else:
            high = middle
    return 100 * (_LOWEST + _STEP * low) + (READINGS[low] - adc) * 100 * _STEP // (READINGS[low] - READINGS[high])


class Sensor:
    """A thermistor on an ADC pin."""

    def __init__(self, adc, steady_ms=STEADY_MS):
        self._adc = adc
        self._belief = Belief(_JUMP, _AGREE, steady_ms // 100)
        self._sum = self._good = self._seen = 0
        self.celsius = 0.0
        self.tenths = NO_READING
        self.valid = False

    @property
    def failed(self):
        """Whether three readings in a row were none, or jumped; and no steady ones have come since."""
        return self._belief.failed

    def sample(self):
        """Look at the ADC: a reading is the mean of what was seen since the last one, so that its noise does not heat."""
        adc = self._adc.read_u16()
        self._seen += 1
        if READINGS[_ENTRIES - 1] < adc < READINGS[0]:  # an open wire must not count as cold
            self._sum += adc
            self._good += 1

    def read(self):
        """Take a reading. One that no temperature gives, or none so near the last one, leaves the last temperature as it was."""
        if not self._seen:
            self.sample()
        good = 2 * self._good > self._seen
        hundredths = _hundredths(self._sum // self._good) if good else 0
        self._sum = self._good = self._seen = 0
        self.valid = self._belief.take(good, hundredths)
        if self.valid:
            self.celsius = hundredths * 0.01
            self.tenths = (hundredths + 5) // 10
        elif self._belief.failed:
            self.tenths = NO_READING


_FAR = 5.0  # °C below the target: far enough that full power must show
_GAIN = 2.0  # °C that full power must gain in its time
_ERROR = 120.0  # °C·s that a held temperature may fall short beyond _FAR
_OVER = 10.0  # °C above the target: too warm for a heater that is off to grow warmer


class Watch:
    """Notices a heater that does not do what its duty says.

    gain_s: in which full power must gain 2 °C; settle_s: after which a heater that is off no longer warms its sensor.
    """

    def __init__(self, gain_s, settle_s):
        self._gain_s = gain_s
        self._settle_s = settle_s
        self.stuck = False
        self._off_from = 0.0
        self._off_s = 0.0
        self.rest()

    def rest(self):
        """A new target: what was gained and missed so far no longer counts."""
        self._full_s = 0.0
        self._full_from = 0.0
        self._missed = 0.0

    def tick(self, celsius, target, duty, held, dt):
        """Whether the heater is out of hand; `held`: the target has been reached since it was set."""
        short = target - _FAR - celsius
        return self._no_gain(celsius, duty >= 1.0 and short > 0.0, dt) or self._lost(short, held, dt) or self._on(
            celsius, target, duty, dt
        )

    def _no_gain(self, celsius, full, dt):
        if not full:
            self._full_s = 0.0
        if self._full_s == 0.0 or celsius >= self._full_from + _GAIN:
            self._full_s = 0.0
            self._full_from = celsius
        self._full_s += dt
        return full and self._full_s > self._gain_s

    def _lost(self, short, held, dt):
        self._missed = self._missed + short * dt if held and short > 0.0 else 0.0
        return self._missed > _ERROR

    def _on(self, celsius, target, duty, dt):
        if duty > 0.0 or celsius < target + _OVER:
            self._off_s = 0.0
            self.stuck = False
            return False
        self._off_s += dt
        if self._off_s <= self._settle_s:
            self._off_from = celsius
        elif celsius >= self._off_from + _GAIN:
            self.stuck = True
            self._look_anew(celsius)
        elif self._off_s > 2.0 * self._settle_s:
            self.stuck = False
            self._look_anew(celsius)
        else:
            self._off_from = min(self._off_from, celsius)
        return self.stuck

    def _look_anew(self, celsius):
        """From here on: what a room gains in hours is no heater's doing."""
        self._off_s = self._settle_s
        self._off_from = celsius


_QUICK = 1500  # tenths: what may get hotter than this is a small block, what may not is a plate


class Heater:
    """A heater of node.json: sensor, law, watch, and their registers."""

    KEYS = ("name", "heater_pin", "sensor_pin", "temperature", "target", "power", "permit", "highest")

    def __init__(self, config, bank, pins):
        self._pwm = pins.pwm(config["heater_pin"])
        self._sensor = Sensor(pins.adc(config["sensor_pin"]), config.get("steady", STEADY_MS))
        self._bank = bank
        (self._at_temperature,) = config["temperature"]
        (self._at_target,) = config["target"]
        (self._at_power,) = config["power"]
        self._highest = config["highest"]
        if self._highest > _QUICK:
            self.law, self._watch = Law(3.5, 2.5, 0.0015), Watch(20.0, 10.0)
        else:
            self.law, self._watch = Law(0.25, 6.0, 0.006), Watch(60.0, 30.0)
        self._target = 0
        self._held = False
        self._near_s = 0.0
        self._write(0.0)

    def sample(self):
        """Look at the sensor once; each tick may."""
        self._sensor.sample()

    def set(self, tenths):
        """Hold this many tenths of a degree from the next tick on; 0 is off, and so is what lies above `highest`."""
        if not 0 <= tenths <= self._highest:
            tenths = 0
        if tenths != self._target:
            self.law.aim(tenths * 0.1, self.ready())
            self._target = tenths
            self._held = False
            self._near_s = 0.0
            self._watch.rest()

    @property
    def wanted(self):
        """There is a target."""
        return self._target > 0

    def off(self):
        """No power from now on, and no target."""
        self._pwm.duty_u16(0)
        self.set(0)
        self._write(0.0)

    def ready(self):
        """Whether the temperature has been within 1.5 °C of the target for 2 s; off is always ready."""
        return self._target == 0 or self._near_s >= READY_S

    def tick(self, permitted, dt_ms):
        """Measure, regulate, watch. What is not permitted is off and has lost its target. Returns a Fault code."""
        dt = min(max(dt_ms, 1), 1000) * 0.001
        sensor = self._sensor
        sensor.read()
        if not sensor.valid:
            self.law.blind()
            self._near_s = 0.0
            if sensor.failed:
                self.off()
            self._write(0.0)
            return FAULT_SENSOR if sensor.failed else FAULT_NONE
        self.law.see(sensor.celsius, dt)
        hot = sensor.tenths > self._highest + MARGIN * 10
        if hot or not permitted:
            self.set(0)
        duty = self.law.duty(sensor.celsius, dt) if self._target else 0.0
        self._follow(sensor.celsius, dt)
        stuck = self._watch.tick(sensor.celsius, self._target * 0.1, duty, self._held, dt)
        if stuck:
            self.set(0)
        self._write(0.0 if stuck else duty)
        if hot:
            return FAULT_OVER_TEMPERATURE
        return FAULT_HEATER_STUCK if stuck else FAULT_NONE

    def _follow(self, celsius, dt):
        """How long the target has been met."""
        if self._target and abs(celsius - self._target * 0.1) <= BAND:
            self._near_s = min(self._near_s + dt, READY_S)
            self._held = True
        else:
            self._near_s = 0.0

    def _write(self, duty):
        self._pwm.duty_u16(int(duty * _FULL))
        self._bank.put16(self._at_temperature, self._sensor.tenths)
        self._bank.put16(self._at_target, self._target)
        self._bank.put16(self._at_power, int(duty * 1000.0 + 0.5))
