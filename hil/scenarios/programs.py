"""Short Jobs out of the demo's really sliced cube."""

from functools import cache
from importlib.resources import files

from twin import motion

END = "M104 S0\nM140 S0\nM107\nM84\n"


@cache
def cube() -> str:
    """The demo's whole cube."""
    return (files("controller") / "demo" / "calibration_cube.gcode").read_text(encoding="utf-8")


@cache
def first_layer(longest_s: float, hotend: int = 180, bed: int = 30) -> str:
    """The cube's first layer, as far as it goes in `longest_s` of motion; heated less, so that the wait is short."""
    head, _, rest = cube().partition(";LAYER_CHANGE")
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
