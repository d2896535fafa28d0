"""Each mutant meets its killers, in processes of its own."""

import os
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.forked import kill_all, run_pytest
from tests.mutant import copied_firmware, with_source
from tests.mutation.edits import Edit, drawn
from tests.mutation.targets import NAMED_BY, PROFILE, Target

EQUIVALENT = Path(__file__).with_name("equivalent.toml")
SLOWER = 4.0  # than without an edit: then it hangs
LEAST_S = 15.0
LONGEST_S = 300.0
NOTHING_COLLECTED = 5
OPTIONS = (
    *("-x", "-q", "--tb=line", "-p", "no:xdist", "-p", "no:cacheprovider", "-p", "no:warnings"),
    *("-p", "tests.mutation.plugin", f"--hypothesis-profile={PROFILE}"),
)


class MutationError(Exception):
    """The proof itself is broken: killers that fail without a mutant, or a list that names edits there are not."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one mutant.

    Attributes:
        by: the test that failed; "hangs"; empty for a survivor.
    """

    edit: Edit
    killed: bool
    by: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Tally:
    """One file's figures: edits there are, those listed as equivalent, and what became of those drawn."""

    file: str
    existing: int
    equivalent: int
    outcomes: tuple[Outcome, ...]

    @property
    def killed(self) -> int:
        return sum(outcome.killed for outcome in self.outcomes)

    @property
    def survivors(self) -> list[Edit]:
        return [outcome.edit for outcome in self.outcomes if not outcome.killed]


def equivalents() -> dict[tuple[str, str, str, str, int], str]:
    """Why an edit changes nothing that can be told from outside, by the edit's key."""
    listed = tomllib.loads(EQUIVALENT.read_text(encoding="utf-8")).get("equivalent", [])
    return {(e["file"], e["function"], e["line"], e["edit"], e.get("nth", 0)): e["reason"] for e in listed}


def choose(target: Target, count: int, seed: int) -> tuple[list[Edit], int, int]:
    """The edits drawn of a file, how many there are, and how many are listed as equivalent.

    Raises:
        MutationError: the list names an edit that there is not, because the code has changed.
    """
    found = target.edits()
    listed = {key for key in equivalents() if key[0] == target.file}
    if gone := listed - {edit.key for edit in found}:
        raise MutationError(f"{EQUIVALENT.name} lists what there is not (any more): {sorted(gone)[0]}")
    return drawn([edit for edit in found if edit.key not in listed], count, seed), len(found), len(listed)


class Bench:
    """Where mutants meet their killers. Each killer must pass without an edit, before and after, or nothing is proved.

    Args:
        jobs: mutants at a time.
    """

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs
        self._limits: dict[tuple[str, ...], tuple[Target, float]] = {}

    def run(self, target: Target, chosen: Iterable[Edit], tell: Callable[[Outcome], None]) -> list[Outcome]:
        """What becomes of each edit.

        Raises:
            MutationError: a killer fails without an edit.
        """
        for killer in target.killers:
            if killer not in self._limits:
                self._limits[killer] = target, _seconds(target, killer)
        stages = [(killer, max(LEAST_S, SLOWER * self._limits[killer][1])) for killer in target.killers]
        source = target.source()

        def judged(edit: Edit) -> Outcome:
            began = time.monotonic()
            by = next(filter(None, (_killed(target, edit.apply(source), *stage) for stage in stages)), "")
            outcome = Outcome(edit, bool(by), by, time.monotonic() - began)
            tell(outcome)
            return outcome

        with ThreadPoolExecutor(self._jobs) as pool, ExitStack() as broken_off:
            broken_off.callback(kill_all)
            broken_off.callback(pool.shutdown, wait=False, cancel_futures=True)
            outcomes = list(pool.map(judged, chosen))
            broken_off.pop_all()
        return outcomes

    def check(self) -> None:
        """Once more without an edit.

        Raises:
            MutationError: a killer fails: the ground has moved meanwhile.
        """
        for killer, (target, _) in self._limits.items():
            _seconds(target, killer)


def _seconds(target: Target, killer: tuple[str, ...]) -> float:
    began = time.monotonic()
    if by := _killed(target, target.source(), killer, LONGEST_S):
        raise MutationError(f"{target.file}: without any edit: {by}")
    return time.monotonic() - began


def _killed(target: Target, text: str, killer: tuple[str, ...], limit_s: float) -> str:
    """By which test the file with this text is killed; empty if it survives."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as name:
        folder = Path(name)
        options = [*OPTIONS, f"--basetemp={folder / 'tests'}"]
        if target.module:
            file = folder / "mutant.py"
            file.write_text(text, encoding="utf-8")
            environment = with_source(target.module, file)
        else:
            copy = copied_firmware(folder, target.file.removeprefix("firmware/"), text)
            environment = {**os.environ, NAMED_BY: str(copy)}
        output = folder / "output"
        status = run_pytest([*options, *killer], environment, output, limit_s)
        said = output.read_text(errors="replace") if output.exists() else ""
    if status == NOTHING_COLLECTED:
        raise MutationError(f"there are no such tests: {' '.join(killer)}")
    return "hangs" if status is None else _failure(said) if status else ""


def _failure(said: str) -> str:
    lines = [line for line in said.splitlines() if line.strip()] or ["it said nothing"]
    return next((line for line in lines if line.startswith(("FAILED ", "ERROR "))), lines[-1])
