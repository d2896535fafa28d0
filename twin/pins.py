"""What each pin of a machine type is used for, and whether a chip's pin can do that."""

import enum
from collections.abc import Iterator
from dataclasses import dataclass

from twin.blocks import (
    MOTION_PINS,
    Accelerometer,
    Analog,
    Block,
    Drive,
    GcodePrinter,
    Heater,
    Input,
    Joint,
    Output,
    Probe,
    Servo,
    Stepper,
    Valve,
)
from twin.chips import Chip


class Use(enum.Enum):
    """What the node does with a pin: the first word says it, the rest how it is wired."""

    SWITCH = "in, level"
    VOLTAGE = "in, analogue"
    SERIAL_IN = "in, serial"
    LEVEL = "out, level"
    DUTY = "out, PWM"
    CLOCKED = "out, I2S"
    SERIAL_OUT = "out, serial"
    BUS = "in and out, I2C"

    @property
    def drives(self) -> bool:
        """Whether the node puts something out there."""
        return "out" in self.value


@dataclass(frozen=True, slots=True)
class Pin:
    """A pin that a machine type names: its use, and what is to be wired to it."""

    name: str
    use: Use
    wiring: str


_SWITCH = "high is on"
_ENDSTOP = "high is pressed: a normally closed switch to ground, so that a broken wire stops the axis"
_OFF_AT_START = "10 kΩ to ground"
_MOTION = dict(
    zip(
        MOTION_PINS,
        (
            (Use.CLOCKED, "shift clock of the 74HC595s"),
            (Use.CLOCKED, "word select: inverted, the latch of the 74HC595s"),
            (Use.CLOCKED, "serial input of the first 74HC595"),
            (Use.LEVEL, f"high enables the drives; {_OFF_AT_START}"),
        ),
        strict=True,
    )
)


def uses(blocks: tuple[Block, ...]) -> tuple[Pin, ...]:
    """The pins that blocks need, each once, in order."""
    found: dict[str, Pin] = {}
    for block in blocks:
        for pin in _of(block):
            found.setdefault(pin.name, pin)
    return tuple(found.values())


def _of(block: Block) -> Iterator[Pin]:
    match block:
        case Input(signal, invert):
            yield Pin(signal, Use.SWITCH, "low is on" if invert else _SWITCH)
        case Output(signal, job, _, back):
            yield Pin(signal, Use.LEVEL if job is None else Use.DUTY, f"high is on; {_OFF_AT_START}")
            if back is not None:
                yield Pin(back, Use.SWITCH, f"the level of `{signal}`, from behind what it switches")
        case Valve(signal):
            yield Pin(signal, Use.LEVEL, f"high is on; {_OFF_AT_START}")
        case Drive(run, speed):
            yield Pin(run, Use.LEVEL, f"high is on; {_OFF_AT_START}")
            yield Pin(speed, Use.DUTY, f"duty of 1 kHz is the speed; {_OFF_AT_START}")
        case Stepper(_, _, endstop):
            yield from _motion()
            if endstop is not None:
                yield Pin(endstop, Use.SWITCH, _ENDSTOP)
        case Servo(axis):
            yield from _motion()
            yield Pin(axis, Use.DUTY, f"the servo's pulse; {_OFF_AT_START}")
        case Probe(signal, _, invert):
            yield Pin(signal, Use.SWITCH, "low is touched" if invert else "high is touched")
        case Joint(cam=cam):
            yield from _motion()
            yield Pin(cam, Use.SWITCH, "high from the joint's home angle on")
        case Heater(name):
            yield Pin(f"{name}_heater", Use.DUTY, f"gate of its switch, by duty; {_OFF_AT_START}")
            yield Pin(f"{name}_sensor", Use.VOLTAGE, "NTC 100 kΩ (B57560G104F) to ground, 4.7 kΩ to 3.3 V")
        case Analog(signal):
            yield Pin(signal, Use.VOLTAGE, "0 to 3.3 V")
        case GcodePrinter():
            yield Pin("tx", Use.SERIAL_OUT, "to RX of the printer's board")
            yield Pin("rx", Use.SERIAL_IN, "from TX of the printer's board, at 3.3 V")
        case Accelerometer(name):
            yield Pin(f"{name}_sda", Use.BUS, "4.7 kΩ to 3.3 V")
            yield Pin(f"{name}_scl", Use.BUS, "4.7 kΩ to 3.3 V")
        case _:
            return


def _motion() -> Iterator[Pin]:
    for name, (use, wiring) in _MOTION.items():
        yield Pin(name, use, wiring)


def impossible(chip: Chip, gpio: int, use: Use, wifi: bool = False) -> str:
    """Why a chip's pin cannot be used so, with Wi-Fi or without; empty where it can."""
    if gpio not in chip.gpio:
        return "the chip has no such pin"
    if gpio in chip.flash:
        return "its flash is wired there"
    if use.drives and gpio in chip.inputs_only:
        return "it is an input only"
    if use is Use.VOLTAGE and gpio not in chip.analogue | chip.analogue_without_wifi:
        return "no voltage can be read there"
    if use is Use.VOLTAGE and wifi and gpio in chip.analogue_without_wifi:
        return "no voltage can be read there while Wi-Fi is on"
    return ""


def doubtful(chip: Chip, gpio: int, use: Use) -> str:
    """What to mind at a pin that can be used so; empty where there is nothing."""
    if gpio in chip.strapping:
        return f"strapping; while the chip starts: {chip.strapping[gpio]}"
    if gpio in chip.console:
        return "the console is there: boot messages come out, and flashing needs it"
    if use is Use.VOLTAGE and gpio in chip.analogue_without_wifi:
        return "no reading while Wi-Fi is on"
    if use is Use.SWITCH and gpio in chip.inputs_only:
        return "no pull resistor in the chip: one outside, 10 kΩ"
    return ""
