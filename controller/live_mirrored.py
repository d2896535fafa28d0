"""How a machine that is none of ours is shown in the terminal: what its Map has of most interest, in few lines. No I/O."""

from collections.abc import Iterator, Mapping
from typing import Any

from twin.devices import Mirrored
from twin.maps import Mapped
from twin.units import ONE

MOST = 4
"""Lines of numbers; a Map may have hundreds."""
WIDTH = 6
"""Numbers in a line."""


def told(machine: Mirrored) -> tuple[Mapped, ...]:
    """The Signals that are shown: its joints if it has any, then what is scanned most often, quantities before numbers."""
    periods = machine.map.classes
    fastest = min((periods[row.scan] for row in machine.map.read if periods[row.scan]), default=0)
    rows = [row for row in machine.map.read if periods[row.scan] == fastest and row.signal.type is not str]
    return tuple(sorted(rows, key=lambda row: (row.name not in machine.joints, row.signal.unit is ONE)))


def lines(machine: Mirrored, status: Mapping[str, Any]) -> list[str]:
    """A few lines of numbers and one of bits."""
    shown = [row for row in told(machine) if status.get(row.name) is not None]
    numbers = [number(row, status[row.name]) for row in shown if not isinstance(status[row.name], bool)]
    cut = [numbers[at : at + WIDTH] for at in range(0, min(len(numbers), MOST * WIDTH), WIDTH)]
    bits = [row.name for row in shown if status[row.name] is True]
    made = [" · ".join(several) for several in cut]
    return [*made, *([f"[green]{' · '.join(bits)}[/]"] if bits else [])]


def number(row: Mapped, value: Any) -> str:
    """A Signal's name, value and unit."""
    signal = row.signal
    text = f"{value / signal.size:.2f}" if isinstance(value, float) else getattr(value, "name", str(value)).lower()
    return f"{row.name} {text} {signal.unit.symbol}".rstrip()


def facts(machines: Mapping[str, Mirrored], values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """For the summary: each machine's name, and the first of its values."""
    for name, machine in machines.items():
        status = {row.name: values.get(f"{name}/status/{row.name}") for row in machine.map.read}
        first = [number(row, status[row.name]) for row in told(machine) if status[row.name] is not None][:WIDTH]
        known = sum(value is not None for value in status.values())
        yield name, f"{known} of {len(status)} Signals known: " + ", ".join(first) if first else "never heard of"
