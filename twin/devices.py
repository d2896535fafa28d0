"""Devices in factory.toml: nodes that do not run our firmware and know no lease, and the machines on them, told by a Map.

What is read of them is believed as far as it goes; what is written to them is written once, on somebody's request, and read back.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twin import hosts
from twin.frames import Pose
from twin.maps import Map, MapError, NodePlace, Place
from twin.obstacles import pose
from twin.serial import PARITIES, Serial
from twin.tables import Reader
from twin.units import DEG, MRAD, RAD

KINDS = ("modbus", "opcua")
TYPES = ("registers", "opcua")
"""Machine types that are told by a Map: on a Modbus device, on an OPC UA server."""


@dataclass(frozen=True, slots=True)
class Tls:
    """Modbus/TCP Security: who we are, and whom we believe.

    Attributes:
        certificate, key: ours, PEM; the key's file may be read by its owner alone.
        authority: who signed the device's certificate, PEM.
        server: the name that the device's certificate must have; empty for the host.
    """

    certificate: Path
    key: Path
    authority: Path
    server: str = ""


@dataclass(frozen=True, slots=True)
class ModbusDevice:
    """How a Modbus device, or a gateway with many units behind it, is reached.

    Attributes:
        host, port: on a network.
        serial: the serial line that it hangs on instead; its unit is the machine's.
        tls: with certificates, where it wants them.
        reply_ms: the longest that it may think before it counts as silent; the real time-out is learnt and shorter.
        pause_ms: silence to keep between two requests.
    """

    host: str
    port: int
    serial: Serial | None = None
    tls: Tls | None = None
    reply_ms: int = 1000
    pause_ms: int = 0


@dataclass(frozen=True, slots=True)
class OpcUaServer:
    """How an OPC UA server is reached.

    Attributes:
        url: opc.tcp://HOST:PORT/PATH.
        policy: None, Basic256Sha256, Aes128Sha256RsaOaep or Aes256Sha256RsaPss; with None nothing is secret and nobody is proven.
        mode: Sign or SignAndEncrypt.
        certificate: the server's own, PEM or DER; only this one is believed.
        user, password_file: to log in with; nobody where empty.
    """

    url: str
    policy: str = "Basic256Sha256"
    mode: str = "SignAndEncrypt"
    certificate: Path | None = None
    user: str = ""
    password_file: Path | None = None


POLICIES = ("None", "Basic256Sha256", "Aes128Sha256RsaOaep", "Aes256Sha256RsaPss")


@dataclass(frozen=True, slots=True)
class Device:
    """A node that is none of ours.

    Attributes:
        virtual: the rig simulates it in factory time.
    """

    name: str
    reached: ModbusDevice | OpcUaServer
    virtual: bool = False


@dataclass(frozen=True, slots=True)
class Mirrored:
    """A machine on a Device.

    Attributes:
        node: the name of its Device.
        map: what it is made of.
        unit: its Modbus unit id.
        pose: x, y, z [m] and roll, pitch, yaw [rad] in the factory's frame.
        robot: the twin's robot that its joint angles move; empty for none.
        joints: the Signals of the robot's joints, in order [rad].
    """

    name: str
    cell: str
    node: str
    map: Map
    unit: int = 1
    pose: Pose = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    robot: str = ""
    joints: tuple[str, ...] = ()


_MODBUS_KEYS = ("kind", "host", "port", "serial", "baud", "parity", "tls", "reply_ms", "pause_ms", "virtual")
_OPCUA_KEYS = ("kind", "url", "policy", "mode", "certificate", "user", "password_file")


def device(reader: Reader, name: str, table: Mapping[str, Any], folder: Path) -> Device:
    """The Device of a node's table whose kind is one of KINDS."""
    key = f"nodes.{name}"
    if table["kind"] == "opcua":
        reader.table(key, table, _OPCUA_KEYS)
        return Device(name, _opcua(reader, key, table, folder))
    reader.table(key, table, _MODBUS_KEYS)
    virtual = reader.flag(f"{key}.virtual", table.get("virtual", False))
    return Device(name, _modbus(reader, key, table, folder), virtual)


def _modbus(reader: Reader, key: str, table: Mapping[str, Any], folder: Path) -> ModbusDevice:
    line = None
    if "serial" in table:
        for other in ("host", "port", "tls"):
            if other in table:
                reader.wrong(f"{key}.{other}", "a device on a serial line has no place on a network")
        if table.get("virtual"):
            reader.wrong(f"{key}.virtual", "only a device on a network can be simulated")
        baud = reader.integer(f"{key}.baud", table.get("baud", 9600), 1200, 4_000_000)
        parity = reader.choice(f"{key}.parity", table.get("parity", "none"), PARITIES)
        line = Serial(reader.text(f"{key}.serial", table["serial"]), 1, baud, parity)
    else:
        for other in ("baud", "parity"):
            if other in table:
                reader.wrong(f"{key}.{other}", "only a device on a serial line has it")
    tls = _tls(reader, f"{key}.tls", table["tls"], folder) if "tls" in table else None
    return ModbusDevice(
        host(reader, f"{key}.host", table.get("host", "127.0.0.1")),
        reader.integer(f"{key}.port", table.get("port", 802 if tls else 502), 1, 65535),
        line,
        tls,
        reader.integer(f"{key}.reply_ms", table.get("reply_ms", 1000), 10, 60_000),
        reader.integer(f"{key}.pause_ms", table.get("pause_ms", 0), 0, 10_000),
    )


def _tls(reader: Reader, key: str, value: Any, folder: Path) -> Tls:
    table = reader.table(key, value, ("certificate", "key", "authority", "server"))
    files = [folder.absolute() / reader.text(f"{key}.{n}", table.get(n)) for n in ("certificate", "key", "authority")]
    return Tls(files[0], files[1], files[2], host(reader, f"{key}.server", table["server"]) if "server" in table else "")


def host(reader: Reader, key: str, value: Any) -> str:
    """The name or address of a computer, as far as it can be told to be wrong without asking anybody."""
    found = reader.text(key, value)
    if found and not hosts.fits(found):
        reader.wrong(key, f"must be {hosts.ALLOWED}, not {found!r}")
    return found


def _opcua(reader: Reader, key: str, table: Mapping[str, Any], folder: Path) -> OpcUaServer:
    url = reader.text(f"{key}.url", table.get("url"))
    parts = hosts.split(url)
    if parts is None or parts.scheme != "opc.tcp" or not hosts.fits(parts.hostname or "") or parts.username:
        reader.wrong(f"{key}.url", f"must be like opc.tcp://127.0.0.1:4840, not {url!r}")
    policy = reader.choice(f"{key}.policy", table.get("policy", "Basic256Sha256"), POLICIES)
    files = {n: folder.absolute() / reader.text(f"{key}.{n}", table[n]) for n in ("certificate", "password_file") if n in table}
    if policy not in ("None", "") and "certificate" not in files:
        reader.wrong(f"{key}.certificate", f"missing: with policy {policy} the server must be known by its certificate")
    if policy == "None" and "password_file" in files:
        reader.wrong(f"{key}.password_file", "a password is not sent over a channel without security")
    return OpcUaServer(
        url,
        policy,
        reader.choice(f"{key}.mode", table.get("mode", "SignAndEncrypt"), ("Sign", "SignAndEncrypt")),
        files.get("certificate"),
        reader.text(f"{key}.user", table["user"]) if "user" in table else "",
        files.get("password_file"),
    )


_MACHINE_KEYS = ("type", "cell", "node", "map", "unit", "pose", "robot", "joints")


def mirrored(
    reader: Reader,
    name: str,
    value: Mapping[str, Any],
    cells: tuple[str, ...],
    devices: Mapping[str, Device],
    read_map: Callable[[str], Map],
    robots: Mapping[str, int],
) -> Mirrored | None:
    """The machine of a table whose type is one of TYPES.

    Args:
        read_map: the Map of a packaged name or a path; raises MapError.
        robots: how many joints each of the twin's robots has.
    """
    key = f"machines.{name}"
    table = reader.table(key, value, _MACHINE_KEYS)
    cell = reader.choice(f"{key}.cell", table.get("cell"), cells)
    wanted = OpcUaServer if table["type"] == "opcua" else ModbusDevice
    node = reader.choice(f"{key}.node", table.get("node"), tuple(n for n, d in devices.items() if isinstance(d.reached, wanted)))
    try:
        found = read_map(reader.text(f"{key}.map", table.get("map")))
    except MapError as wrong:
        for mistake in wrong.mistakes:
            reader.wrong(f"{key}.map", mistake)
        return None
    if any(isinstance(row.place, NodePlace) != (wanted is OpcUaServer) for row in found.signals):
        reader.wrong(f"{key}.map", f"{found.name} is no Map of a machine of type {table['type']}")
    robot = reader.choice(f"{key}.robot", table["robot"], tuple(robots)) if "robot" in table else ""
    joints = _joints(reader, key, table, found, robots.get(robot))
    return Mirrored(
        name,
        cell,
        node,
        found,
        reader.integer(f"{key}.unit", table.get("unit", 1), 0, 255),
        pose(reader, f"{key}.pose", table.get("pose", [0, 0, 0, 0, 0, 0])),
        robot,
        joints,
    )


ANGLES = (RAD, DEG, MRAD)


def _joints(reader: Reader, key: str, table: Mapping[str, Any], of: Map, axes: int | None) -> tuple[str, ...]:
    """The Signals of a robot's joints: as many as it has, each another, all angles. `axes` is None where there is no robot."""
    given = table.get("joints", [])
    read = {row.name: row.signal for row in of.read}
    if not isinstance(given, list) or any(not isinstance(name, str) or name not in read for name in given):
        reader.wrong(f"{key}.joints", f"must be a list of Signals that the Map can read, not {given!r}")
        return ()
    if axes is None:
        if "joints" in table and "robot" not in table:
            reader.wrong(f"{key}.joints", "only a machine with a robot has joints, and there is no robot")
        return ()
    if len(given) != axes or len(set(given)) != axes:
        reader.wrong(f"{key}.joints", f"must be {axes} different Signals, as {table['robot']} has {axes} joints, not {given!r}")
    for name in dict.fromkeys(given):
        if read[name].type is not float or read[name].unit not in ANGLES:
            said = read[name].unit.symbol or "no unit"
            reader.wrong(f"{key}.joints", f"{name} must be an angle, in {', '.join(u.symbol for u in ANGLES)}, and has {said}")
    return tuple(given)


def line_of(device: Device) -> Serial | None:
    """The serial line that a device hangs on; None for a network."""
    return device.reached.serial if isinstance(device.reached, ModbusDevice) else None


def check_devices(
    reader: Reader, devices: Mapping[str, Device], machines: Iterable[Mirrored], meant: Collection[Any]
) -> None:
    """No two machines may be the same unit of a device or of a serial line, no two Maps may have one name; every device has a
    machine.

    Args:
        meant: the nodes that machines name, those with mistakes too.
    """
    listed = tuple(machines)
    lines = {name: line for name, device in devices.items() if (line := line_of(device)) is not None}
    taken: dict[tuple[str, int], str] = {}
    named: dict[str, Mirrored] = {}
    for machine in listed:
        other = named.setdefault(machine.map.name, machine)
        if other.map != machine.map:
            another = f"{machine.map.name!r} is the name of another Map, that of machines.{other.name}"
            reader.wrong(f"machines.{machine.name}.map", another)
        line = lines.get(machine.node)
        where = (line.port if line else machine.node, machine.unit)
        if where in taken and machine.node:
            reader.wrong(f"machines.{machine.name}.unit", f"{machine.unit} of {where[0]} is machines.{taken[where]} already")
        taken.setdefault(where, machine.name)
        if line:
            _check_units(reader, machine)
    _check_lines(reader, lines)
    for name in devices:
        if name not in meant:
            reader.wrong(f"nodes.{name}", "no machine is on this device")


UNITS = range(1, 248)
"""Of a serial line: 0 is everybody, who does not answer, and from 248 on they are reserved."""


def _check_units(reader: Reader, machine: Mirrored) -> None:
    if machine.unit not in UNITS:
        text = f"must be {UNITS[0]} to {UNITS[-1]} on a serial line, not {machine.unit}"
        reader.wrong(f"machines.{machine.name}.unit", text)
    for row in machine.map.signals:
        if isinstance(row.place, Place) and row.place.unit is not None and row.place.unit not in UNITS:
            text = f"signal {row.name}: unit_id must be {UNITS[0]} to {UNITS[-1]} on a serial line, not {row.place.unit}"
            reader.wrong(f"machines.{machine.name}.map", text)


def _check_lines(reader: Reader, lines: Mapping[str, Serial]) -> None:
    """One speed and one format on each line."""
    first: dict[str, str] = {}
    for name, line in lines.items():
        other = first.setdefault(line.port, name)
        for key in ("baud", "parity"):
            mine, theirs = getattr(line, key), getattr(lines[other], key)
            if mine != theirs:
                reader.wrong(f"nodes.{name}.{key}", f"must be {theirs!r} as of nodes.{other}, on the same line, not {mine!r}")
