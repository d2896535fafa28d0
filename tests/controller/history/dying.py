"""`python -m tests.controller.history.dying HOW FOLDER [ROUNDS]`: processes that are killed, and others that look.

cool, fold: killed between two steps. Prints how each ended and what the look at what it left has found: 0 when all is there, once.
write: killed at random instants. Prints what was acknowledged, as spans of numbers.

It forks, so that Numba is loaded once.
"""

import itertools
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import controller.history.hot as hot_module
from controller.history.cold import cool
from controller.history.door import Door
from controller.history.hot import Hot
from controller.history.kept import Happened, Kept

T = 1_760_000_000_000_000_000
EVENTS = [Happened(T + i, "Told", "x") for i in range(3)]


def ended(work: Callable[[], None]) -> int:
    """How a child that does this ends: 0, or minus the signal."""
    child = os.fork()
    if not child:
        work()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def killer(steps: int) -> Callable[[str], None]:
    """Something to call after each step, which kills the process after so many."""
    left = itertools.count(steps, -1)

    def step(name: str) -> None:
        if next(left) == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    return step


def rows(first: int, last: int) -> list[tuple[int, int, int, int, str]]:
    return [(1, T + i * 1000, i, 0, "") for i in range(first, last)]


def look(folder: Path, count: int) -> None:
    door = Door(folder)
    found = [value for _, value, *_ in door.raw("count", 0, 2**62).rows() if value is not None]
    assert found == list(range(count)), len(found)
    assert door.events(0, 2**62) == EVENTS


def written(folder: Path, first: int, seconds: float) -> int:
    """The last sample that a writer has acknowledged before it was killed."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        hot_module.FOLD_COMMITS = 7
        hot = Hot(folder)
        hot.declare([Kept("count", int)])
        for i in itertools.count(first):
            hot.commit(hot.samples(rows(i, i + 1)))
            os.write(writing, f"{i}\n".encode())
            if hot.due:
                hot.fold()
    os.close(writing)
    told = os.read(reading, 100)  # it is at work
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    while more := os.read(reading, 65536):
        told += more
    os.close(reading)
    return int(told.split(b"\n")[-2])


def write(folder: Path, rounds: int) -> list[tuple[int, int]]:
    """The spans of numbers that were acknowledged; after each, one more may have been written."""
    first, sure = 0, []
    for _ in range(rounds):
        last = written(folder, first, random.Random(first).uniform(0, 0.15))
        sure.append((first, last))
        first = last + 2
    return sure


def warm() -> None:
    """Load what is slow to load."""
    with tempfile.TemporaryDirectory() as folder:
        hot = Hot(Path(folder))
        hot.declare([Kept("count", int)])
        hot.commit(hot.samples(rows(0, 10)))
        hot.fold()
        Door(Path(folder)).raw("count", 0, 2**62)


def main(how: str, folder: Path, rounds: int) -> None:
    warm()
    if how == "write":
        print(json.dumps(write(folder, rounds)))
        return

    def begin() -> None:
        hot = Hot(folder)
        hot.declare([Kept("count", int)])
        hot.commit(hot.samples(rows(0, 1000)), EVENTS)

    def cooled(steps: int) -> None:
        cool(Hot(folder), 2**62, killer(steps))

    def folded(steps: int, first: int) -> None:
        hot = Hot(folder)
        hot.commit(hot.samples(rows(first, first + 10)))
        fold = hot.begin_fold()
        hot.end_fold(fold, fold.blocks(), killer(steps))

    ended(begin)
    told = []
    if how == "cool":
        for steps in (*range(5), *range(5), 99):
            told.append((ended(lambda: cooled(steps)), ended(lambda: look(folder, 1000))))  # noqa: B023
    else:
        for i, steps in enumerate((0, 1, 99)):
            first = 1000 + 10 * i
            told.append((ended(lambda: folded(steps, first)), ended(lambda: look(folder, first + 10))))  # noqa: B023
    print(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 0)
