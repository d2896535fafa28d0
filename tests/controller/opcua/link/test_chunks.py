"""However bytes come in, the same chunks come out; and nothing is kept that is too much."""

import itertools
import struct

import pytest
from asyncua.ua.status_codes import StatusCodes
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.opcua.guard import Refused
from controller.opcua.link.chunks import MOST_CHUNK, MOST_CHUNKS, Cutter, Pile, after, follows

FINAL, MORE, ABORTED = b"FCA"
heads = st.sampled_from([b"HELF", b"OPNF", b"MSGF", b"MSGC", b"MSGA", b"CLOF"])
chunks = st.builds(lambda head, body: head + struct.pack("<I", len(body) + 8) + body, heads, st.binary(min_size=16, max_size=60))


def cut(cutter: Cutter) -> list[bytes]:
    """All whole chunks there are."""
    return list(iter(cutter.next, b""))


@settings(max_examples=50, deadline=None)
@given(st.lists(chunks, max_size=6), st.lists(st.integers(0, 400), max_size=8))
def test_any_split_of_the_bytes_gives_the_same_chunks(sent: list[bytes], cuts: list[int]) -> None:
    whole, cutter, found = b"".join(sent), Cutter(), []
    edges = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    for start, end in itertools.pairwise(edges):
        part = whole[start:end]
        if cutter.whole(part):
            found.append(part)
        else:
            cutter.feed(part)
            found += cut(cutter)
            assert not cutter.ready()
    assert found == sent and len(cutter) == 0


@settings(max_examples=50, deadline=None)
@given(st.binary(min_size=1, max_size=200))
def test_of_any_bytes_no_more_is_waited_for_than_one_chunk(content: bytes) -> None:
    cutter = Cutter()
    cutter.feed(content)
    try:
        found = cut(cutter)
    except Refused as refused:
        assert refused.code in (StatusCodes.BadTcpMessageTypeInvalid, StatusCodes.BadTcpMessageTooLarge)
    else:
        assert b"".join(found) == content[: sum(map(len, found))]


def head(kind: bytes, size: int) -> bytes:
    return kind + struct.pack("<I", size)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (head(b"HELF", 2**32 - 1), StatusCodes.BadTcpMessageTooLarge),
        (head(b"MSGF", MOST_CHUNK + 1), StatusCodes.BadTcpMessageTooLarge),
        (head(b"MSGF", 23), StatusCodes.BadTcpMessageTypeInvalid),
        (head(b"HELF", 0), StatusCodes.BadTcpMessageTypeInvalid),
        (head(b"MSGX", 64), StatusCodes.BadTcpMessageTypeInvalid),
        (head(b"OPNC", 64), StatusCodes.BadTcpMessageTypeInvalid),
        (head(b"ACKF", 28), StatusCodes.BadTcpMessageTypeInvalid),
        (b"GET / HTTP/1.1\r\n", StatusCodes.BadTcpMessageTypeInvalid),
    ],
)
def test_a_chunk_is_refused_by_its_first_eight_bytes(content: bytes, code: int) -> None:
    cutter = Cutter()
    cutter.feed(content)
    assert cutter.ready()
    with pytest.raises(Refused) as refused:
        cutter.next()
    assert refused.value.code == code


@settings(max_examples=50, deadline=None)
@given(st.lists(st.binary(max_size=30), min_size=1, max_size=MOST_CHUNKS), st.integers(0, 2**32 - 1))
def test_a_message_is_its_chunks_in_order(parts: list[bytes], request: int) -> None:
    pile = Pile(most=10_000)
    assert all(pile.add(MORE, request, part) is None for part in parts[:-1])
    assert pile.add(FINAL, request, parts[-1]) == b"".join(parts)
    assert pile.add(FINAL, request + 1, b"next") == b"next"


def test_a_message_is_refused_before_it_is_too_long_or_in_too_many_chunks() -> None:
    long, many = Pile(most=100), Pile(most=100)
    long.add(MORE, 1, bytes(60))
    with pytest.raises(Refused, match="101 bytes or more; 100 are allowed"):
        long.add(MORE, 1, bytes(41))
    with pytest.raises(Refused, match="100 are allowed"):
        Pile(most=100).add(FINAL, 1, bytes(101))
    for _ in range(MOST_CHUNKS):
        many.add(MORE, 1, b"")
    with pytest.raises(Refused):
        many.add(MORE, 1, b"")


def test_an_aborted_message_is_forgotten_and_two_do_not_mix() -> None:
    pile = Pile()
    pile.add(MORE, 1, b"half")
    assert pile.add(ABORTED, 1, b"reason") is None
    assert pile.add(FINAL, 2, b"whole") == b"whole"
    pile.add(MORE, 3, b"half")
    with pytest.raises(Refused):
        pile.add(FINAL, 4, b"other")


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 2**32 - 1))
def test_the_number_we_send_after_another_may_follow_it(last: int) -> None:
    assert follows(after(last), last) and after(last) < 2**32


# Part 6 §6.7.2.4: one more each time; anew below 1024 when fewer than 1024 numbers are left, and not before.
@pytest.mark.parametrize(
    ("last", "number", "may"),
    [
        (1, 2, True),
        (1, 1, False),
        (1, 3, False),
        (2**32 - 1025, 0, False),
        (2**32 - 1025, 2**32 - 1024, True),
        (2**32 - 1024, 1, True),
        (2**32 - 1, 0, True),
        (2**32 - 1, 1023, True),
        (2**32 - 1, 1024, False),
    ],
)
def test_sequence_numbers_wrap_as_the_standard_says(last: int, number: int, may: bool) -> None:
    assert follows(number, last) is may
