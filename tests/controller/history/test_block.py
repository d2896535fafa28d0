"""Packing: what goes in comes out, bit by bit; damage is noticed; heads answer as their samples do."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.history.bits import pack, pack_best, unpack
from controller.history.block import HEAD, Coding, decode, encode, heads, sound
from controller.history.journal import Journal, admit
from controller.history.kept import HistoryError, Kept, Rule, Samples
from controller.history.squeeze import Sequence

INT64 = st.integers(-(2**63), 2**63 - 1)
WORDS = INT64 | st.integers(-9, 9) | st.sampled_from([0.0, -0.0, np.nan, np.inf, 1e300, 20.05, -3.1]).map(
    lambda value: int(np.float64(value).view(np.int64))
)  # fmt: skip
KINDS = st.sampled_from([Kept("s", float), Kept("s", float, bound=0.1), Kept("s", int), Kept("s", bool), Kept("s", str)])


def column(rows, i, kind=np.int64):
    return np.array([row[i] for row in rows], kind)


@given(values=st.lists(INT64 | st.integers(-3, 3), max_size=200), order=st.integers(0, 2))
def test_packed_numbers_are_unpacked(values, order):
    assert unpack(pack(np.array(values, np.int64), order), len(values)).tolist() == values


def test_a_steady_beat_takes_a_hundredth_of_a_byte():
    assert len(pack(np.arange(6400) * 100_000 + 1_760_000_000_000_000, 2)) < 8 * 64 + 6400 / 64 + 2
    assert len(pack_best(np.arange(6400) % 2)) <= 6400 / 64 * (2 * 8 + 1) + 1


@pytest.mark.parametrize("content", [b"", b"\x03", b"\x00\x41" + bytes(8), b"\x00\x01", b"\x00\x01" + bytes(9)])
def test_bytes_that_are_no_numbers_are_refused(content):
    with pytest.raises(HistoryError, match=f"{len(content)} bytes are not 1 packed numbers"):
        unpack(content, 1)


@given(rows=st.lists(st.tuples(st.integers(0, 2**40), WORDS, st.integers(0, 9)), min_size=1, max_size=150), kept=KINDS)
def test_a_block_gives_back_what_it_was_given_bit_by_bit(rows, kept):
    sequence = Sequence(np.cumsum(column(rows, 0)), column(rows, 1), column(rows, 2, np.int32))
    head, body = encode(kept, sequence, 7)
    found = decode(head, body)
    for name in ("times", "words", "beliefs"):
        assert getattr(found, name).tolist() == getattr(sequence, name).tolist()
    (top,) = heads(head)
    assert (top["count"], top["seen"], top["first_us"], top["last_us"]) == (len(rows), 7, sequence.times[0], sequence.times[-1])
    assert (top["first_word"], top["last_word"], top["last_belief"]) == (rows[0][1], rows[-1][1], rows[-1][2])


@pytest.mark.parametrize(
    ("kept", "values", "coding", "most"),
    [
        (Kept("s", float, bound=0.05), np.rint(np.random.default_rng(1).normal(20, 0.1, 1000) / 0.025) * 0.025, Coding.GRID, 1.0),
        (Kept("s", float), np.random.default_rng(1).integers(2000, 2100, 1000) / 10, Coding.DECIMAL, 1.3),
        (Kept("s", float), np.random.default_rng(1).normal(20, 0.1, 1000), Coding.RAW, 7.5),
    ],
)
def test_floats_take_the_smallest_coding_that_is_exact(kept, values, coding, most):
    sequence = Sequence(np.arange(1000) * 100_000, values.view(np.int64), np.zeros(1000, np.int32))
    head, body = encode(kept, sequence, 1000)
    assert heads(head)[0]["coding"] == coding
    assert len(body) / 1000 < most
    assert decode(head, body).words.tolist() == sequence.words.tolist()


def test_any_bit_that_has_changed_is_noticed():
    sequence = Sequence(np.arange(40) * 7, np.arange(40) % 5, np.zeros(40, np.int32))
    head, body = encode(Kept("s", int), sequence, 40)
    whole = head + body
    for bit in range(8 * len(whole)):
        bad = bytearray(whole)
        bad[bit // 8] ^= 1 << bit % 8
        assert not sound(bytes(bad[: HEAD.itemsize]), bytes(bad[HEAD.itemsize :]))
    with pytest.raises(HistoryError, match="a damaged block"):
        decode(head, body[:-1])


@pytest.mark.parametrize("rule", [Rule.LINE, Rule.HOLD])
def test_a_head_tells_least_most_and_integral(rule):
    times, values = np.array([0, 1_000_000, 4_000_000]), np.array([1.0, 3.0, -1.0])
    head, _ = encode(Kept("s", float, bound=2.0, rule=rule), Sequence(times, values.view(np.int64), np.zeros(3, np.int32)), 3)
    (top,) = heads(head)
    assert (top["good"], top["minimum"], top["maximum"]) == (1, -1.0, 3.0)
    assert top["total"] == (2.0 * 1 + 1.0 * 3 if rule is Rule.LINE else 1.0 * 1 + 3.0 * 3)
    doubtful, _ = encode(Kept("s", float), Sequence(times, values.view(np.int64), np.array([0, 1, 0], np.int32)), 3)
    assert heads(doubtful)[0]["good"] == 0


# ---- the journal


@settings(max_examples=50)
@given(
    commits=st.lists(
        st.lists(st.tuples(st.integers(0, 3), st.integers(-5, 2**40), WORDS, st.integers(0, 9)), max_size=40), max_size=6
    )
)
def test_the_journal_gives_back_each_commit(commits):
    fine = np.array([0.0, 0.01, 0.0, 1e6])
    writer, reader = Journal(fine), Journal(fine)
    for rows in commits:
        given_ = Samples(column(rows, 0, np.int32), column(rows, 1), column(rows, 2), column(rows, 3, np.int32))
        blob, meant = writer.write(given_)
        found = reader.read(blob)
        for name in ("numbers", "times", "words", "beliefs"):
            assert getattr(found, name).tolist() == getattr(meant, name).tolist()
        with np.errstate(all="ignore"):
            for number, word, held in zip(given_.numbers, given_.words, found.words, strict=True):
                value, rounded = word.view(np.float64), held.view(np.float64)
                exact = fine[number] == 0 or not abs(value) < fine[number] * 2**40
                assert word == held or (not exact and abs(value - rounded) <= fine[number] * 0.502)


def test_a_damaged_commit_costs_those_up_to_the_next_that_starts_anew():
    writer, reader = Journal(np.zeros(2)), Journal(np.zeros(2))
    one = np.ones(1, np.int64)
    blobs = [writer.write(Samples(one.astype(np.int32), one * i, one * i, np.zeros(1, np.int32)))[0] for i in range(130)]
    blobs[10] = blobs[10][:-1] + b"\xff"
    found = []
    for blob in blobs:
        try:
            found += reader.read(blob).words.tolist()
        except HistoryError as damaged:
            assert str(damaged) == "a damaged part of the journal"
    assert found == [*range(10), *range(64, 130)]


def test_what_is_earlier_than_its_signals_last_is_not_admitted():
    numbers, times = np.array([1, 1, 2, 1, 1], np.int32), np.array([5, 4, 1, 5, 9])
    last = np.array([0, 0, 0])
    found, early = admit(Samples(numbers, times, times, np.zeros(5, np.int32)), last)
    assert (found.times.tolist(), early, last.tolist()) == ([5, 1, 5, 9], 1, [0, 9, 1])
