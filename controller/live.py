"""The live view in the terminal: what the Feed says, drawn by rich. No I/O of its own."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from controller import live_mirrored
from twin.devices import Mirrored
from twin.factory import Factory, Machine

EVENTS = 6
UP = "up"
"""What the Feed says of a device that is reached."""
FAMILY = 4
"""So many Signals whose names begin alike get a line of their own."""


@dataclass
class Shown:
    """What there is to show.

    Attributes:
        values: by the Feed's paths, SI.
        qualities: 0 good, 1 stale, 2 bad.
        events: the last few, as lines.
        pace, behind_s: of factory time; None on a real clock.
        endpoint: OPC UA, empty until it is there.
    """

    values: dict[str, Any] = field(default_factory=dict)
    qualities: dict[str, int] = field(default_factory=dict)
    events: list[str] = field(default_factory=list)
    pace: float | None = None
    now_s: float = 0.0
    behind_s: float = 0.0
    endpoint: str = ""

    def event(self, line: str) -> None:
        """Add a line, and forget the oldest."""
        self.events.append(line)
        del self.events[:-EVENTS]


def clock(elapsed_s: float) -> str:
    """Seconds as 1:02:03."""
    minutes, seconds = divmod(max(0, round(elapsed_s)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"


def draw(factory: Factory, shown: Shown) -> RenderableType:
    """The whole view."""
    machines = [_machine(machine, shown) for machine in factory.machines.values()]
    machines += [_mirrored(machine, shown) for machine in factory.mirrored.values()]
    return Panel(Group(_order(shown), *machines, _foot(shown)), title=f"Lockstep · {factory.name}", border_style="dim")


def _order(shown: Shown) -> RenderableType:
    order = _of(shown, "factory/order")
    if not order.get("id"):
        return Text("no order yet", style="dim")
    line = Text.assemble("order ", (str(order["id"]), "bold"), f"  {order.get('state', '')}  {order.get('operation', '')}")
    if order.get("reason"):
        line.append(f"\n{order['reason']}", style="red" if str(order.get("state")).upper() == "HELD" else "yellow")
    return line


def _of(shown: Shown, prefix: str) -> dict[str, Any]:
    start = prefix + "/"
    return {path[len(start) :]: value for path, value in shown.values.items() if path.startswith(start)}


def _machine(machine: Machine, shown: Shown) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    job = _of(shown, f"{machine.name}/job")
    quality = shown.qualities.get(f"{machine.name}/status/{machine.type.layouts[0].signals[0].name}", 2)
    mark = ("", " [yellow]stale[/]", " [red]no data[/]")[quality]
    table.add_row(f"[bold]{machine.name}[/]{mark}", _progress(job) if job.get("state") else "")
    for row in _rows(machine, _of(shown, f"{machine.name}/status")):
        table.add_row("", row)
    for group in dict.fromkeys(one.group for one in machine.type.shown):
        table.add_row("", _beside(machine, group, _of(shown, f"{machine.name}/{group}")))
    return table


def _mirrored(machine: Mirrored, shown: Shown) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    link = str(shown.values.get(f"node:{machine.node}/link") or "no data")
    said = f"[dim]{escape(machine.map.text)}[/]" if link == UP else f"[red]{escape(link)}[/]"
    table.add_row(f"[bold]{machine.name}[/]", said)
    for row in live_mirrored.lines(machine, _of(shown, f"{machine.name}/status")):
        table.add_row("", row)
    return table


def _beside(machine: Machine, group: str, values: Mapping[str, Any]) -> str:
    """A line of what a type tells beside its registers."""
    found = [(one, values[one.name]) for one in machine.type.shown if one.group == group and values.get(one.name) is not None]
    return f"{group}  " + " · ".join(f"{one.name} {value / one.unit.size:7.2f} {one.unit.symbol}" for one, value in found)


def _progress(job: Mapping[str, Any]) -> RenderableType:
    part = float(job.get("progress") or 0.0)
    grid = Table.grid(padding=(0, 1))
    left = f"{clock(float(job.get('time_left') or 0.0))} left"
    grid.add_row(ProgressBar(total=1.0, completed=part, width=36), f"{part:6.1%}", left, str(job.get("state", "")).lower())
    return grid


def _rows(machine: Machine, status: Mapping[str, Any]) -> list[str]:
    """A line of temperatures, against targets where there are some, a line of numbers, one of each family, a line of bits."""
    heaters, bits = [], []
    numbers: dict[str, list[str]] = {"": []}
    signals = machine.type.layouts[0].signals
    named = Counter(signal.name.partition("_")[0] for signal in signals)
    for signal in signals:
        value = status.get(signal.name)
        if value is None:
            continue
        shown = f"{value / signal.size:7.2f}" if isinstance(value, float) else str(value)
        if signal.name.endswith("_temperature"):
            name = signal.name.removesuffix("_temperature")
            target = status.get(f"{name}_target")
            against = "" if target is None else f" / {target:.0f}"
            heaters.append(f"{name} {value / signal.size:5.1f}{against} {signal.unit.symbol}")
        elif signal.name.endswith(("_target", "_power", "_endstop", "_cam")):
            continue
        elif isinstance(value, bool):
            bits.append(f"[green]{signal.name}[/]" if value else f"[dim]{signal.name}[/]")
        else:
            family = signal.name.partition("_")[0] if named[signal.name.partition("_")[0]] >= FAMILY else ""
            name = signal.name.removeprefix(f"{family}_") if family else signal.name
            numbers.setdefault(family, []).append(f"{name} {shown} {signal.unit.symbol}".rstrip())
    lines = [f"{family}  {' · '.join(told)}".lstrip() for family, told in numbers.items() if told]
    return [line for line in (" · ".join(heaters), *lines, " · ".join(bits)) if line]


def _foot(shown: Shown) -> RenderableType:
    text = Text(style="dim")
    if shown.pace is not None:
        text.append(f"factory time {clock(shown.now_s)} at {shown.pace:.0f} times wall time")
        if shown.behind_s > 1:
            text.append(f", {shown.behind_s:.0f} s behind its pace", style="yellow")
        text.append("\n")
    if shown.endpoint:
        text.append(f"OPC UA {shown.endpoint}; the line to read it with stands above\n")
    text.append("\n".join(shown.events))
    return text


def summary(facts: Mapping[str, str]) -> RenderableType:
    """What is said at the end."""
    table = Table(title="what was made", show_header=False, title_justify="left", border_style="dim")
    table.add_column(max_width=34)
    table.add_column(overflow="fold")
    for name, value in facts.items():
        table.add_row(name, value)
    return table
