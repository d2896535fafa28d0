"""Nodes that are not ours in factory.toml: machines that the controller reaches through the service that they have already."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from twin import hosts
from twin.blocks import GcodePrinter
from twin.machine import MachineType
from twin.tables import Reader

OURS = "lockstep"
KINDS = (OURS, "moonraker")
KEYS = ("kind", "url", "token_file", "on_link_loss", "emergency_stop")
"""Keys of a node that say what it is; all but `kind` have no meaning for one of ours."""
_OURS_ALONE = ("host", "port", "virtual", "firmware", "chip", "network", "repl", "serial")


@dataclass(frozen=True, slots=True)
class Moonraker:
    """A Klipper printer behind Moonraker's API.

    Attributes:
        url: of Moonraker.
        token_file: holds its API key, if it wants one; only its owner may read it.
        stops: what it printed while we could not be heard is cancelled when it is found again; else it goes on.
        emergency: its emergency stop is used where a cancel does not end a Job in time.
    """

    url: str
    token_file: Path | None = None
    stops: bool = False
    emergency: bool = False


def foreign(reader: Reader, key: str, table: Mapping[str, Any], folder: Path) -> Moonraker | None:
    """What a node of a table is where it is none of ours; else None."""
    if reader.choice(f"{key}.kind", table.get("kind", OURS), KINDS) != "moonraker":
        for name in KEYS[1:]:
            if name in table:
                reader.wrong(f"{key}.{name}", 'only a node of kind "moonraker" has it')
        return None
    for name in _OURS_ALONE:
        if name in table:
            reader.wrong(f"{key}.{name}", "only a node with our firmware has it")
    url = reader.text(f"{key}.url", table.get("url", ""))
    parts = hosts.split(url)
    wrong = parts is None or parts.scheme not in ("http", "https") or not hosts.fits(parts.hostname or "")
    if parts is None or wrong or parts.username or parts.query:
        reader.wrong(f"{key}.url", f"must be like http://127.0.0.1:7125, not {url!r}")
    token = reader.text(f"{key}.token_file", table["token_file"]) if "token_file" in table else ""
    return Moonraker(
        url.rstrip("/"),
        folder.absolute() / token if token else None,
        reader.choice(f"{key}.on_link_loss", table.get("on_link_loss", "finish"), ("finish", "stop")) == "stop",
        reader.flag(f"{key}.emergency_stop", table.get("emergency_stop", False)),
    )


class OnNode(Protocol):
    """A machine as far as this page is concerned."""

    @property
    def name(self) -> str:
        """Of the machine."""
        ...

    @property
    def node(self) -> str:
        """The name of its node."""
        ...

    @property
    def type(self) -> MachineType:
        """What it is."""
        ...


def check_foreign(reader: Reader, machines: Iterable[OnNode], printers: Collection[str]) -> None:
    """Nothing but a printer that plans for itself can be on a foreign node; `printers` names these."""
    for machine in machines:
        if machine.node in printers and not any(isinstance(block, GcodePrinter) for block in machine.type.blocks):
            reader.wrong(f"machines.{machine.name}.node", f"{machine.node} is a printer: only a gcode_printer can be there")
