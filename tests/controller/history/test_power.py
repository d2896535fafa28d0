"""A power cut at any write: every sample that was acknowledged is there, once, on what the cut has left of the disk."""

import random
import shutil
from pathlib import Path

import apsw
import pytest

from controller.history.door import Door
from controller.history.hot import Hot
from controller.history.kept import Happened, Kept
from tests.durability.disk import MODES, Disk, Shim, cuts
from tests.durability.story import ramdisk

T = 1_760_000_000_000_000_000
S = 1_000_000_000


class Rows(list):
    """What a statement has found, as Python's own SQLite has it."""

    fetchall = list.copy

    def fetchone(self):
        return self[0] if self else None


class Connection:
    """Apsw as Hot wants a connection; each statement runs on the recorded disk."""

    def __init__(self, path, vfs, synchronous):
        self._file, self._synchronous = apsw.Connection(str(path), vfs=vfs), synchronous
        self.close = self._file.close
        self.execute("PRAGMA wal_autocheckpoint=12")  # so that a short story comes by checkpoints

    def execute(self, statement, values=()):
        statement = statement.replace("synchronous=FULL", f"synchronous={self._synchronous}")
        return Rows(self._file.execute(statement, tuple(values)).fetchall())

    def executemany(self, statement, many):
        for values in many:
            self.execute(statement, values)


def story(folder, disk, synchronous):
    """Commits, folds, and one writer after another; what `commit` has returned for is acknowledged."""
    shim, n = Shim(disk, synchronous), 0
    try:
        for _ in range(3):
            hot = Hot(folder, lambda path: Connection(path, shim._name, synchronous))
            number = hot.declare([Kept("count", int), Kept("text", str)])["count"]
            for turn in range(8):
                rows = [(number, T + (n + i) * S, (n + i) ** 3, 0, "") for i in range(25)]
                hot.commit(hot.samples(rows), [Happened(T + n * S, "Told", "x", {"n": n})], T + (n + 25) * S)
                n += 25
                disk.ack(n)
                if turn == 4:
                    hot.fold()
            hot.close()
    finally:
        shim.close()
    return disk.ops


@pytest.mark.parametrize("synchronous", ["FULL", "NORMAL"])
def test_after_a_power_cut_every_acknowledged_sample_is_there_once(tmp_path_factory, tmp_path, synchronous):
    """With NORMAL a commit returns before its sync: then the same cuts do lose what was acknowledged."""
    chance, images, lost, checked = random.Random(6), 0, 0, 0
    base = Path(ramdisk() or tmp_path) / f"lockstep-{tmp_path.name}"
    base.mkdir()
    try:
        (base / "recorded").mkdir()
        for number, (disk, acknowledged) in enumerate(cuts(story(base / "recorded", Disk(), synchronous))):
            if number % 9 or not acknowledged or not disk.waits:
                continue
            place = base / str(number)
            place.mkdir()
            for name, content in disk.image(MODES[images % len(MODES)], chance).items():
                if not name.endswith("-shm") and name:
                    (place / name).write_bytes(content)
            images += 1
            Hot(place).close()
            door = Door(place)
            found = [row[1] for row in door.raw("count", 0, 2**62).rows() if row[1] is not None]
            told = [event.fields["n"] for event in door.events(0, 2**62)]
            door.close()
            assert found == [i**3 for i in range(len(found))] and told == list(range(0, len(found), 25))
            lost += len(found) < acknowledged[-1]
            checked += 1
    finally:
        shutil.rmtree(base)
    assert checked > 20 and (lost == 0 if synchronous == "FULL" else lost > 5)
