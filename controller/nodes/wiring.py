"""The docs' page of wiring, read off the demo's file: `python -m controller.nodes.wiring > docs/reference/wiring.md`."""

from collections.abc import Iterator
from pathlib import Path

from twin.blocks import Joint, Servo, Stepper
from twin.chips import CHIPS
from twin.factory import Factory, Machine, Node, read
from twin.pins import doubtful, impossible, uses

DEMO = Path(__file__).resolve().parents[1] / "demo" / "factory.toml"

HEAD = """# Wiring of the demo's machines

<!-- Generated from controller/demo/factory.toml, twin/pins.py and twin/chips.py by `python -m controller.nodes.wiring`: do not
edit by hand. -->

**Not measured on silicon.** What the pins of a chip can do is read in Espressif's datasheets, how they are wired follows from what
the firmware does with them; nobody has built these machines from this page. The demo's nodes are virtual; the tables say what
`factory.toml` would mean on a board.

## What must be hard-wired

The firmware stops what it can, and is not a safety device. What it cannot be trusted with must not need it:

- **Emergency stop**: a button with contacts that open by force, in a circuit of its own, that takes the power from motors and
  heaters (a safety relay, a contactor). The node may read it, as an `Input`; nothing depends on that.
- **A thermal cut-out on every heater** (a thermal fuse or bimetal switch, in series with the heater and in contact with it): a
  transistor that has failed conducts, and no program can switch it off.
- **A fuse for every supply**, sized for its wire.
- **An arm's brakes and its drives' own monitoring**; what an arm may do beside people is a matter of a risk assessment
  (ISO 10218-1), which this project does not make.
- **End switches that stop a drive by themselves** where running into the end breaks something.

## For every pin

- A GPIO of an ESP32 takes and gives 3.3 V, and no 5 V or 24 V: put a divider, a level shifter or an optocoupler between. It gives
  some 20 mA: a relay, a valve, a heater or a motor takes a transistor or a driver in between, and a coil a diode across it.
- All pins float from power-on until the firmware runs, about a second, and again after each reset. So an output takes a resistor
  (10 kΩ to ground) that keeps what it switches off.
- The firmware switches no pull resistor of the chip on: an input takes one outside, 10 kΩ to 3.3 V or to ground.
- Ground of the node, of the sensors and of what is switched meet in one point; nothing that carries a motor's or a heater's
  current is the way of a sensor's.
- Espressif vouches for readings of an ESP32's ADC from 0.15 to 2.45 V only (at 11 dB, which the firmware uses). A thermistor of
  100 kΩ behind 4.7 kΩ lies above that below 76 °C, and at 25 °C at 3.15 V of 3.3 V: what a board reads there, and that a cold
  thermistor is not taken for a broken wire, must be seen on silicon before anything is heated.
"""


def page(factory: Factory) -> str:
    """The whole page, in Markdown."""
    return "\n".join(_page(factory)) + "\n"


def _page(factory: Factory) -> Iterator[str]:
    yield HEAD
    for node in factory.nodes.values():
        machines = factory.on(node.name)
        yield f"## {node.name}\n\nAn {node.chip.upper()}, {_reached(node)}.\n"
        yield from _line(node)
        for machine in machines:
            yield from _machine(machine, node)


def _reached(node: Node) -> str:
    if node.serial is None:
        return f"reached over the network at {node.host}:{node.port}"
    return f"reached over a serial line, unit {node.serial.unit}, {node.serial.baud} baud, parity {node.serial.parity}"


def _line(node: Node) -> Iterator[str]:
    line = node.serial
    if line is None:
        return
    yield "| GPIO | pin | direction | wiring |\n|---|---|---|---|"
    yield f"| {line.tx} | `tx` | out, serial | DI of the RS-485 transceiver |"
    yield f"| {line.rx} | `rx` | in, serial | RO of the transceiver, at 3.3 V |"
    if line.de is not None:
        yield f"| {line.de} | `de` | out, level | DE and /RE of the transceiver; 10 kΩ to ground |"
    yield "\n120 Ω between A and B at both ends of the line; its ground goes along.\n"


def _machine(machine: Machine, node: Node) -> Iterator[str]:
    chip = CHIPS[node.chip]
    yield f"### {machine.name}: {machine.type.name}\n"
    yield "| GPIO | pin | direction | wiring | mind |\n|---|---|---|---|---|"
    for pin in sorted(uses(machine.type.blocks), key=lambda pin: machine.pins[pin.name]):
        gpio = machine.pins[pin.name]
        mind = impossible(chip, gpio, pin.use) or doubtful(chip, gpio, pin.use)
        yield f"| {gpio} | `{pin.name}` | {pin.use.value} | {pin.wiring} | {mind} |"
    yield ""
    axes = [b.axis for b in machine.type.blocks if isinstance(b, (Stepper, Servo, Joint))]
    if axes:
        yield _shifted(axes)


def minded(factory: Factory, node: Node) -> list[str]:
    """What to mind at the pins of a node, a line each."""
    chip = CHIPS[node.chip]
    found = []
    for machine in factory.on(node.name):
        for pin in uses(machine.type.blocks):
            gpio = machine.pins[pin.name]
            if mind := doubtful(chip, gpio, pin.use):
                found.append(f"mind GPIO {gpio}, {machine.name}.{pin.name}: {mind}")
    return found


def _shifted(axes: list[str]) -> str:
    bits = "; ".join(f"{2 * k} and {2 * k + 1} `{axis}`" for k, axis in enumerate(axes))
    return (
        f"Step and direction of each axis are two bits of the step stream, at the outputs of the 74HC595s: {bits}. "
        "How the stream is latched, and what is still to be seen on silicon: "
        "[0008](../decisions/0008-steps-through-one-i2s-stream.md).\n"
    )


if __name__ == "__main__":
    print(page(read(DEMO)), end="")
