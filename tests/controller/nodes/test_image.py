"""A node's image: what esptool and MicroPython take it for, and that the node in it starts."""

import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from controller.nodes import flash, image, stock
from hil import micropython
from tests.controller.nodes.conftest import START, Booted
from twin.factory import Factory
from twin.node import MAGIC, Slot


def esptool(*words: object) -> "subprocess.CompletedProcess[str]":
    argv = [sys.executable, "-m", "esptool", *map(str, words)]
    return subprocess.run(argv, check=False, capture_output=True, text=True, timeout=60)


def test_esptool_takes_the_image_for_one_of_an_esp32_and_merges_it(
    tmp_path: Path, factory: Factory, micropython_image: stock.Stock
) -> None:
    made = flash.make(factory, factory.nodes["belt-1"], micropython_image, None)
    path, merged = tmp_path / "image.bin", tmp_path / "merged.bin"
    path.write_bytes(made.data)
    told = esptool("image-info", path)
    assert told.returncode == 0 and told.stdout.count("(valid)") == 2, told.stdout + told.stderr
    assert "Chip ID: 0 (ESP32)" in told.stdout
    told = esptool("--chip", "esp32", "merge-bin", "--pad-to-size", "4MB", "-o", merged, "0x1000", path)
    assert told.returncode == 0, told.stdout + told.stderr
    assert merged.read_bytes() == b"\xff" * 0x1000 + made.data


def test_a_node_boots_from_the_file_system_in_its_image_and_says_who_it_is(
    in_vm: None, key: Path, factory: Factory, port: int, boot: Callable[..., Booted]
) -> None:
    made = flash.make(factory, factory.nodes["belt-1"], stock.read(None), key)
    offset = made.stock.files.offset - made.stock.chip.offset
    client = boot(made.data, offset, made.stock.files.size).client(port)
    assert client.ask(bytes.fromhex("2b0e0100")).startswith(b"\x2b\x0e\x01")
    status = client.status()
    assert (status.magic, status.uid, status.boot_id) == (MAGIC, 4711, 1)
    assert status.slot is Slot.A


def test_without_a_key_the_firmware_lies_beside_main_py_and_runs_too(
    in_vm: None, factory: Factory, port: int, boot: Callable[..., Booted]
) -> None:
    made = flash.make(factory, factory.nodes["belt-1"], stock.read(None), None)
    offset = made.stock.files.offset - made.stock.chip.offset
    assert boot(made.data, offset, made.stock.files.size).client(port).status().slot is Slot.NONE


def test_a_flipped_byte_in_the_slot_of_a_flashed_node_is_never_run(
    in_vm: None, key: Path, factory: Factory, boot: Callable[..., Booted]
) -> None:
    made = flash.make(factory, factory.nodes["belt-1"], stock.read(None), key)
    files = {**made.files, "a/node/app.mpy": made.files["a/node/app.mpy"][:-1] + b"\0"}
    one = boot(image.file_system(files, made.stock.files.size), 0, made.stock.files.size)
    assert one.says("lockstep: a/node/app.mpy: not as signed")


@pytest.mark.parametrize(("architecture", "number"), [("xtensawin", 10), ("rv32imc", 11), ("x64", 2)])
def test_native_code_is_made_for_the_chip_and_says_so_in_its_head(architecture: str, number: int) -> None:
    made = image.application(architecture)
    assert set(made) == {p.relative_to(image.FIRMWARE).as_posix()[:-3] + ".mpy" for p in (image.FIRMWARE / "node").rglob("*.py")}
    heads = {data[:2] for data in made.values()}
    assert heads == {b"M\x06"}, "bytecode of MicroPython 1.20 or later"
    assert {data[2] for data in made.values()} == {0, number << 2 | 3}, "no native code, or for this architecture, version 6.3"


def test_tracebacks_of_what_is_compiled_name_module_and_function_and_no_line(tmp_path: Path) -> None:
    (tmp_path / "bank.mpy").write_bytes(image.application("x64")["node/bank.mpy"])
    argv = [*micropython.command(), "-c", "import bank\nbank.Bank(1).bit(0, 'x')"]
    told = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert 'File "node/bank.py", line 1, in bit' in told.stderr, told.stderr


def test_the_same_node_makes_the_same_image_to_the_byte(factory: Factory, micropython_image: stock.Stock) -> None:
    one, other = (flash.make(factory, factory.nodes["belt-1"], micropython_image, None) for _ in range(2))
    assert one.data == other.data


def test_files_of_every_length_come_back_as_they_were_through_the_nodes_own_file_system(tmp_path: Path) -> None:
    files = {
        f"f{n}": bytes(k * 7 + n & 0xFF for k in range(n))
        for n in (0, 1, 31, 32, 33, 127, 128, 129, 500, 512, 513, 4095, 4097, 9000)
    }
    (tmp_path / "disk").write_bytes(image.file_system(files, 256 * 4096))
    code = START.read_text().partition("class Board")[0] + (
        "from binascii import crc32\n"
        "os.mount(os.VfsLfs2(Flash('disk', 0, 256 * 4096)), '/d')\n"
        "for name in os.listdir('/d'):\n"
        "    with open('/d/' + name, 'r+b') as file:\n"
        "        data = file.read()\n"
        "        file.write(b'more')\n"
        "    with open('/d/' + name, 'rb') as file:\n"
        "        print(name, len(data), crc32(file.read()))\n"
    )
    told = subprocess.run([*micropython.command(), "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    expected = {f"{name} {len(data)} {zlib.crc32(data + b'more')}" for name, data in files.items()}
    assert set(told.stdout.splitlines()) == expected
