"""Short Jobs out of the demo's really sliced cube, and a factory with one printer."""

from pathlib import Path

from hil.rig import free_port
from twin import motion
from twin.factory import Factory, parse

ROOT = Path(__file__).resolve().parents[2]
CUBE = (ROOT / "controller" / "demo" / "calibration_cube.gcode").read_text(encoding="utf-8")
END = "M104 S0\nM140 S0\nM107\nM84\n"

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


def first_layer(longest_s: float, hotend: int = 180, bed: int = 30) -> str:
    """The cube's first layer, as far as it goes in `longest_s` of motion; heated less, so that the wait is short."""
    head, _, rest = CUBE.partition(";LAYER_CHANGE")
    head = head.replace("S215", f"S{hotend}").replace("S60", f"S{bed}")
    lines = (";LAYER_CHANGE" + rest).splitlines()
    low, high = 0, lines.index(";LAYER_CHANGE", 1)
    while high - low > 1:
        middle = (low + high) // 2
        if motion.plan(_program(head, lines[:middle]), motion.Limits()).duration_s <= longest_s:
            low = middle
        else:
            high = middle
    return _program(head, lines[:low])


def _program(head: str, lines: list[str]) -> str:
    return head + "\n".join(lines) + "\n" + END
