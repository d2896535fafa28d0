"""What happens to nodes in the rig, as the Trace tells it."""

from dataclasses import dataclass

from twin.trace import Event


@dataclass(frozen=True, slots=True)
class PowerOn(Event):
    """A node's firmware was started."""

    cause: str


@dataclass(frozen=True, slots=True)
class NodeEnded(Event):
    """A node's firmware ended by itself."""

    console: str


@dataclass(frozen=True, slots=True)
class LinkCut(Event):
    """The network to a node was cut."""


@dataclass(frozen=True, slots=True)
class LinkHealed(Event):
    """The network to a node is back."""


@dataclass(frozen=True, slots=True)
class GuestCame(Event):
    """A process joined factory time."""


@dataclass(frozen=True, slots=True)
class GuestLost(Event):
    """A process on factory time ended."""
