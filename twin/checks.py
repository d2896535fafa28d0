"""What must hold between the entries of a factory file: addresses, registers, pins. Every mistake is named with its key."""

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from twin.chips import CHIPS
from twin.declared import Machine, Node
from twin.devices import Device, line_of
from twin.machine import GcodePrinter, Heater, Output, Servo, Stepper
from twin.node import REGISTERS
from twin.pins import Use, impossible, uses
from twin.serial import pins_of
from twin.tables import Reader


def check_nodes(reader: Reader, nodes: Mapping[str, Node]) -> None:
    checks: tuple[tuple[str, Callable[[Node], Any]], ...] = (
        ("uid", lambda node: node.uid),
        ("port", lambda node: (node.host, node.port) if node.port and node.serial is None else node.name),
    )
    for what, of in checks:
        seen: dict[Any, str] = {}
        for node in nodes.values():
            if of(node) in seen:
                reader.wrong(f"nodes.{node.name}.{what}", f"{of(node)!r} is taken by nodes.{seen[of(node)]}")
            seen.setdefault(of(node), node.name)


def check_ports(reader: Reader, nodes: Mapping[str, Node], devices: Mapping[str, Device]) -> None:
    """A serial line is of nodes with our firmware or of devices: what asks the ones does not wait for the others."""
    ours = {node.serial.port: node.name for node in nodes.values() if node.serial is not None}
    for device in devices.values():
        line = line_of(device)
        if line is not None and line.port in ours:
            text = f"{line.port} is the line of nodes.{ours[line.port]}, a node with our firmware: give it a line of its own"
            reader.wrong(f"nodes.{device.name}.serial", text)


def check_registers(reader: Reader, machines: Mapping[str, Machine]) -> None:
    by_node: dict[str, list[Machine]] = {}
    for machine in machines.values():
        by_node.setdefault(machine.node, []).append(machine)
    for found in by_node.values():
        found.sort(key=lambda m: m.base)
        for first, second in itertools.pairwise(found):
            if first.base + first.type.size > second.base:
                reader.wrong(
                    f"machines.{second.name}.base",
                    f"{second.base} overlaps machines.{first.name}, which takes registers {first.base} to "
                    f"{first.base + first.type.size - 1}; the first free one is {first.base + first.type.size}",
                )
        if found and found[-1].base + found[-1].type.size > REGISTERS:
            reader.wrong(f"machines.{found[-1].name}.base", f"its last register is beyond {REGISTERS - 1}")


def check_motion(reader: Reader, machines: Mapping[str, Machine]) -> None:
    """A node plays one Job at a time, with its own heaters and fans: no two machines can share that."""
    owners: dict[str, str] = {}
    for machine in machines.values():
        blocks = machine.type.blocks
        players = (Stepper, Servo, Heater, GcodePrinter)
        plays = any(isinstance(b, players) or (isinstance(b, Output) and b.job is not None) for b in blocks)
        if plays and machine.node in owners:
            taken = f"{machine.node} plays the Jobs of machines.{owners[machine.node]} already"
            reader.wrong(f"machines.{machine.name}.node", taken)
        if plays:
            owners.setdefault(machine.node, machine.name)


def check_pins(reader: Reader, nodes: Mapping[str, Node], machines: Mapping[str, Machine]) -> None:
    taken: dict[tuple[str, int], str] = {}
    for node in nodes.values():
        for name, pin in pins_of(node.serial).items() if node.serial is not None else ():
            if (node.name, pin) in taken:
                reader.wrong(f"nodes.{node.name}.{name}", f"GPIO {pin} is taken by {taken[node.name, pin]}")
            taken.setdefault((node.name, pin), f"nodes.{node.name}.{name}")
    for machine in machines.values():
        for name, pin in machine.pins.items():
            where = (machine.node, pin)
            if where in taken:
                reader.wrong(f"machines.{machine.name}.pins.{name}", f"GPIO {pin} is taken by {taken[where]}")
            taken.setdefault(where, f"machines.{machine.name}.pins.{name}")


def check_wired(reader: Reader, nodes: Mapping[str, Node], machines: Mapping[str, Machine]) -> None:
    """A board's pin must be able to do what it is used for; those of a virtual node are mere numbers."""
    for key, node, gpio, use in _wired(nodes, machines):
        wifi = node.network is not None and node.network.kind == "wifi"
        if not node.virtual and node.chip in CHIPS and (why := impossible(CHIPS[node.chip], gpio, use, wifi)):
            reader.wrong(key, f"GPIO {gpio} cannot be used ({use.value}) on an {node.chip}: {why}")


def _wired(nodes: Mapping[str, Node], machines: Mapping[str, Machine]) -> Iterator[tuple[str, Node, int, Use]]:
    for node in nodes.values():
        for name, gpio in pins_of(node.serial).items() if node.serial is not None else ():
            yield f"nodes.{node.name}.{name}", node, gpio, Use.SERIAL_IN if name == "rx" else Use.SERIAL_OUT
    for machine in machines.values():
        for pin in uses(machine.type.blocks):
            if machine.node in nodes and pin.name in machine.pins:
                yield f"machines.{machine.name}.pins.{pin.name}", nodes[machine.node], machine.pins[pin.name], pin.use
