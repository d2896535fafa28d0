"""The page of wiring is that of the demo's file, and what cannot be wired is refused."""

from pathlib import Path
from typing import get_args

import pytest

from controller.nodes import wiring
from twin import blocks
from twin.chips import CHIPS
from twin.factory import BUILT_IN_TYPES, FactoryError, parse, read
from twin.machine import load
from twin.pins import Use, doubtful, impossible, uses

PAGE = Path(__file__).resolve().parents[3] / "docs" / "reference" / "wiring.md"
DEMO = wiring.DEMO.read_text(encoding="utf-8")


def test_the_page_of_wiring_is_what_the_demos_file_makes() -> None:
    made = "python -m controller.nodes.wiring > docs/reference/wiring.md"
    assert PAGE.read_text(encoding="utf-8") == wiring.page(read(wiring.DEMO)), made


def test_every_pin_that_a_type_names_has_a_use() -> None:
    for name in BUILT_IN_TYPES:
        kind = load(name)
        assert {pin.name for pin in uses(kind.blocks)} == set(kind.pins), name


def test_every_kind_of_block_is_known_here() -> None:
    """A block whose pins nobody has described would be missing on the page."""
    text = Path(wiring.__file__).parents[2].joinpath("twin", "pins.py").read_text(encoding="utf-8")
    for kind in get_args(blocks.Block):
        fields = dict.fromkeys(kind.__dataclass_fields__, "x")
        if blocks.pins_of((kind(**fields),)):
            assert f"case {kind.__name__}(" in text, kind.__name__


def test_the_demo_could_be_built_of_boards() -> None:
    made = parse(DEMO.replace("virtual = true\n", ""), wiring.DEMO.parent)
    assert not any(node.virtual for node in made.nodes.values())


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            "speed = 17",
            "speed = 37",
            "machines.belt-1.pins.speed: GPIO 37 cannot be used (out, PWM) on an esp32: it is an input only",
        ),
        ("motors = 19", "motors = 6", "GPIO 6 cannot be used (out, level) on an esp32: its flash is wired there"),
        ("hotend_sensor = 36", "hotend_sensor = 23", "(in, analogue) on an esp32: no voltage can be read there"),
        ("at_entry = 34", "at_entry = 28", "GPIO 28 cannot be used (in, level) on an esp32: the chip has no such pin"),
        ("uid = 2", 'uid = 2\nchip = "esp32c3"', "GPIO 34 cannot be used (in, level) on an esp32c3: the chip has no such pin"),
        ("uid = 2", 'uid = 2\nchip = "esp8266"', "nodes.belt-1.chip: must be one of esp32, esp32s2, esp32s3, esp32c3, esp32c6"),
    ],
)
def test_a_pin_that_cannot_do_it_is_a_mistake_on_a_board_and_none_in_a_vm(old: str, new: str, told: str) -> None:
    text = DEMO.replace(old, new)
    with pytest.raises(FactoryError) as found:
        parse(text.replace("virtual = true\n", ""), wiring.DEMO.parent)
    assert any(told in mistake for mistake in found.value.mistakes), found.value.mistakes
    if "chip" not in told.partition(":")[0]:
        parse(text, wiring.DEMO.parent)


def test_a_voltage_that_wifi_would_hide_is_a_mistake_where_there_is_wifi() -> None:
    text = DEMO.replace("virtual = true\n", "").replace("hotend_sensor = 36", "hotend_sensor = 4")
    parse(text, wiring.DEMO.parent)
    with pytest.raises(FactoryError, match=r"GPIO 4 cannot be used .* while Wi-Fi is on"):
        parse(text + '[nodes.printer-1.network]\nkind = "wifi"\nssid = "s"\npassword_file = "p"\n', wiring.DEMO.parent)


def test_what_is_to_be_minded_at_a_pin_is_told() -> None:
    chip = CHIPS["esp32"]
    assert doubtful(chip, 12, Use.LEVEL).startswith("strapping; while the chip starts: low")
    assert doubtful(chip, 1, Use.LEVEL).startswith("the console is there")
    assert doubtful(chip, 27, Use.VOLTAGE) == "no reading while Wi-Fi is on"
    assert doubtful(chip, 34, Use.SWITCH).startswith("no pull resistor")
    assert doubtful(chip, 16, Use.LEVEL) == ""


def test_a_chips_pins_do_not_contradict_each_other() -> None:
    for chip in CHIPS.values():
        for some in (chip.inputs_only, chip.flash, set(chip.strapping), chip.analogue, chip.analogue_without_wifi, chip.console):
            assert some <= chip.gpio
        assert not chip.analogue & chip.analogue_without_wifi and not chip.flash & (chip.analogue | chip.console)
        assert all(impossible(chip, gpio, Use.LEVEL) == "" for gpio in chip.console)
