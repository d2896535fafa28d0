"""What the firmware is given: register names, and a node's `node.json`."""

import json
import math
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from twin import node as node_block
from twin.blocks import REDUCED, Analog, Exclusive, Interlock, NeverBoth, Probe, Servo, Stall, Travel, Valve
from twin.factory import Factory, Machine, Node
from twin.machine import Above, Accelerometer, Block, Counter, Drive, GcodePrinter, Heater, Input, Joint, Kept, Output, Stepper
from twin.units import MS, S
from twin.wire import Bit, Layout, Number, Signal, encode, layout, raw

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


class _Places:
    """Absolute registers of a machine's Signals."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self.status, self.command = machine.type.layouts

    def __call__(self, name: str, command: bool = False) -> list[int]:
        """[register] of a number, [register, bit] of a bool."""
        shape = self.command if command else self.status
        binding = shape[name].binding
        at = self._machine.base + (self.status.size if command else 0) + binding.register
        return [at, binding.bit] if isinstance(binding, Bit) else [at]

    def signal(self, name: str, command: bool = False) -> Signal:
        return (self.command if command else self.status)[name]


def _block(machine: Machine, at: _Places, block: Block) -> dict[str, Any] | None:
    pins = machine.pins
    match block:
        case Input(signal, invert):
            return {"kind": "Input", "pin": pins[signal], "invert": invert, "at": at(signal)}
        case Output(signal, None):
            output = {"kind": "Output", "pin": pins[signal], "from": at(signal, command=True), "silence": _silence(at, signal)}
            back = {"kind": "CheckedOutput", "back_pin": pins[block.read_back]} if block.read_back else {}
            return output | back | _max_age(block)
        case Output(signal, job):
            return {"kind": "Output", "pin": pins[signal], "job": job, "at": at(signal), "full": raw(at.signal(signal), 1.0)}
        case Drive(run, speed, full, running):
            full_raw = raw(at.signal(speed, command=True), getattr(machine.params, full))
            return {
                "kind": "Drive",
                "run_pin": pins[run],
                "speed_pin": pins[speed],
                "run": at(run, command=True),
                "speed": at(speed, command=True),
                "full": full_raw,
                "running": at(running),
                "shown": at(speed) if speed in at.status else None,
                "silence": _silence(at, speed),
                "ramp": max(node_block.TICK_MS, round(block.ramp * 1000)),
                **_max_age(block),
            }
        case Counter(signal, of):
            return {"kind": "Counter", "pin": pins[of], "at": at(signal)}
        case Heater(name, permit):
            highest = at.signal(f"{name}_target").range
            assert highest is not None, f"{machine.type.name}: {name}_target needs a Range"
            limit = getattr(machine.params, f"max_{name}_temperature", highest.high)
            return {
                "kind": "Heater",
                "name": name,
                "heater_pin": pins[f"{name}_heater"],
                "sensor_pin": pins[f"{name}_sensor"],
                "temperature": at(f"{name}_temperature"),
                "target": at(f"{name}_target"),
                "power": at(f"{name}_power"),
                "permit": at(permit, command=True),
                "highest": round(limit * 10),
                "steady": round(block.steady * 1000),
            }
        case Analog():
            return _analog(machine, at, block)
        case Exclusive(first, second):
            return {"kind": "Exclusive", "first": at(first), "second": at(second)}
        case Travel(output, until, within, level):
            ways = {"output": at(output, command=True), "until": at(until), "level": level}
            return {"kind": "Travel", **ways, "within": round(within * 1000)}
        case Stall(signal):
            return {"kind": "Stall", "signal": at(signal)}
        case Accelerometer(name, bands, every, axis):
            reduced = [at.signal(f"{name}_{what}") for what in REDUCED]
            assert all(raw(signal, signal.size) == 100 for signal in reduced), f"{machine.type.name}: {name}_* count hundredths"
            return {
                "kind": "Accelerometer",
                "sda_pin": pins[f"{name}_sda"],
                "scl_pin": pins[f"{name}_scl"],
                "axis": axis,
                "every_ms": round(1000 * getattr(machine.params, every)),
                "bands": list(getattr(machine.params, bands)),
                "at": [at(signal.name)[0] for signal in reduced],
                "bursts": at(f"{name}_bursts"),
                "failed": at(f"{name}_failed"),
            }
        case Above(signal, of, limit):
            return _above(machine, at, signal, of, getattr(machine.params, limit))
        case Kept(signal, of):
            return _kept(machine, at, signal, of)
        case Probe(signal, _, invert):
            return {"kind": "Input", "pin": pins[signal], "invert": invert, "at": at(signal)}
        case Stepper() | Servo() | Joint() | Valve() | GcodePrinter():
            return None


def _max_age(block: Output | Drive) -> dict[str, int]:
    return {} if block.max_age is None else {"max_age": round(block.max_age * 1000)}


_READING_S = 0.1
_ANY = 1 << 29


def _analog(machine: Machine, at: _Places, block: Analog) -> dict[str, Any]:
    """Everything in the numbers that lie in the register; what stands there without a reading is none of the Range."""
    signal = at.signal(block.signal)
    binding, allowed = signal.binding, signal.range
    where = f"{machine.type.name}: {block.signal}"
    assert isinstance(binding, Number) and binding.words == 1 and binding.format in "hH", f"{where} must lie in one register"
    assert allowed is not None, f"{where} needs a Range"
    step = binding.step * signal.size
    low, high = round(allowed.low / step), round(allowed.high / step)
    bad = next((int(end) for end in binding.limits if not low <= end <= high), None)
    assert bad is not None, f"{where}: its Range leaves no number that says that there is no reading"
    assert block.counts[0] != block.counts[1], f"{where}: counts are one and the same"
    safe = block.safe or (allowed.low, allowed.high)
    fault = node_block.Fault.SUPPLY if block.supply else node_block.Fault.SENSOR
    return {
        "kind": "Analog",
        "pin": machine.pins[block.signal],
        "at": at(block.signal),
        "counts": list(block.counts),
        "raw": [round(value / step) for value in block.values],
        "wire": list(block.wire),
        "range": [low, high],
        "safe": [round(value / step) for value in safe],
        "jump": _ANY if block.rate is None else max(1, round(block.rate * _READING_S / step)),
        "steady": round(block.steady * 1000),
        "bad": bad,
        "blind": node_block.Fault.SENSOR if block.latches else node_block.Fault.NONE,
        "beyond": fault,
    }


def _interlock(at: _Places, rule: Interlock) -> dict[str, Any]:
    beside = {"beside": at(rule.beside, command=True)} if isinstance(rule, NeverBoth) else {"when": at(rule.when)}
    return {"output": at(rule.output, command=True), **beside}


def _above(machine: Machine, at: _Places, name: str, of: str, limit: float) -> dict[str, Any]:
    """Limits as they are in the registers; what lies outside the number's Range is no reading."""
    number = at.signal(of)
    assert number.range is not None, f"{machine.type.name}: {of} needs a Range"
    low, high = raw(number, number.range.low), raw(number, number.range.high)
    return {
        "kind": "Above",
        "of": at(of),
        "signed": low < 0,
        "low": low,
        "high": high,
        "limit": raw(number, limit),
        "clear": raw(number, limit * 0.9),
        "at": at(name),
    }


def _kept(machine: Machine, at: _Places, name: str, of: str) -> dict[str, Any]:
    """What of a bit or a number is one count; nothing, where settings of the bit are counted."""
    count, source = at.signal(name), at.signal(of)
    per = 0.0
    if not isinstance(source.binding, Bit):
        assert not isinstance(count.binding, Bit)
        per = 1000 * count.unit.size * count.binding.step / (source.unit.size * source.binding.step)
    elif count.unit in (S, MS):
        per = 1000 * count.unit.size
    assert per < 2**29, f"{machine.type.name}: {name} counts too much of {of} at a time"
    signed = not isinstance(source.binding, Bit) and source.binding.limits[0] < 0
    place = f"{machine.name}.{name}"
    return {"kind": "Kept", "name": place, "of": at(of), "signed": signed, "per": round(per), "at": at(name)}


def _silence(at: _Places, name: str) -> str:
    fallback = at.signal(name, command=True).on_silence
    return fallback.value if fallback else "off"


PRINTER_UART = 2
"""Of an ESP32: 0 is the console, 1 may be the node's link."""


def _printer(machine: Machine, at: _Places, block: GcodePrinter) -> dict[str, Any]:
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


def _motion(machine: Machine, at: _Places) -> dict[str, Any] | None:
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


def _probe(machine: Machine, at: _Places) -> dict[str, Any]:
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


def _axes(machine: Machine, at: _Places, steppers: list[Stepper | Servo]) -> list[dict[str, Any]]:
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


def _arm(machine: Machine, at: _Places, joints: list[Joint]) -> dict[str, Any]:
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
        at = _Places(machine)
        commands.append([machine.base + at.status.size, encode(machine.type.command())])
        blocks += [made for block in machine.type.blocks if (made := _block(machine, at, block)) is not None]
        interlocks += [_interlock(at, rule) for rule in machine.type.interlocks]
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
