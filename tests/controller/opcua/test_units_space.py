"""What Part 7 asks of an address space, looked at by a client of the whole server: it browses from the root and reads."""

import itertools
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any

import pytest
from asyncua import ua
from asyncua.ua.attribute_ids import AttributeIds as Id
from asyncua.ua.object_ids import ObjectIds

from controller.opcua.names import node_id
from controller.opcua.names import standard as numbered
from controller.users import Role
from tests.controller.opcua.raw import Raw
from tests.controller.opcua.whole import Whole

UNITS = "http://www.opcfoundation.org/UA/units/un/cefact"
COMMON = (Id.NodeId, Id.NodeClass, Id.BrowseName, Id.DisplayName)
MANDATORY: dict[ua.NodeClass, tuple[Id, ...]] = {
    ua.NodeClass.Object: (Id.EventNotifier,),
    ua.NodeClass.Variable: (Id.DataType, Id.ValueRank, Id.AccessLevel, Id.UserAccessLevel, Id.Historizing),
    ua.NodeClass.Method: (Id.Executable, Id.UserExecutable),
    ua.NodeClass.ObjectType: (Id.IsAbstract,),
    ua.NodeClass.VariableType: (Id.DataType, Id.ValueRank, Id.IsAbstract),
    ua.NodeClass.ReferenceType: (Id.IsAbstract, Id.Symmetric),
    ua.NodeClass.DataType: (Id.IsAbstract,),
}
"""Part 3 §5, the tables of the node classes; Value is asked for apart."""
CORE = {
    "Server_ServerArray": list,
    "Server_NamespaceArray": list,
    "Server_ServerStatus": ua.ServerStatusDataType,
    "Server_ServiceLevel": int,
    "Server_Auditing": bool,
    "Server_ServerStatus_State": int,
    "Server_ServerStatus_BuildInfo": ua.BuildInfo,
    "Server_ServerCapabilities_ServerProfileArray": list,
    "Server_ServerCapabilities_LocaleIdArray": list,
    "Server_ServerCapabilities_MinSupportedSampleRate": float,
    "Server_ServerCapabilities_MaxBrowseContinuationPoints": int,
    "Server_ServerCapabilities_MaxQueryContinuationPoints": int,
    "Server_ServerCapabilities_MaxHistoryContinuationPoints": int,
    "Server_ServerRedundancy_RedundancySupport": int,
}
"""Part 5 §6.3.1, §6.3.2, §6.3.7: what must be there, and what it is."""


class Seen:
    """What a client finds that follows every hierarchical reference down from the root.

    Attributes:
        nodes: descriptions of the targets, by NodeId.
    """

    def __init__(self, client: Raw) -> None:
        self.client = client
        self.nodes: dict[ua.NodeId, Any] = {}
        self.below: dict[ua.NodeId, list[Any]] = {}
        level = [numbered(ObjectIds.RootFolder)]
        while level:
            found = self.targets(level, ObjectIds.HierarchicalReferences, subtypes=True)
            self.below.update(zip(level, found, strict=True))
            new = {one.NodeId: one for one in itertools.chain.from_iterable(found) if one.NodeId not in self.nodes}
            self.nodes |= new
            level = list(new)

    def targets(self, nodes: list[Any], reference: int, *, subtypes: bool, inverse: bool = False) -> list[list[Any]]:
        """What a reference leads to, for each node; every continuation point is followed."""
        way = ua.BrowseDirection.Inverse if inverse else ua.BrowseDirection.Forward
        asked = [ua.BrowseDescription(node, way, numbered(reference), subtypes, 0, 63) for node in nodes]
        results = [one for part in chunks(asked) for one in self._browse(part)]
        assert all(result.StatusCode.is_good() for result in results)
        found = [list(result.References or ()) for result in results]
        for at, result in enumerate(results):
            point = result.ContinuationPoint
            while point:
                (more,) = self.client.ask("BrowseNext", ua.BrowseNextParameters(False, [point])).Results
                found[at] += more.References or ()
                point = more.ContinuationPoint
        return found

    def _browse(self, asked: list[Any]) -> Any:
        return self.client.ask("Browse", ua.BrowseParameters(ua.ViewDescription(), 0, asked)).Results

    def of(self, *classes: ua.NodeClass) -> list[Any]:
        """The NodeIds of some classes: all that is below Objects, and of the types each fifth."""
        below = set(self.instances)
        found = [key for key, one in self.nodes.items() if one.NodeClass in classes]
        return [key for at, key in enumerate(found) if key in below or at % 5 == 0]

    def read(self, nodes: Iterable[Any], attribute: int = Id.Value) -> list[Any]:
        """An attribute of each node, as DataValues."""
        wanted = [ua.ReadValueId(node, Id(attribute)) for node in nodes]
        both = ua.TimestampsToReturn.Both
        return [one for part in chunks(wanted) for one in self.client.ask("Read", ua.ReadParameters(0, both, part)).Results]

    def values(self, nodes: Iterable[Any], attribute: int = Id.Value) -> list[Any]:
        """The same as plain values."""
        return [one.Value.Value for one in self.read(nodes, attribute)]

    @cached_property
    def instances(self) -> list[Any]:
        """All objects, variables and methods below Objects."""
        reached, level = set[Any](), [numbered(ObjectIds.ObjectsFolder)]
        while level:
            level = [one.NodeId for key in level for one in self.below.get(key, ()) if one.NodeId not in reached]
            reached |= set(level)
        return [key for key in self.nodes if key in reached]

    def named(self, node: Any, name: str) -> Any:
        """The NodeId of what is below a node by its name; None where nothing is."""
        return next((one.NodeId for one in self.below.get(node, ()) if one.BrowseName.Name == name), None)


def chunks(each: list[Any]) -> Iterator[list[Any]]:
    """No more than one request may ask for."""
    return (each[at : at + 1_000] for at in range(0, len(each), 1_000))


def standard(name: str) -> ua.NodeId:
    """A node of the standard by its name."""
    return numbered(getattr(ObjectIds, name))


@pytest.fixture(scope="module")
def seen() -> Iterator[Seen]:
    with Whole(users={"erin": Role.ENGINEER}) as whole:
        yield Seen(whole.client(user="erin"))


def test_nodes_have_the_attributes_that_its_class_must_have(seen: Seen) -> None:
    assert len(seen.nodes) > 3_000
    for kind, further in MANDATORY.items():
        nodes = seen.of(kind)
        assert nodes, kind
        for attribute in (*COMMON, *further):
            found = seen.read(nodes, attribute)
            assert all(one.StatusCode.is_good() and one.Value.Value is not None for one in found), (kind, attribute)
    told = dict(zip(seen.instances, seen.values(seen.instances, Id.BrowseName), strict=True))
    assert all(seen.nodes[key].BrowseName == name for key, name in told.items())


def test_objects_and_variables_have_one_type_that_can_be_browsed(seen: Seen) -> None:
    nodes = seen.of(ua.NodeClass.Object, ua.NodeClass.Variable)
    found = seen.targets(nodes, ObjectIds.HasTypeDefinition, subtypes=False)
    assert all(len(kinds) == 1 and kinds[0].NodeId in seen.nodes for kinds in found)


def test_all_types_in_use_are_there_with_all_that_they_are_derived_from(seen: Seen) -> None:
    nodes = seen.instances
    kinds = {kind[0].NodeId for kind in seen.targets(nodes, ObjectIds.HasTypeDefinition, subtypes=False) if kind}
    kinds |= {one.ReferenceTypeId for found in seen.targets(nodes, ObjectIds.References, subtypes=True) for one in found}
    kinds |= set(seen.values([key for key in nodes if seen.nodes[key].NodeClass == ua.NodeClass.Variable], Id.DataType))
    assert {key.NamespaceIndex for key in kinds} >= {0, 2}  # the standard's and our own
    tops = {standard(name) for name in ("BaseObjectType", "BaseVariableType", "References", "BaseDataType")}
    level, reached = kinds, set[Any]()
    while level:
        assert level <= set(seen.nodes), level - set(seen.nodes)
        above = seen.targets(list(level), ObjectIds.HasSubtype, subtypes=False, inverse=True)
        reached |= {key for key, found in zip(level, above, strict=True) if not found}
        level = {one.NodeId for found in above for one in found}
    assert reached == tops


def test_placeholders_of_a_type_are_marked_and_no_instance_has_them(seen: Seen) -> None:
    rules = {standard("ModellingRule_OptionalPlaceholder"), standard("ModellingRule_MandatoryPlaceholder")}
    marked = [key for key, one in seen.nodes.items() if one.BrowseName.Name.startswith("<")]
    found = seen.targets(marked, ObjectIds.HasModellingRule, subtypes=False)
    assert len(marked) > 20 and not set(marked) & set(seen.instances)
    assert sum(bool(rule) and rule[0].NodeId in rules for rule in found) > 20
    told = seen.below[standard("Server_ServerCapabilities_ModellingRules")]
    assert rules <= {one.NodeId for one in told}


def test_the_server_object_and_its_capabilities_are_complete(seen: Seen) -> None:
    for name, must_be in CORE.items():
        (one,) = seen.read([standard(name)])
        assert one.StatusCode.is_good() and isinstance(one.Value.Value, must_be), name
    root = {one.NodeId for one in seen.below[numbered(ObjectIds.RootFolder)]}
    assert root == {standard(name) for name in ("ObjectsFolder", "TypesFolder", "ViewsFolder")}
    types = {one.NodeId for one in seen.below[standard("TypesFolder")]}
    assert types >= {standard(f"{name}TypesFolder") for name in ("Object", "Variable", "Reference", "Data", "Event")}
    (kind,) = seen.targets([standard("Server")], ObjectIds.HasTypeDefinition, subtypes=False)
    assert kind[0].NodeId == standard("ServerType")
    level, notifier = seen.values([standard("Server_ServiceLevel")])[0], seen.values([standard("Server")], Id.EventNotifier)[0]
    assert 0 <= level <= 255 and notifier & 1


def test_namespaces_of_all_nodes_are_in_the_namespace_array_and_ours_come_first(seen: Seen) -> None:
    uris, servers = seen.values([standard("Server_NamespaceArray"), standard("Server_ServerArray")])
    assert uris[:2] == ["http://opcfoundation.org/UA/", servers[0]] and len(set(uris)) == len(uris)
    assert max(key.NamespaceIndex for key in seen.nodes) < len(uris)


def test_limits_are_told_and_none_is_less_than_the_profile_asks_for(seen: Seen) -> None:
    names = [name for name in dir(ObjectIds) if name.startswith("Server_ServerCapabilities_OperationLimits_Max")]
    told = dict(zip(names, seen.read([standard(name) for name in names]), strict=True))
    served = {name: one.Value.Value for name, one in told.items() if one.StatusCode.is_good()}
    assert len(served) >= 8 and all(value >= 100 for value in served.values()), served
    least = {"MaxArrayLength": 1_000, "MaxStringLength": 4_096, "MaxBrowseContinuationPoints": 5, "MaxSessions": 50}
    least |= {"MaxSubscriptionsPerSession": 5, "MaxMonitoredItemsPerSubscription": 500, "MaxMonitoredItemsQueueSize": 5}
    values = seen.values([standard(f"Server_ServerCapabilities_{name}") for name in least])
    assert all(value >= wanted for value, wanted in zip(values, least.values(), strict=True)), dict(zip(least, values, strict=True))


def test_units_are_those_of_the_un_list_and_every_range_has_two_ends(seen: Seen) -> None:
    variables = [key for key in seen.instances if seen.nodes[key].NodeClass == ua.NodeClass.Variable]
    units = {key: found for key in variables if (found := seen.named(key, "EngineeringUnits")) is not None}
    assert len(units) > 20
    for unit in seen.values(units.values()):
        code = unit.UnitId.to_bytes(4, "big", signed=True).lstrip(b"\x00").decode()
        assert unit.NamespaceUri == UNITS and unit.DisplayName.Text and 2 <= len(code) <= 3 and code.isalnum()
    ranges = {key: found for key in variables if (found := seen.named(key, "EURange")) is not None}
    assert len(ranges) > 20 and all(one.Low < one.High for one in seen.values(ranges.values()))
    kinds = seen.targets(list(units), ObjectIds.HasTypeDefinition, subtypes=False)
    analog = {standard(name) for name in ("AnalogItemType", "AnalogUnitType", "AnalogUnitRangeType")}
    assert {kind[0].NodeId for kind in kinds} <= analog


def test_extended_access_levels_promise_whole_values_and_say_that_arrays_are_written_whole(seen: Seen) -> None:
    variables = seen.of(ua.NodeClass.Variable)
    extended, plain = seen.values(variables, Id.AccessLevelEx), seen.values(variables, Id.AccessLevel)
    ranks = seen.values(variables, Id.ValueRank)
    for one, level, rank in zip(extended, plain, ranks, strict=True):
        assert one & 0xFF == level and not one >> 8 & 0b11  # Part 3 §8.58: neither NonatomicRead nor NonatomicWrite
        assert one >> 10 == (rank != -1)  # WriteFullArrayOnly, and nothing that is reserved


def test_only_setpoints_say_that_they_can_be_written(seen: Seen) -> None:
    variables = [key for key in seen.instances if seen.nodes[key].NodeClass == ua.NodeClass.Variable]
    writable = {key for key, level in zip(variables, seen.values(variables, Id.AccessLevel), strict=True) if level & 2}
    assert writable == {node_id("belt-1/setpoint/speed")}
