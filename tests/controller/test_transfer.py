"""A Job's way through the transfer window, over a link that loses what it likes."""

import struct
import zlib
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.modbus.burst import Reply
from controller.modbus.pdu import LinkDown, NoReply, Read, Refused, Request, Write
from controller.nodes.transfer import LOOK, Carrier, Load, NoRoom, TransferError
from controller.orders.job import shortest_reserve
from tests.controller.factories import shop
from tests.controller.fakenode import FakeNode
from tests.controller.virtual import run
from twin import node as n
from twin.clock import MS, LoopClock, Ns, S
from twin.motion.job import END, HEADER

JOB = bytes(i * 31 & 0xFF for i in range(5000))


class Losing:
    """A link to a plain node. `script` says what happens to each request: ok, lost, or done with its reply lost."""

    def __init__(self, node: FakeNode, clock: LoopClock, script: Sequence[str] = ()) -> None:
        self.node, self.clock, self.script = node, clock, list(script)
        self.peer = object()
        self.written = 0
        node.write(self.peer, n.COMMAND_AT, [0, 5, 0, node.highest + 1, 60_000, 1] + [0] * 8)

    async def ask(self, requests: Sequence[Request], deadline: Ns, urgent: bool = True) -> list[Reply]:
        await self.clock.until(Ns(self.clock.now() + 5 * MS))
        return [self._one(request) for request in requests]

    def _one(self, request: Request) -> Reply:
        what = self.script.pop(0) if self.script else "ok"
        if what == "lost":
            return NoReply("lost")
        reply: Reply
        if isinstance(request, Write):
            self.written += 1
            words = list(request.words)
            if what == "garbled" and len(words) > 12:
                words[12] ^= 0x40
            code = self.node.write(self.peer, request.address, words)
            reply = Refused(0x10, code) if code else ()
        else:
            assert isinstance(request, Read)
            reply = tuple(self.node.bank[request.address : request.address + request.count])
        return LinkDown("no reply") if what == "mute" else reply


def carry(
    script: Sequence[str] = (), job: bytes = JOB, kind: n.TransferKind = n.TransferKind.STORED_JOB, room: int = 1 << 20
) -> tuple[FakeNode, Losing]:
    node = FakeNode(shop(), "printer-1", room=room, ring=2048)

    async def main(clock: LoopClock) -> Losing:
        link = Losing(node, clock, script)
        if kind is n.TransferKind.STREAMED_JOB:
            clock._loop.call_later(1.0, lambda: _play(node, clock))
        await Carrier(link, clock, Load(9, job, kind), lambda: True, lambda: ahead.append(clock.now())).carry()
        return link

    ahead: list[Ns] = []
    link = run(main)
    assert ahead
    return node, link


def _play(node: FakeNode, clock: LoopClock) -> None:
    """The node plays what its ring holds, and there is room again."""
    node.set(ring_free=2048)
    clock._loop.call_later(1.0, lambda: _play(node, clock))


def test_a_job_arrives_whole_in_no_more_writes_than_it_has_blocks() -> None:
    node, link = carry()
    assert node.jobs[9] == JOB and node.status["transfer_state"] == n.TransferState.STORED
    assert link.written == 2 + -(-len(JOB) // n.TRANSFER_BYTES)


@given(st.lists(st.sampled_from(("ok", "ok", "ok", "lost", "mute", "garbled")), max_size=60), st.integers(0, 700))
def test_a_job_arrives_whole_whatever_the_link_loses(script: list[str], size: int) -> None:
    job = JOB[: size + 1]
    node, _ = carry(script, job)
    assert node.jobs[9] == job


def test_a_job_that_is_there_already_is_not_sent_again() -> None:
    async def main(clock: LoopClock) -> int:
        link = Losing(FakeNode(shop(), "printer-1"), clock)
        for _ in range(2):
            before = link.written
            await Carrier(link, clock, Load(9, JOB, n.TransferKind.STORED_JOB), lambda: True, lambda: None).carry()
        return link.written - before

    assert run(main) == 1


def test_a_node_without_room_says_so() -> None:
    with pytest.raises(NoRoom, match="no room for 5000 bytes"):
        carry(room=4000)


def test_a_streamed_job_waits_for_room_in_the_ring() -> None:
    node, _ = carry(kind=n.TransferKind.STREAMED_JOB)
    assert node.jobs[9] == JOB


def test_a_link_that_stays_dead_ends_the_transfer_with_its_cause() -> None:
    with pytest.raises(TransferError, match=r"could not be sent: no reply"):
        carry(["mute"] * 10_000)


def test_a_transfer_waits_while_the_node_is_not_ours() -> None:
    async def main(clock: LoopClock) -> None:
        node = FakeNode(shop(), "printer-1")
        link = Losing(node, clock)
        ready = [False]
        clock._loop.call_later(10.0, lambda: ready.__setitem__(0, True))
        await Carrier(link, clock, Load(9, JOB, n.TransferKind.STORED_JOB), lambda: ready[0], lambda: None).carry()
        assert clock.now() >= 10 * S and node.jobs[9] == JOB

    run(main)


def test_the_look_reads_what_the_window_shows() -> None:
    assert (LOOK.address, LOOK.address + LOOK.count) == (36, 44)


def _job(records: bytes, count: int, chunks: int) -> bytes:
    body = records + END
    return HEADER.pack(b"LSJ1", 10, 4, count + 1, chunks, 1000, 0, len(body), zlib.crc32(body)) + body


@given(st.lists(st.integers(1, 4095), min_size=1, max_size=200), st.integers(100, 1000))
def test_the_reserve_is_that_of_the_densest_stretch(chunks: list[int], ring: int) -> None:
    records = b"".join(struct.pack("<HhH", 1 << 12 | n, 1, 32768) for n in chunks)
    job = _job(records, len(chunks), sum(chunks))
    found = shortest_reserve(job, ring)
    if len(job) <= ring:
        assert found == float("inf")
        return
    starts = [HEADER.size + 6 * i for i in range(len(chunks) + 1)]
    best = float("inf")
    for i, first in enumerate(starts[:-1]):
        if first + ring <= len(job):
            whole = [k for k in range(i, len(chunks)) if starts[k + 1] <= first + ring]
            best = min(best, sum(chunks[k] for k in whole) * 40e-6)
    assert found == pytest.approx(best)
