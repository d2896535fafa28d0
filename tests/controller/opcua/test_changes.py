"""Changes of the model: what came, went or changed since the last start is told, and versions count up."""

from pathlib import Path
from typing import Any

from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.ua_binary import variant_from_binary

from controller.opcua.changes import ADDED, DELETED, MOST_CHANGES, Change, ModelChanges
from controller.opcua.encoding import node_key, qualified, text, variant
from controller.opcua.events import Event, Events
from controller.opcua.nodes import Nodes
from controller.opcua.nodes.cache import ready
from controller.opcua.nodes.store import OBJECT, VALUE, VARIABLE

NOW = 1_800_000_000_000_000_000


def shown(machines: dict[str, list[str]]) -> Nodes:
    """The standard's nodes, and machines with their Signals."""
    nodes = ready(("urn:test:application", "urn:test:nodes"))
    for machine, signals in machines.items():
        owner = nodes.add(node_key(2, machine), OBJECT, qualified(machine, 2), text(machine), rule=0)
        nodes.refer(nodes.standard(ObjectIds.ObjectsFolder), nodes.standard(ObjectIds.Organizes), owner)
        nodes.refer(owner, nodes.standard(ObjectIds.HasTypeDefinition), nodes.standard(ObjectIds.BaseObjectType))
        for signal in signals:
            key = node_key(2, f"{machine}/status/{signal}")
            attributes = {14: variant(ua.NodeId(11)), VALUE: variant(1.5)}
            made = nodes.add(key, VARIABLE, qualified(signal, 2), text(signal), rule=0, attributes=attributes)
            nodes.refer(owner, nodes.standard(ObjectIds.HasComponent), made)
    return nodes


def started(state: Path, machines: dict[str, list[str]]) -> tuple[Nodes, list[Event], ModelChanges]:
    nodes, heard = shown(machines), list[Event]()
    events = Events(nodes)
    events.listeners.append(heard.append)
    changes = ModelChanges(nodes, events, lambda: NOW, state / "opcua-model.json")
    changes.start()
    return nodes, heard, changes


def read(nodes: Nodes, path: str) -> Any:
    return variant_from_binary(Buffer(nodes.attributes[nodes.find(node_key(2, path))][VALUE])).Value


def told(event: Event) -> dict[str, Any]:
    return {name: variant_from_binary(Buffer(encoded)).Value for name, encoded in event.fields.items()}


def test_a_first_start_tells_of_no_change_and_begins_with_version_1(tmp_path: Path) -> None:
    nodes, heard, _ = started(tmp_path, {"belt-1": ["speed"]})
    assert heard == [] and read(nodes, "belt-1/NodeVersion") == "1"
    assert (tmp_path / "opcua-model.json").stat().st_mode & 0o777 == 0o600
    version = nodes.find(node_key(2, "belt-1/NodeVersion"))
    assert nodes.kinds[version] == nodes.standard(ObjectIds.PropertyType)


def test_the_same_factory_is_the_same_model(tmp_path: Path) -> None:
    for _ in range(3):
        nodes, heard, _ = started(tmp_path, {"belt-1": ["speed"], "arm-1": ["x", "y"]})
    assert heard == [] and read(nodes, "arm-1/NodeVersion") == "1"


def test_what_came_went_and_changed_is_told_in_one_event_and_counts_versions_up(tmp_path: Path) -> None:
    started(tmp_path, {"belt-1": ["speed"], "arm-1": ["x", "y"], "fan-1": ["on"]})
    nodes, heard, _ = started(tmp_path, {"belt-1": ["speed", "parts"], "arm-1": ["y", "x"], "printer-1": ["bed"]})
    (event,) = heard
    assert event.kind == nodes.standard(ObjectIds.GeneralModelChangeEventType)
    changes = {change.Affected.Identifier: change.Verb for change in told(event)["Changes"]}
    assert changes == {"belt-1": 4 | 8, "fan-1": DELETED, "printer-1": ADDED}
    assert {change.AffectedType for change in told(event)["Changes"]} == {ua.NodeId(ObjectIds.BaseObjectType)}
    assert told(event)["Message"].Text == "changed: belt-1, new: printer-1, gone: fan-1"
    assert [read(nodes, f"{name}/NodeVersion") for name in ("belt-1", "arm-1", "printer-1")] == ["2", "1", "1"]
    _, heard, _ = started(tmp_path, {"belt-1": ["speed", "parts"], "arm-1": ["y", "x"], "printer-1": ["bed"]})
    assert heard == []


def test_values_are_no_change_of_the_model(tmp_path: Path) -> None:
    nodes, _, changes = started(tmp_path, {"belt-1": ["speed"]})
    nodes.put(nodes.find(node_key(2, "belt-1/status/speed")), VALUE, variant(9.0))
    changes.start()
    assert changes.changes == ()


def test_a_file_that_cannot_be_read_begins_anew(tmp_path: Path) -> None:
    started(tmp_path, {"belt-1": ["speed"]})
    (tmp_path / "opcua-model.json").write_text("{")
    _, heard, _ = started(tmp_path, {"belt-1": ["speed", "parts"]})
    assert heard == []


def test_very_many_changes_are_told_as_that(tmp_path: Path) -> None:
    nodes, heard, changes = started(tmp_path, {})
    changes.tell(tuple(Change(node_key(2, f"m{number}"), b"\x00\x00", ADDED) for number in range(MOST_CHANGES + 1)))
    (event,) = heard
    assert event.kind == nodes.standard(ObjectIds.BaseModelChangeEventType) and "Changes" not in event.fields
    assert told(event)["Message"].Text.endswith(f"and {MOST_CHANGES - 9} more")
