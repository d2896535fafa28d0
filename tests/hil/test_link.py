"""The link in the rig's hands: what it does to bytes, with a plain socket at each end."""

import socket
import struct
from collections.abc import Iterator
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.modbus.pdu import frame
from hil.faults.links import BOTH, FROM_NODE, TO_NODE, Bytewise, Deaf, Edited, HalfOpen, Held, Late, Lost, Some, Swapped, wrong_unit
from hil.link import FAR, Link, LinkFault, Piece, Splitter, Way, whole
from twin.clock import MS, Ns

FRAMES = st.lists(st.builds(frame, st.integers(0, 0xFFFF), st.integers(0, 255), st.binary(min_size=1, max_size=253)), max_size=8)
PDU = bytes((3, 0, 0, 0, 50))


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[a:b] for a, b in pairwise(edges)]


# ---- frames


@given(FRAMES, st.lists(st.integers(0, 5000)))
def test_however_a_stream_is_cut_the_frames_are_the_same(frames: list[bytes], places: list[int]) -> None:
    split = Splitter()
    assert [found for piece in cut(b"".join(frames), places) for found in split.feed(piece)] == frames
    assert split.flush() == b""


@given(FRAMES, st.binary(max_size=700), st.lists(st.integers(0, 5000)))
def test_what_does_not_parse_is_handed_on_and_nothing_is_lost(frames: list[bytes], junk: bytes, places: list[int]) -> None:
    split, data = Splitter(), b"".join(frames) + junk
    found = [made for piece in cut(data, places) for made in split.feed(piece)]
    assert b"".join(found) + split.flush() == data
    assert found[: len(frames)] == frames


@given(FRAMES, st.binary(max_size=40), st.lists(st.integers(0, 5000)), st.data())
def test_bytes_that_are_let_through_unseen_come_neither_twice_nor_never(
    frames: list[bytes], junk: bytes, places: list[int], data: st.DataObject
) -> None:
    split, whole_stream, out = Splitter(), b"".join(frames) + junk, b""
    for piece in cut(whole_stream, places):
        if data.draw(st.booleans()):
            out += split.let_through(piece)
        else:
            out += b"".join(split.feed(piece))
    assert out + split.flush() == whole_stream


def test_a_frame_that_began_unseen_is_no_frame_and_the_next_one_is() -> None:
    split, first, second = Splitter(), frame(1, 1, PDU), frame(2, 1, PDU)
    split.let_through(first[:9])
    found = split.feed(first[9:] + second)
    assert found == [first[9:], second]
    assert [whole(piece) for piece in found] == [False, True]


# ---- a link with a socket at each end


class Ends:
    """A link between a client and a server of this test, pumped by hand."""

    def __init__(self) -> None:
        self.server = socket.create_server(("127.0.0.1", 0))
        self.link = Link(self.server.getsockname()[:2], "n")
        self.now = Ns(0)
        self.near, self.far = self.connect()

    def connect(self) -> tuple[socket.socket, socket.socket]:
        near = socket.create_connection(("127.0.0.1", self.link.port))
        self.pump()
        far, _ = self.server.accept()
        near.setblocking(False)
        far.setblocking(False)
        return near, far

    def pump(self, until: Ns | None = None) -> None:
        """Let time pass from one wake of the link to the next."""
        until = self.now if until is None else until
        while True:
            for _ in range(4):
                self.link.pump(self.now)
            if self.now >= until:
                return
            self.now = min(until, max(self.now, self.link.wake))

    def put(self, fault: LinkFault) -> LinkFault:
        self.link.add(fault, self.now)
        return fault

    def sends(self, data: bytes, until: Ns | None = None) -> bytes:
        """What comes of that which the client sends."""
        self.near.sendall(data)
        self.pump(until)
        return taken(self.far)

    def answers(self, data: bytes, until: Ns | None = None) -> bytes:
        """What comes of that which the server sends."""
        self.far.sendall(data)
        self.pump(until)
        return taken(self.near)


def taken(end: socket.socket) -> bytes:
    try:
        return end.recv(65536)
    except BlockingIOError:
        return b""


@pytest.fixture
def ends() -> Iterator[Ends]:
    made = Ends()
    yield made
    made.link.close()
    for end in (made.near, made.far, made.server):
        end.close()


ONE, TWO = frame(1, 1, PDU), frame(2, 1, PDU)


def test_bytes_pass_both_ways_and_taps_hear_whole_frames(ends: Ends) -> None:
    heard: list[tuple[Ns, bool, bytes]] = []
    ends.link.taps.append(lambda *told: heard.append(told))
    assert ends.sends(ONE[:5]) == ONE[:5] and not heard
    assert ends.sends(ONE[5:] + TWO) == ONE[5:] + TWO
    assert ends.answers(TWO) == TWO
    assert heard == [(0, True, ONE), (0, True, TWO), (0, False, TWO)]


def test_a_cut_link_loses_what_is_sent_and_says_nothing_of_a_close(ends: Ends) -> None:
    ends.link.cut = True
    assert ends.sends(ONE) == b"" and ends.answers(TWO) == b""
    ends.link.cut = False
    assert ends.sends(TWO) == TWO
    ends.link.cut = True
    ends.near.close()
    ends.pump()
    assert taken(ends.far) == b""
    ends.far.sendall(ONE)  # it does not know
    ends.link.cut = False
    ends.pump()
    assert ends.link.ways == ()


def test_a_close_is_passed_on_after_all_that_was_sent(ends: Ends) -> None:
    ends.put(Late(TO_NODE, Ns(5 * MS), Ns(0), Random(1)))
    ends.near.sendall(ONE)
    ends.near.close()
    ends.pump(Ns(4 * MS))
    assert taken(ends.far) == b"" and ends.link.ways
    ends.pump(Ns(5 * MS))
    assert ends.far.recv(100) == ONE and ends.far.recv(100) == b"" and not ends.link.ways


def test_late_bytes_come_when_they_are_due_and_in_their_order(ends: Ends) -> None:
    fault = ends.put(Late(BOTH, Ns(2 * MS), Ns(9 * MS), Random(7)))
    came = b""
    for _ in range(20):
        came += ends.sends(ONE + TWO, Ns(ends.now + MS))
    assert 2 * MS <= ends.link.wake - ends.now + 2 * MS <= 12 * MS
    came += ends.sends(b"", Ns(ends.now + 12 * MS))
    assert came == (ONE + TWO) * 20 and ends.link.wake == FAR and fault.fired == 20


def test_byte_by_byte_means_a_moment_for_each(ends: Ends) -> None:
    ends.put(Bytewise(TO_NODE, 1.0, Random(1), Ns(MS)))
    assert ends.sends(ONE, Ns(0)) == ONE[:1]
    assert ends.sends(b"", Ns(3 * MS)) == ONE[1:4]
    assert ends.sends(b"", Ns(20 * MS)) == ONE[4:]


class Reset(Some):
    def bend(self, piece: Piece) -> list[Piece]:
        return [Piece(piece.due, ONE[:4]), Piece(piece.due, None)]


def test_a_reset_ends_the_connection_at_both_ends(ends: Ends) -> None:
    ends.put(Reset(FROM_NODE, 1.0, Random(1)))
    ends.far.sendall(ONE)
    ends.pump()
    with pytest.raises(ConnectionResetError):
        while ends.near.recv(100):
            pass
    assert not ends.link.ways


def test_a_half_open_connection_leads_nowhere_and_a_new_one_works(ends: Ends) -> None:
    ends.put(HalfOpen())
    assert ends.sends(ONE) == b"" and ends.answers(ONE) == b""
    ends.near.close()
    ends.pump()
    ends.far.sendall(TWO)
    ends.pump()
    assert taken(ends.far) == b""
    ends.near, other = ends.connect()
    ends.near.sendall(ONE)
    ends.pump()
    assert taken(other) == ONE
    other.close()


def test_what_is_held_comes_in_one_piece_when_the_fault_ends(ends: Ends) -> None:
    fault = ends.put(Held())
    assert ends.sends(ONE) == ends.sends(TWO) == ends.answers(TWO) == b""
    ends.link.remove(fault, ends.now)
    assert taken(ends.far) == ONE + TWO and taken(ends.near) == TWO


def test_faults_are_one_after_the_other_and_what_is_no_frame_passes_those_of_frames(ends: Ends) -> None:
    ends.put(Edited(FROM_NODE, 1.0, Random(1), wrong_unit))
    ends.put(Swapped(FROM_NODE))
    assert ends.answers(ONE + TWO) == wrong_unit(TWO) + wrong_unit(ONE)
    assert ends.sends(ONE) == ONE
    junk = b"\0\1\0\2junk"
    assert ends.answers(junk) == junk


@pytest.mark.parametrize("count", range(1, 8))
def test_neighbours_change_places(count: int, ends: Ends) -> None:
    ends.put(Swapped(TO_NODE))
    sent = [frame(number, 1, PDU) for number in range(count)]
    order = [number ^ 1 if number ^ 1 < count else number for number in range(count)]
    assert ends.sends(b"".join(sent)) == b"".join(sent[number] for number in order)


def test_a_share_is_hit_and_the_same_share_for_the_same_seed(ends: Ends) -> None:
    made = []
    for seed in (3, 3, 4):
        fault = ends.put(Lost(TO_NODE, 0.3, Random(seed)))
        made.append(ends.sends(ONE * 400))
        ends.link.remove(fault, ends.now)
        assert 80 <= fault.fired <= 160 and len(made[-1]) == (400 - fault.fired) * len(ONE)
    assert made[0] == made[1] != made[2] or len(made[0]) != len(made[2])


def test_deaf_in_one_direction_only(ends: Ends) -> None:
    ends.put(Deaf(TO_NODE))
    assert ends.sends(ONE) == b"" and ends.answers(TWO) == TWO


class Deserted(LinkFault):
    def carry(self, now: Ns, way: Way, pieces: list[Piece]) -> list[Piece]:
        return pieces

    def closes(self, now: Ns, way: Way) -> bool:
        return False


def test_an_end_that_nobody_told_of_a_close_may_go_on_and_close_too(ends: Ends) -> None:
    ends.put(Deserted())
    ends.near.close()
    ends.pump()
    ends.far.sendall(TWO)
    ends.pump()
    ends.far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    ends.far.close()
    ends.pump()
    assert not ends.link.ways
