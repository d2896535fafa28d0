"""What a factory file declares of the nodes and machines that are commanded under a lease, and of the ways between machines."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twin.foreign import Moonraker
from twin.frames import Pose
from twin.machine import MachineType
from twin.network import Network
from twin.node import LEASE_MS
from twin.obstacles import Space
from twin.serial import Serial

LEASED_SCANS = 5


@dataclass(frozen=True, slots=True)
class Node:
    """One endpoint with our firmware.

    Attributes:
        host, port: where its Modbus server listens on a network.
        serial: the serial line that it hangs on instead.
        virtual: it runs in a MicroPython VM in factory time instead of on a board.
        firmware: the folder with its own main.py; None for ours.
        chip: of its board, one of twin.chips.
        network: how its board gets onto the network; None where that is not its business.
        repl: it is being worked on: Ctrl-C at its console stops it.
        foreign: how it is reached where it does not run our firmware at all.
        scan_ms: from one scan of it to the next: the factory's, or a multiple of that for a slow line.
    """

    name: str
    uid: int
    host: str
    port: int
    virtual: bool
    firmware: Path | None = None
    serial: Serial | None = None
    chip: str = "esp32"
    network: Network | None = None
    repl: bool = False
    foreign: Moonraker | None = None
    scan_ms: int = 100

    @property
    def lease_ms(self) -> int:
        """For how long each heartbeat of the controller holds it: five of its scans, and 500 ms at least."""
        return max(LEASED_SCANS * self.scan_ms, LEASE_MS)


@dataclass(frozen=True, slots=True)
class Machine:
    """A named machine type in a cell.

    Attributes:
        node: the name of its node.
        base: its first register.
        pose: x, y, z [m] and roll, pitch, yaw [rad] in the factory's frame.
        pins: GPIO of each pin that its type names.
        params: its type's Params record (SI).
        space: boxes in its frame that it takes up or moves in.
    """

    name: str
    type: MachineType
    cell: str
    node: str
    base: int
    pose: Pose
    pins: Mapping[str, int]
    params: Any
    space: tuple[Space, ...] = ()


@dataclass(frozen=True, slots=True)
class Handover:
    """Where Parts go from one machine's exit to the next one's entry.

    Attributes:
        by: "belt" where the machines touch, "hand" where a person carries the part, "arm" where a machine does.
        duration_s: how long it takes by belt or by hand.
        arm: the machine that carries the part.
    """

    source: str
    target: str
    by: str
    duration_s: float
    arm: str = ""
