"""What the catalogue's cases require, and the defences that they take away one at a time."""

from hil.faults import FaultOn
from hil.judging.verdict import AtMost, Is, IsNot, Requirement, never, responds
from tests.hil.faults.stand import Mutant
from twin.clock import ns
from twin.node import Fault, JobState

NO_GAIN = Mutant("node/heat.py", "return full and self._full_s > self._gain_s", "return False")
NO_LOSS = Mutant("node/heat.py", "return self._missed > _ERROR", "return False")
NO_STUCK = Mutant("node/heat.py", "            self.stuck = True\n", "            self.stuck = False\n")
NO_SENSOR = Mutant("node/belief.py", "self.failed = self._bad >= BAD_READINGS", "self.failed = False")
NO_JUMP = Mutant("node/belief.py", "abs(reading - self.value) <= self._jump", "True")
NO_PATIENCE = Mutant("node/belief.py", "BAD_READINGS = 3", "BAD_READINGS = 1")
NO_INTEGRAL = Mutant("node/law.py", "min(max(self.hold + push * dt", "min(max(self.hold + 0.0 * dt")
NO_LOOP = Mutant("node/law.py", "push = away / (self.rate * closed)", "push = 0.0")
NO_SLOPE = Mutant("node/law.py", "away = self._target - celsius - self.lag * self.slope", "away = self._target - celsius")
NO_SMOOTHING = Mutant("node/law.py", "dt / (dt + _SMOOTH * self._first_lag)", "1.0")
NO_TRAVEL = Mutant("node/homing.py", "self._done(reg.FAULT_HOMING)  # the whole travel, and no switch", "self._arrived()")
NO_RELEASE = Mutant(
    "node/homing.py", "self._done(reg.FAULT_HOMING)\n                else:", "self._arrived()\n                else:"
)
NO_ZERO = Mutant("node/homing.py", "motion.player.position[self._k] = 0", "pass")
NO_INTERLOCK = Mutant("node/safety.py", "if registers[at] & mask and self._effective", "if False and self._effective")
NO_SET_POINT = Mutant("node/blocks.py", "if wanted != self._set_point:", "if wanted > self._set_point:")
NO_RUN = Mutant("node/blocks.py", "self._run_pin.value(level)", "self._run_pin.value(1)")
NO_DEBOUNCE = Mutant("node/blocks.py", "(self._settled or ticks_diff(now, self._changed) >= BOUNCE_MS)", "True")
NO_WISH = Mutant("twin.machines.conveyor.control", ' or wish.capability != "convey" or not wish.go', "")
NO_DEADLINE = Mutant("controller.dispatch", "if order.go and sensed.longest is not None:", "if False:")
NO_FILAMENT = Mutant("twin.machines.printer.control", "run=wish.go and status.filament", "run=wish.go")
NO_ARRIVAL = Mutant("twin.machines.conveyor.control", "    return status.at_exit\n", "    return True\n")

NODE, BELT_NODE = "printer-1/node", "n/node"
NEVER_DONE = never("the order never counts as done", "order", Is("DONE"))
NEVER_RUNS = never("the belt's run pin stays low", "belt/pin/run", IsNot(0))
NO_LATCH = never("the node does not latch", f"{NODE}/latched", Is(True))


def latches(fault: Fault, within: float, node: str = NODE) -> Requirement:
    """The node latches for this reason in this time [s] after the onset."""
    return responds(f"the node latches: {fault.name}", FaultOn, f"{node}/fault", Is(fault), ns(within))


def no_power(heater: str, within: float) -> Requirement:
    """A heater's duty comes to 0 and stays there."""
    return responds(f"the {heater}'s heater is off", FaultOn, f"printer-1/pin/{heater}_heater", Is(0), ns(within))


def no_hotter(heater: str, celsius: float) -> Requirement:
    """A block or a plate itself never gets hotter."""
    return never(f"the {heater} stays below {celsius:g} °C", f"printer-1/plant/{heater}", lambda found: found > celsius)


def keeps(heater: str, celsius: float, off: float, within: float) -> Requirement:
    """The temperature itself comes near its target and stays there."""

    def near(found: float) -> bool:
        return abs(found - celsius) <= off

    return responds(f"the {heater} is within {off:g} °C", FaultOn, f"printer-1/plant/{heater}", near, ns(within))


def aborts(within: float) -> Requirement:
    """The Job is given up."""
    return responds("the Job is aborted", FaultOn, f"{NODE}/job_state", Is(JobState.ABORTED), ns(within))


def held(within: float) -> Requirement:
    """The order is held."""
    return responds("the order is held", FaultOn, "order", Is("HELD"), ns(within))


def done(within: float) -> Requirement:
    """The order is done."""
    return responds("the order is done", FaultOn, "order", Is("DONE"), ns(within))


def rests(within: float) -> Requirement:
    """The belt stands still."""
    return responds("the belt rests", FaultOn, "belt/plant/speed", AtMost(0.0), ns(within))
