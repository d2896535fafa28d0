"""How a board gets onto the network that its node is reached over: Wi-Fi or Ethernet, by DHCP or with an address of its own."""

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twin.tables import Reader

KINDS = ("wifi", "lan")
PHYS = ("LAN8720", "IP101", "RTL8201", "DP83848", "KSZ8041")
_COMMON = ("kind", "address", "mask", "gateway", "dns")
_OF_KIND = {"wifi": ("ssid", "password_file"), "lan": ("mdc", "mdio", "power", "phy", "phy_address")}


@dataclass(frozen=True, slots=True)
class Network:
    """A board's network.

    Attributes:
        kind: one of KINDS.
        ssid: of the Wi-Fi; password_file: where its password is read when an image is made, None for the environment.
        mdc, mdio, power: pins of the Ethernet transceiver; phy: one of PHYS, with its address.
        address, mask, gateway, dns: IPv4, empty for DHCP.
    """

    kind: str
    ssid: str = ""
    password_file: Path | None = None
    mdc: int = 23
    mdio: int = 18
    power: int | None = None
    phy: str = "LAN8720"
    phy_address: int = 0
    address: str = ""
    mask: str = ""
    gateway: str = ""
    dns: str = ""

    def json(self) -> dict[str, Any]:
        """What `node.json` says of it: no secret."""
        found: dict[str, Any] = {"kind": self.kind}
        if self.kind == "wifi":
            found["ssid"] = self.ssid
        else:
            found |= {name: getattr(self, name) for name in ("mdc", "mdio", "power", "phy", "phy_address")}
        if self.address:
            found |= {name: getattr(self, name) for name in ("address", "mask", "gateway", "dns")}
        return found


def network(reader: Reader, key: str, value: Any, folder: Path, gpio: range) -> Network | None:
    """The network table of a node; None where it has none."""
    if value is None:
        return None
    table = reader.table(key, value)
    kind = reader.choice(f"{key}.kind", table.get("kind"), KINDS)
    if not kind:
        return None
    reader.table(key, table, (*_COMMON, *_OF_KIND[kind]))
    static: dict[str, Any] = {name: _address(reader, f"{key}.{name}", table[name]) for name in _COMMON[1:] if name in table}
    if static and len(static) < len(_COMMON) - 1:
        missing = ", ".join(name for name in _COMMON[1:] if name not in static)
        reader.wrong(key, f"an address of its own takes {missing} too; without any of them it is DHCP")
    if kind == "wifi":
        ssid = reader.text(f"{key}.ssid", table.get("ssid"))
        if len(ssid.encode()) > 32:
            reader.wrong(f"{key}.ssid", "is longer than 32 bytes")
        file = folder / reader.text(f"{key}.password_file", table["password_file"]) if "password_file" in table else None
        return Network(kind, ssid, file, **static)
    return Network(
        kind,
        mdc=reader.integer(f"{key}.mdc", table.get("mdc", 23), gpio.start, gpio.stop - 1),
        mdio=reader.integer(f"{key}.mdio", table.get("mdio", 18), gpio.start, gpio.stop - 1),
        power=reader.integer(f"{key}.power", table["power"], gpio.start, gpio.stop - 1) if "power" in table else None,
        phy=reader.choice(f"{key}.phy", table.get("phy", "LAN8720"), PHYS),
        phy_address=reader.integer(f"{key}.phy_address", table.get("phy_address", 0), 0, 31),
        **static,
    )


def _address(reader: Reader, key: str, value: Any) -> str:
    try:
        return str(ipaddress.IPv4Address(value))
    except ValueError:
        reader.wrong(key, f"must be an IPv4 address as a text, not {value!r}")
        return "0.0.0.0"
