"""What a node's firmware is to instantiate for a machine type: its blocks, its interlocks; and the pins that they need."""

from dataclasses import dataclass

__all__ = [
    "Alarm",
    "Block",
    "Counter",
    "Drive",
    "Heater",
    "Input",
    "Joint",
    "Never",
    "Output",
    "Stepper",
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
    """A digital output driven by a Command bit, or (`job`) by a Job's fan channel and reported in the Status. Pin: `signal`."""

    signal: str
    job: int | None = None


@dataclass(frozen=True, slots=True)
class Drive:
    """A motor drive: a run bit and a speed set point, as a level and a duty. Pins: `run`, `speed`.

    Attributes:
        run, speed: Command fields; the Status field `speed`, where there is one, shows the set point.
        full: the Params field with the speed at full duty.
        running: the Status bit that shows the run pin's level.
    """

    run: str
    speed: str
    full: str
    running: str


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
class Valve:
    """A digital output that a Job switches, shown as a Status bit; the end of the Job leaves it as it is. Pin: `signal`."""

    signal: str


@dataclass(frozen=True, slots=True)
class Heater:
    """A heater with a thermistor, held at its Job's target on the node. Pins: `<name>_heater`, `<name>_sensor`.

    Status fields: `<name>_temperature`, `<name>_target`, `<name>_power`. Without the Command bit `permit` it stays off.
    """

    name: str
    permit: str


Block = Input | Output | Drive | Counter | Stepper | Joint | Valve | Heater


@dataclass(frozen=True, slots=True)
class Never:
    """An interlock that the node enforces: the output is off as long as the Status bit `when` is set."""

    output: str
    when: str


@dataclass(frozen=True, slots=True)
class Alarm:
    """A condition to tell an operator about: a Status bit that has the value `when`."""

    signal: str
    severity: int
    cause: str
    action: str
    when: bool = True


MOTION_PINS = ("i2s_clock", "i2s_latch", "i2s_data", "motors")


def pins_of(blocks: tuple[Block, ...]) -> tuple[str, ...]:
    """The pin names that blocks need."""
    pins: list[str] = []
    for block in blocks:
        match block:
            case Input(signal) | Output(signal) | Valve(signal):
                pins.append(signal)
            case Drive(run, speed):
                pins += [run, speed]
            case Stepper(_, _, endstop):
                pins += [pin for pin in MOTION_PINS if pin not in pins]
                pins += [endstop] if endstop else []
            case Joint(cam=cam):
                pins += [*(pin for pin in MOTION_PINS if pin not in pins), cam]
            case Heater(name, _):
                pins += [f"{name}_heater", f"{name}_sensor"]
            case Counter():
                pass
    return tuple(pins)


def named(blocks: tuple[Block, ...], interlocks: tuple[Never, ...], alarms: tuple[Alarm, ...]) -> tuple[set[str], set[str]]:
    """Status and Command fields that the tables name."""
    status: set[str] = {alarm.signal for alarm in alarms} | {rule.when for rule in interlocks}
    command: set[str] = {rule.output for rule in interlocks}
    for block in blocks:
        match block:
            case Input(signal) | Valve(signal):
                status.add(signal)
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
            case Joint(axis, run, cam, tripped):
                status |= {axis, cam, tripped}
                command.add(run)
            case Heater(name, permit):
                status |= {f"{name}_temperature", f"{name}_target", f"{name}_power"}
                command.add(permit)
    return status, command
