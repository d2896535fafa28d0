"""What a machine type's pins carry, so that a fault can be put on the right one."""

from twin.blocks import Analog, Probe, Servo
from twin.fault import Carrier
from twin.machine import Drive, Heater, Input, Joint, MachineType, Output, Stepper, Valve

FRAMES = "frames"


def sensors_of(kind: MachineType) -> dict[str, Carrier]:
    """What a type's sensors carry, by pin, in their order."""
    found: dict[str, Carrier] = {}
    for block in kind.blocks:
        match block:
            case Output(read_back=str(back)):
                found[back] = Carrier.LEVEL
            case Analog(signal):
                found[signal] = Carrier.VOLTAGE
            case Input(signal) | Probe(signal):
                found[signal] = Carrier.LEVEL
            case Stepper(endstop=str(switch)) | Joint(cam=switch):
                found[switch] = Carrier.LEVEL
            case Heater(name):
                found[f"{name}_sensor"] = Carrier.VOLTAGE
            case _:
                pass
    return found


def axes_of(kind: MachineType) -> int:
    """How many axes a type has on its step stream."""
    return sum(isinstance(block, (Stepper, Servo, Joint)) for block in kind.blocks)


def outputs_of(kind: MachineType) -> dict[str, Carrier]:
    """What a type's outputs carry, by pin, in their order; the step stream is called `frames`."""
    found: dict[str, Carrier] = {}
    for block in kind.blocks:
        match block:
            case Output(signal, job):
                found[signal] = Carrier.LEVEL if job is None else Carrier.DUTY
            case Drive(run, speed):
                found[run], found[speed] = Carrier.LEVEL, Carrier.DUTY
            case Servo(axis):
                found[FRAMES], found["motors"], found[axis] = Carrier.STEPS, Carrier.LEVEL, Carrier.DUTY
            case Stepper() | Joint():
                found[FRAMES], found["motors"] = Carrier.STEPS, Carrier.LEVEL
            case Valve(signal):
                found[signal] = Carrier.LEVEL
            case Heater(name):
                found[f"{name}_heater"] = Carrier.DUTY
            case _:
                pass
    return found
