"""The law that turns a heater's temperature into its duty. It is given no gains: it learns them.

PI on the temperature of the block, which is the sensor's plus its lag times its slope. A rise at full power shows how
fast the heater is, how far the sensor lags behind, and how much is lost on the way up.
"""

_ROOM = 25.0  # °C, near enough to reckon loss from
_SMOOTH = 0.25  # time constant of the slope, in lags
_CLOSED = 0.7  # time constant of the closed loop, in lags
_RESET = 4.0  # integral time in closed-loop time constants: critically damped
_SETTLED = 3.5  # lags after which a slope hardly grows
_LEAST_RISE = 5.0  # °C


class Law:
    """From temperatures to a duty.

    rate: °C/s of full power, loss apart; lag: of the sensor, s; loss: duty that holds one degree above the room. What
    is given are first guesses for the kind of heater; what is learnt stays within factors of 4, 3 and 4 of them.
    """

    def __init__(self, rate, lag, loss):
        self._first_rate, self._first_lag, self._first_loss = rate, lag, loss
        self.rate = rate
        self.lag = lag
        self.loss = loss
        self.slope = 0.0
        self.hold = 0.0
        self._target = 0.0
        self._last = None
        self._rise = Rise()
        self._proof = _LEAST_RISE

    def see(self, celsius, dt):
        """A new temperature: its slope, smoothed."""
        if self._last is not None:
            self.slope += ((celsius - self._last) / dt - self.slope) * dt / (dt + _SMOOTH * self._first_lag)
        self._last = celsius

    def blind(self):
        """There is no temperature: forget the slope."""
        self.slope = 0.0
        self._last = None
        self._rise.elapsed = 0.0

    def aim(self, target, settled):
        """A new target; a settled hold duty tells the loss and carries over."""
        if settled and self._target > _ROOM + 15.0:
            self.loss = _near(self._first_loss, 4.0, self.hold / (self._target - _ROOM))
        self._target = target
        self.hold = self._share(target)
        self._rise.elapsed = 0.0

    def duty(self, celsius, dt):
        """The duty, 0 to 1, for this tick."""
        away = self._target - celsius - self.lag * self.slope
        closed = _CLOSED * self.lag
        push = away / (self.rate * closed)
        duty = self.hold + push
        if duty >= 1.0:
            duty = 1.0
            self._climb(celsius, dt)
        else:
            if duty <= 0.0:
                duty = 0.0
            else:  # a duty at its limit must not wind the integral up
                self.hold = min(max(self.hold + push * dt / (_RESET * closed), 0.0), 1.0)
            self._rise.elapsed = 0.0
        return duty

    def _climb(self, celsius, dt):
        rise = self._rise
        if rise.elapsed == 0.0:
            rise.begin(celsius, self.slope, 2.0 * self._first_lag)
        elif not rise.known and rise.look(celsius):
            self._learn(celsius)
        rise.go_on(celsius, dt)

    def _learn(self, celsius):
        """Full power from rest: the temperature runs into a line whose slope is the rate and whose delay is the lag."""
        rise = self._rise
        rate = rise.slope / (1.0 - self._share(rise.middle))
        slope = rate * (1.0 - self._share(rise.start))
        gained = celsius - rise.start
        if slope <= rise.before or gained < self._proof:  # a smaller rise teaches less
            return
        lag = (slope * rise.elapsed - gained - rate * self.loss * rise.area) / (slope - rise.before)
        if rise.settled >= _SETTLED * lag:
            rise.known = True
            self._proof = gained
            self.rate = _near(self._first_rate, 4.0, rate)
            self.lag = _near(self._first_lag, 3.0, lag)

    def _share(self, celsius):
        """The duty that holds a temperature."""
        return min(max((celsius - _ROOM) * self.loss, 0.0), 0.9)


def _near(first, factor, value):
    """The value, held within a factor of its first guess."""
    return min(max(value, first / factor), first * factor)


class Rise:
    """What is seen while full power lasts, which is marked each time that it has lasted half as long again.

    start, before: temperature and slope when it began; area: °C·s above the start. Between the last two marks: slope, the
    temperature in the middle, and for how long the rise had had time to settle.
    """

    def __init__(self):
        self.elapsed = 0.0
        self.begin(0.0, 0.0, 0.0)

    def begin(self, celsius, slope, look):
        """It begins here; the first mark is to be set after `look` seconds."""
        self.known = False
        self.start = self._mark = celsius
        self.before = slope
        self._look = look
        self.area = self.slope = self.middle = self.settled = self._mark_s = 0.0

    def look(self, celsius):
        """Set a mark if it is time. Returns whether there is a new stretch to learn from."""
        if self.elapsed < self._look:
            return False
        self.settled = self._mark_s
        self.slope = (celsius - self._mark) / (self.elapsed - self._mark_s)
        self.middle = (celsius + self._mark) * 0.5
        self._mark_s, self._mark = self.elapsed, celsius
        self._look = 1.5 * self.elapsed
        return self.settled > 0.0

    def go_on(self, celsius, dt):
        """Another tick at full power."""
        self.elapsed += dt
        self.area += (celsius - self.start) * dt
