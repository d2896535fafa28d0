"""A carriage: X and Z by steps, Y by a set point; a probe, and a guard that forbids motion. Its Jobs finish in silence."""

from typing import Annotated as A

from twin.machine import FINISH, Input, Never, Probe, Servo, Stepper
from twin.machines.printer import spec as printer
from twin.machines.printer.spec import Params
from twin.units import MM
from twin.wire import OFF, Bit, Int32, OnSilence, Range, record

__all__ = ["Params", "limits"]

CAPABILITIES = ("print",)


@record
class Status:
    """As a printer's, where it has the same."""

    x_endstop: A[bool, Bit(0, 0)]
    z_endstop: A[bool, Bit(0, 1)]
    probe: A[bool, Bit(0, 2)]
    guard: A[bool, "is open", Bit(0, 3)]
    x: A[float, MM, Range(-1.0, 2.0), Int32(2, step=0.001)]
    y: A[float, MM, Range(-1.0, 2.0), Int32(4, step=0.001)]
    z: A[float, MM, Range(-1.0, 2.0), Int32(6, step=0.001)]
    e: A[float, MM, Range(-1000.0, 2000.0), Int32(8, step=0.001)]
    touched: A[float, MM, "where the probe closed", Range(-1.0, 2.0), Int32(10, step=0.001)]


@record
class Command:
    """As a printer's."""

    run: A[bool, OnSilence(OFF), Bit(0, 0)] = False


BLOCKS = (
    Stepper("x", run="run", endstop="x_endstop"),
    Servo("y", run="run", pulse=(5e-5, 9.5e-4), period=1e-3),
    Stepper("z", run="run", endstop="z_endstop"),
    Stepper("e", run="run"),
    Probe("probe", touched="touched"),
    Input("guard"),
)
INTERLOCKS = (Never("run", when="guard"),)
ON_SILENCE = FINISH
limits = printer.limits
