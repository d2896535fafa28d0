"""Equal seeds give equal digests: in separate processes, with other hash seeds, while the machine is busy."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.hil.jobs import ROOT

PATIENCE_S = 600
ONE = "import sys; from hil.campaigns.campaign import Setting, one; print(one(int(sys.argv[1]), Setting(), False).digest)"
BUSY = "while True: sum(range(10_000))"


@pytest.fixture
def load() -> Iterator[None]:
    """Something else that wants a processor."""
    process = subprocess.Popen([sys.executable, "-c", BUSY])
    yield
    process.kill()
    process.wait()


def digest(seed: int, hash_seed: int) -> str:
    """The digest of a campaign's seed, made in a process of its own."""
    run = subprocess.run(
        [sys.executable, "-c", ONE, str(seed)],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": str(hash_seed)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


def digests(seed: int, times: int) -> set[str]:
    """What came out, under as many hash seeds."""
    with ThreadPoolExecutor(2) as threads:
        return set(threads.map(lambda hash_seed: digest(seed, hash_seed), range(1, times + 1)))


def test_a_campaign_of_faults_has_the_same_digest_in_five_processes_under_load_and_another_seed_has_another(load: None) -> None:
    one, other = digests(1, 5), digests(4, 5)
    assert len(one) == len(other) == 1 and one != other
    assert all(len(found) == 64 for found in one | other)


@pytest.mark.soak
def test_fifty_campaigns_of_faults_have_the_same_digest_in_twenty_processes_each_under_load(load: None) -> None:
    for seed in range(50):
        assert len(digests(seed, 20)) == 1, f"seed {seed}"
