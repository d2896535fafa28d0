"""Real firmware prints a really sliced first layer against the plants, and is judged on the trace."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hil.scenarios.printing import cut_while_printing, print_as_planned
from tests.hil.jobs import ROOT, first_layer, one_printer
from twin.machines.printer import plant

LONGEST_S = 40.0
CUTS = 20
WARM = plant.Physics(start_temperature=(165.0, 29.0))  # so that the way to the cut is short

DIGEST = """
import sys
from pathlib import Path
from hil.scenarios.printing import print_as_planned
from tests.hil.jobs import first_layer, one_printer
found = print_as_planned(one_printer(), Path(sys.argv[1]), first_layer(40.0))
assert found.passed, found.verdicts
print(found.digest)
"""


@pytest.fixture(scope="module")
def job() -> str:
    return first_layer(LONGEST_S)


def test_a_first_layer_is_carried_out_as_planned_and_twice_the_same_in_two_processes(tmp_path: Path) -> None:
    digests = []
    for seed in ("1", "2"):
        run = subprocess.run(
            [sys.executable, "-c", DIGEST, str(tmp_path / seed)],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert run.returncode == 0, run.stderr
        digests.append(run.stdout.strip())
    assert digests[0] == digests[1] and len(digests[0]) == 64


def _wrong(thermal: plant.Thermal, power: float, capacity: float, loss: float, lag: float) -> plant.Thermal:
    return dataclasses.replace(
        thermal,
        power=thermal.power * power,
        capacity=thermal.capacity * capacity,
        loss=thermal.loss * loss,
        lag=thermal.lag * lag,
    )


@pytest.mark.parametrize("factors", [(0.7, 1.3, 1.3, 1.3), (1.3, 0.7, 0.7, 1.3), (1.3, 0.7, 1.3, 0.7)])
def test_a_printer_that_is_thirty_percent_off_prints_as_planned_without_retuning(
    tmp_path: Path, job: str, factors: tuple[float, float, float, float]
) -> None:
    physics = plant.Physics(hotend=_wrong(plant.HOTEND, *factors), bed=_wrong(plant.BED, *factors))
    found = print_as_planned(one_printer(), tmp_path, job, physics=physics)
    assert found.passed, "\n".join(map(str, found.verdicts))


@pytest.mark.parametrize("seed", range(CUTS))
def test_a_cut_link_makes_the_printer_safe_wherever_it_is_in_its_job(tmp_path: Path, job: str, seed: int) -> None:
    verdicts = cut_while_printing(one_printer(), tmp_path, job, seed, physics=WARM)
    assert all(verdict.passed for verdict in verdicts), "\n".join(map(str, verdicts))


@pytest.mark.soak
def test_a_cut_link_makes_the_printer_safe_at_a_thousand_instants(tmp_path: Path, job: str) -> None:
    for seed in range(CUTS, CUTS + 1000):
        verdicts = cut_while_printing(one_printer(), tmp_path / str(seed), job, seed)
        assert all(verdict.passed for verdict in verdicts), f"seed {seed}\n" + "\n".join(map(str, verdicts))


@pytest.mark.soak
def test_the_whole_cube_is_printed_ten_times_the_same(tmp_path: Path) -> None:
    from tests.hil.jobs import CUBE

    digests = set()
    for run in range(10):
        found = print_as_planned(one_printer(), tmp_path / str(run), CUBE)
        assert found.passed, "\n".join(map(str, found.verdicts))
        digests.add(found.digest)
    assert len(digests) == 1
