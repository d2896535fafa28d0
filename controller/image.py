"""The Image: the latest Sample of every node and machine, all that the controller believes. Frozen; one writer."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from controller.modbus.pdu import Words
from controller.modbus.plan import Heard
from twin.clock import MS, Ns
from twin.export import map_hash
from twin.factory import Factory
from twin.node import MAGIC, VERSION, NodeStatus
from twin.trace import GOOD, Belief, Quality, Sample, Stamp
from twin.wire import WireError, decode, outside

NEVER = Belief(Quality.STALE, "never heard")
NO_DOUBTS: Mapping[str, Belief] = MappingProxyType({})
OUTSIDE = Belief(Quality.BAD, "outside its range")


@dataclass(frozen=True, slots=True)
class Expected:
    """What a node must say of itself before it is believed and commanded."""

    uid: int
    map_hash: int

    def refuses(self, status: NodeStatus) -> str:
        """Why a node isn't ours to command: what differs, with both values; empty when it is."""
        for name, says, wanted in (
            ("magic", status.magic, MAGIC),
            ("version", status.version, VERSION),
            ("uid", status.uid, self.uid),
        ):
            if says != wanted:
                return f"{name} differs: node says {says:#x}, factory {wanted:#x}"
        if status.map_hash != self.map_hash:
            return f"map differs: node says {status.map_hash:#010x}, factory {self.map_hash:#010x}"
        return ""


@dataclass(frozen=True, slots=True)
class Seen:
    """A Sample with the registers it was read from, so that unchanged registers are decoded once."""

    sample: Sample[Any]
    words: Words = ()


@dataclass(frozen=True)
class Shape:
    """What never changes: whose Samples there are, and when they grow old.

    Attributes:
        stale_after: the age at which a node's Samples are Stale: 2.5 of its scan periods.
    """

    factory: Factory
    expected: Mapping[str, Expected]
    stale_after: Mapping[str, Ns]


@dataclass(frozen=True)
class Image:
    """All that is believed.

    Attributes:
        refused: why a node is neither believed nor commanded.
        commands: each machine's Command as its node's registers hold it. A latched node holds its outputs at their
            defaults whatever these say; its own Status tells.
        mirrored: the Sample of each machine that is none of ours, as the bus that has it tells.
    """

    shape: Shape
    nodes: Mapping[str, Seen]
    machines: Mapping[str, Seen]
    commands: Mapping[str, Seen]
    refused: Mapping[str, str] = field(default_factory=dict)
    mirrored: Mapping[str, Sample[Any]] = field(default_factory=dict)

    def node(self, name: str) -> Sample[NodeStatus]:
        """The Sample of a node."""
        return self.nodes[name].sample

    def machine(self, name: str) -> Sample[Any]:
        """The Sample of a machine's Status."""
        return self.machines[name].sample

    def command(self, name: str) -> Sample[Any]:
        """The Sample of a machine's Command."""
        return self.commands[name].sample

    def received(self, node: str, heard: Heard, now: Ns, utc_ns: int, stamp: Stamp | None = None) -> "Image":
        """With a node's registers as they were at `now`; `stamp`: when that was by the node's clock."""
        status = _seen(self.nodes[node], NodeStatus, heard.node, now, utc_ns, stamp)
        said = status.sample.status
        cause = "" if said is None else self.shape.expected[node].refuses(said)
        machines, commands = dict(self.machines), dict(self.commands)
        for machine in self.shape.factory.on(node):
            words, size = heard.machines[machine.name], machine.type.layouts[0].size
            name, kind = machine.name, machine.type
            machines[name] = _seen(machines[name], kind.status, words[:size], now, utc_ns, stamp)
            commands[name] = _seen(commands[name], kind.command, words[size:], now, utc_ns, stamp)
        refused = {name: why for name, why in self.refused.items() if name != node}
        made = replace(self, nodes={**self.nodes, node: status}, machines=machines, commands=commands, refused=refused)
        if not cause:
            return made
        bad = made._doubted(node, Belief(Quality.BAD, cause), with_node=False)
        return replace(bad, refused={**refused, node: cause})

    def told(self, samples: Mapping[str, Sample[Any]]) -> "Image":
        """With fresh Samples of machines that are none of ours."""
        return replace(self, mirrored={**self.mirrored, **samples}) if samples else self

    def lost(self, node: str, cause: str) -> "Image":
        """With nothing Good of a node any more, because its link is lost."""
        if self.nodes[node].sample.every == (belief := Belief(Quality.STALE, cause)):
            return self
        return self._doubted(node, belief, with_node=True)

    def aged(self, now: Ns) -> "Image":
        """With what is too old for a Good value made Stale."""
        made = self
        for name, seen in self.nodes.items():
            sample, limit = seen.sample, self.shape.stale_after[name]
            if sample.status is not None and sample.every.quality is not Quality.STALE and now - sample.at > limit:
                made = made.lost(name, f"no reply for {limit // MS} ms")
        return made

    def _doubted(self, node: str, belief: Belief, with_node: bool) -> "Image":
        names = [machine.name for machine in self.shape.factory.on(node)]
        return replace(
            self,
            nodes=_doubt(self.nodes, [node], belief) if with_node else self.nodes,
            machines=_doubt(self.machines, names, belief),
            commands=_doubt(self.commands, names, belief),
        )


def _doubt(seen: Mapping[str, Seen], names: list[str], belief: Belief) -> Mapping[str, Seen]:
    return {**seen, **{n: Seen(replace(seen[n].sample, every=belief), seen[n].words) for n in names}}


def _seen(before: Seen, kind: type, words: Words, now: Ns, utc_ns: int, stamp: Stamp | None) -> Seen:
    old = before.sample
    if words == before.words and old.status is not None and old.every.quality is not Quality.BAD:
        return Seen(Sample(old.status, now, utc_ns, GOOD, old.doubts, stamp), words)
    try:
        status: Any = decode(kind, words)
    except WireError as wrong:
        return Seen(Sample(old.status, now, utc_ns, Belief(Quality.BAD, str(wrong)), NO_DOUBTS, stamp), words)
    doubts = dict.fromkeys(outside(status), OUTSIDE) or NO_DOUBTS
    return Seen(Sample(status, now, utc_ns, GOOD, doubts, stamp), words)


def blank(factory: Factory) -> Image:
    """The Image before anything was heard."""
    expected = {n.name: Expected(n.uid, map_hash(factory, n.name)) for n in factory.nodes.values()}
    shape = Shape(factory, expected, {n.name: Ns(n.scan_ms * MS * 5 // 2) for n in factory.nodes.values()})
    nothing = Seen(Sample(None, Ns(0), 0, NEVER))
    machines: dict[str, Seen] = dict.fromkeys(factory.machines, nothing)
    mirrored: dict[str, Sample[Any]] = dict.fromkeys(factory.mirrored, nothing.sample)
    return Image(shape, dict.fromkeys(factory.nodes, nothing), machines, dict(machines), mirrored=mirrored)
