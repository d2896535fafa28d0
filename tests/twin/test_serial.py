"""Nodes on a serial line in factory.toml: what is read, what is refused, and what their node.json holds."""

import json

import pytest

from tests.hil.faults.belts import ROOT, wired
from twin.clock import S
from twin.export import node_json
from twin.factory import Factory, FactoryError, parse
from twin.serial import Serial

LINE = """
[factory]
name = "line"
[cells.hall]
[nodes.a]
uid = 1
serial = "/dev/ttyUSB0"
[nodes.b]
uid = 2
serial = "/dev/ttyUSB0"
unit = 2
de = 4
[machines.b]
type = "conveyor"
cell = "hall"
node = "b"
base = 256
pins = { at_entry = 34, at_exit = 35, tripped = 32, run = 18, speed = 19 }
"""


def read(old: str = "", new: str = "") -> Factory:
    assert old in LINE
    return parse(LINE.replace(old, new, 1), ROOT)


def test_a_serial_node_has_the_formats_of_the_standard_unless_told() -> None:
    nodes = read().nodes
    assert nodes["a"].serial == Serial("/dev/ttyUSB0", unit=1, baud=115_200, parity="even", stop=1, uart=1, tx=17, rx=16, de=None)
    assert nodes["b"].serial is not None and (nodes["b"].serial.unit, nodes["b"].serial.de) == (2, 4)


def test_a_byte_takes_its_bits_on_the_line() -> None:
    assert Serial("p", 1).duration(256) == -(-256 * 11 * S // 115_200)
    assert Serial("p", 1, baud=9600, parity="none", stop=1).duration(96) == S // 10


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("unit = 2", "unit = 1", "nodes.b.unit: 1 is taken by nodes.a on /dev/ttyUSB0"),
        ("unit = 2", "unit = 248", "nodes.b.unit: must be a whole number from 1 to 247, not 248"),
        ("unit = 2", "unit = 2\nbaud = 9600", "nodes.b.baud: must be 115200 as of nodes.a, on the same line, not 9600"),
        ("unit = 2", 'unit = 2\nparity = "none"', "nodes.b.parity: must be 'even' as of nodes.a, on the same line, not 'none'"),
        ("unit = 2", "unit = 2\nstop = 2", "nodes.b.stop: must be 1 as of nodes.a, on the same line, not 2"),
        ("unit = 2", 'unit = 2\nparity = "mark"', "nodes.b.parity: must be one of none, even, odd, not 'mark'"),
        ("unit = 2", "unit = 2\nvirtual = true", "nodes.b.virtual: must be as of nodes.a: a line is virtual as a whole"),
        ("unit = 2", "unit = 2\nport = 502", "nodes.b.port: a node on a serial line has no address on a network"),
        ("de = 4", "de = 18", "machines.b.pins.run: GPIO 18 is taken by nodes.b.de"),
        ("de = 4", "de = 16", "nodes.b.de: GPIO 16 is taken by nodes.b.rx"),
        ('serial = "/dev/ttyUSB0"\n', "baud = 9600\n", "nodes.a.baud: only a node on a serial line has it, and there is no serial"),
    ],
)
def test_a_mistake_on_a_line_is_named_with_its_key(old: str, new: str, told: str) -> None:
    with pytest.raises(FactoryError) as refused:
        read(old, new)
    assert told in refused.value.mistakes


def test_units_may_repeat_on_another_line() -> None:
    other = LINE.replace('uid = 2\nserial = "/dev/ttyUSB0"\nunit = 2', 'uid = 2\nserial = "/dev/ttyUSB1"\nunit = 1\nbaud = 9600')
    assert parse(other, ROOT).nodes["b"].serial == Serial("/dev/ttyUSB1", 1, 9600, de=4)


def test_node_json_tells_the_node_its_line() -> None:
    factory = wired("a", "b")
    links = [json.loads(node_json(factory, node))["link"] for node in factory.nodes.values()]
    line = {"kind": "rtu", "uart": 1, "tx": 17, "rx": 16, "de": 4, "baud": 115_200, "parity": 0, "stop": 1}
    assert links == [line | {"unit": 1}, line | {"unit": 2}]
