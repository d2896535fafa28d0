"""Reads factory.toml and checks it: every mistake is named with its key, the value and what is allowed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from twin import devices as foreign_devices
from twin import toml
from twin.checks import check_motion, check_nodes, check_pins, check_ports, check_registers, check_wired
from twin.chips import CHIPS
from twin.declared import Handover as Handover
from twin.declared import Machine as Machine
from twin.declared import Node as Node
from twin.devices import Device, Mirrored, check_devices
from twin.followed import AXES
from twin.foreign import KEYS as FOREIGN_KEYS
from twin.foreign import check_foreign, foreign
from twin.machine import MachineType, MachineTypeError, load, make_params
from twin.maps import Map, MapError
from twin.maps import table as map_table
from twin.network import network
from twin.node import MACHINES_AT, REGISTERS
from twin.obstacles import Obstacle, obstacle, pose, space
from twin.recipes import CARRIES, Recipe, recipe
from twin.recording import Recording, recording
from twin.serial import KEYS as SERIAL_KEYS
from twin.serial import check_lines, serial
from twin.tables import Mistakes, Reader

PACKAGED_MAPS = Path(__file__).parent / "maps" / "packaged"
BUILT_IN_TYPES = ("arm", "conveyor", "extractor", "gcode_printer", "printer")
GPIO = range(0, 40)
LONGEST_SCAN_MS = 1000


class FactoryError(Mistakes):
    """A factory file that cannot be used. `mistakes` holds one line for each."""


@dataclass(frozen=True, slots=True)
class Factory:
    """Everything in factory.toml. Frozen after loading; tables keep the file's order.

    Attributes:
        nodes, machines: those that are commanded under a lease.
        devices, mirrored: nodes that are none of ours and know no lease, and the machines on them.
        history: what is kept of it all.
    """

    name: str
    cells: tuple[str, ...]
    nodes: Mapping[str, Node]
    machines: Mapping[str, Machine]
    handovers: tuple[Handover, ...]
    recipes: Mapping[str, Recipe]
    scan_ms: int
    opcua_port: int
    obstacles: tuple[Obstacle, ...] = ()
    devices: Mapping[str, Device] = field(default_factory=dict)
    mirrored: Mapping[str, Mirrored] = field(default_factory=dict)
    history: Recording = field(default_factory=Recording)

    def on(self, node: str) -> tuple[Machine, ...]:
        """The machines of a node, by their first register."""
        return tuple(sorted((m for m in self.machines.values() if m.node == node), key=lambda m: m.base))

    def capable(self, capability: str) -> tuple[Machine, ...]:
        """The machines that have a capability."""
        return tuple(m for m in self.machines.values() if capability in m.type.capabilities)


_TOP = ("factory", "types", "cells", "nodes", "machines", "handovers", "recipes", "obstacles", "history")


def read(path: Path) -> Factory:
    """The factory of a file.

    Raises:
        FactoryError: the file cannot be read, or every mistake in it.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as failed:
        raise FactoryError((f"{path}: cannot be read: {failed}",)) from failed
    return parse(text, path.parent)


def parse(text: str, folder: Path) -> Factory:
    """The factory of a file's text; `folder` is where relative paths start.

    Raises:
        FactoryError: every mistake.
    """
    try:
        tables = toml.loads(text)
    except ValueError as broken:
        raise FactoryError((f"not TOML: {broken}",)) from broken
    reader = Reader()
    made = _factory(reader, reader.table("", tables, _TOP), folder)
    if reader.mistakes:
        raise FactoryError(tuple(reader.mistakes))
    return made


def _factory(reader: Reader, tables: dict[str, Any], folder: Path) -> Factory:
    head = reader.table("factory", tables.get("factory", {}), ("name", "scan_ms", "opcua_port"))
    cells = reader.named("cells", tables.get("cells", {}))
    for name, value in cells.items():
        reader.table(f"cells.{name}", value, ())
    paths = {n: _type_path(reader, n, v, folder) for n, v in reader.named("types", tables.get("types", {})).items()}
    scan_ms = reader.integer("factory.scan_ms", head.get("scan_ms", 100), 20, 200)
    named = reader.named("nodes", tables.get("nodes", {}))
    strange = {n: v for n, v in named.items() if isinstance(v, dict) and v.get("kind") in foreign_devices.KINDS}
    devices = {n: foreign_devices.device(reader, n, v, folder) for n, v in strange.items()}
    nodes = {n: _node(reader, n, v, folder, scan_ms) for n, v in named.items() if n not in devices}
    every = reader.named("machines", tables.get("machines", {}))
    mapped = {n: v for n, v in every.items() if isinstance(v, dict) and v.get("type") in foreign_devices.TYPES}
    mirrored = {
        name: found
        for name, value in mapped.items()
        if (found := foreign_devices.mirrored(reader, name, value, tuple(cells), devices, _maps(folder), AXES)) is not None
    }
    check_devices(reader, devices, mirrored.values(), [value.get("node") for value in mapped.values()])
    listed = {name: value for name, value in every.items() if name not in mapped}
    machines = {
        name: machine
        for name, value in listed.items()
        if (machine := _machine(reader, name, value, tuple(cells), nodes, paths)) is not None
    }
    check_nodes(reader, nodes)
    check_ports(reader, nodes, devices)
    check_lines(reader, nodes.values())
    check_registers(reader, machines)
    check_pins(reader, nodes, machines)
    check_wired(reader, nodes, machines)
    check_motion(reader, machines)
    check_foreign(reader, machines.values(), [node.name for node in nodes.values() if node.foreign is not None])
    kinds = {name: machine.type for name, machine in machines.items()}
    arms = tuple(name for name, kind in kinds.items() if set(CARRIES) <= set(kind.capabilities))
    given = reader.tables("handovers", tables.get("handovers", []))
    handovers = tuple(_handover(reader, i, v, tuple(listed), arms, kinds) for i, v in enumerate(given))
    recipes = {n: recipe(reader, n, v, kinds) for n, v in reader.named("recipes", tables.get("recipes", {})).items()}
    obstacles = tuple(obstacle(reader, n, v) for n, v in reader.named("obstacles", tables.get("obstacles", {})).items())
    return Factory(
        reader.text("factory.name", head.get("name")),
        tuple(cells),
        nodes,
        machines,
        handovers,
        recipes,
        scan_ms,
        reader.integer("factory.opcua_port", head.get("opcua_port", 4840), 0, 65535),
        obstacles,
        devices,
        mirrored,
        recording(reader, tables.get("history", {})),
    )


def read_map(name: str, folder: Path) -> Map:
    """A Map by itself: a packaged one by its name, another by its path from `folder`.

    Raises:
        MapError: there is none, or every mistake in it.
    """
    return _maps(folder)(name)


def _maps(folder: Path) -> Callable[[str], Map]:
    """Reads Maps: packaged ones by their name, an integrator's by its path."""

    def read_map(name: str) -> Map:
        packaged = sorted(PACKAGED_MAPS.glob("*.*"))
        path = next((p for p in packaged if p.stem == name and p.suffix in (".csv", ".toml")), folder / name)
        if path.suffix not in (".csv", ".toml"):
            there = ", ".join(p.stem for p in packaged)
            raise MapError((f"{name}: no such Map; packaged are {there}, others are files that end in .csv or .toml",))
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as failed:
            raise MapError((f"{path}: cannot be read: {failed}",)) from failed
        return map_table.parse(text, path.name)

    return read_map


def _type_path(reader: Reader, name: str, value: Any, folder: Path) -> Path:
    table = reader.table(f"types.{name}", value, ("path",))
    if name in BUILT_IN_TYPES:
        reader.wrong(f"types.{name}", "this name belongs to a built-in type")
    return folder / reader.text(f"types.{name}.path", table.get("path"))


_NODE_KEYS = ("uid", "host", "port", "virtual", "firmware", "chip", "network", "repl", "scan_ms", *SERIAL_KEYS, *FOREIGN_KEYS)


def _node(reader: Reader, name: str, value: Any, folder: Path, scan_ms: int) -> Node:
    key = f"nodes.{name}"
    table = reader.table(key, value, _NODE_KEYS)
    return Node(
        name,
        reader.integer(f"{key}.uid", table.get("uid"), 1, 2**32 - 1),
        foreign_devices.host(reader, f"{key}.host", table.get("host", "127.0.0.1")),
        reader.integer(f"{key}.port", table.get("port", 0 if "url" in table else 502), 0, 65535),
        reader.flag(f"{key}.virtual", table.get("virtual", False)),
        _firmware(reader, f"{key}.firmware", folder / reader.text(f"{key}.firmware", table["firmware"]))
        if "firmware" in table
        else None,
        serial(reader, key, table, GPIO),
        reader.choice(f"{key}.chip", table.get("chip", "esp32"), tuple(CHIPS)),
        network(reader, f"{key}.network", table.get("network"), folder, GPIO),
        reader.flag(f"{key}.repl", table.get("repl", False)),
        foreign(reader, key, table, folder),
        reader.multiple(f"{key}.scan_ms", table.get("scan_ms", scan_ms), "factory.scan_ms", scan_ms, LONGEST_SCAN_MS),
    )


def _firmware(reader: Reader, key: str, folder: Path) -> Path:
    folder = folder.absolute()  # a node runs in a folder of its own
    if not (folder / "main.py").is_file():
        reader.wrong(key, f"must be a folder with a main.py; there is none in {folder}")
    return folder


_MACHINE_KEYS = ("type", "cell", "node", "base", "pose", "pins", "params", "space")


def _machine(
    reader: Reader, name: str, value: Any, cells: tuple[str, ...], nodes: Mapping[str, Node], paths: Mapping[str, Path]
) -> Machine | None:
    key = f"machines.{name}"
    table = reader.table(key, value, _MACHINE_KEYS)
    type_name = reader.choice(f"{key}.type", table.get("type"), (*BUILT_IN_TYPES, *paths))
    cell = reader.choice(f"{key}.cell", table.get("cell"), cells)
    node = reader.choice(f"{key}.node", table.get("node"), tuple(nodes))
    base = reader.integer(f"{key}.base", table.get("base"), MACHINES_AT, REGISTERS - 1)
    where = pose(reader, f"{key}.pose", table.get("pose", [0, 0, 0, 0, 0, 0]))
    taken = space(reader, f"{key}.space", table.get("space", []))
    if not type_name:
        return None
    try:
        kind = load(type_name, paths.get(type_name))
    except MachineTypeError as unusable:
        reader.wrong(f"{key}.type", str(unusable))
        return None
    wired = node not in nodes or nodes[node].foreign is None
    pins = _pins(reader, f"{key}.pins", table.get("pins", {}), kind.pins if wired else ())
    try:
        values = make_params(kind.params, reader.table(f"{key}.params", table.get("params", {})))
    except MachineTypeError as unusable:
        reader.wrong(f"{key}.params", str(unusable))
        return None
    if kind.limits is not None:
        try:
            kind.limits(values)
        except (ValueError, ArithmeticError) as beyond:
            reader.wrong(f"{key}.params", str(beyond))
    return Machine(name, kind, cell, node, base, where, pins, values, taken)


def _pins(reader: Reader, key: str, value: Any, wanted: tuple[str, ...]) -> Mapping[str, int]:
    table = reader.table(key, value, wanted)
    for name in wanted:
        if name not in table:
            reader.wrong(f"{key}.{name}", f"missing; the type needs pins {', '.join(wanted)}")
    return {n: reader.integer(f"{key}.{n}", table[n], GPIO.start, GPIO.stop - 1) for n in wanted if n in table}


def _handover(
    reader: Reader, index: int, value: Any, machines: tuple[str, ...], arms: tuple[str, ...], kinds: Mapping[str, MachineType]
) -> Handover:
    key = f"handovers[{index}]"
    table = reader.table(key, value, ("from", "to", "by", "duration_s", "arm"))
    by = reader.choice(f"{key}.by", table.get("by", "belt"), ("belt", "hand", "arm"))
    if by == "arm" and "duration_s" in table:
        reader.wrong(f"{key}.duration_s", "an arm takes as long as its Jobs do")
    if by != "arm" and "arm" in table:
        reader.wrong(f"{key}.arm", f"nobody is asked where a part goes by {by}")
    made = Handover(
        reader.choice(f"{key}.from", table.get("from"), machines),
        reader.choice(f"{key}.to", table.get("to"), machines),
        by,
        reader.number(f"{key}.duration_s", table.get("duration_s", 0), 0, 86_400),
        reader.choice(f"{key}.arm", table.get("arm"), arms) if by == "arm" else "",
    )
    if made.source and made.source == made.target:
        reader.wrong(f"{key}.to", f"must be another machine than {made.source}, where the part comes from")
    elif by == "arm":
        _check_carried(reader, key, kinds.get(made.source), kinds.get(made.target))
    return made


def _check_carried(reader: Reader, key: str, source: MachineType | None, target: MachineType | None) -> None:
    """An arm must be told where the part lies and how large it is, and where it is to be put."""
    if source is not None and (source.limits is None or set(CARRIES) <= set(source.capabilities)):
        reader.wrong(f"{key}.from", f"no program tells how large a part of type {source.name} is, so no arm can take it")
    if target is not None and target.entry is None:
        reader.wrong(f"{key}.to", f"type {target.name} does not say where its parts are put: its spec has no entry()")
