"""The words in which a fault is written down: its kind, where and when it strikes, and how hard."""

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from twin.clock import Ns
from twin.kernel import Words

FAR = Ns(2**62)


class FaultError(ValueError):
    """A fault that cannot be put in: which thing, which value, which limit."""


class Subject(enum.StrEnum):
    """What is faulty."""

    SENSOR = "sensor"
    ACTUATOR = "actuator"
    PLANT = "plant"
    LINK = "link"
    NODE = "node"
    CONTROLLER = "controller"


class Carrier(enum.StrEnum):
    """What a pin carries: a level 0/1, a voltage 0..65535, a duty 0..65535, or the words of a step stream."""

    LEVEL = "level"
    VOLTAGE = "voltage"
    DUTY = "duty"
    STEPS = "steps"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A number that says how a fault strikes, and the range it may have."""

    default: float
    low: float
    high: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A way of failing.

    Attributes:
        name: kebab-case, unique over all kinds.
        expected: what a safe factory does about it; observable: where that shows.
        reference: its entry in the fault catalogue, where it has one.
        carriers: what a sensor's or an actuator's pin must carry for it.
    """

    name: str
    subject: Subject
    text: str
    expected: str
    observable: str
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    reference: str = ""
    carriers: tuple[Carrier, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A kind of failure that strikes somewhere at some time.

    Attributes:
        at: its onset.
        target: "machine.pin" of a sensor or an actuator ("machine.frames" is its step stream); the name of the machine, of the
            node; "core" for the controller.
        lasts: None for good.
        parameters: those that are not to have their default.
    """

    at: Ns
    kind: str
    target: str
    lasts: Ns | None = None
    parameters: Mapping[str, float] = field(default_factory=dict)


class Edit(Protocol):
    """What becomes of a reading or an output on its way, from the fault's onset on.

    Attributes:
        fired: how often it has really changed the value.
    """

    fired: int

    def __call__(self, now: Ns, value: int) -> int:
        """The value as it arrives."""
        ...

    def wake(self, now: Ns) -> Ns:
        """When what arrives may change although nothing else does; FAR if it does not."""
        ...


class StepEdit(Protocol):
    """The same for the words of a step stream."""

    fired: int

    def __call__(self, now: Ns, words: Words) -> Words:
        """As many words as came, the first of which is played at `now`."""
        ...

    def wake(self, now: Ns) -> Ns:
        """FAR: without words there is nothing to change."""
        ...


Change = Callable[[Any, Any, Mapping[str, float]], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlantFault:
    """A way in which a machine type's plant can fail; a type declares its own in `faults.py`, as FAULTS.

    Attributes:
        strike: (state, params, parameters) -> the state from the onset on. A field of its physics that this changes gets back at
            the end what it had before.
        mend: what else the end takes, as strike; None where physics is all.
    """

    kind: Kind
    strike: Change
    mend: Change | None = None
