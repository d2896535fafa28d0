"""A Channel for each device: over TCP with TLS or without, or over the serial line that it shares with others."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path

from controller.fieldbus.ask import Line
from controller.fieldbus.asked import AskedLine
from controller.fieldbus.channel import Channel
from controller.fieldbus.plan import NETWORK, Costs, serial_costs
from controller.fieldbus.tcp import Crowd, TcpLine
from controller.fieldbus.wheel import Wheel
from controller.modbus.devices import felt_by_no_node, links_to
from controller.modbus.tls import Certificates
from twin.clock import MS, Clock, Ns
from twin.devices import Device, ModbusDevice

SIMULATED = Ns(100 * MS)
"""The shortest time-out of a device that the rig simulates, which answers at once: it falls on the core's beat, and so costs no
instant of its own."""


def channels(
    devices: Iterable[Device], windows: Mapping[str, int], clock: Clock, wheel: Wheel, folder: Path
) -> dict[str, tuple[Channel, Costs]]:
    """By the device's name; those on one serial port have the same Channel.

    Args:
        windows: how many requests each device takes at a time.
    """
    crowd, devices = Crowd(), list(devices)
    felt_by_no_node(devices, clock)
    reached = {d.name: (d, d.reached) for d in devices if isinstance(d.reached, ModbusDevice)}
    serial = links_to([d for d, its in reached.values() if its.serial is not None], clock, folder)
    shared: dict[str, Channel] = {}
    found: dict[str, tuple[Channel, Costs]] = {}
    for name, (device, its) in reached.items():
        limits = {"longest": Ns(its.reply_ms * MS), "pause": Ns(its.pause_ms * MS)}
        if device.virtual:
            limits["shortest"] = SIMULATED
        if its.serial is None:
            make = _over_tcp(device.name, its, clock, crowd)
            found[name] = Channel(name, clock, wheel, make, windows[name], **limits), NETWORK
            continue
        if its.serial.port not in shared:
            over = partial(AskedLine, serial[name], clock)
            shared[its.serial.port] = Channel(its.serial.port, clock, wheel, over, byte=its.serial.duration(1), **limits)
        one = shared[its.serial.port]
        one.longest, one.pause = max(one.longest, limits["longest"]), max(one.pause, limits["pause"])
        found[name] = one, serial_costs(its.serial)
    return found


def _over_tcp(name: str, reached: ModbusDevice, clock: Clock, crowd: Crowd) -> Callable[[Channel], Line]:
    securing = None if reached.tls is None else Certificates(reached.tls, reached.host)
    return lambda channel: TcpLine(name, reached.host, reached.port, clock, channel, crowd, securing)
