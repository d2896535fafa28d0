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
        self._first = (rate, lag, loss)
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
            self.slope += ((celsius - self._last) / dt - self.slope) * dt / (dt + _SMOOTH * self._first[1])
        self._last = celsius

    def blind(self):
        """There is no temperature: forget the slope."""
        self.slope = 0.0
        self._last = None
        self._rise.elapsed = 0.0

    def aim(self, target, settled):
        """A new target; a settled hold duty tells the loss and carries over."""
        if settled and self._target > _ROOM + 15.0:
            self.loss = self._near(2, self.hold / (self._target - _ROOM))
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
            rise.begin(celsius, self.slope, 2.0 * self._first[1])
        elif rise.look(celsius) and not rise.known:
            self._learn()
        rise.go_on(celsius, dt)

    def _learn(self):
        """Full power from rest: the temperature runs into a line whose slope is the rate and whose delay is the lag."""
        rise = self._rise
        rate = rise.slope / (1.0 - self._share(rise.middle))
        slope = rate * (1.0 - self._share(rise.start))
        if slope <= rise.before or (not rise.known and rise.gained < self._proof):  # a smaller rise teaches less
            return
        lag = (slope * rise.taken - rise.gained - rate * self.loss * rise.area) / (slope - rise.before)
        if rise.settled >= _SETTLED * lag:
            rise.known = True
            self._proof = rise.gained
            self.rate, self.lag = self._near(0, rate), self._near(1, lag)

    def _share(self, celsius):
        """The duty that holds a temperature."""
        return min(max((celsius - _ROOM) * self.loss, 0.0), 0.9)

    def _near(self, which, value):
        first = self._first[which]
        factor = 3.0 if which == 1 else 4.0
        return min(max(value, first / factor), first * factor)


class Rise:
    """What is seen while full power lasts: the way so far, marked each time that it has lasted half as long again.

    start, before: temperature and slope when it began. slope, middle: over the stretch that taught the lag, which began
    after `settled` s and ended after `taken` s with `gained` °C and `area` °C·s.
    """

    def __init__(self):
        self.elapsed = 0.0
        self.begin(0.0, 0.0, 0.0)

    def begin(self, celsius, slope, look):
        """It begins here; the first mark is to be set after `look` seconds."""
        self.known = False
        self.start = celsius
        self.before = slope
        self._sum = 0.0
        self._look = look
        self._mark_s = self._older_s = 0.0
        self._mark = self._older = celsius
        self.slope = self.middle = self.settled = self.taken = self.gained = self.area = 0.0

    def look(self, celsius):
        """Set a mark if it is time. Returns whether there is a new stretch to learn from."""
        if self.elapsed < self._look:
            return False
        self._older_s, self._older = self._mark_s, self._mark
        self._mark_s, self._mark = self.elapsed, celsius
        self._look = 1.5 * self.elapsed
        if self._older_s == 0.0:
            return False
        if not self.known:
            self.slope = (celsius - self._older) / (self._mark_s - self._older_s)
            self.middle = (celsius + self._older) * 0.5
            self.settled = self._older_s
            self.taken = self.elapsed
            self.gained = celsius - self.start
            self.area = self._sum
        return True

    def go_on(self, celsius, dt):
        """Another tick at full power."""
        self.elapsed += dt
        self._sum += (celsius - self.start) * dt
