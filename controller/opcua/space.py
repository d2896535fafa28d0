"""Factory -> what the OPC UA server shows of it: a tree of plain declarations. Pure: no OPC UA library is known here.

A Signal's path in the Feed is its NodeId's text, and a machine type's tree is the tree of one of its machines with
another prefix. So a machine type that nobody here has heard of needs nothing here.
"""

import enum
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from urllib.parse import quote

from controller.feed import FeedSignal
from controller.opcua.shown import Argument, Kind, Method, Nameplate, Object, Space, Unless, Variable
from twin.devices import Mirrored
from twin.factory import Factory, Machine
from twin.machine import BUILT_IN
from twin.maps import Form
from twin.node import NodeStatus
from twin.units import ONE
from twin.wire import Bit, Number, layout

__all__ = [
    "DEVICE_TYPE",
    "ENUMERATIONS",
    "FACTORY",
    "MAPS",
    "NODES",
    "NODE_TYPE",
    "OUTPUTS",
    "REFUSAL",
    "TYPES",
    "Argument",
    "Kind",
    "Method",
    "Nameplate",
    "Object",
    "Space",
    "Unless",
    "Variable",
    "space",
]  # fmt: skip

TYPES = "type:"
ENUMERATIONS = "enum:"
NODES = "node:"
FACTORY = "factory"
MAPS = "map-"
DEVICE_TYPE = TYPES + "Device"
NODE_TYPE = TYPES + "Node"  # no machine type's name has a capital
SETPOINT = "setpoint"
COMMAND = "command"
_NOT_OURS = ("lost", "refused", "read-only")  # how the link of a node begins that does not obey us

OUTPUTS = (
    Argument("Accepted", Kind.BOOLEAN, "whether the factory does it; where it does not the call's status is bad"),
    Argument("Text", Kind.STRING, "what was done, or why it was refused"),
    Argument("Order", Kind.UINT32, "the order it was about, or 0"),
)
CALLED = (
    Argument("Accepted", Kind.BOOLEAN, "whether the machine has done it; where it has not the call's status is bad"),
    Argument("Text", Kind.STRING, "what the machine said, or why it was refused"),
    Argument("Result", Kind.STRING, "what the machine's method gave back, as JSON"),
)
REFUSAL = "LastRefusal"
_REFUSAL_TEXT = "the command that was refused last: who asked for it, why it was refused, and the status"
_PROGRAM = Argument("Program", Kind.STRING, "name of a stored program")
_LOAD = ("LoadJob", "load_job", "Plan a stored program and bring its Job onto the machine", {"program": _PROGRAM})
_MACHINE_METHODS: tuple[tuple[str, str, str, dict[str, Argument]], ...] = (
    ("Start", "start", "Start what is loaded, or go on with what is paused or held", {}),
    ("Pause", "pause", "Hold what is running", {}),
    ("Stop", "stop", "End what is running; its order is cancelled (not an emergency stop)", {}),
    ("Reset", "reset", "Clear a latched fault whose cause is gone; starts nothing", {}),
)
_FACTORY_METHODS: tuple[tuple[str, str, str, dict[str, Argument]], ...] = (
    (
        "PlaceOrder",
        "place_order",
        "Order a part to be made",
        {"recipe": Argument("Recipe", Kind.STRING, "name of a recipe"), "program": _PROGRAM},
    ),
    (
        "CancelOrder",
        "cancel_order",
        "Cancel an order that is not at work",
        {"order": Argument("Order", Kind.UINT32, "its number")},
    ),
)


def space(factory: Factory, signals: Iterable[FeedSignal]) -> Space:
    """What is shown of a factory whose Feed carries these Signals."""
    given = tuple(signals)
    wholes = _wholes(factory)
    variables = tuple(_variable(signal, wholes.get(signal.path, Kind.INT64), factory) for signal in given)
    below = _grouped(given, variables)
    refusals = _refusals(factory, below)
    variables += refusals
    machines = tuple((_machine(m, m.name, below[m.name]), _nameplate(factory, m)) for m in factory.machines.values())
    machines += tuple((_mirrored(m, m.name, below[m.name]), _plate(factory, m)) for m in factory.mirrored.values())
    nodes = tuple(_owner(NODES + name, name, "A node", NODE_TYPE, below[NODES + name]) for name in factory.nodes)
    nodes += tuple(_owner(NODES + name, name, "A device", DEVICE_TYPE, below[NODES + name]) for name in factory.devices)
    plant = _owner(FACTORY, "Factory", "The factory as a whole", "", below.get(FACTORY, {}), _methods(FACTORY))
    shown = [*(machine for machine, _ in machines), *nodes, plant]
    return Space(
        factory.name,
        f"urn:lockstep:factory:{quote(factory.name)}",
        f"urn:lockstep:server:{quote(factory.name)}",
        factory.scan_ms,
        _enumerations(variables),
        tuple(_types(factory, below)),
        machines,
        nodes,
        plant,
        variables,
        tuple(method for top in shown for each in top.everything() for method in each.methods),
    )


def _wholes(factory: Factory) -> dict[str, Kind]:
    """How a whole number is shown that lies in registers: these tell whether it has a sign, and how wide it is."""
    records = [(f"{NODES}{name}/status", layout(NodeStatus)) for name in factory.nodes]
    for machine in factory.machines.values():
        status, command = machine.type.layouts
        records += [(f"{machine.name}/status", status), (f"{machine.name}/command", command)]
    found = {f"{path}/{s.name}": _whole(s.binding) for path, shape in records for s in shape.signals}
    for mirrored in factory.mirrored.values():
        for row in mirrored.map.signals:
            if getattr(row.place, "form", None) is Form.UINT64:
                found |= dict.fromkeys((f"{mirrored.name}/status/{row.name}", f"{mirrored.name}/{COMMAND}/{row.name}"), Kind.UINT64)
    return found


def _whole(binding: Number | Bit | None) -> Kind:
    if not isinstance(binding, Number):
        return Kind.INT64
    wide = binding.words > 2
    if binding.format.islower():
        return Kind.INT64 if wide else Kind.INT32
    return Kind.UINT64 if wide else Kind.UINT32


def _variable(signal: FeedSignal, whole: Kind, factory: Factory) -> Variable:
    size = signal.unit.size if signal.type is float else 1.0
    unit = None if signal.unit is ONE or signal.type in (bool, str) else signal.unit
    limits = (signal.range.low / size, signal.range.high / size) if signal.range else None
    enumeration = signal.type if issubclass(signal.type, enum.IntEnum) else None
    kind = _kind(signal.type, whole)
    sets = (signal.owner, signal.name) if signal.group == (COMMAND if signal.owner in factory.mirrored else SETPOINT) else None
    kept = factory.history.keeps(signal.path)
    return Variable(signal.path, signal.name, kind, enumeration, unit, limits, size, signal.text, sets, kept)


def _kind(of: type, whole: Kind = Kind.INT64) -> Kind:
    """`whole`: of whole numbers."""
    if of is bool:
        return Kind.BOOLEAN
    if of is float:
        return Kind.DOUBLE
    if issubclass(of, str):
        return Kind.STRING
    return Kind.INT32 if issubclass(of, enum.IntEnum) else whole


def _enumerations(variables: Iterable[Variable]) -> dict[str, type[enum.IntEnum]]:
    """By path; where two types have one name, the second one's path is numbered."""
    found: dict[str, type[enum.IntEnum]] = {}
    for kind in dict.fromkeys(v.enumeration for v in variables if v.enumeration):
        path, count = ENUMERATIONS + kind.__name__, 1
        while path in found:
            count += 1
            path = f"{ENUMERATIONS}{kind.__name__}-{count}"
        found[path] = kind
    return found


Groups = Mapping[str, tuple[Variable, ...]]


def _grouped(signals: Iterable[FeedSignal], variables: Iterable[Variable]) -> dict[str, Groups]:
    """Variables by owner, then by the group that their path names; the others under the empty one."""
    found: dict[str, dict[str, tuple[Variable, ...]]] = {}
    for signal, variable in zip(signals, variables, strict=True):
        groups = found.setdefault(signal.owner, {})
        group = signal.group if signal.path == f"{signal.owner}/{signal.group}/{signal.name}" else ""
        groups[group] = (*groups.get(group, ()), variable)
    return dict(found)


def _owner(path: str, name: str, text: str, kind: str, groups: Groups, methods: tuple[Method, ...] = ()) -> Object:
    objects = tuple(
        Object(f"{path}/{group}", group.capitalize(), "", "", (), tuple(_moved(path, group, v) for v in variables))
        for group, variables in groups.items()
        if group
    )
    return Object(path, name, text, kind, objects, tuple(_moved(path, "", v) for v in groups.get("", ())), methods)


def _moved(owner: str, group: str, variable: Variable) -> Variable:
    """The variable with its path below an owner: the same one for a machine, a declaration for its type."""
    path = "/".join(part for part in (owner, group, variable.name) if part)
    v = variable
    return v if v.path == path else replace(v, path=path, sets=None, kept=False)


def _refusals(factory: Factory, below: dict[str, Groups]) -> tuple[Variable, ...]:
    """One Variable for each that can be asked for something, which it gets."""
    asked = [*factory.machines, *(name for name, m in factory.mirrored.items() if m.map.methods or m.map.written), FACTORY]
    made = tuple(
        Variable(f"{owner}/{REFUSAL}", REFUSAL, Kind.STRING, None, None, None, 1.0, _REFUSAL_TEXT) for owner in asked
    )
    for owner, variable in zip(asked, made, strict=True):
        groups = below.get(owner, {})
        below[owner] = {**groups, "": (*groups.get("", ()), variable)}
    return made


def _methods(path: str, machine: Machine | None = None) -> tuple[Method, ...]:
    declared = _FACTORY_METHODS if machine is None else _MACHINE_METHODS
    if machine is not None and machine.type.limits is not None:
        declared = (_LOAD, *declared)
    name = machine.name if machine else ""
    return tuple(
        Method(f"{path}/{title}", title, text, kind, name, given, OUTPUTS, "", _unless(kind, machine), f"{path}/{REFUSAL}")
        for title, kind, text, given in declared
    )


def _unless(kind: str, machine: Machine | None) -> tuple[Unless, ...]:
    """What is sure to be refused. All else the core judges, who knows more."""
    if machine is None:
        return ()
    node = NODES + machine.node
    if kind == "start":
        return (Unless(f"{node}/status/latched", (True,), f"node {machine.node} is latched: reset it first"),)
    if kind == "reset":
        return (Unless(f"{node}/link", _NOT_OURS, f"node {machine.node} obeys somebody else or is not reached"),)
    return ()


def _calls(machine: Mirrored, path: str) -> tuple[Method, ...]:
    """What can be called at a machine that is none of ours."""
    return tuple(
        Method(
            f"{path}/call/{method.name}",
            method.name,
            method.text or f"Call {method.name}",
            "call",
            machine.name,
            {name: Argument(name, _kind(kind), "") for name, kind in method.inputs},
            CALLED,
            method.name,
            refusals=f"{path}/{REFUSAL}",
        )
        for method in machine.map.methods
    )


def _machine(machine: Machine, path: str, groups: Groups) -> Object:
    kind = machine.type.name
    return _owner(path, machine.name, f"A {kind}", TYPES + kind, groups, _methods(path, machine))


def _described(machine: Mirrored) -> str:
    return machine.map.text or f"A {machine.map.name}"


def _mirrored(machine: Mirrored, path: str, groups: Groups) -> Object:
    return _owner(path, machine.name, _described(machine), TYPES + MAPS + machine.map.name, groups, _calls(machine, path))


def _plate(factory: Factory, machine: Mirrored) -> Nameplate:
    urn = f"urn:lockstep:factory:{quote(factory.name)}:{machine.name}"
    return Nameplate("unknown", machine.map.name, f"{machine.node}-{machine.unit}", urn, machine.cell)


def _types(factory: Factory, below: Mapping[str, Groups]) -> Iterator[Object]:
    """The machine types in use, and the node's: the tree of an instance, moved."""
    seen: set[str] = set()
    for machine in factory.machines.values():
        kind = machine.type.name
        if kind not in seen:
            seen.add(kind)
            path = TYPES + kind
            made = _owner(path, _camel(kind) + "Type", f"A {kind}", "", below[machine.name], _methods(path, machine))
            yield made
    for mirrored in factory.mirrored.values():
        kind = MAPS + mirrored.map.name
        if kind not in seen:
            seen.add(kind)
            name, calls = _camel(mirrored.map.name) + "Type", _calls(mirrored, TYPES + kind)
            yield _owner(TYPES + kind, name, _described(mirrored), "", below[mirrored.name], calls)
    for name in list(factory.devices)[:1]:
        yield _owner(DEVICE_TYPE, "DeviceType", "A node that does not run our firmware", "", below[NODES + name])
    for name in list(factory.nodes)[:1]:
        yield _owner(NODE_TYPE, "NodeType", "An endpoint with our firmware", "", below[NODES + name])


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.replace("-", "_").split("_"))


def _nameplate(factory: Factory, machine: Machine) -> Nameplate:
    ours = machine.type.package.startswith(BUILT_IN)
    return Nameplate(
        manufacturer="Lockstep" if ours else "unknown",
        model=machine.type.name,
        serial_number=f"{factory.nodes[machine.node].uid}-{machine.base}",
        product_instance_uri=f"urn:lockstep:factory:{quote(factory.name)}:{machine.name}",
        location=machine.cell,
    )
