"""Types of Signals that a Map makes: enumerations and named bits. Two Maps that say the same have the same type."""

import enum
import functools
from collections.abc import Iterable
from typing import Any


def enumeration(signal: str, members: Iterable[tuple[str, int]]) -> type[enum.IntEnum]:
    """The IntEnum of a Signal's values, named after it (`robot_mode`: RobotMode), its members in capitals."""
    made: type[enum.IntEnum] = _made(enum.IntEnum, type_name(signal), tuple((name.upper(), value) for name, value in members))
    return made


def flags(signal: str, members: Iterable[tuple[str, int]]) -> type[enum.IntFlag]:
    """The IntFlag of a Signal's bits: names with the bit's position, 0 the lowest. Bits without a name are kept."""
    made: type[enum.IntFlag] = _made(enum.IntFlag, type_name(signal), tuple((name.upper(), 1 << bit) for name, bit in members))
    return made


def type_name(signal: str) -> str:
    """A Signal's name as a type's."""
    return "".join(word[:1].upper() + word[1:] for word in signal.split("_"))


def members(kind: type[enum.IntEnum] | type[enum.IntFlag]) -> tuple[tuple[str, int], ...]:
    """What `enumeration` or `flags` was given, the names in small letters."""
    bits = issubclass(kind, enum.IntFlag)
    found = kind.__members__.items()
    return tuple((name.lower(), int(member).bit_length() - 1 if bits else int(member)) for name, member in found)


@functools.lru_cache(maxsize=65_536)
def _made(family: Any, name: str, members: tuple[tuple[str, int], ...]) -> Any:
    return family(name, list(members), module=__name__)
