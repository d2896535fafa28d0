"""Arms that are not ours whose joints move a robot of the twin: which they are, and the names of what is told of them.

What their kinematics are is told in `twin.reached`, which whoever only shows these Signals does not load.
"""

from twin.devices import Mirrored
from twin.residual import Residual
from twin.units import MM, RAD, Unit

AXES = {"ur5e": 6}
"""The robots that there are, and their joints."""
TCP = ("tcp_x", "tcp_y", "tcp_z", "tcp_rx", "tcp_ry", "tcp_rz")
OFFSET = tuple(name.replace("tcp_", "tcp_offset_") for name in TCP)
POSE: tuple[tuple[str, Unit, str], ...] = (
    *((axis, MM, f"{axis} of the tool in the robot's base frame, by its joint angles") for axis in "xyz"),
    *((f"r{axis}", RAD, f"{axis} of the tool's rotation vector, by its joint angles") for axis in "xyz"),
)
REACH = Residual(
    "tcp",
    MM,
    1e-3,
    1.0,
    "joints are told in 0.001 rad, positions in 0.1 mm, the tool's own in 1 mm; a zero point 0.1° off is 1.5 mm at the tool",
    "distance of the tool's place as its controller says from that by its joint angles",
)


def followed(machine: Mirrored) -> bool:
    """Whether a machine's joints move a robot of the twin."""
    return machine.robot in AXES and len(machine.joints) == AXES[machine.robot]


def compared(machine: Mirrored) -> bool:
    """Whether its controller says where its tool is."""
    read = {row.name for row in machine.map.read}
    return followed(machine) and read.issuperset(TCP)
