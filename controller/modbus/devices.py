"""Links to Modbus devices that are none of ours: on a network, with TLS or without, or on a serial line. A gateway is one link."""

from collections.abc import Iterable
from pathlib import Path

from controller.factory_loop import FactoryClock
from controller.modbus.burst import UnitLink
from controller.modbus.client import UnitsLink
from controller.modbus.tls import Certificates
from twin.clock import MS, Clock, Ns
from twin.devices import Device, ModbusDevice


def link_to(device: Device, clock: Clock, folder: Path) -> UnitLink:
    """The link to one device; `links_to` for several, which may share a serial line."""
    return links_to([device], clock, folder)[device.name]


def links_to(devices: Iterable[Device], clock: Clock, folder: Path) -> dict[str, UnitLink]:
    """A link to each Modbus device, by name; those on one port share its line.

    Args:
        folder: the core's state folder.
    """
    reached = {device: device.reached for device in devices if isinstance(device.reached, ModbusDevice)}
    found: dict[str, UnitLink] = {d.name: _on_network(d.name, its, clock) for d, its in reached.items() if its.serial is None}
    return found | _on_lines({d.name: its for d, its in reached.items() if its.serial is not None}, clock)


def felt_by_no_node(devices: Iterable[Device], clock: Clock) -> None:
    """In factory time: what is sent to a virtual device stirs no node, and the rig need not ask them."""
    for device in devices:
        if device.virtual and isinstance(device.reached, ModbusDevice) and isinstance(clock, FactoryClock):
            clock.unfelt(device.reached.host, device.reached.port)


def _on_network(name: str, reached: ModbusDevice, clock: Clock) -> UnitLink:
    securing = None if reached.tls is None else Certificates(reached.tls, reached.host)
    return UnitsLink(name, reached.host, reached.port, clock, securing=securing)


def _on_lines(devices: dict[str, ModbusDevice], clock: Clock) -> dict[str, UnitLink]:
    from controller.modbus.serial import SerialLine  # pymodbus is loaded only where it is needed
    from controller.modbus.serial_units import SerialUnits

    lines: dict[str, SerialLine] = {}
    found: dict[str, UnitLink] = {}
    longest: dict[str, int] = {}  # by port: what one of its units is asked for does not say which device it belongs to
    for reached in devices.values():
        if reached.serial is not None:
            longest[reached.serial.port] = max(longest.get(reached.serial.port, 0), reached.reply_ms)
    for name, reached in devices.items():
        assert reached.serial is not None, name
        port = reached.serial.port
        if port not in lines:
            lines[port] = SerialLine(port, reached.serial, clock)
        found[name] = SerialUnits(name, lines[port], Ns(longest[port] * MS))
    return found
