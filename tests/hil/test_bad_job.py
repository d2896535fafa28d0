"""A Job that is whole but wrong is given up by the node, which stays alive and safe."""

import struct
import zlib
from pathlib import Path

import pytest

from hil.house import House
from hil.targets.vm import FREE
from tests.hil.jobs import one_printer
from twin.clock import Ns, S
from twin.machines.printer import job as jobs
from twin.motion.job import HEADER
from twin.node import JobState, Reason

PROGRAM = "G28\nG1 X30 F6000\nM84\n"
NO_CHUNKS = struct.pack("<HhH", 1 << 12, 5, 32768)
NO_SUCH_HEATER = struct.pack("<HBBi", 0, 1, 9, 2000)
NO_SUCH_FAN = struct.pack("<HBBi", 0, 3, 9, 1)
CUT_SHORT = struct.pack("<Hh", 3 << 12 | 10, 5)


@pytest.mark.parametrize("body", [NO_CHUNKS, NO_SUCH_HEATER, NO_SUCH_FAN, CUT_SHORT])
def test_a_job_that_is_wrong_inside_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: bytes) -> None:
    whole = jobs.encode

    def spoilt(*given: object) -> bytes:
        head = list(HEADER.unpack_from(whole(*given)))  # type: ignore[arg-type]
        head[-2:] = len(body), zlib.crc32(body)
        return HEADER.pack(*head) + body

    monkeypatch.setattr(jobs, "encode", spoilt)
    with House(one_printer(), tmp_path, {"p.gcode": PROGRAM}, "print", "p.gcode", costs=FREE) as house:
        house.run(Ns(8 * S))
        last = house.looks["printer-1"][-1].node
    assert (last.job_state, last.job_fault) == (JobState.ABORTED, Reason.BAD_JOB)
    assert last.latched and last.boot_id == 1, "the node has not been restarted by its watchdog"
