"""Nodes on a serial line in factory.toml: what is said of the port, and what must agree on one line."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from twin.clock import Ns, S
from twin.tables import Reader

PARITIES = ("none", "even", "odd")
KEYS = ("serial", "baud", "unit", "parity", "stop", "uart", "tx", "rx", "de")
"""Keys of a node that is reached over a serial line; all but `serial` have no meaning without it."""


@dataclass(frozen=True, slots=True)
class Serial:
    """How a node hangs on a serial line.

    Attributes:
        port: the controller's device; nodes with the same port share the line.
        baud: bits per second; parity: one of PARITIES; stop: stop bits.
        unit: the node's address on the line.
        uart: which one of the node's; tx, rx: its pins.
        de: the pin that makes the node's transceiver drive the line; None where it does that by itself.
    """

    port: str
    unit: int
    baud: int = 115_200
    parity: str = "even"
    stop: int = 1
    uart: int = 1
    tx: int = 17
    rx: int = 16
    de: int | None = None

    @property
    def character_bits(self) -> int:
        """Bits that a byte takes on the line: start, 8, parity, stop."""
        return 9 + (self.parity != "none") + self.stop

    def duration(self, count: int) -> Ns:
        """How long so many bytes in a row take."""
        return Ns(-(-count * self.character_bits * S // self.baud))


class OnLine(Protocol):
    """A node as far as lines are concerned."""

    @property
    def name(self) -> str:
        """Of the node."""
        ...

    @property
    def virtual(self) -> bool:
        """It runs in the rig."""
        ...

    @property
    def serial(self) -> Serial | None:
        """Where it hangs on a line."""
        ...


def virtual_tty(nodes: Path, port: str) -> Path:
    """Where the controller finds the port of a line whose nodes are virtual; `nodes` is the folder of the nodes' own."""
    return nodes / ".lines" / port.strip("/").replace("/", "-")


def serial(reader: Reader, key: str, table: Mapping[str, Any], gpio: range) -> Serial | None:
    """How the node of a table hangs on a line; None where it does not."""
    if "serial" not in table:
        for name in KEYS:
            if name in table:
                reader.wrong(f"{key}.{name}", "only a node on a serial line has it, and there is no serial")
        return None
    for name in ("host", "port"):
        if name in table:
            reader.wrong(f"{key}.{name}", "a node on a serial line has no address on a network")

    def pin(name: str, default: int) -> int:
        return reader.integer(f"{key}.{name}", table.get(name, default), gpio.start, gpio.stop - 1)

    stop = reader.integer(f"{key}.stop", table.get("stop", 1), 1, 2)
    return Serial(
        reader.text(f"{key}.serial", table["serial"]),
        reader.integer(f"{key}.unit", table.get("unit", 1), 1, 247),
        reader.integer(f"{key}.baud", table.get("baud", 115_200), 9600, 1_000_000),
        reader.choice(f"{key}.parity", table.get("parity", "even"), PARITIES),
        stop,
        reader.integer(f"{key}.uart", table.get("uart", 1), 1, 2),
        pin("tx", 17),
        pin("rx", 16),
        pin("de", gpio.start) if "de" in table else None,
    )


def check_lines(reader: Reader, nodes: Iterable[OnLine]) -> None:
    """Units of their own on each line, one speed and one format, and either all of them virtual or none."""
    first: dict[str, OnLine] = {}
    units: dict[tuple[str, int], str] = {}
    for node in nodes:
        if node.serial is None:
            continue
        key, line = f"nodes.{node.name}", node.serial
        other = first.setdefault(line.port, node)
        assert other.serial is not None, other
        taken = units.setdefault((line.port, line.unit), node.name)
        if taken != node.name:
            reader.wrong(f"{key}.unit", f"{line.unit} is taken by nodes.{taken} on {line.port}")
        for name in ("baud", "parity", "stop"):
            mine, theirs = getattr(line, name), getattr(other.serial, name)
            if mine != theirs:
                reader.wrong(f"{key}.{name}", f"must be {theirs!r} as of nodes.{other.name}, on the same line, not {mine!r}")
        if node.virtual != other.virtual:
            reader.wrong(f"{key}.virtual", f"must be as of nodes.{other.name}: a line is virtual as a whole")


def pins_of(line: Serial) -> dict[str, int]:
    """The GPIO that the line takes on the node, by key."""
    return {"tx": line.tx, "rx": line.rx, **({"de": line.de} if line.de is not None else {})}
