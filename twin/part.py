"""Parts: what machines make, hand over, hold and carry."""

from dataclasses import dataclass

from twin.kernel import Floats
from twin.trace import Event

SLAB = 0.002
"""m of height that one entry of an outline stands for."""
Outline = tuple[tuple[float, float, float, float], ...]


def span(outline: Outline) -> tuple[float, float, float, float]:
    """Least and largest x and y [m] of what stands above the first slab, in which skirts and purge lines lie."""
    standing = outline[1:] or outline or ((0.0, 0.0, 0.0, 0.0),)
    x_low, x_high, y_low, y_high = zip(*standing, strict=True)
    return min(x_low), max(x_high), min(y_low), max(y_high)


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One physical thing.

    Attributes:
        id: given by the world when the part comes to light; empty before.
        filament_mm: what it is made of.
        at: the machine that holds it, empty once it has been dropped; `ready`: it has come to that machine's exit.
        length: along a belt [m].
        outline: from its underside up, one entry a SLAB: least and largest x, least and largest y [m] in the frame of the
            machine that made it. Empty where nobody knows.
    """

    id: str = ""
    filament_mm: float = 0.0
    at: str = ""
    ready: bool = False
    length: float = 0.02
    outline: Outline = ()

    @property
    def mass(self) -> float:
        """kg, for filament of 1.75 mm and 1.24 g/cm³."""
        return self.filament_mm * 2.405 * 1.24e-6


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """What is between the jaws of an arm.

    Attributes:
        width: of it between the jaws [m].
        frame: (4, 4) of the part's maker as it moves with the part, seen from between the jaws.
        source: the machine that it was taken from.
        closed_at: (3,) where the jaws closed [m], in the factory's frame.
        free: the part comes along; else it still sticks where it is.
    """

    part: Part
    width: float
    frame: Floats
    source: str
    closed_at: Floats
    free: bool


@dataclass(frozen=True, slots=True, eq=False)
class Jaws:
    """The jaws of an arm.

    Attributes:
        frame: (4, 4) of the point between them in the arm's base frame: they come along z and close along x.
        width: between them [m]; before: a step ago; opening: they are being opened; widest: when they are open.
        slip: how far they move along a part that sticks before they have slid off it [m].
    """

    frame: Floats
    width: float
    before: float
    opening: bool
    widest: float
    slip: float
    held: Held | None


@dataclass(frozen=True, slots=True)
class PartMade(Event):
    """A machine has finished a Part: it can be taken away."""

    part: str
    filament_mm: float


@dataclass(frozen=True, slots=True)
class PartHandedOver(Event):
    """A Part has gone from a machine to the next one."""

    part: str
    target: str


@dataclass(frozen=True, slots=True)
class PartArrived(Event):
    """A Part has come to a machine's exit."""

    part: str


@dataclass(frozen=True, slots=True)
class PartDropped(Event):
    """An arm has let go of a Part where nothing takes it."""

    part: str


@dataclass(frozen=True, slots=True)
class PartSlipped(Event):
    """The jaws of an arm have slid off a Part that sticks where it is."""

    part: str
