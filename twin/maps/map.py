"""A Map: a table that says where each Signal of a machine lies that does not speak our registers, and what it means there.

A Signal's value is SI in Python, as everywhere. Out of a device comes

    value = (raw * scale * 10^exponent + offset + raw of another Signal * factor) in the declared unit

where exponent and the other Signal are named by `scale_from` and `plus_from`, for the devices that need them.
"""

import enum
from collections import namedtuple
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any, cast

from twin.tables import Mistakes
from twin.units import ONE, Unit
from twin.wire import Layout, Range, Signal


class MapError(Mistakes):
    """A Map that cannot be used. `mistakes` holds one line for each, with file and line."""


class Table(enum.StrEnum):
    """One of the four address spaces of a Modbus device."""

    COILS = "co"
    DISCRETE = "di"
    HOLDING = "hr"
    INPUT = "ir"

    @property
    def bits(self) -> bool:
        """Whether it holds bits instead of registers."""
        return self in (Table.COILS, Table.DISCRETE)


class Form(enum.StrEnum):
    """How a value is laid down."""

    BOOL = "bool"
    INT16 = "int16"
    UINT16 = "uint16"
    INT32 = "int32"
    UINT32 = "uint32"
    INT64 = "int64"
    UINT64 = "uint64"
    FLOAT32 = "float32"
    FLOAT64 = "float64"
    STRING = "string"

    @property
    def registers(self) -> int:
        """How many registers it takes; a string takes as many as its row says."""
        digits = self.value.lstrip("abcdefghijklmnopqrstuvwxyz")
        return int(digits) // 16 if digits else 1


class Order(enum.StrEnum):
    """How a value's bytes follow each other in its registers; A is the highest."""

    ABCD = "ABCD"
    CDAB = "CDAB"
    BADC = "BADC"
    DCBA = "DCBA"


class Access(enum.StrEnum):
    """What may be done with a Signal."""

    R = "r"
    W = "w"
    RW = "rw"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a Signal lies in a Modbus device.

    Attributes:
        address: 0-based, as it is on the wire.
        form: of the value there. BOOL in a register needs `bit`.
        registers: how many it takes (bits, in a table of bits: 1).
        unit: the unit id that has it; None for the machine's own.
        scale, offset: value in the declared unit = raw * scale + offset.
        scale_from: a Signal whose raw value is an exponent of ten that the scale is multiplied by (SunSpec); read in one request.
        plus_from, plus_factor: a Signal whose raw value times the factor is added; read in one request.
        invalid: raw values that say that there is no value.
        together: Signals with the same word here are read in one request; empty for none.
    """

    table: Table
    address: int
    form: Form = Form.UINT16
    registers: int = 1
    order: Order = Order.ABCD
    bit: int | None = None
    unit: int | None = None
    scale: float = 1.0
    offset: float = 0.0
    scale_from: str = ""
    plus_from: str = ""
    plus_factor: float = 0.0
    invalid: tuple[int, ...] = ()
    together: str = ""

    @property
    def end(self) -> int:
        """The first address behind it."""
        return self.address + self.registers

    def __str__(self) -> str:
        where = f"{self.table} {self.address}" + ("" if self.bit is None else f".{self.bit}")
        return where if self.form is Form.BOOL else f"{where} {self.form}"


@dataclass(frozen=True, slots=True)
class NodePlace:
    """Where a Signal lies in an OPC UA server.

    Attributes:
        node: its NodeId with the namespace's URI, `nsu=urn:maker;s=Press.Speed`, or `i=2258` in namespace 0.
        scale, offset: value in the declared unit = what is there * scale + offset.
    """

    node: str
    scale: float = 1.0
    offset: float = 0.0

    def __str__(self) -> str:
        return self.node


@dataclass(frozen=True, slots=True)
class Deadband:
    """By how much a value must change before it is told again: in SI, or as a share of its Range."""

    absolute: float = 0.0
    share: float = 0.0


@dataclass(frozen=True, slots=True)
class Mapped:
    """One row: a Signal, where it lies, and how it is used.

    Attributes:
        signal: its `binding` is a Place or a NodePlace.
        scan: its scan class, one of the Map's.
        deadband: of the value that is told.
        line: of the file, for messages.
    """

    signal: Signal
    access: Access = Access.R
    scan: str = "normal"
    deadband: Deadband = Deadband()
    line: int = field(default=0, compare=False)

    @property
    def name(self) -> str:
        return self.signal.name

    @property
    def place(self) -> Any:
        """Its Place or NodePlace."""
        return cast(Any, self.signal.binding)

    @property
    def readable(self) -> bool:
        return self.access is not Access.W

    @property
    def writable(self) -> bool:
        return self.access is not Access.R


@dataclass(frozen=True, slots=True)
class Method:
    """Something that an OPC UA machine can be asked to do.

    Attributes:
        object, method: NodeIds as in a NodePlace.
        inputs: name and type (bool, int, float or str) of each argument.
    """

    name: str
    object: str
    method: str
    inputs: tuple[tuple[str, type], ...] = ()
    text: str = ""


@dataclass(frozen=True, slots=True)
class Places:
    """Addresses in a row of one table."""

    table: Table
    first: int
    last: int


CLASSES: Mapping[str, int] = MappingProxyType({"fast": 100, "normal": 1000, "slow": 10_000, "once": 0})
"""Scan classes that every Map has, with their period [ms]; once: when the device is found, and found again."""


@dataclass(frozen=True)
class Map:
    """A whole table.

    Attributes:
        name: of the kind of machine; people see it as its type.
        classes: period [ms] of each scan class.
        most_registers, most_bits: the most that one request may read.
        most_written: registers that one request may write.
        gap: addresses that nobody asked for and one request may read along; None: as many as pay.
        forbidden: addresses that must not be read.
        pipeline: how many requests the device takes before it has answered the first.
        write_one: write one register with function 6 instead of 16.
        sunspec: base addresses where a SunSpec chain may begin; places are then relative to their model (ADR of Maps).
    """

    name: str
    signals: tuple[Mapped, ...]
    text: str = ""
    classes: Mapping[str, int] = field(default_factory=lambda: CLASSES)
    most_registers: int = 125
    most_bits: int = 2000
    most_written: int = 123
    gap: int | None = None
    forbidden: tuple[Places, ...] = ()
    pipeline: int = 1
    write_one: bool = False
    sunspec: tuple[int, ...] = ()
    methods: tuple[Method, ...] = ()

    def __getitem__(self, name: str) -> Mapped:
        for row in self.signals:
            if row.name == name:
                return row
        raise KeyError(name)

    @cached_property
    def read(self) -> tuple[Mapped, ...]:
        """What can be read: the Signals of its Status, in this order."""
        return tuple(row for row in self.signals if row.readable)

    @cached_property
    def written(self) -> tuple[Mapped, ...]:
        """What can be written: the Signals of its Command."""
        return tuple(row for row in self.signals if row.writable)

    @cached_property
    def status(self) -> type:
        """The record class of what is read: a tuple with a name for each value, None where there is none."""
        return _record("Status", self.read)

    @cached_property
    def command(self) -> type:
        """The same of what was written last."""
        return _record("Command", self.written)


def _record(name: str, rows: tuple[Mapped, ...]) -> type:
    fields = namedtuple(name, [row.name for row in rows])  # type: ignore[misc]
    return type(name, (fields,), {"__slots__": (), "__layout__": Layout(name, tuple(row.signal for row in rows), 0)})


def signal(
    name: str, kind: type, place: Place | NodePlace, unit: Unit = ONE, range: Range | None = None, text: str = ""
) -> Signal:
    """A Signal of a Map."""
    return Signal(name, kind, unit, range, None, cast(Any, place), None, text)
