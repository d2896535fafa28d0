"""What the simulation of a foreign device has to be: its registers at a moment, and what becomes of what is written."""

import enum
import struct
from collections.abc import Callable, Mapping
from typing import Protocol

from pymodbus.constants import ExcCodes
from pymodbus.simulator import DataType, SimData, SimDevice

from twin.clock import Ns

Words = list[int]
Now = Callable[[], Ns]
Spans = Mapping["Held", tuple[range, ...]]


class Held(enum.Enum):
    """One of the four tables of a device, with the function codes that reach it."""

    COILS = (1, 5, 15)
    DISCRETE = (2,)
    HOLDING = (3, 6, 16, 22, 23)
    INPUT = (4,)


BITS = (Held.COILS, Held.DISCRETE)
_OF = {function: table for table in Held for function in table.value}
_NOWHERE, _NO_BITS = (range(65_535, 65_536),), (range(65_520, 65_536),)  # pymodbus wants something in each table


class Behaviour(Protocol):
    """A kind of device.

    Attributes:
        spans: the addresses of each of its tables; of bits from a multiple of 16 to another. It has no others.
    """

    @property
    def spans(self) -> Spans:
        """See above."""
        ...

    def read(self, table: Held, first: int, count: int, now: Ns) -> Words | ExcCodes:
        """What these addresses hold; a bit is 0 or 1."""
        ...

    def write(self, function: int, first: int, values: Words, now: Ns) -> ExcCodes | None:
        """Take what was written, or say why not."""
        ...


def simulated(unit: int, behaviour: Behaviour, now: Now) -> SimDevice:
    """A behaviour as a device of pymodbus's simulator. It asks the behaviour at every request, and keeps nothing itself."""

    async def action(
        function: int, start: int, address: int, count: int, registers: Words, values: list[int] | list[bool] | None
    ) -> ExcCodes | None:
        table = _OF[function]
        if table not in behaviour.spans:
            return ExcCodes.ILLEGAL_ADDRESS
        if values is not None:
            return behaviour.write(function, address, [int(value) for value in values], now())
        if table in BITS:
            return _fill_bits(behaviour, table, start, address // 16, count, registers, now())
        found = behaviour.read(table, address, count, now())
        if isinstance(found, ExcCodes):
            return found
        registers[address - start : address - start + count] = found
        return None

    def of(table: Held) -> list[SimData]:
        if table in BITS:
            bits = behaviour.spans.get(table, _NO_BITS)
            return [SimData(span.start, values=[False] * len(span), datatype=DataType.BITS) for span in bits]
        spans = behaviour.spans.get(table, _NOWHERE)
        return [SimData(span.start, values=[0] * len(span), datatype=DataType.REGISTERS) for span in spans]

    return SimDevice(unit, (of(Held.COILS), of(Held.DISCRETE), of(Held.HOLDING), of(Held.INPUT)), action=action)


def _fill_bits(
    behaviour: Behaviour, table: Held, start: int, first: int, count: int, registers: Words, now: Ns
) -> ExcCodes | None:
    """Bits are held sixteen in a word there, and asked for by the word."""
    held = behaviour.read(table, 16 * first, 16 * count, now)
    if isinstance(held, ExcCodes):
        return held
    for word in range(count):
        bits = held[16 * word : 16 * word + 16]
        registers[first - start + word] = sum(bit << place for place, bit in enumerate(bits))
    return None


class Nobody:
    """What answers for every unit that there is none of, as a gateway does: nobody's device answers."""

    async def async_getValues(self, *_: object) -> ExcCodes:
        """The exception, for all that is read."""
        return ExcCodes.GATEWAY_NO_RESPONSE

    async def async_setValues(self, *_: object) -> ExcCodes:
        """The exception, for all that is written."""
        return ExcCodes.GATEWAY_NO_RESPONSE


def float32(value: float) -> tuple[int, int]:
    """A float's two registers, the high one first."""
    high, low = struct.unpack(">HH", struct.pack(">f", value))
    return high, low
