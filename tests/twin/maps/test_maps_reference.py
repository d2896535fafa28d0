"""The page of Maps is what the parser says, and its examples are read."""

import argparse
import re
from pathlib import Path

import pytest

from controller.modbus import importing
from hil.devices.devices import simulation
from twin.clock import Ns, S
from twin.factory import PACKAGED_MAPS, FactoryError, read
from twin.maps.reference import page
from twin.maps.table import parse

DOCS = Path(__file__).resolve().parents[3] / "docs"
PAGE = DOCS / "reference" / "maps.md"
HOW_TO = DOCS / "how-to" / "add-a-modbus-device.md"


def examples(path: Path, form: str) -> list[str]:
    return re.findall(rf"```{form}\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)


def test_the_page_of_maps_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "python -m twin.maps.reference > docs/reference/maps.md"


@pytest.mark.parametrize("form", ["csv", "toml"])
def test_the_page_s_examples_can_be_read(form: str) -> None:
    (text,) = examples(PAGE, form)
    made = parse(text, f"heater.{form}")
    assert made.name == "heater"
    assert made["state"].signal.type.__name__ == "State"


def test_the_how_to_s_map_reads_the_simulated_meter_as_the_packaged_one_does(tmp_path: Path) -> None:
    (tmp_path / "my-meter.csv").write_text(examples(HOW_TO, "csv")[0], encoding="utf-8")
    (tmp_path / "factory.toml").write_text(examples(HOW_TO, "toml")[0], encoding="utf-8")
    mine = read(tmp_path / "factory.toml").mirrored["meter"].map
    packaged = parse((PACKAGED_MAPS / "sdm630.csv").read_text(encoding="utf-8"), "sdm630.csv")
    device = simulation(read(tmp_path / "factory.toml").mirrored["meter"], lambda: Ns(60 * S))
    assert device.id == 1
    for row in mine.signals:
        assert (row.place, row.signal.unit) == (packaged[theirs(row.name)].place, packaged[theirs(row.name)].signal.unit)
    with pytest.raises(FactoryError, match=r"my-meter\.csv:5: signal l1_voltage: unit: 'Volt' is unknown"):
        text = examples(HOW_TO, "csv")[0].replace("float32,V,", "float32,Volt,")
        (tmp_path / "my-meter.csv").write_text(text, encoding="utf-8")
        read(tmp_path / "factory.toml")


def theirs(name: str) -> str:
    """What the packaged Map calls it."""
    return {"energy": "energy_import"}.get(name, name)


def test_the_how_to_s_imports_can_be_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    importing.add_to(parser.add_subparsers())
    source, target = tmp_path / "hall.conf", tmp_path / "hall.csv"
    source.write_text(
        '[[inputs.modbus]]\nname = "Machine Hall"\ncontroller = "tcp://10.0.0.5:1502"\ncoils = [{ name = "run", address = [4] }]\n'
    )
    words = ["import", "telegraf", str(source), "--device", "Machine Hall"]
    options = parser.parse_args([*words, "--output", str(target)])
    assert options.do(options) == 0
    assert parse(target.read_text(encoding="utf-8"), "hall.csv")["run"].place.address == 4
    assert 'host = "10.0.0.5", port = 1502' in capsys.readouterr().err
    for wrong, said in (
        (["--output", "x.txt"], "x.txt: must end in"),
        (["--device", "Other"], "there must be one, or its name given"),
    ):
        options = parser.parse_args([*words, *wrong])
        assert options.do(options) == 1
        assert said in capsys.readouterr().err
