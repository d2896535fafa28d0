"""Equal seeds give equal digests: in separate processes, with other hash seeds, while the machine is busy."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.hil.jobs import ROOT

PATIENCE_S = 600
ALL = """
import sys
from hil.campaigns.campaign import Setting, one
print(*(one(int(seed), Setting(), False).digest for seed in sys.argv[1:]))
"""
BUSY = "while True: sum(range(10_000))"


@pytest.fixture
def load() -> Iterator[None]:
    """Something else that wants a processor."""
    process = subprocess.Popen([sys.executable, "-c", BUSY])
    yield
    process.kill()
    process.wait()


def digests(hash_seed: int, *seeds: int) -> tuple[str, ...]:
    """The digests of campaigns' seeds, made in a process of their own under a hash seed."""
    run = subprocess.run(
        [sys.executable, "-c", ALL, *map(str, seeds)],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": str(hash_seed)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert run.returncode == 0, run.stderr
    return tuple(run.stdout.split())


def in_processes(count: int, *seeds: int) -> set[tuple[str, ...]]:
    """What came out, under as many hash seeds."""
    with ThreadPoolExecutor(2) as threads:
        return set(threads.map(lambda hash_seed: digests(hash_seed, *seeds), range(1, count + 1)))


def test_campaigns_of_faults_have_the_same_digests_in_five_processes_under_load_and_another_seed_has_another(load: None) -> None:
    ((one, other),) = in_processes(5, 1, 4)
    assert one != other and len(one) == len(other) == 64


@pytest.mark.soak
def test_fifty_campaigns_of_faults_have_the_same_digests_in_twenty_processes_under_load(load: None) -> None:
    for first in range(0, 50, 5):
        seeds = range(first, first + 5)
        (found,) = in_processes(20, *seeds)
        assert len(set(found)) == len(seeds), f"seeds {seeds}"
