"""Short Jobs out of the demo's really sliced cube, and a factory with one printer."""

from pathlib import Path

from hil.ports import free_port
from hil.scenarios.programs import cube, first_layer
from twin.factory import Factory, parse

__all__ = ["CUBE", "PRINTER", "ROOT", "first_layer", "one_printer"]

ROOT = Path(__file__).resolve().parents[2]
CUBE = cube()

PRINTER = """
[factory]
name = "one-printer"

[cells.shop]

[nodes.printer-1]
uid = 1
port = {port}
virtual = true

[machines.printer-1]
type = "printer"
cell = "shop"
node = "printer-1"
base = 256

[machines.printer-1.pins]
i2s_clock = 26
i2s_latch = 25
i2s_data = 22
motors = 19
x_endstop = 34
y_endstop = 35
z_endstop = 32
hotend_heater = 16
hotend_sensor = 36
bed_heater = 17
bed_sensor = 39
fan = 18
filament = 33

[recipes.print]
operations = ["print"]
"""


def one_printer() -> Factory:
    """A factory of one printer on a virtual node, at a port that is free."""
    return parse(PRINTER.format(port=free_port()), ROOT)
