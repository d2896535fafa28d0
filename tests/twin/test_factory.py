"""factory.toml: what is right is read, and every mistake is named with its key, its value and what is allowed."""

import itertools
import json
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin import export, reference
from twin.factory import Factory, FactoryError, parse, read
from twin.machine import make_params, params_of
from twin.machines.printer.spec import Params
from twin.recipes import Step

ROOT = Path(__file__).resolve().parents[2]
SHOP = ROOT / "tests" / "controller" / "shop.toml"
TEXT = SHOP.read_text(encoding="utf-8")


def mistakes(text: str, folder: Path = SHOP.parent) -> tuple[str, ...]:
    with pytest.raises(FactoryError) as caught:
        parse(text, folder)
    assert str(caught.value) == "\n".join(caught.value.mistakes)
    return caught.value.mistakes


def changed(old: str, new: str, text: str = TEXT) -> str:
    assert old in text
    return text.replace(old, new, 1)


def test_a_factory_is_read() -> None:
    factory = read(SHOP)
    assert isinstance(factory, Factory)
    assert tuple(factory.machines) == ("printer-1", "belt-1")
    assert factory.machines["printer-1"].type.name == "printer"
    assert [machine.name for machine in factory.on("belt-1")] == ["belt-1"]
    assert [machine.name for machine in factory.capable("convey")] == ["belt-1"]
    assert factory.handovers[0].duration_s == 20
    assert factory.recipes["print-and-convey"].operations == (Step("print"), Step("convey"))
    assert factory.machines["printer-1"].params.max_speed == pytest.approx((0.3, 0.3, 0.012, 0.12))


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('name = "shop"', 'nom = "shop"', "factory.nom: unknown key; allowed are name, scan_ms, opcua_port"),
        ("scan_ms = 100", "scan_ms = 5", "factory.scan_ms: must be a whole number from 20 to 200, not 5"),
        ("scan_ms = 100", "scan_ms = true", "factory.scan_ms: must be a whole number from 20 to 200, not True"),
        ("uid = 1", "uid = 0", "nodes.printer-1.uid: must be a whole number from 1 to 4294967295, not 0"),
        ("virtual = true", 'virtual = "yes"', "nodes.printer-1.virtual: must be true or false, not 'yes'"),
        ('type = "printer"', 'type = "plotter"', "machines.printer-1.type: must be one of arm, conveyor, extractor,"),
        ('cell = "print-shop"', 'cell = "hall"', "machines.printer-1.cell: must be one of print-shop, not 'hall'"),
        ('node = "belt-1"', 'node = "belt"', "machines.belt-1.node: must be one of printer-1, belt-1, not 'belt'"),
        ("base = 256", "base = 10", "machines.printer-1.base: must be a whole number from 256 to 1023, not 10"),
        ("x_endstop = 34", "x_stop = 34", "machines.printer-1.pins.x_endstop: missing; the type needs pins"),
        ("x_endstop = 34", "x_endstop = 40", "machines.printer-1.pins.x_endstop: must be a whole number from 0 to 39, not 40"),
        ("fan = 18", "fan = 17", "machines.printer-1.pins.fan: GPIO 17 is taken by machines.printer-1.pins.bed_heater"),
        ('by = "hand"', 'by = "drone"', "handovers[0].by: must be one of belt, hand, arm, not 'drone'"),
        ('to = "belt-1"', 'to = "belt"', "handovers[0].to: must be one of printer-1, belt-1, not 'belt'"),
        ("duration_s = 20", "duration_s = -1", "handovers[0].duration_s: must be a number from 0 to 86400, not -1"),
        ('"convey"]', '"weld"]', "recipes.print-and-convey.operations[1]: must be one of print, convey, not 'weld'"),
        ("uid = 2", "uid = 1", "nodes.belt-1.uid: 1 is taken by nodes.printer-1"),
        ("port = 15022", "port = 15021", "nodes.belt-1.port: ('127.0.0.1', 15021) is taken by nodes.printer-1"),
        ("pose = [0.3, 0.0,", "pose = [0.3,", "machines.belt-1.pose: must be a list of x, y, z [m] and roll, pitch, yaw [rad]"),
        ("[cells.print-shop]", "[cells.Print_Shop]", "cells.Print_Shop: a name is made of a-z, 0-9, - and _"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_key_and_what_is_allowed(old: str, new: str, told: str) -> None:
    assert any(line.startswith(told) for line in mistakes(changed(old, new)))


@pytest.mark.parametrize("scan_ms", ["0", "50", "250", "1100", "true", '"slow"'])
def test_a_node_s_own_scan_is_a_multiple_of_the_factory_s_and_a_second_at_most(scan_ms: str) -> None:
    told = f"must be a multiple of factory.scan_ms, from 100 to 1000, not {tomllib.loads(f'x = {scan_ms}')['x']!r}"
    assert mistakes(changed("uid = 1", f"uid = 1\nscan_ms = {scan_ms}")) == (f"nodes.printer-1.scan_ms: {told}",)


@pytest.mark.parametrize(("scan_ms", "lease_ms"), [(20, 500), (100, 500), (200, 1000), (500, 2500), (1000, 5000)])
def test_a_node_is_leased_for_five_of_its_own_scans_and_for_half_a_second_at_least(scan_ms: int, lease_ms: int) -> None:
    text = changed("scan_ms = 100", "scan_ms = 20", changed("uid = 1", f"uid = 1\nscan_ms = {scan_ms}"))
    nodes = parse(text, SHOP.parent).nodes
    assert (nodes["printer-1"].scan_ms, nodes["printer-1"].lease_ms) == (scan_ms, lease_ms)
    assert (nodes["belt-1"].scan_ms, nodes["belt-1"].lease_ms) == (20, 500), "the factory's unless told"


def test_several_mistakes_are_named_at_once() -> None:
    text = changed("scan_ms = 100", "scan_ms = 1")
    text = changed('by = "hand"', 'by = "wing"', text)
    text = changed("uid = 2", "uid = 1", text)
    found = mistakes(text + "\n[extra]\n")
    for key in ("factory.scan_ms", "handovers[0].by", "nodes.belt-1.uid", "extra"):
        assert any(line.startswith(key + ":") for line in found), key
    assert len(found) == 4


def test_overlapping_registers_are_named_with_the_first_free_one() -> None:
    belt = TEXT[TEXT.index("[machines.belt-1]") : TEXT.index("[[handovers]]")]
    second = belt.replace("belt-1]", "belt-2]").replace("base = 256", "base = 258")
    for old, new in (("34", "4"), ("35", "5"), ("= 32", "= 6"), ("16", "7"), ("17", "8")):
        second = second.replace(old, new)
    told = "machines.belt-2.base: 258 overlaps machines.belt-1, which takes registers 256 to 260; the first free one is 261"
    assert mistakes(TEXT + second) == (told,)
    parse(TEXT + second.replace("base = 258", "base = 261"), SHOP.parent)


def test_registers_beyond_the_last_one_are_named() -> None:
    at_end = changed("base = 256", "base = 1010")
    assert any("machines.printer-1.base" in line and "1023" in line for line in mistakes(at_end))


def test_params_out_of_range_are_named_with_their_unit() -> None:
    text = TEXT + "\n[machines.printer-1.params]\nmax_hotend_temperature = 900\n"
    told = mistakes(text)[0]
    assert told == "machines.printer-1.params: max_hotend_temperature: 900 is outside 50 to 450 °C"
    told = mistakes(TEXT + "\n[machines.printer-1.params]\nsize = [1, 2]\n")[0]
    assert "size: must be a list of 3 numbers" in told
    told = mistakes(TEXT + "\n[machines.printer-1.params]\ncolour = 1\n")[0]
    assert "colour: unknown; allowed are steps_per_mm" in told


def test_what_is_not_toml_and_what_is_not_there_are_factory_errors(tmp_path: Path) -> None:
    assert "not TOML" in mistakes("[factory")[0]
    with pytest.raises(FactoryError, match=r"missing\.toml: cannot be read"):
        read(tmp_path / "missing.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(FactoryError, match=r"cannot be read"):
        read(tmp_path / "binary.toml")


@given(st.sampled_from(TEXT.splitlines()), st.text("[]={}\"'#.-_ab1\n", max_size=6))
def test_a_broken_file_is_a_list_of_mistakes_and_never_anything_else(line: str, instead: str) -> None:
    try:
        parse(TEXT.replace(line, instead, 1), SHOP.parent)
    except FactoryError as error:
        assert error.mistakes and all(error.mistakes)


NUMBERS = itertools.count()
LAMP = {
    "spec": """
from typing import Annotated as A
from twin.machine import Input, Output
from twin.wire import OFF, Bit, OnSilence, record

CAPABILITIES = ("shine",)

@record
class Status:
    lit: A[bool, Bit(0, 0)]

@record
class Command:
    on: A[bool, OnSilence(OFF), Bit(0, 0)] = False

BLOCKS = (Output("on"), Input("lit"))
""",
    "control": """
from .spec import Command

def decide(sample, wish, params, now):
    return Command(on=wish.go), ()
""",
}
LAMP_TOML = """
[types.lamp]
path = "FOLDER"

[machines.lamp-1]
type = "lamp"
cell = "print-shop"
node = "belt-1"
base = 300
pins = { on = 2, lit = 4 }
"""


def lamp(folder: Path, path: str = "", **files: str) -> tuple[str, Path]:
    """The demo and a lamp: (text, folder). The type's folder has a name of its own, unless `path` says which."""
    path = path or f"types/lamp-{next(NUMBERS):04}"
    (folder / path).mkdir(parents=True)
    for name, text in {**LAMP, **files}.items():
        (folder / path / f"{name}.py").write_text(text)
    return TEXT + LAMP_TOML.replace("FOLDER", path), folder


def test_a_lamp_from_a_folder_outside_the_package_is_a_type_like_any_other(tmp_path: Path) -> None:
    factory = parse(*lamp(tmp_path))
    machine = factory.machines["lamp-1"]
    assert machine.type.capabilities == ("shine",)
    assert machine.type.pins == ("on", "lit")
    assert [m.name for m in factory.on("belt-1")] == ["belt-1", "lamp-1"]
    config = json.loads(export.node_json(factory, factory.nodes["belt-1"]))
    assert {"kind": "Output", "pin": 2, "from": [301, 0], "silence": "off"} in config["blocks"]
    assert {"kind": "Input", "pin": 4, "invert": False, "at": [300, 0]} in config["blocks"]
    assert "| 0.0 | `lit` |" in reference.table(machine.type.layouts[0])


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"spec": LAMP["spec"].replace("class Status", "class State")}, "machine type 'lamp': spec.py has no Status"),
        ({"spec": LAMP["spec"].replace('Input("lit")', 'Input("dark")')}, "Status has no field 'dark' that its tables name"),
        ({"spec": LAMP["spec"].replace(" = False", "")}, "Command.on has no default, so no safe state"),
        ({"spec": LAMP["spec"].replace("lit: A[bool, Bit(0, 0)]", "lit: A[bool, Bit(0, 99)]")}, "bit 99 does not exist"),
    ],
)
def test_a_type_that_does_not_hold_together_is_named_at_the_machine(
    tmp_path: Path, files: dict[str, str], told: str
) -> None:
    found = mistakes(*lamp(tmp_path, **files))
    assert any(line.startswith("machines.lamp-1.type: ") and told in line for line in found), found


def test_two_folders_of_the_same_name_are_two_types(tmp_path: Path) -> None:
    one = parse(*lamp(tmp_path / "one", "in-a/hall/lamp"))
    other = parse(*lamp(tmp_path / "other", "in-a/hall/lamp", spec=LAMP["spec"].replace("shine", "glow")))
    assert one.machines["lamp-1"].type.capabilities == ("shine",)
    assert other.machines["lamp-1"].type.capabilities == ("glow",)


def test_a_type_whose_folder_is_not_there_is_named(tmp_path: Path) -> None:
    assert any("has no spec.py" in line for line in mistakes(TEXT + LAMP_TOML, tmp_path))


def test_a_type_may_not_take_the_name_of_a_built_in_one(tmp_path: Path) -> None:
    text, folder = lamp(tmp_path)
    found = mistakes(text.replace("types.lamp", "types.printer"), folder)
    assert "types.printer: this name belongs to a built-in type" in found


def test_the_map_hash_changes_with_the_map_and_with_nothing_else() -> None:
    here = read(SHOP)
    again = read(SHOP)
    moved = parse(changed("base = 256", "base = 260"), SHOP.parent)
    renamed = parse(changed('name = "shop"', 'name = "other"'), SHOP.parent)
    assert export.map_hash(here, "printer-1") == export.map_hash(again, "printer-1")
    assert export.map_hash(here, "printer-1") == export.map_hash(renamed, "printer-1")
    assert export.map_hash(here, "printer-1") != export.map_hash(moved, "printer-1")
    assert export.map_hash(here, "belt-1") == export.map_hash(moved, "belt-1")


def test_the_registers_of_the_firmware_are_those_of_the_records() -> None:
    assert (ROOT / "firmware" / "node" / "registers.py").read_text(encoding="utf-8") == export.registers()


def test_params_are_written_in_their_units_and_held_in_si() -> None:
    made = make_params(Params, {"size": [100, 200, 300], "max_bed_temperature": 90})
    assert made.size == pytest.approx((0.1, 0.2, 0.3))
    assert made.max_bed_temperature == 90.0
    assert {param.name for param in params_of(Params)} >= {"size", "jerk", "steps_per_mm"}


def test_two_machines_that_play_jobs_are_refused_on_one_node() -> None:
    text = SHOP.read_text(encoding="utf-8")
    printer = text[text.index("[machines.printer-1]") : text.index("[machines.belt-1]")].replace("printer-1]", "printer-2]")
    printer = printer.replace("[machines.printer-1.pins]", "[machines.printer-2.pins]").replace("base = 256", "base = 300")
    with pytest.raises(FactoryError) as wrong:
        parse(text + "\n" + printer, ROOT)
    assert "machines.printer-2.node: printer-1 plays the Jobs of machines.printer-1 already" in wrong.value.mistakes


@pytest.mark.parametrize("value", ["5", '"x"', "[1]"])
def test_a_table_that_is_none_is_named(value: str) -> None:
    with pytest.raises(FactoryError) as wrong:
        parse(f"machines = {value}\nnodes = {value}\n[factory]\nname = 'f'\n", ROOT)
    assert any(m.startswith("machines: must be a table") for m in wrong.value.mistakes)


def test_a_node_may_have_a_firmware_of_its_own(tmp_path: Path) -> None:
    text = 'uid = 1\nport = 1\nvirtual = true\n'
    whole = f'[factory]\nname = "f"\n[cells.c]\n[nodes.n]\n{text}[nodes.m]\nuid = 2\nfirmware = "mine"\n'
    (told,) = mistakes(whole, tmp_path)
    assert told == f"nodes.m.firmware: must be a folder with a main.py; there is none in {tmp_path / 'mine'}"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "main.py").touch()
    nodes = parse(whole, tmp_path).nodes
    assert (nodes["n"].firmware, nodes["m"].firmware) == (None, tmp_path / "mine")
    assert mistakes(whole.replace('"mine"', "3"), tmp_path)[0] == "nodes.m.firmware: must be a text, not 3"
