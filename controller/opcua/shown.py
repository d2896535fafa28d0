"""What is shown of a factory, as plain declarations: a tree of objects with Variables and methods. Pure."""

import enum
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from twin.units import Unit


class Kind(enum.Enum):
    """How a value is encoded."""

    BOOLEAN = "Boolean"
    INT32 = "Int32"
    INT64 = "Int64"
    UINT32 = "UInt32"
    UINT64 = "UInt64"
    DOUBLE = "Double"
    STRING = "String"


@dataclass(frozen=True, slots=True)
class Variable:
    """A Signal as clients see it.

    Attributes:
        path: the text of its NodeId.
        enumeration: what its numbers mean, or None.
        unit: None where there is nothing to count in.
        range: lowest and highest allowed value in that unit, or None.
        size: one of that unit in what the Feed carries.
        sets: which machine and Signal a write asks for; None where nobody may write.
        kept: whether History keeps it.
    """

    path: str
    name: str
    kind: Kind
    enumeration: type[enum.IntEnum] | None
    unit: Unit | None
    range: tuple[float, float] | None
    size: float
    text: str
    sets: tuple[str, str] | None = None
    kept: bool = False

    @property
    def writable(self) -> bool:
        return self.sets is not None

    def value(self, fed: Any) -> Any:
        """A value of the Feed as it is shown: in the declared unit, of the declared kind.

        Raises:
            ValueError, OverflowError: there is none of that kind.
        """
        if self.kind is Kind.DOUBLE:
            return float(fed) / self.size
        made, limits = _PYTHON[self.kind](fed), WHOLE.get(self.kind)
        if limits is not None and not limits[0] <= made <= limits[1]:
            raise OverflowError(f"{self.path}={made} is no {self.kind.value}")
        return made


WHOLE: Final[Mapping[Kind, tuple[int, int]]] = {
    Kind.INT32: (-(2**31), 2**31 - 1), Kind.UINT32: (0, 2**32 - 1), Kind.INT64: (-(2**63), 2**63 - 1), Kind.UINT64: (0, 2**64 - 1),
}  # fmt: skip
"""The smallest and the largest of each kind of whole numbers."""
_PYTHON: dict[Kind, Callable[[Any], Any]] = {Kind.BOOLEAN: bool, Kind.STRING: str, **dict.fromkeys(WHOLE, int)}


@dataclass(frozen=True, slots=True)
class Argument:
    """What a method is given or gives back."""

    name: str
    kind: Kind
    text: str


@dataclass(frozen=True, slots=True)
class Unless:
    """What keeps a method from being called, as far as a Signal tells it; one that is not Good keeps nobody.

    Attributes:
        signal: its path.
        says: its values, or for texts the beginnings of them.
        text: why, for people.
    """

    signal: str
    says: tuple[bool | int | str, ...]
    text: str


@dataclass(frozen=True, slots=True)
class Method:
    """Something that can be asked of the factory.

    Attributes:
        request: its kind in the Feed.
        machine: the machine it is asked of, or empty.
        inputs: by the Feed's name for each.
        outputs: what it gives back.
        calls: the method of a machine that is none of ours, which takes the inputs; empty for our own requests.
        unless: when it cannot be called.
        refusals: the path of the Variable that says what was refused last.
    """

    path: str
    name: str
    text: str
    request: str
    machine: str
    inputs: Mapping[str, Argument]
    outputs: tuple[Argument, ...] = ()
    calls: str = ""
    unless: tuple[Unless, ...] = ()
    refusals: str = ""


@dataclass(frozen=True, slots=True)
class Object:
    """Something that has Variables, Methods and further objects.

    Attributes:
        type: the path of its type, or empty for a plain object.
    """

    path: str
    name: str
    text: str
    type: str = ""
    objects: tuple["Object", ...] = ()
    variables: tuple[Variable, ...] = ()
    methods: tuple[Method, ...] = ()

    def everything(self) -> Iterator["Object"]:
        """It and all below it."""
        yield self
        for below in self.objects:
            yield from below.everything()


@dataclass(frozen=True, slots=True)
class Nameplate:
    """What the Machinery model asks of every machine."""

    manufacturer: str
    model: str
    serial_number: str
    product_instance_uri: str
    location: str


@dataclass(frozen=True)
class Space:
    """All that is shown.

    Attributes:
        namespace, application: URIs of our NodeIds and of this server.
        sampling_ms: how often a value can change.
        enumerations: by the path of their type.
        types: what machines and nodes are instances of.
        machines: each with its nameplate.
        variables: those of all Signals, in the Feed's order; then those that say what was refused last.
        methods: all that can be called.
    """

    name: str
    namespace: str
    application: str
    sampling_ms: int
    enumerations: Mapping[str, type[enum.IntEnum]]
    types: tuple[Object, ...]
    machines: tuple[tuple[Object, Nameplate], ...]
    nodes: tuple[Object, ...]
    factory: Object
    variables: tuple[Variable, ...]
    methods: tuple[Method, ...]
