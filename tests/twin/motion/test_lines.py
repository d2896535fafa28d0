"""A Job of G-code lines says what its plan says, move for move, and nothing that was not checked."""

import math
import struct
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin import motion
from twin.motion import lines
from twin.motion.job import HEADER
from twin.motion.limits import JobError, Limits
from twin.motion.lines import Kind

LIMITS = Limits()
HEAD = "G28\nM104 S200\nM109 S200\n"


def job(program: str) -> bytes:
    return lines.encode(motion.plan(program, LIMITS), LIMITS)


def replayed(data: bytes) -> list[tuple[float, ...]]:
    """Where each line of motion ends, by the meaning of G-code alone."""
    at = [math.nan, math.nan, math.nan, 0.0]
    out = []
    for record in lines.inspect(data):
        if record.kind is Kind.HOME:
            at[:3] = [0.0, 0.0, 0.0]
        elif record.kind is Kind.MOVE:
            for word in record.text.split()[1:]:
                if word[0] in "XYZ":
                    at["XYZ".index(word[0])] = float(word[1:])
                elif word[0] == "E":
                    at[3] += float(word[1:])
            out.append(tuple(at))
    return out


@settings(max_examples=30)
@given(
    corners=st.lists(
        st.tuples(st.integers(0, 200), st.integers(0, 200), st.integers(1, 20), st.integers(0, 300)), min_size=1, max_size=8
    ),
    relative=st.booleans(),
    inches=st.booleans(),
)
def test_whatever_words_a_program_uses_the_lines_end_where_the_plan_does(
    corners: list[tuple[int, int, int, int]], relative: bool, inches: bool
) -> None:
    scale = 25.4 if inches else 1.0
    program = HEAD + ("G20\n" if inches else "") + ("M83\n" if relative else "G92 E7\n")
    fed = 0.0 if relative else 7.0
    for x, y, z, e in corners:
        fed = e / 100 if relative else fed + e / 100
        program += f"G1 X{x / scale:.6f} Y{y / scale:.6f} Z{z / scale:.6f} E{fed / scale:.8f} F{3000 / scale:.4f}\n"
    plan = motion.plan(program, LIMITS)
    assert not plan.refusals
    ends = replayed(lines.encode(plan, LIMITS))
    for end in plan.moves.end.tolist():
        assert any(found == pytest.approx(tuple(end), abs=1.1e-3) for found in ends), end
    if len(plan.moves):
        assert ends[-1] == pytest.approx(plan.moves.end[-1].tolist(), abs=1e-3)


def test_no_line_lasts_longer_than_its_piece_and_their_times_add_up() -> None:
    data = job(HEAD + "G1 X200 Y10 F600\nG1 X10 E20 F600\nG4 S10\nG1 X50 F9000\n")
    records = list(lines.inspect(data))
    took = [(now.chunks - before.chunks) * 40e-6 for before, now in pairwise(records)]
    moves = [seconds for seconds, record in zip(took, records[1:], strict=False) if record.kind is Kind.MOVE]
    assert max(moves) <= lines.PIECE + 80e-6 and len(moves) > 100
    plan = motion.plan(HEAD + "G1 X200 Y10 F600\nG1 X10 E20 F600\nG4 S10\nG1 X50 F9000\n", LIMITS)
    assert records[-1].chunks * 40e-6 == pytest.approx(plan.duration_s, abs=1e-3)


def test_the_printer_is_never_told_to_wait_and_the_line_numbers_are_the_programs() -> None:
    program = "; a\n; b\n" * 40_000 + HEAD + "M190 S50\nG4 P5000\nM84\n"
    records = list(lines.inspect(job(program)))
    assert not any(record.text.startswith(("M109", "M190", "G4", "M0", "M112")) for record in records)
    waits = [(record.kind, record.line - 80_000, record.text) for record in records if record.kind in (3, 4)]
    assert waits == [(Kind.WAIT_HOTEND, 3, "M104 S200"), (Kind.WAIT_BED, 4, "M140 S50")]


@pytest.mark.parametrize("line", ["M112", "M500", "n5 m0502", "M302 S0", "M303 E0 S200", "M501"])
def test_what_changes_the_printer_itself_is_refused_with_its_line(line: str) -> None:
    (refusal,) = lines.unsafe(f"G28\n{line}\n; M500 is a comment\nM5000\n")
    assert refusal.line == 2 and "never sent" in refusal.text


@pytest.mark.parametrize("at", [0, 20, 28, HEADER.size, HEADER.size + 3, HEADER.size + 40, -1])
def test_a_job_with_a_wrong_byte_or_a_missing_one_is_none(at: int) -> None:
    data = bytearray(job(HEAD + "G1 X10 F600\n"))
    data[at] ^= 0x40
    if at != 20:  # whose fingerprint it is, only the node knows
        with pytest.raises(JobError):
            list(lines.inspect(bytes(data)))
    with pytest.raises(JobError):
        list(lines.inspect(bytes(data[:-1])))


def test_a_ring_holds_what_the_densest_stretch_of_lines_takes() -> None:
    data = job(HEAD + "".join(f"G1 X{100 + math.sin(i)} Y{100 + math.cos(i)} F9000\n" for i in range(400)))
    assert lines.shortest_reserve(data, len(data)) == math.inf
    reserve = lines.shortest_reserve(data, 2000)
    total = struct.unpack_from("<I", data, 12)[0] * 40e-6
    assert 0 < reserve < total * 2000 / len(data) * 1.5
