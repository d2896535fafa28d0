"""The Job's bytes, and the reference generator against the rule written down a second time in plain Python."""

import struct
import zlib
from contextlib import suppress
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin.motion import JobError, Limits, OpKind, decode, encode, frames, header, inspect, plan, steps

LIMITS = Limits()
PROGRAM = "M106 S255\nG1 X30 Y10 E2 F6000\nM104 S210\nG1 Y40 E2\nG4 P100\nG1 E-2 F2400\nM140 S0\nM84\n"


def pack(records: list[bytes], chunks: int) -> bytes:
    body = b"".join(records) + struct.pack("<HBBi", 0, 255, 0, 0)
    head = b"LSJ1", 10, 4, len(records) + 1, chunks, 0, 0, len(body), zlib.crc32(body)
    return struct.pack("<4sHHIIIIII", *head) + body


def motion(chunks: int, steps: tuple[int, ...], alpha: int) -> bytes:
    mask = sum(1 << axis for axis in range(4) if steps[axis])
    taken = [made for made in steps if made]
    return struct.pack(f"<H{len(taken)}hH", mask << 12 | chunks, *taken, alpha)


def generate(chunks: int, wanted: tuple[int, ...], alpha: int) -> tuple[list[int], int]:
    """Mask of stepping axes for each frame, and how many steps were late: exact fractions, rounded as the rule says."""
    axis = max(range(4), key=lambda a: (abs(wanted[a]), -a))
    most = abs(wanted[axis])
    if most == 0:
        return [0] * (4 * chunks), 0
    first = int(Fraction(most * alpha * 2**15, 4 * chunks))
    change = int(2 * (Fraction(most * 2**30, 4 * chunks) - first) / chunks)
    phase, error, out = 2**29, [most // 2] * 4, []
    for frame in range(4 * chunks):
        phase += first + change // 2 + (frame // 4) * change
        mask = 0
        if phase >= 2**30:
            phase -= 2**30
            for a in range(4):
                error[a] += abs(wanted[a])
                if error[a] >= most:
                    error[a] -= most
                    mask |= 1 << a
        out.append(mask)
    return out, most - sum(1 for mask in out if mask >> axis & 1)


@st.composite
def motions(draw: st.DrawFn) -> tuple[int, tuple[int, ...], int]:
    """Records with no more than a step in two frames, which the encoder keeps to, too."""
    chunks = draw(st.one_of(st.integers(1, 40), st.integers(1, 4095)))
    alpha = draw(st.one_of(st.integers(0, 65535), st.sampled_from([0, 32768, 65535])))
    most = min(32767, max(1, chunks))
    return chunks, tuple(draw(st.lists(st.integers(-most, most), min_size=4, max_size=4))), alpha


@given(motions())
def test_the_generator_is_the_rule_bit_for_bit_and_misses_no_step(record: tuple[int, tuple[int, ...], int]) -> None:
    chunks, wanted, _ = record
    if not any(wanted):
        return
    records = decode(pack([motion(*record)], chunks))
    expected, late = generate(*record)
    assert late == 0
    assert frames(records, 0).tolist() == expected
    made = steps(records)
    assert made.steps[0].tolist() == list(wanted)
    assert made.missing[0] == 0
    count = [sum(mask >> axis & 1 for mask in expected) for axis in range(4)]
    assert count == [abs(want) for want in wanted]


@given(motions())
def test_a_record_makes_its_steps_where_the_quadratic_says(record: tuple[int, tuple[int, ...], int]) -> None:
    chunks, wanted, alpha = record
    if not any(wanted):
        return
    share = (np.arange(4 * chunks) + 1) / (4 * chunks)
    a = alpha / 32768
    expected = np.outer(np.abs(wanted), a * share + (1 - a) * share**2)
    masks = frames(decode(pack([motion(*record)], chunks)), 0)
    made = np.cumsum([masks >> axis & 1 for axis in range(4)], axis=1)
    curve = max(np.abs(wanted)) / (8 * chunks**2) + 1e-6  # the speed changes by chunks, not steadily
    dominant = int(np.argmax(np.abs(wanted)))
    assert np.abs(made - expected)[dominant].max() <= 0.5 + 2 * curve + 0.05
    assert np.abs(made - expected).max() <= 1.5 + 2 * curve + 0.05


def test_a_job_says_what_the_plan_says_in_order(start: str) -> None:
    made = plan(start + PROGRAM, LIMITS)
    job = encode(made, LIMITS)
    head = header(job)
    assert (head.frame_us, head.chunk_frames, head.fingerprint) == (10, 4, LIMITS.fingerprint())
    assert head.length == len(job) - 32
    assert head.crc == zlib.crc32(job[32:])
    assert head.duration == pytest.approx(made.duration_s, abs=LIMITS.chunk)
    records = list(inspect(job))
    assert head.records == len(records)
    assert head.chunks == sum(record.chunks for record in records)
    ops = [(r.op, r.arg, r.value) for r in records if r.op not in (None, OpKind.LINE)]
    assert ops == [
        (OpKind.HEAT, 1, 600),
        (OpKind.HEAT, 0, 2150),
        (OpKind.HOME, 0b111, 0),
        (OpKind.WAIT, 1, 600),
        (OpKind.WAIT, 0, 2150),
        (OpKind.FAN, 0, 65535),
        (OpKind.HEAT, 0, 2100),
        (OpKind.HEAT, 1, 0),
        (OpKind.MOTORS, 0, 0),
        (OpKind.END, 0, 0),
    ]
    standing = [r.chunks for r in records if r.op is None and not any(r.steps)]
    assert standing == [2500]
    assert steps(decode(job)).position[-1].tolist() == [2400, 3200, 0, 192]


def test_a_segment_takes_at_most_12_bytes_and_every_hundredth_or_so_is_marked_with_its_line(start: str) -> None:
    zigzag = "\n".join(f"G1 X{10 + k % 2 * 30} Y{10 + k % 3 * 20} Z{1 + k * 0.1:.1f} E.5" for k in range(200))
    records = decode(encode(plan(start + "G1 F3000\n" + zigzag, LIMITS), LIMITS))
    assert np.diff(records.offset).max() == 12
    marks = np.flatnonzero(records.code == OpKind.LINE)
    assert np.diff(marks).max() <= 110  # a move is not marked in its midst
    assert (np.diff(records.value[marks]) >= 0).all()
    assert records.value[marks[-1]] > 190


def test_a_marked_layer_starts_with_its_line(start: str) -> None:
    text = start + "G1 X10 F6000\n;LAYER_CHANGE\nG1 Z.2\nG1 X20\n;LAYER_CHANGE\nG1 Z.4\n;LAYER_CHANGE\n"
    values = [record.value for record in inspect(encode(plan(text, LIMITS), LIMITS)) if record.op is OpKind.LINE]
    assert values[-2:] == [11, 14]


def test_dwells_do_not_add_up_rounding(start: str) -> None:
    job = encode(plan(start + "G4 S0.00005\n" * 1000, LIMITS), LIMITS)
    assert header(job).chunks == 1250


def test_positions_count_from_home_again_after_homing() -> None:
    limits = Limits(home=(10.0, 0.0, 5.0), min_position=(-5.0, -5.0, 0.0))
    text = "G28\nG1 X20 Y10 F6000\nG28 X\nG1 Y20\nG1 X30"
    home = np.array([800, 0, 2000])
    made = steps(decode(encode(plan(text, limits), limits)), home)
    assert made.position[-1].tolist() == [2400, 1600, 2000, 0]


@pytest.mark.parametrize(
    ("record", "chunks"),
    [
        (struct.pack("<HBBi", 0, 9, 0, 0), 0),  # no such op
        (struct.pack("<HBBi", 0, 0, 0, 0), 0),  # an op without a code
        (struct.pack("<HBBi", 0, 255, 0, 0), 0),  # END before the end
        (struct.pack("<HhH", 1 << 12, 5, 32768), 0),  # motion in no time
        (struct.pack("<HhH", 1 << 12 | 9, 0, 32768), 9),  # an axis named that does not move
        (struct.pack("<H", 7), 8),  # chunks that the header does not count
        (b"\x05", 5),  # half a word
    ],
)
def test_bytes_that_make_no_sense_are_refused(record: bytes, chunks: int) -> None:
    with pytest.raises(JobError):
        decode(pack([record], chunks))


def test_a_damaged_or_cut_job_is_refused(start: str) -> None:
    job = encode(plan(start + PROGRAM, LIMITS), LIMITS)
    with pytest.raises(JobError, match="CRC"):
        decode(job[:-3] + b"\x01" + job[-2:])
    with pytest.raises(JobError, match="bytes, not"):
        decode(job[:-2])
    with pytest.raises(JobError, match="start of a Job"):
        decode(b"LSJ2" + job[4:])
    with pytest.raises(JobError, match="shorter"):
        decode(job[:31])


@given(st.binary(max_size=60), st.integers(0, 40))
def test_no_bytes_make_the_decoder_raise_anything_but_a_job_error(body: bytes, records: int) -> None:
    head = struct.pack("<4sHHIIIIII", b"LSJ1", 10, 4, records, 0, 0, 0, len(body), zlib.crc32(body))
    with suppress(JobError):
        decode(head + body)


def test_jobs_of_other_limits_have_another_fingerprint() -> None:
    assert Limits(jerk=(9.0, 10.0, 0.4, 5.0)).fingerprint() != LIMITS.fingerprint() == Limits().fingerprint()
