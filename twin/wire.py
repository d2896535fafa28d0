"""Records and where they lie on the wire: frozen SI values on one side, 16-bit registers on the other.

A field says what it means first and where it lies last:

    speed: A[float, MM_PER_S, Range(0, 0.5), Int16(1, step=0.1)]

Registers are big-endian, and values of several registers have their high word first (ABCD).
"""

import enum
import functools
import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Annotated, Any, TypeVar, dataclass_transform, get_args, get_origin, get_type_hints

from twin.units import ONE, Unit

T = TypeVar("T")


class WireError(ValueError):
    """A value, or a declaration, that does not fit its registers."""


@dataclass(frozen=True, slots=True)
class Range:
    """The values a Signal may take, in SI, both ends included."""

    low: float
    high: float


class Silence(enum.Enum):
    """What an output does when its node no longer hears its owner."""

    OFF = "off"
    HOLD = "hold"
    RAMP = "ramp"


OFF, HOLD, RAMP = Silence.OFF, Silence.HOLD, Silence.RAMP


@dataclass(frozen=True, slots=True)
class OnSilence:
    """The declared fallback of a Command's field."""

    to: Silence


@dataclass(frozen=True, slots=True)
class Bit:
    """One bit of a register; bit 0 is the lowest."""

    register: int
    bit: int


@dataclass(frozen=True, slots=True)
class Number:
    """A number in one or more registers: raw = value in the declared unit / step."""

    register: int
    step: float
    format: str
    words: int

    @property
    def limits(self) -> tuple[float, float]:
        """Smallest and largest raw value."""
        if self.format == "f":
            return -3.4028234e38, 3.4028234e38
        bits = 16 * self.words
        return (0, 2**bits - 1) if self.format.isupper() else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)

    def __str__(self) -> str:
        kind = "Float" if self.format == "f" else ("UInt" if self.format.isupper() else "Int")
        return f"{kind}{16 * self.words}({self.register}, step={self.step:g})"


def Int16(register: int, step: float = 1.0) -> Number:
    """A signed register."""
    return Number(register, step, "h", 1)


def UInt16(register: int, step: float = 1.0) -> Number:
    """An unsigned register."""
    return Number(register, step, "H", 1)


def Int32(register: int, step: float = 1.0) -> Number:
    """Two registers, signed."""
    return Number(register, step, "i", 2)


def UInt32(register: int, step: float = 1.0) -> Number:
    """Two registers, unsigned."""
    return Number(register, step, "I", 2)


def Float32(register: int) -> Number:
    """Two registers, IEEE 754 single."""
    return Number(register, 1.0, "f", 2)


Binding = Bit | Number


@dataclass(frozen=True, slots=True)
class Signal:
    """One field of a record, as everything else reads it off.

    Attributes:
        name: the field's name.
        type: bool, int, float or an IntEnum.
        unit: what people see it in.
        range: allowed values in SI, or None.
        on_silence: the declared fallback, or None.
        binding: where it lies, counted from the record's first register.
        default: value without a wish, or None for a Status.
        text: what it is, for people.
    """

    name: str
    type: type
    unit: Unit
    range: Range | None
    on_silence: Silence | None
    binding: Binding
    default: Any
    text: str

    @property
    def registers(self) -> Sequence[int]:
        """The registers it touches, in their order."""
        words = 1 if isinstance(self.binding, Bit) else self.binding.words
        return [self.binding.register + i for i in range(words)]

    @property
    def size(self) -> float:
        """One declared unit in what Python holds: SI for a float; an int counts declared units."""
        return self.unit.size if self.type is float else 1.0

    def describe(self) -> str:
        """One canonical line; the map hash is made of these."""
        limits = f" [{self.range.low:g}, {self.range.high:g}]" if self.range else ""
        return f"{self.name} {self.type.__name__} {self.binding} {self.unit.code}{limits}"


@dataclass(frozen=True, slots=True)
class Layout:
    """All Signals of a record, in their order, and how many registers they take."""

    name: str
    signals: tuple[Signal, ...]
    size: int

    def __getitem__(self, name: str) -> Signal:
        for signal in self.signals:
            if signal.name == name:
                return signal
        raise WireError(f"{self.name} has no signal {name!r}; it has {', '.join(s.name for s in self.signals)}")

    def __contains__(self, name: object) -> bool:
        return any(signal.name == name for signal in self.signals)


def _signal(name: str, hint: Any, default: Any) -> Signal:
    if get_origin(hint) is not Annotated:
        raise WireError(f"{name}: declare it as A[type, ..., Binding]")
    kind, *notes = get_args(hint)
    binding = notes[-1]
    if not isinstance(binding, (Bit, Number)):
        raise WireError(f"{name}: the last item must be a Binding, not {binding!r}")
    if (kind is bool) != isinstance(binding, Bit):
        raise WireError(f"{name}: a bool lies in a Bit and nothing else does")

    def note(wanted: type[T]) -> T | None:
        return next((n for n in notes[:-1] if isinstance(n, wanted)), None)

    silence = note(OnSilence)
    fallback = silence.to if silence else None
    return Signal(name, kind, note(Unit) or ONE, note(Range), fallback, binding, default, note(str) or "")


def _check_overlap(owner: str, signals: Sequence[Signal]) -> None:
    taken: dict[tuple[int, int], str] = {}
    for signal in signals:
        binding = signal.binding
        cells = (
            [(binding.register, binding.bit)]
            if isinstance(binding, Bit)
            else [(register, bit) for register in signal.registers for bit in range(16)]
        )
        for cell in cells:
            if cell[0] < 0 or not 0 <= cell[1] < 16:
                raise WireError(f"{owner}.{signal.name}: register {cell[0]} bit {cell[1]} does not exist")
            if cell in taken:
                raise WireError(f"{owner}.{signal.name} overlaps {owner}.{taken[cell]} in register {cell[0]}")
            taken[cell] = signal.name


@dataclass_transform(frozen_default=True, kw_only_default=True)
def record(cls: type[T]) -> type[T]:
    """Make a class a frozen record whose layout is read off its annotations.

    Raises:
        WireError: a field without a Binding, or two fields in the same place.
    """
    made: type[T] = dataclass(frozen=True, kw_only=True)(cls)
    hints = get_type_hints(made, include_extras=True)
    signals = tuple(
        _signal(field.name, hints[field.name], None if field.default is MISSING else field.default)
        for field in fields(made)  # type: ignore[arg-type]
    )
    _check_overlap(made.__name__, signals)
    size = max((signal.registers[-1] + 1 for signal in signals), default=0)
    made.__layout__ = Layout(made.__name__, signals, size)  # type: ignore[attr-defined]
    return made


def layout(of: Any) -> Layout:
    """The layout of a record or of a record's class."""
    found: Layout = of.__layout__
    return found


def raw(signal: Signal, value: Any) -> int | float:
    """A Signal's SI value as the number that goes into its registers.

    Raises:
        WireError: not finite, outside the Signal's Range, or too large for its registers.
    """
    binding = signal.binding
    if isinstance(binding, Bit):
        return int(bool(value))
    number = float(value)
    if not math.isfinite(number):
        raise WireError(f"{signal.name}={value} is not a finite number")
    size = signal.size
    if signal.range and not _within(number, signal.range, binding.step * size):
        low, high = signal.range.low / size, signal.range.high / size
        raise WireError(f"{signal.name}={number / size:g} {signal.unit.symbol} is outside {low:g} to {high:g}")
    if binding.format == "f":
        return number / size
    counted = int(value) if signal.type is not float and binding.step == 1 else round(number / size / binding.step)
    low_raw, high_raw = binding.limits
    if not low_raw <= counted <= high_raw:
        limits = f"{low_raw:g} to {high_raw:g}"
        raise WireError(f"{signal.name}={value} does not fit {binding}: raw {counted} is outside {limits}")
    return int(counted)


def _within(value: float, allowed: Range, step: float) -> bool:
    slack = step / 2  # a value on the limit must survive its own rounding
    return allowed.low - slack <= value <= allowed.high + slack


def encode(values: Any) -> list[int]:
    """A record as its registers.

    Raises:
        WireError: a field that does not fit, by name, value and limit.
    """
    shape = layout(values)
    words = [0] * shape.size
    for signal in shape.signals:
        number = raw(signal, getattr(values, signal.name))
        binding = signal.binding
        if isinstance(binding, Bit):
            words[binding.register] |= int(number) << binding.bit
        else:
            parts = struct.unpack(f">{binding.words}H", struct.pack(">" + binding.format, number))
            words[binding.register : binding.register + binding.words] = parts
    return words


def value(signal: Signal, words: Sequence[int]) -> Any:
    """One Signal's SI value out of its record's registers."""
    return _reader(signal)(words)


@functools.lru_cache(maxsize=4096)
def _reader(signal: Signal) -> Callable[[Sequence[int]], Any]:
    """What reads one Signal: made once, for a scan reads each of them many times a second."""
    binding, kind = signal.binding, signal.type
    if isinstance(binding, Bit):
        at, mask = binding.register, 1 << binding.bit
        return lambda words: words[at] & mask != 0
    counted = _counter(binding)
    if kind is float:
        step, size = binding.step, signal.size
        return lambda words: counted(words) * step * size
    return counted if kind is int and binding.format != "f" else lambda words: kind(counted(words))


def _counter(binding: Number) -> Callable[[Sequence[int]], float]:
    """What reads a number as it lies in the registers, in steps."""
    at, end = binding.register, binding.register + binding.words
    if binding.format == "H":
        return lambda words: words[at]
    if binding.format == "I":
        return lambda words: words[at] << 16 | words[at + 1]
    registers, number = struct.Struct(f">{binding.words}H"), struct.Struct(">" + binding.format)
    return lambda words: number.unpack(registers.pack(*words[at:end]))[0]


@functools.cache
def _readers(cls: type) -> tuple[tuple[str, Callable[[Sequence[int]], Any]], ...]:
    return tuple((signal.name, _reader(signal)) for signal in layout(cls).signals)


def decode(cls: type[T], words: Sequence[int]) -> T:
    """A record out of its registers; a value outside its Range is kept (its quality says so, see `outside`).

    Raises:
        WireError: too few registers, or an enumeration value that does not exist.
    """
    shape = layout(cls)
    if len(words) < shape.size:
        raise WireError(f"{shape.name} takes {shape.size} registers, not {len(words)}")
    readers: tuple[tuple[str, Callable[[Sequence[int]], Any]], ...] = _readers(cls)  # type: ignore[arg-type]
    try:
        return cls(**{name: read(words) for name, read in readers})
    except ValueError as unknown:
        raise WireError(f"{shape.name}: {unknown}") from unknown


def outside(values: Any) -> tuple[str, ...]:
    """Names of the Signals whose value lies outside their Range or is not finite."""
    return tuple(
        signal.name
        for signal in layout(values).signals
        if signal.range is not None
        and not (
            math.isfinite(number := float(getattr(values, signal.name)))
            and _within(number, signal.range, getattr(signal.binding, "step", 1.0) * signal.size)
        )
    )
