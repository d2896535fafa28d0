"""What a node's `node.json` says of a machine's blocks: its pins, and the registers that they are read from and written to."""

from typing import Any

from twin import node as node_block
from twin.blocks import REDUCED, Analog, Exclusive, Interlock, NeverBoth, Probe, Servo, Stall, Travel, Valve
from twin.factory import Machine
from twin.machine import Above, Accelerometer, Block, Counter, Drive, GcodePrinter, Heater, Input, Joint, Kept, Output, Stepper
from twin.units import MS, S
from twin.wire import Bit, Number, Signal, raw


class Places:
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
        """A Signal of the machine's by its name."""
        return (self.command if command else self.status)[name]


def block_entry(machine: Machine, at: Places, block: Block) -> dict[str, Any] | None:
    """A block's entry; None for one that is told as part of the motion."""
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


def _analog(machine: Machine, at: Places, block: Analog) -> dict[str, Any]:
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


def interlock_entry(at: Places, rule: Interlock) -> dict[str, Any]:
    """What must never be, by register."""
    beside = {"beside": at(rule.beside, command=True)} if isinstance(rule, NeverBoth) else {"when": at(rule.when)}
    return {"output": at(rule.output, command=True), **beside}


def _above(machine: Machine, at: Places, name: str, of: str, limit: float) -> dict[str, Any]:
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


def _kept(machine: Machine, at: Places, name: str, of: str) -> dict[str, Any]:
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


def _silence(at: Places, name: str) -> str:
    fallback = at.signal(name, command=True).on_silence
    return fallback.value if fallback else "off"
