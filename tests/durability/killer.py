"""`python -m tests.durability.killer FOLDER KILLS SEED`: a process that writes the book, killed at random instants.

Prints one JSON object: kills, acknowledged commits, and what was wrong.
"""

import json
import os
import random
import select
import signal
import sys
from collections import deque
from pathlib import Path

from controller.orders.book import Book
from controller.orders.turn import Orders
from tests.durability.story import BOOK, Batch, Kept, batches, judge

AHEAD = 400
LONGEST_S = 0.05


def _write(path: Path, coming: list[Batch], told: int) -> None:
    """The child: write what comes, and tell of each commit."""
    with Book(path, 1) as book:
        book.load()
        for orders, commands, next_order in coming:
            book.save(orders, Orders({}, next_order, 7 * next_order), commands)
            os.write(told, b"a")
    os._exit(0)


def _round(folder: Path, coming: deque[Batch], after_s: float) -> int:
    """One child, killed so long after its first commit or before it. Returns how many commits it told of."""
    ours, theirs = os.pipe()
    child = os.fork()
    if not child:
        try:
            _write(folder / BOOK, list(coming), theirs)
        finally:
            os._exit(1)
    os.close(theirs)
    if after_s > LONGEST_S / 5:
        select.select([ours], [], [], 5)
    select.select([], [], [], after_s)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    told = b""
    while piece := os.read(ours, 1 << 16):
        told += piece
    os.close(ours)
    return len(told)


def main() -> int:
    """Kill so often."""
    folder, kills, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    chance, story = random.Random(seed), batches(seed, 10**9)
    coming: deque[Batch] = deque()
    kept, wrong, acknowledged = Kept(), [], 0
    for number in range(kills):
        while len(coming) < AHEAD:
            coming.append(next(story))
        told = _round(folder, coming, chance.random() * LONGEST_S)
        acknowledged += told
        for _ in range(told):
            kept.add(coming.popleft())
        if why := judge(folder, kept):
            wrong.append(f"kill {number}: {why}")
    print(json.dumps({"kills": kills, "acknowledged": acknowledged, "wrong": wrong}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
