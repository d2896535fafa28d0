"""What the node makes of an accelerometer's bursts, in the real interpreter, against closed forms and numpy."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hil import micropython
from tests.firmware.rig import FIRMWARE
from twin.kernel import Floats

HERE = Path(__file__).parent
RATE, N = 800, 256
EDGES = (10.0, 60.0, 100.0, 200.0, 390.0)
COUNT = 9.80665 / 256
"""m/s² of one count, in the data sheet's full resolution."""
BAD = 65_535
T = np.arange(N) / RATE


@dataclass(frozen=True)
class Reduced:
    """What came of a burst [m/s²]."""

    rms: float
    peak: float
    crest: float
    bands: tuple[float, ...]
    bursts: int
    failed: bool
    taken: int


def told(bursts: list[dict[str, Any]]) -> list[list[int]]:
    """Registers after each burst."""
    lines = [json.dumps(EDGES), *(json.dumps(burst) for burst in bursts)]
    run = subprocess.run(
        [*micropython.command(), "-X", "heapsize=160K", str(HERE / "sense_vm.py")],
        env={"MICROPYPATH": f".frozen:{FIRMWARE}"},
        input="\n".join(lines) + "\n",
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return [json.loads(line) for line in run.stdout.splitlines()]


def reduced(bursts: list[Floats]) -> list[Reduced]:
    """What comes of samples in m/s²."""
    counted = [{"kind": "good", "samples": [round(float(x) / COUNT) for x in burst]} for burst in bursts]
    made = [([number / 100 for number in row[:7]], row[7:]) for row in told(counted)]
    return [Reduced(m[0], m[1], m[2], tuple(m[3:]), bursts, bool(failed), taken) for m, (bursts, failed, taken) in made]


def tone(amplitude: float, frequency: float, phase: float = 0.4) -> Floats:
    """On top of gravity."""
    return 9.80665 + amplitude * np.sin(2 * np.pi * frequency * T + phase)


def band_of(frequency: float) -> int:
    return int(np.searchsorted(EDGES, frequency)) - 1


def test_a_pure_tone_has_its_rms_a_crest_of_root_two_and_its_energy_in_its_band() -> None:
    cases = [(a, f) for a in (0.5, 5.0, 100.0) for f in (21.3, 43.7, 77.7, 122.2, 151.0, 251.3, 333.3)]
    for (amplitude, frequency), found in zip(cases, reduced([tone(a, f) for a, f in cases]), strict=True):
        rms = amplitude / np.sqrt(2)
        assert found.rms == pytest.approx(rms, rel=0.015, abs=0.01), frequency
        assert found.peak == pytest.approx(amplitude, rel=0.02, abs=0.04), frequency
        assert found.crest == pytest.approx(np.sqrt(2), rel=0.05 if amplitude < 1 else 0.02), frequency
        for k, band in enumerate(found.bands):
            expected = rms if k == band_of(frequency) else 0.0
            assert band == pytest.approx(expected, rel=0.015, abs=0.01 + 0.01 * amplitude), (frequency, k)
        assert not found.failed


def test_bands_are_what_numpy_says_and_add_up_to_the_whole() -> None:
    chance = np.random.default_rng(3)
    bursts = [
        tone(3.0, 40.0) + tone(1.0, 122.0),
        9.8 + chance.normal(0.0, 8.0, N),
        tone(1.0, 30.0) + np.where(np.arange(N) % 7 == 0, 6.0, 0.0),
    ]
    hann = np.sin(np.pi * np.arange(N) / N) ** 2
    bins = [int(np.ceil(edge * N / RATE)) for edge in EDGES]
    for burst, found in zip(bursts, reduced(bursts), strict=True):
        moved = burst - burst.mean()
        power = 2 * np.abs(np.fft.rfft(moved * hann) / N) ** 2 * 8 / 3
        for k in range(4):
            assert found.bands[k] == pytest.approx(np.sqrt(power[bins[k] : bins[k + 1]].sum()), rel=0.02, abs=0.02), k
        assert found.rms == pytest.approx(moved.std(), rel=0.01)
        assert found.crest == pytest.approx(np.abs(moved).max() / moved.std(), rel=0.02)


def test_a_weak_tone_beside_a_strong_one_is_not_drowned_by_what_leaks() -> None:
    (found,) = reduced([tone(5.0, 43.7) + 0.05 * np.sin(2 * np.pi * 251.3 * T)])
    assert found.bands[band_of(251.3)] == pytest.approx(0.05 / np.sqrt(2), rel=0.4)


def test_next_to_no_vibration_has_no_crest_factor() -> None:
    (found,) = reduced([9.8 + np.where(np.arange(N) == 9, 0.2, 0.0)])
    assert found.crest == 0.0 and found.peak > 0.1 and not found.failed


def test_a_tick_takes_no_more_samples_than_two_milliseconds_of_the_bus() -> None:
    assert 0 < reduced([tone(1.0, 40.0)])[0].taken <= 10


@pytest.mark.parametrize("wrong", ["missing", "dead", "late", "other", "stuck", "beyond"])
def test_a_sensor_that_cannot_be_believed_is_told_as_bad_and_believed_again_when_it_is_good(wrong: str) -> None:
    good = {"kind": "good", "samples": [round(float(x) / COUNT) for x in tone(2.0, 40.0)]}
    bad: dict[str, Any] = {"kind": wrong}
    if wrong == "stuck":
        bad = {"kind": "good", "samples": [256] * N}
    elif wrong == "beyond":
        bad = {"kind": "good", "samples": [4095 if k % 9 else 0 for k in range(N)]}
    rows = told([good, bad, bad, good, good, good])  # a second each; a burst that has begun may still be a bad one
    assert [row[8] for row in rows[:3]] == [0, 1, 1] and not rows[-1][8]
    for row in rows[1:3]:
        assert row[:7] == [BAD] * 7
    assert rows[0][:7] == rows[-1][:7]
    assert rows[-1][7] > rows[2][7] == rows[0][7]
