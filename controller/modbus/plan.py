"""What to ask a node each scan: its block and its machines in few reads, the Grant and the Commands in few writes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from controller.modbus.burst import Reply
from controller.modbus.pdu import MOST_READ, MOST_WRITTEN, ModbusError, Read, Request, Words, Write
from twin.factory import Factory, Machine
from twin.node import COMMAND_AT, STATUS_AT, NodeStatus
from twin.wire import Layout, layout

MOST_GAP = 16
"""Registers nobody asked for that are cheaper to read along than another request is."""


@dataclass(frozen=True, slots=True)
class Span:
    """Registers in a row."""

    address: int
    count: int

    @property
    def end(self) -> int:
        return self.address + self.count


@dataclass(frozen=True, slots=True)
class Heard:
    """One scan's registers of a node.

    Attributes:
        node: of its Status.
        machines: of each machine by its name, its Status and Command.
    """

    node: Words
    machines: Mapping[str, Words]


def merge(spans: Iterable[Span], most: int, gap: int) -> tuple[Span, ...]:
    """Few spans that cover all: joined across at most `gap` registers, none longer than `most`; none of them is cut."""
    joined: list[Span] = []
    for span in sorted(spans, key=lambda s: s.address):
        last = joined[-1] if joined else None
        if last is not None and span.address - last.end <= gap and max(span.end, last.end) - last.address <= most:
            joined[-1] = Span(last.address, max(span.end, last.end) - last.address)
        else:
            joined.append(span)
    return tuple(joined)


def _signals(shape: Layout, base: int) -> Iterable[Span]:
    """A record's registers, one span for each Signal: a value of several registers is never torn."""
    for signal in shape.signals:
        yield Span(base + signal.registers[0], len(signal.registers))


def _records(machine: Machine) -> tuple[tuple[Layout, int], tuple[Layout, int]]:
    status, command = machine.type.layouts
    return (status, machine.base), (command, machine.base + status.size)


@dataclass(frozen=True, slots=True)
class ScanPlan:
    """What one node is asked in one scan.

    Attributes:
        reads: the node's Status first.
        writes: the machines' Commands.
        machines: where each machine's registers lie.
        commands: the first register of each machine's Command.
    """

    reads: tuple[Read, ...]
    writes: tuple[Span, ...]
    machines: Mapping[str, Span]
    commands: Mapping[str, int]

    def requests(self, grant: Words | None = None, commands: Mapping[str, Words] | None = None) -> list[Request]:
        """One burst: the Grant before every machine's Command, the reads last. Without a Grant nothing is written."""
        if grant is None:
            return list(self.reads)
        if commands is None:
            return [Write(COMMAND_AT, grant), *self.reads]
        words = {at + i: word for name, at in self.commands.items() for i, word in enumerate(commands[name])}
        written = [Write(s.address, tuple(words[a] for a in range(s.address, s.end))) for s in self.writes]
        return [Write(COMMAND_AT, grant), *written, *self.reads]

    def heard(self, replies: Sequence[Reply]) -> Heard | ModbusError:
        """The registers out of a burst's replies, or the first error among its reads."""
        reads = replies[len(replies) - len(self.reads) :]
        for reply in reads:
            if isinstance(reply, ModbusError):
                return reply
        found: dict[int, Sequence[int]] = {
            read.address: reply for read, reply in zip(self.reads, reads, strict=True) if isinstance(reply, tuple)
        }
        return Heard(tuple(found[STATUS_AT]), {name: _cut(self.reads, found, span) for name, span in self.machines.items()})


def _cut(reads: tuple[Read, ...], found: Mapping[int, Sequence[int]], span: Span) -> Words:
    """A span's registers out of the reads that hold them; a gap that nobody asked for reads as 0."""
    words = [0] * span.count
    for read in reads:
        first, end = max(read.address, span.address), min(read.address + read.count, span.end)
        if first < end:
            part = found[read.address][first - read.address : end - read.address]
            words[first - span.address : end - span.address] = part
    return tuple(words)


def scan_plan(factory: Factory, node: str) -> ScanPlan:
    """What to ask a node of a factory each scan."""
    machines = factory.on(node)
    block = Span(STATUS_AT, layout(NodeStatus).size)
    read = merge((s for m in machines for record in _records(m) for s in _signals(*record)), MOST_READ, MOST_GAP)
    # Within one Command a hole may be written over; a write across two Commands is refused by a node.
    written = (s for m in machines for s in merge(_signals(*_records(m)[1]), MOST_WRITTEN, gap=MOST_WRITTEN))
    return ScanPlan(
        tuple(Read(span.address, span.count) for span in (block, *read)),
        tuple(written),
        {m.name: Span(m.base, m.type.size) for m in machines},
        {m.name: _records(m)[1][1] for m in machines},
    )
