"""A factory's nodes as the core reaches them: over a network, or over the serial line that they hang on."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from controller.devices import Bus
from controller.modbus.burst import AnyLink
from controller.modbus.client import Link
from twin.clock import Clock
from twin.devices import ModbusDevice
from twin.factory import Factory, Node
from twin.serial import virtual_tty

if TYPE_CHECKING:
    from controller.modbus.serial import SerialLine


def links(factory: Factory, folder: Path, clock: Clock) -> dict[str, AnyLink]:
    """A link to each node, by name.

    Args:
        folder: the core's state folder, where virtual nodes have theirs in `nodes`.
    """
    lines: dict[str, SerialLine] = {}
    return {node.name: _link(factory, node, folder, clock, lines) for node in factory.nodes.values()}


def buses(factory: Factory, folder: Path, clock: Clock) -> dict[str, Bus]:
    """What reaches each device, by its name."""
    if not factory.devices:
        return {}
    from controller.fieldbus.engine import Fieldbus  # loaded only where there is something to read
    fieldbus = Fieldbus(factory, folder, clock)
    return {name: fieldbus for name, device in factory.devices.items() if isinstance(device.reached, ModbusDevice)}


def _link(factory: Factory, node: Node, folder: Path, clock: Clock, lines: "dict[str, SerialLine]") -> AnyLink:
    if node.foreign is not None:
        from controller.foreign.moonraker import MoonrakerLink  # aiohttp is loaded only where it is needed

        return MoonrakerLink(factory, node.name, node.foreign, clock)
    if node.serial is None:
        return Link(node.name, node.host, node.port, clock)
    from controller.modbus.serial import SerialLine, SerialLink  # pymodbus is loaded only where it is needed

    port = node.serial.port
    if port not in lines:
        if node.virtual:  # a pseudo-terminal takes no parity; its bytes come as they are
            lines[port] = SerialLine(virtual_tty(folder / "nodes", port), replace(node.serial, parity="none"), clock)
        else:
            lines[port] = SerialLine(port, node.serial, clock)
    return SerialLink(node.name, lines[port], node.serial.unit)
