"""What a node's firmware is to instantiate for a machine type: its blocks, its interlocks; and the pins that they need."""

from dataclasses import dataclass

from twin.wire import HOLD, Silence

__all__ = [
    "Above",
    "Accelerometer",
    "Alarm",
    "Analog",
    "Block",
    "Counter",
    "Drive",
    "Exclusive",
    "GcodePrinter",
    "Heater",
    "Input",
    "Joint",
    "Kept",
    "Never",
    "NeverBoth",
    "Output",
    "Probe",
    "Servo",
    "Stall",
    "Stepper",
    "Travel",
    "Valve",
    "named",
    "pins_of",
]


@dataclass(frozen=True, slots=True)
class Input:
    """A digital input shown as a Status bit. Pin: `signal`."""

    signal: str
    invert: bool = False


@dataclass(frozen=True, slots=True)
class Output:
    """A digital output driven by a Command bit, or (`job`) by a Job's fan channel and reported in the Status. Pin: `signal`.

    Attributes:
        max_age: s within which the Command must have been written anew for the output to stay as it is; None for ever.
        read_back: the pin at which its level comes back, from behind what it switches; where that differs, the node latches.
    """

    signal: str
    job: int | None = None
    max_age: float | None = None
    read_back: str | None = None


@dataclass(frozen=True, slots=True)
class Drive:
    """A motor drive: a run bit and a speed set point, as a level and a duty. Pins: `run`, `speed`.

    Attributes:
        run, speed: Command fields; the Status field `speed`, where there is one, shows the set point.
        full: the Params field with the speed at full duty.
        running: the Status bit that shows the run pin's level.
        ramp: s from full speed to none, where the set point's fallback on silence is RAMP.
        max_age: s within which the Command must have been written anew for the drive to run on; None for ever.
    """

    run: str
    speed: str
    full: str
    running: str
    ramp: float = 0.5
    max_age: float | None = None


@dataclass(frozen=True, slots=True)
class Counter:
    """Rising edges of an input's pin, counted since the node started."""

    signal: str
    of: str


@dataclass(frozen=True, slots=True)
class Stepper:
    """One axis of the node's step stream. Pin: its endstop, where it has one.

    Attributes:
        axis: the Status field with its position.
        run: the Command bit without which the axes hold.
        endstop: the Status bit of its end switch at the low end, or None.
    """

    axis: str
    run: str
    endstop: str | None = None


@dataclass(frozen=True, slots=True)
class Joint:
    """One of an arm's six joints on the node's step stream. Pin: its cam.

    Attributes:
        axis: the Status field with its angle.
        run: the Command bit without which the joints hold.
        cam: the Status bit of a cam that is high from the joint's home angle on, over the whole of its range.
        tripped: the Status bit of the Input that says that the drives have switched themselves off.
    """

    axis: str
    run: str
    cam: str
    tripped: str


@dataclass(frozen=True, slots=True)
class Servo:
    """One axis of the step stream that follows a set point instead of steps: an RC servo, or an analogue drive. Pin: `axis`.

    The ends of the axis' range, as the type's limits have it, lie at the two ends of the pulse.

    Attributes:
        axis: the Status field with its position.
        run: the Command bit without which the axes hold.
        pulse: s that the set point is high at the low and at the high end of the range.
        period: s from pulse to pulse.
        silence: HOLD keeps the set point when the owner is silent and the Job rests, OFF ends it.
    """

    axis: str
    run: str
    pulse: tuple[float, float] = (1e-3, 2e-3)
    period: float = 0.02
    silence: Silence = HOLD


@dataclass(frozen=True, slots=True)
class Probe:
    """The input that ends a Job's probing, shown as a Status bit. Pin: `signal`.

    Attributes:
        touched: the Status field with the place of the axis when the input closed last.
    """

    signal: str
    touched: str
    invert: bool = False


@dataclass(frozen=True, slots=True)
class Valve:
    """A digital output that a Job switches, shown as a Status bit; the end of the Job leaves it as it is. Pin: `signal`."""

    signal: str


@dataclass(frozen=True, slots=True)
class Heater:
    """A heater with a thermistor, held at its Job's target on the node. Pins: `<name>_heater`, `<name>_sensor`.

    Status fields: `<name>_temperature`, `<name>_target`, `<name>_power`. Without the Command bit `permit` it stays off, and a Job
    that needs it is stopped.

    Attributes:
        steady: s for which a thermistor that has failed must give steady readings before it is believed again.
    """

    name: str
    permit: str
    steady: float = 1.0


@dataclass(frozen=True, slots=True)
class Analog:
    """A voltage shown as a number of the Status, which must have a Range. Pin: `signal`.

    A reading that no whole wire gives, that is outside the Range or too far from the last one, is passed over; the third in a
    row is a failure: the Status then shows a number outside the Range, which the controller calls bad, and the node latches.

    Attributes:
        counts: two readings of the ADC, 0 to 65535.
        values: what they stand for [SI]; the rest lies on a straight line.
        wire: the lowest and the highest reading that a whole wire gives.
        rate: the fastest that the value can change [SI/s]; None for any.
        steady: s for which readings must agree before a sensor that has failed is believed again.
        latches: whether a failure latches the node; False only shows it.
        safe: outside these values [SI] the node latches, too; None for none.
        supply: it measures the node's own supply or temperature: what is not safe is a fault of SUPPLY, not of SENSOR.
    """

    signal: str
    counts: tuple[int, int]
    values: tuple[float, float]
    wire: tuple[int, int] = (0, 65_535)
    rate: float | None = None
    steady: float = 1.0
    latches: bool = True
    safe: tuple[float, float] | None = None
    supply: bool = False


@dataclass(frozen=True, slots=True)
class Exclusive:
    """Two Status bits of switches that cannot both be on: where they are, the node latches."""

    first: str
    second: str


@dataclass(frozen=True, slots=True)
class Travel:
    """While the Command bit `output` is on, the Status bit `until` must come to `level` in time, or the node latches.

    Attributes:
        within: s.
    """

    output: str
    until: str
    within: float
    level: bool = True


@dataclass(frozen=True, slots=True)
class Stall:
    """The Status bit with which a motor's driver says that the motor does not follow; the node latches, but while it homes."""

    signal: str


@dataclass(frozen=True, slots=True)
class GcodePrinter:
    """A printer whose own Marlin board moves and heats; the node sends it a Job's lines over a UART. Pins: `tx`, `rx`.

    Status fields: `connected`, `killed`, `quick`, `x`, `y`, `z`, `e`, `fan`, `resent`, and `<heater>_temperature` and
    `<heater>_target` of `hotend` and `bed`. The Params say the UART's `baud` and both heaters' highest temperatures.

    Attributes:
        run: the Command bit without which no lines are sent.
        permit: the Command bit without which nothing is heated.
    """

    run: str
    permit: str


@dataclass(frozen=True, slots=True)
class Accelerometer:
    """An accelerometer whose bursts the node reduces; one a node. Pins: `<name>_sda`, `<name>_scl`.

    Status fields: `<name>_rms`, `<name>_peak`, `<name>_crest`, `<name>_band_1` to `<name>_band_4` (what of the RMS lies in each
    band), `<name>_bursts`, and the bit `<name>_failed`. The numbers but for the bursts count hundredths in unsigned registers.

    Attributes:
        bands: the Params field with the five edges of the bands.
        every: the Params field with the time between the beginnings of two bursts.
        axis: 0 to 2 for X, Y, Z of the sensor.
    """

    name: str
    bands: str
    every: str
    axis: int = 2


@dataclass(frozen=True, slots=True)
class Above:
    """A Status bit that is set while the Status number `of` lies above a limit, until it has fallen a tenth below. No pins.

    Attributes:
        limit: the Params field with the limit.
    """

    signal: str
    of: str
    limit: str


@dataclass(frozen=True, slots=True)
class Kept:
    """A count that the node keeps over restarts. No pins.

    Attributes:
        of: a Status bit whose settings are counted, or, where `signal` has a unit of time, for how long it is set; or a
            Status number whose way is counted, as a speed makes it.
    """

    signal: str
    of: str


Guard = Analog | Exclusive | Travel | Stall
Mover = Stepper | Servo | Probe | Joint | Valve
Block = Input | Output | Drive | Counter | Mover | Heater | GcodePrinter | Accelerometer | Above | Kept | Guard


@dataclass(frozen=True, slots=True)
class Never:
    """An interlock that the node enforces: the output is off as long as the Status bit `when` is set."""

    output: str
    when: str


@dataclass(frozen=True, slots=True)
class NeverBoth:
    """An interlock that the node enforces: of two outputs at most one is on; who commands both gets neither, and a latch."""

    output: str
    beside: str


Interlock = Never | NeverBoth


@dataclass(frozen=True, slots=True)
class Alarm:
    """A condition to tell an operator about: a Status bit that has the value `when`."""

    signal: str
    severity: int
    cause: str
    action: str
    when: bool = True


REDUCED = ("rms", "peak", "crest", "band_1", "band_2", "band_3", "band_4")
"""What a burst is reduced to, in the order in which the node is told where."""
MOTION_PINS = ("i2s_clock", "i2s_latch", "i2s_data", "motors")


def pins_of(blocks: tuple[Block, ...]) -> tuple[str, ...]:
    """The pin names that blocks need."""
    pins: list[str] = []
    for block in blocks:
        match block:
            case Output(signal, read_back=str(back)):
                pins += [signal, back]
            case Input(signal) | Output(signal) | Valve(signal) | Analog(signal) | Probe(signal):
                pins.append(signal)
            case Servo(axis):
                pins += [*(pin for pin in MOTION_PINS if pin not in pins), axis]
            case Drive(run, speed):
                pins += [run, speed]
            case Stepper(_, _, endstop):
                pins += [pin for pin in MOTION_PINS if pin not in pins]
                pins += [endstop] if endstop else []
            case Joint(cam=cam):
                pins += [*(pin for pin in MOTION_PINS if pin not in pins), cam]
            case Heater(name, _):
                pins += [f"{name}_heater", f"{name}_sensor"]
            case GcodePrinter():
                pins += ["tx", "rx"]
            case Accelerometer(name):
                pins += [f"{name}_sda", f"{name}_scl"]
            case Counter() | Above() | Kept() | Exclusive() | Travel() | Stall():
                pass
    return tuple(pins)


def named(blocks: tuple[Block, ...], interlocks: tuple[Interlock, ...], alarms: tuple[Alarm, ...]) -> tuple[set[str], set[str]]:
    """Status and Command fields that the tables name."""
    status: set[str] = {alarm.signal for alarm in alarms} | {rule.when for rule in interlocks if isinstance(rule, Never)}
    command: set[str] = {rule.output for rule in interlocks} | {r.beside for r in interlocks if isinstance(r, NeverBoth)}
    for block in blocks:
        match block:
            case Input(signal) | Valve(signal) | Analog(signal) | Stall(signal):
                status.add(signal)
            case Exclusive(first, second):
                status |= {first, second}
            case Travel(output, until):
                status.add(until)
                command.add(output)
            case Output(signal, job):
                (command if job is None else status).add(signal)
            case Drive(run, speed, _, running):
                command |= {run, speed}
                status.add(running)
            case Counter(signal, _):
                status.add(signal)
            case Stepper(axis, run, endstop):
                status |= {axis, endstop} if endstop else {axis}
                command.add(run)
            case Servo(axis, run):
                status.add(axis)
                command.add(run)
            case Probe(signal, touched):
                status |= {signal, touched}
            case Joint(axis, run, cam, tripped):
                status |= {axis, cam, tripped}
                command.add(run)
            case Heater(name, permit):
                status |= {f"{name}_temperature", f"{name}_target", f"{name}_power"}
                command.add(permit)
            case GcodePrinter(run, permit):
                status |= {f"{heater}_{what}" for heater in ("hotend", "bed") for what in ("temperature", "target")}
                status |= {"connected", "killed", "quick", "x", "y", "z", "e", "fan", "resent"}
                command |= {run, permit}
            case Accelerometer(name):
                status |= {f"{name}_{what}" for what in (*REDUCED, "bursts", "failed")}
            case Above(signal, of) | Kept(signal, of):
                status |= {signal, of}
    return status, command
