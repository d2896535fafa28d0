"""What the firmware is given: register names, and a node's `node.json`."""

import json
import math
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from twin import node as node_block
from twin.blocks import Probe, Servo, Valve
from twin.entries import Places, block_entry, interlock_entry
from twin.factory import Factory, Machine, Node
from twin.machine import GcodePrinter, Input, Joint, Stepper
from twin.wire import Bit, Layout, encode, layout

FORMAT = 2
RING_BYTES = 20 * 1024


def registers() -> str:
    """The text of `firmware/node/registers.py`: the node block's registers by name, for the firmware."""
    lines = ['"""Register names of the node block. Generated from twin/node.py: do not edit."""', ""]
    lines += ["from micropython import const", ""]
    lines.append(f"MAGIC = const(0x{node_block.MAGIC:04X})")
    lines.append(f"VERSION = const({node_block.VERSION})")
    for name in ("STATUS_AT", "COMMAND_AT", "TRANSFER_AT", "MACHINES_AT", "REGISTERS", "LEASE_MS", "TICK_MS"):
        lines.append(f"{name} = const({getattr(node_block, name)})")
    lines.append(f"TRANSFER_HEAD = const({node_block.TRANSFER_HEAD})")
    lines.append(f"TRANSFER_BYTES = const({node_block.TRANSFER_BYTES})")
    for kind, prefix, at in (
        (node_block.NodeStatus, "S", node_block.STATUS_AT),
        (node_block.NodeCommand, "C", node_block.COMMAND_AT),
        (node_block.Transfer, "T", node_block.TRANSFER_AT),
    ):
        shape = layout(kind)
        lines += ["", f"{prefix}_SIZE = const({shape.size})"]
        for signal in shape.signals:
            lines.append(f"{prefix}_{signal.name.upper()} = const({at + signal.binding.register})  # {signal.binding}")
            if isinstance(signal.binding, Bit):
                lines.append(f"{prefix}_{signal.name.upper()}_BIT = const({signal.binding.bit})")
    for names in (
        node_block.Result,
        node_block.Reason,
        node_block.Fault,
        node_block.JobState,
        node_block.TransferState,
        node_block.ResetCause,
        node_block.Slot,
        node_block.Op,
        node_block.TransferOp,
        node_block.TransferKind,
    ):
        lines.append("")
        title = _upper(names.__name__)
        lines += [f"{title}_{member.name} = const({member.value})" for member in names]
    return "\n".join(lines) + "\n"


def _upper(name: str) -> str:
    return "".join(("_" + c if c.isupper() and i else c) for i, c in enumerate(name)).upper()


def map_text(factory: Factory, node: str) -> str:
    """A node's register map in one canonical text: what both sides must agree on."""
    lines = [f"lockstep {node_block.VERSION}"]
    for machine in factory.on(node):
        for shape, base in _records(machine):
            lines += [f"{machine.name}.{shape.name} @{base}"]
            lines += [signal.describe() for signal in shape.signals]
        lines += [f"{machine.name} {block!r}" for block in machine.type.blocks]
        lines += [f"{machine.name} {rule!r}" for rule in machine.type.interlocks]
        lines.append(f"{machine.name} {machine.params!r} {machine.type.on_link_loss.value}")
    return "\n".join(lines)


def map_hash(factory: Factory, node: str) -> int:
    """CRC-32 of the map's text; a node whose hash differs is not commanded."""
    return zlib.crc32(map_text(factory, node).encode())


def _records(machine: Machine) -> Iterator[tuple[Layout, int]]:
    status, command = machine.type.layouts
    yield status, machine.base
    yield command, machine.base + status.size


def fingerprint(machine: Machine) -> int:
    """CRC-32 of what a Job's numbers depend on; a Job made for other Params is refused by the node.

    Raises:
        ValueError: the machine's type plans no Jobs.
    """
    if machine.type.limits is None:
        raise ValueError(f"{machine.name}: type {machine.type.name} plans no Jobs")
    limits = machine.type.limits(machine.params)
    if machine.type.steps is not None:
        # Who only reads a map does not load kinematics and kernels.
        from twin.motion.arm import job

        return job.fingerprint(limits, machine.type.steps(machine.params))
    return zlib.crc32(repr(limits).encode())


PRINTER_UART = 2
"""Of an ESP32: 0 is the console, 1 may be the node's link."""


def _printer(machine: Machine, at: Places, block: GcodePrinter) -> dict[str, Any]:
    """What the node of a printer with a board of its own is told; temperatures in tenths of a degree."""
    heaters = ("hotend", "bed")
    return {
        "backend": "marlin",
        "uart": PRINTER_UART,
        "tx_pin": machine.pins["tx"],
        "rx_pin": machine.pins["rx"],
        "baud": round(machine.params.baud),
        "run": at(block.run, command=True),
        "permit": at(block.permit, command=True),
        "axes": [at(axis) for axis in ("x", "y", "z", "e")],
        "temperatures": [at(f"{heater}_temperature") for heater in heaters],
        "targets": [at(f"{heater}_target") for heater in heaters],
        "highest": [round(getattr(machine.params, f"max_{heater}_temperature") * 10) for heater in heaters],
        "fan": at("fan"),
        "resent": at("resent"),
        "connected": at("connected"),
        "killed": at("killed"),
        "quick": at("quick"),
        "fingerprint": fingerprint(machine),
        "ring": RING_BYTES,
        "on_link_loss": machine.type.on_link_loss.value,
    }


def _motion(machine: Machine, at: Places) -> dict[str, Any] | None:
    for block in machine.type.blocks:
        if isinstance(block, GcodePrinter):
            return _printer(machine, at, block)
    steppers = [block for block in machine.type.blocks if isinstance(block, (Stepper, Servo))]
    joints = [block for block in machine.type.blocks if isinstance(block, Joint)]
    if machine.type.limits is None or not (steppers or joints):
        return None
    return {
        "clock_pin": machine.pins["i2s_clock"],
        "latch_pin": machine.pins["i2s_latch"],
        "data_pin": machine.pins["i2s_data"],
        "motors_pin": machine.pins["motors"],
        "run": at((steppers or joints)[0].run, command=True),
        **(_arm(machine, at, joints) if joints else {"axes": _axes(machine, at, steppers)}),
        **_probe(machine, at),
        "fingerprint": fingerprint(machine),
        "ring": RING_BYTES,
        "on_link_loss": machine.type.on_link_loss.value,
    }


def _probe(machine: Machine, at: Places) -> dict[str, Any]:
    for block in machine.type.blocks:
        if isinstance(block, Probe):
            return {"probe": {"pin": machine.pins[block.signal], "invert": block.invert, "touched": at(block.touched)}}
    return {}


def _servo(machine: Machine, block: Servo, first: int, last: int) -> dict[str, Any]:
    """Steps of the range's ends, and the duties there."""
    return {
        "pin": machine.pins[block.axis],
        "freq": round(1 / block.period),
        "duty": [round(65535 * pulse / block.period) for pulse in block.pulse],
        "first": first,
        "span": last - first,
        "silence": block.silence.value,
    }


def _axes(machine: Machine, at: Places, steppers: list[Stepper | Servo]) -> list[dict[str, Any]]:
    assert machine.type.limits is not None
    limits = machine.type.limits(machine.params)
    axes = []
    for index, stepper in enumerate(steppers):
        per_mm = limits.steps_per_mm[index]
        axis: dict[str, Any] = {"at": at(stepper.axis), "steps_per_unit": per_mm, "jerk": round(limits.jerk[index] * per_mm)}
        if isinstance(stepper, Servo):
            low, high = (round(end[index] * per_mm) for end in (limits.min_position, limits.max_position))
            axis["homing_rate"] = round(limits.homing_speed[index] * per_mm)
            axis["servo"] = _servo(machine, stepper, low, high)
        elif stepper.endstop is not None:
            axis["endstop"] = at(stepper.endstop)
            axis["endstop_pin"] = machine.pins[stepper.endstop]
            axis["homing_rate"] = round(limits.homing_speed[index] * per_mm)
            axis["travel"] = round(limits.max_position[index] * per_mm)
        axis["acceleration"] = round(limits.max_acceleration[index] * per_mm)
        axes.append(axis)
    return axes


def _arm(machine: Machine, at: Places, joints: list[Joint]) -> dict[str, Any]:
    """What the node of an arm is told beside; registers count thousandths of a degree."""
    assert machine.type.limits is not None and machine.type.steps is not None
    limits, steps = machine.type.limits(machine.params), machine.type.steps(machine.params)
    home = steps.of(np.array(limits.home))
    axes = []
    for index, joint in enumerate(joints):
        per_rad = steps.per_rad[index]
        axes.append(
            {
                "at": at(joint.axis),
                "steps_per_unit": math.radians(per_rad),
                "jerk": round(steps.homing_speed * per_rad / 10),
                "endstop": at(joint.cam),
                "endstop_pin": machine.pins[joint.cam],
                "homing_rate": round(steps.homing_speed * per_rad),
                "travel": round((limits.high[index] - limits.low[index]) * per_rad),
                "back": round(math.radians(per_rad)),
                "home": int(home[index]),
                "acceleration": round(limits.acceleration[index] * per_rad),
            }
        )
    blocks = machine.type.blocks
    return {
        "axes": axes,
        "order": list(steps.homing_order),
        "tripped": at(joints[0].tripped),
        "inputs": [at(block.signal) for block in blocks if isinstance(block, Input)],
        "valves": [{"pin": machine.pins[b.signal], "at": at(b.signal)} for b in blocks if isinstance(b, Valve)],
    }


def node_json(factory: Factory, node: Node) -> str:
    """The text of a node's `node.json`: everything the generic firmware must know of this factory."""
    blocks: list[dict[str, Any]] = []
    interlocks = []
    motion = None
    commands = []
    for machine in factory.on(node.name):
        at = Places(machine)
        commands.append([machine.base + at.status.size, encode(machine.type.command())])
        blocks += [made for block in machine.type.blocks if (made := block_entry(machine, at, block)) is not None]
        interlocks += [interlock_entry(at, rule) for rule in machine.type.interlocks]
        motion = motion or _motion(machine, at)
    return sealed(
        {
            "format": FORMAT,
            "node": node.name,
            "uid": node.uid,
            "map_hash": map_hash(factory, node.name),
            "link": _link(node),
            "network": node.network.json() if node.network else None,
            **({"repl": True} if node.repl else {}),
            "commands": commands,
            "blocks": blocks,
            "interlocks": interlocks,
            "motion": motion,
        }
    )


def _link(node: Node) -> dict[str, Any]:
    """How the controller reaches the node."""
    line = node.serial
    if line is None:
        return {"kind": "tcp", "host": node.host, "port": node.port, "unit": 1}
    return {
        "kind": "rtu",
        "uart": line.uart,
        **{"tx": line.tx, "rx": line.rx, "de": line.de},
        "baud": line.baud,
        "parity": {"none": None, "even": 0, "odd": 1}[line.parity],
        "stop": line.stop,
        "unit": line.unit,
    }


def sealed(config: Mapping[str, Any]) -> str:
    """The text of a node's configuration with the CRC-32 of all before it as its last entry: a flipped bit is found."""
    text = json.dumps({key: value for key, value in config.items() if key != "check"}, indent=1).removesuffix("\n}")
    return f'{text},\n "check": {zlib.crc32(text.encode())}\n}}\n'
