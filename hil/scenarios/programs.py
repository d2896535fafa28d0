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


@cache
def tower(side_mm: float = 12.0, height_mm: float = 12.0, layer_mm: float = 1.0, hotend: int = 180, bed: int = 30) -> str:
    """A hollow square tower in the middle of the bed, printed in a quarter of a minute; the head is parked afterwards."""
    lines = [f"M104 S{hotend}", f"M140 S{bed}", "G28", "G90", "M83", f"M109 S{hotend}", "G92 E0"]
    low, high = 110 - side_mm / 2, 110 + side_mm / 2
    fed = side_mm * 0.05
    for layer in range(1, round(height_mm / layer_mm) + 1):
        lines += [f"G1 Z{layer * layer_mm:.2f} F600", f"G1 X{low:g} Y{low:g} F6000"]
        corners = ((high, low), (high, high), (low, high), (low, low))
        lines += [f"G1 X{x:g} Y{y:g} E{fed:.4f} F3600" for x, y in corners]
    return "\n".join([*lines, f"G1 Z{height_mm + 14:g} F600", "G1 X5 Y210 F6000"]) + "\n" + END
