"""What waits until a node rests, and what only one that was tried may become: the restart, the confirmation, an update's blocks."""

import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from hil import micropython
from tests.firmware.alone import Ticks, load
from tests.firmware.rig import FIRMWARE

MACHINE = dict.fromkeys("ADC I2S PWM WDT Pin reset reset_cause unique_id".split())


class Kept:
    """An Upkeep with what it looks at, and what it did."""

    def __init__(self) -> None:
        self.ticks = Ticks()
        self.slots, bank, self.reg = load("slots", "bank", "registers", ticks=self.ticks, machine=MACHINE)
        self.did: list[str] = []
        self.slots.pins.reset = lambda: self.did.append("reset")
        self.motion = SimpleNamespace(running=False)
        self.bank = bank.Bank(1024)
        node = SimpleNamespace(
            bank=self.bank,
            motion=self.motion,
            safety=SimpleNamespace(commands=SimpleNamespace(idle=True)),
            use=SimpleNamespace(end=lambda: None),
            rest=lambda: self.did.append("rest"),
        )
        self.upkeep = self.slots.Upkeep(node, None)

    def look(self) -> None:
        self.ticks.us += 400_000
        self.upkeep.slow(100)


def test_no_job_starts_between_the_command_to_restart_and_the_restart() -> None:
    kept = Kept()
    assert kept.upkeep.restart(0) == 0
    assert kept.motion.start(7) == kept.reg.REASON_BUSY
    kept.look()
    assert kept.did == ["rest", "reset"]


def test_a_restart_is_forgotten_when_something_moves_as_it_is_due() -> None:
    kept = Kept()
    assert kept.upkeep.restart(0) == 0
    kept.motion.running = True
    kept.look()
    kept.motion.running = False
    kept.look()
    assert kept.did == [] and not hasattr(kept.motion, "start")


def test_a_node_that_moves_confirms_nothing_and_one_without_room_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Kept()
    kept.bank.put_bit(kept.reg.S_UNCONFIRMED, kept.reg.S_UNCONFIRMED_BIT, 1)
    kept.motion.running = True
    assert kept.upkeep.confirm(0) == kept.reg.REASON_BUSY
    kept.motion.running = False
    stand_in(monkeypatch, confirm=no_room)
    assert kept.upkeep.confirm(0) == kept.reg.REASON_NO_SPACE


def no_room() -> None:
    raise MemoryError


def stand_in(monkeypatch: pytest.MonkeyPatch, **holds: Any) -> None:
    package, update = ModuleType("node"), ModuleType("node.update")
    vars(update).update(holds)
    vars(package).update(update=update)
    monkeypatch.setitem(sys.modules, "node", package)
    monkeypatch.setitem(sys.modules, "node.update", update)


def windowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ring: int) -> tuple[Any, Any, Callable[..., int], Any]:
    """A transfer window over a real store, with a sink in the place of an update's."""
    monkeypatch.chdir(tmp_path)
    transfer, store, bank, reg = load("transfer", "store", "bank", "registers", machine=MACHINE)
    monkeypatch.setattr(store.os, "ilistdir", lambda: [], raising=False)
    monkeypatch.setattr(store, "BLOCK", 1024)
    kept = store.Store(bank.Bank(1024), ring)
    window = transfer.Window(kept._bank, kept)
    sink = SimpleNamespace(there=False, room=lambda _: True, put=lambda _: None, finish=lambda: None, drop=lambda: None)
    stand_in(monkeypatch, sink=lambda *_: sink, Refusal=KeyError)

    def write(op: int, kind: int, body: bytes) -> int:
        head = struct.pack(">HHIIHHI", op, kind, 1, 0, len(body), 0, zlib.crc32(body))
        done: int = window.write(head.ljust(2 * reg.TRANSFER_HEAD, b"\0") + body)
        return done

    return window, kept, write, reg


def test_no_block_of_an_update_is_taken_while_the_node_moves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    window, kept, write, reg = windowed(tmp_path, monkeypatch, 0)
    window.resting = lambda: True
    write(reg.TRANSFER_OP_BEGIN, reg.TRANSFER_KIND_CONFIG, struct.pack(">I", 400) + bytes(32))
    window.resting = lambda: False
    assert write(reg.TRANSFER_OP_DATA, reg.TRANSFER_KIND_CONFIG, bytes(100)) == 6
    window.resting = lambda: True
    assert write(reg.TRANSFER_OP_DATA, reg.TRANSFER_KIND_CONFIG, bytes(100)) == 0
    assert kept._bank.u32(reg.S_TRANSFER_RECEIVED) == 100


@pytest.mark.parametrize("room", [True, False])
def test_a_streamed_job_takes_back_the_memory_that_an_update_borrowed_or_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: bool
) -> None:
    window, kept, write, reg = windowed(tmp_path, monkeypatch, 2500)
    window.resting = lambda: True
    body = struct.pack(">I", 400) + bytes(32)
    write(reg.TRANSFER_OP_BEGIN, reg.TRANSFER_KIND_CONFIG, body)
    assert kept.ring._blocks == []
    if not room:
        monkeypatch.setitem(kept.ring.take.__globals__, "bytearray", lambda _: no_room())
    write(reg.TRANSFER_OP_BEGIN, reg.TRANSFER_KIND_STREAMED_JOB, body)
    reason = kept._bank.u16(reg.S_TRANSFER_REASON)
    assert reason == (0 if room else reg.REASON_NO_SPACE)
    if room:
        assert write(reg.TRANSFER_OP_DATA, reg.TRANSFER_KIND_STREAMED_JOB, bytes(range(100))) == 0
        assert kept.ring.used == 100 and sum(map(len, kept.ring._blocks)) == 2500


# ---- in the VM

VM = f"import sys; sys.modules['node.pins'] = sys; sys.path[:] = [{{!r}}, {str(FIRMWARE)!r}]\nfrom node import update\n"


def interpreted(folder: Path, code: str, slot: str) -> list[str]:
    """What some code says in the VM that runs from a slot, or from none, with `update` at hand."""
    program = VM.format(slot) + code
    done = subprocess.run(
        [*micropython.command(), "-c", program], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize(("trials", "runs"), [("1", "new"), (None, "old")])
@pytest.mark.parametrize("slot", ["", "a"])
def test_only_a_configuration_that_was_tried_is_confirmed(tmp_path: Path, trials: str | None, runs: str, slot: str) -> None:
    (tmp_path / "node.json").write_text("old")
    (tmp_path / "node.next").write_text("new")
    if trials:
        (tmp_path / "trial").write_text(trials)
    assert interpreted(tmp_path, "print(update.confirm(), open('node.json').read())", slot) == [f"0 {runs}"]
    assert (tmp_path / "node.next").exists() is (trials is None)


def test_a_file_of_a_number_that_no_manifest_has_is_refused_without_looking_for_it(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b/manifest.new").write_bytes(bytes(256) + b"x\n" * 6)
    code = """
import time
began = time.ticks_ms()
try:
    update._named("b", "file 1 ", 4_000_000_000)
except update.Refusal as refused:
    print(refused.args[0] == update.reg.REASON_NOT_AS_EXPECTED, time.ticks_diff(time.ticks_ms(), began) < 1000)
"""
    assert interpreted(tmp_path, code, "a") == ["True True"]


def test_an_update_leaves_no_empty_folder_behind(tmp_path: Path) -> None:
    (tmp_path / "b/pkg/sub").mkdir(parents=True)
    (tmp_path / "b/pkg/sub/old.py").write_text("x = 1")
    (tmp_path / "b/none").mkdir()
    code = "update._clear('b', update.loader.Manifest('1', 1, 'any', []))\nprint(update.os.listdir('b'))"
    assert interpreted(tmp_path, code, "a") == ["[]"]


@pytest.mark.parametrize(("another", "reason"), [(False, "REASON_NONE"), (True, "REASON_NOT_VERIFIED")])
def test_installing_again_is_a_repeat_only_while_no_other_manifest_has_come(tmp_path: Path, another: bool, reason: str) -> None:
    (tmp_path / "b").mkdir()
    if another:
        (tmp_path / "b/manifest.new").write_bytes(bytes(400))
    code = f"""
update.loader.write_state(update.loader.State("b", False, 0, 1))
print(update.install() == update.reg.{reason})
"""
    assert interpreted(tmp_path, code, "a") == ["True"]
