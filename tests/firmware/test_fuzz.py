"""Mutated frames, right or nearly right requests, through the codec and both framings: nothing escapes, hangs or grows."""

import os
import subprocess

import pytest

from hil import micropython
from tests.firmware import fuzzing
from tests.firmware.alone import load
from tests.firmware.rig import FIRMWARE
from tests.firmware.test_codec import IDENTITY, Bank, Door

HERE = FIRMWARE.parent / "tests" / "firmware"

codec, modbus, rtu = load("codec", "modbus", "rtu", **{"node.pins": {}})


def fuzz(frames: int, seed: int) -> None:
    bank = Bank()
    made = codec.Codec(bank, Door(bank), IDENTITY, fuzzing.OWN)
    fuzzing.over_tcp(modbus.Connection(made), frames // 2, seed)
    fuzzing.over_rtu(rtu.Line(made), rtu.crc, frames // 2, seed)


def fuzz_in_the_vm(frames: int, seed: int) -> None:
    done = subprocess.run(
        [*micropython.command(), "-X", "heapsize=160K", str(HERE / "fuzz_vm.py"), str(frames), str(seed)],
        env={**os.environ, "MICROPYPATH": f"{HERE}:{HERE / 'standins'}:.frozen:{FIRMWARE}"},
        capture_output=True,
        check=False,
        text=True,
        cwd=HERE,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    before, after = (int(word) for word in done.stdout.split())
    assert after <= before


def test_mutated_frames_neither_escape_nor_hang() -> None:
    fuzz(100_000, 1)


def test_mutated_frames_take_no_memory_in_the_vm() -> None:
    fuzz_in_the_vm(1_000, 1)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(2, 12))
def test_ten_million_mutated_frames_neither_escape_nor_hang(seed: int) -> None:
    fuzz(1_000_000, seed)


@pytest.mark.soak
def test_a_hundred_thousand_mutated_frames_take_no_memory_in_the_vm() -> None:
    fuzz_in_the_vm(100_000, 2)
