"""What a factory's declarations become: the same nodes at the same NodeIds, whatever happens around them."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from asyncua.common.utils import Buffer
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.ua_binary import variant_from_binary
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.feed import feed_signals
from controller.opcua import nodes as address_space
from controller.opcua.asked import MOST_CALLS, MOST_WRITES
from controller.opcua.encoding import key_of, namespace_of, node_key, qualified
from controller.opcua.historic.service import MOST_NODES
from controller.opcua.names import standard
from controller.opcua.nodes import served
from controller.opcua.nodes.build import Built, build
from controller.opcua.nodes.cache import pack, unpack
from controller.opcua.nodes.store import METHOD, NO_NODE, OBJECT, OBJECT_TYPE, VALUE, VARIABLE, Nodes
from controller.opcua.plane import BOOLEAN, DOUBLE, Plane
from controller.opcua.roles import Rule
from controller.opcua.sessions import MOST_SESSIONS
from controller.opcua.space import Kind, Object, Space, Variable, space
from controller.opcua.trust import declared as trust
from controller.opcua.view import MOST_POINTS
from controller.users import Role
from tests.controller.factories import belts, demo, shop
from tests.controller.opcua.nodes.asking import Client, Someone, of
from tests.controller.opcua.nodes.files import every
from twin.factory import Factory

STANDARD = "http://opcfoundation.org/UA/"


def built(shown: Space) -> tuple[Nodes, Plane, Built]:
    """The address space of a Space."""
    nodes, plane = address_space.load((shown.application, shown.namespace)), Plane()
    return nodes, plane, build(nodes, shown, plane)


def of_factory(factory: Factory) -> Space:
    """What is shown of it."""
    return space(factory, feed_signals(factory))


@cache
def whole() -> tuple[Space, Nodes, Plane, Built]:
    """Of the demo factory."""
    shown = of_factory(demo())
    return shown, *built(shown)


def paths(nodes: Nodes) -> dict[str, tuple[int, bytes]]:
    """Our NodeIds with their node class and browse name."""
    head = b"\x03\x02\x00"
    keys = ((nodes.keys[number], number) for number in nodes.numbers())
    return {key[7:].decode(): (nodes.classes[n], nodes.browse_names[n]) for key, n in keys if key.startswith(head)}


def value(nodes: Nodes, number: int) -> Any:
    """A constant Value, decoded by asyncua."""
    return variant_from_binary(Buffer(nodes.attributes[number][VALUE])).Value


def under(nodes: Nodes, name: str) -> int:
    """One of the standard's nodes."""
    return nodes.standard(getattr(ObjectIds, name))


# ---- stability


def test_the_demo_factorys_nodes_are_where_they_have_always_been() -> None:
    known = Path(__file__).with_name("demo_node_ids.txt").read_text().splitlines()
    assert len(known) > 2_000 and set(known) <= paths(whole()[1]).keys()


def test_after_a_restart_everything_is_where_it_was() -> None:
    shown, nodes, _, _ = whole()
    again, _, _ = built(shown)
    assert again.keys == nodes.keys and again.namespaces == nodes.namespaces
    assert [*again.references(again.standard(85))] == [*nodes.references(nodes.standard(85))]


@settings(max_examples=4, deadline=None)
@given(bases=st.lists(st.integers(0, 20), min_size=1, max_size=4, unique=True), more=st.integers(1, 3))
def test_a_machine_more_moves_no_node(bases: list[int], more: int) -> None:
    bases = [300 + base * 20 for base in bases]
    added = [*bases, *(900 + 20 * each for each in range(more))]
    before, after = (paths(built(of_factory(belts(each)))[0]) for each in (bases, added))
    assert before.items() <= after.items() and len(after) > len(before)
    new = {path.partition("/")[0] for path in after.keys() - before.keys()}
    assert new == {f"b{len(bases) + number}" for number in range(more)}


def _with_signal(of: Object, name: str) -> Object:
    """An object with a Variable more in each of its groups."""
    objects = tuple(_with_signal(below, name) for below in of.objects)
    extra = Variable(f"{of.path}/{name}", name, Kind.DOUBLE, None, None, (0.0, 1.0), 1.0, "new")
    return replace(of, objects=objects, variables=(extra, *of.variables) if of.variables else ())


@settings(max_examples=4, deadline=None)
@given(name=st.from_regex(r"[a-z]{3,8}_new", fullmatch=True))
def test_a_signal_more_in_a_machine_type_moves_no_node(name: str) -> None:
    shown = of_factory(shop())
    machines = tuple((_with_signal(machine, name), plate) for machine, plate in shown.machines)
    types = tuple(_with_signal(declared, name) for declared in shown.types)
    variables = tuple(v for machine, _ in machines for each in machine.everything() for v in each.variables if v.name == name)
    upgraded = replace(shown, machines=machines, types=types, variables=(*variables, *shown.variables))
    before, after = paths(built(shown)[0]), paths(built(upgraded)[0])
    assert before.items() <= after.items()
    assert {path.split("/")[-2 if path.endswith("EURange") else -1] for path in after.keys() - before.keys()} == {name}


# ---- what is there


def test_every_signal_has_its_row_and_its_node_says_what_it_is() -> None:
    shown, nodes, plane, made = whole()
    assert len(made.rows) == len(made.variables) == len(shown.variables) == len(plane)
    for row, number, variable in zip(made.rows, made.variables, shown.variables, strict=True):
        assert nodes.keys[number] == node_key(2, variable.path) and nodes.rows[number] == row
        has = {at: variant_from_binary(Buffer(encoded)).Value for at, encoded in nodes.attributes[number].items()}
        assert has[19] == shown.sampling_ms and has[15] == -1
        if variable.enumeration:
            assert nodes.browse_names[nodes.find(key_of(has[14]))] == qualified(variable.enumeration.__name__, 2)
        else:
            assert has[14] == standard(getattr(ObjectIds, variable.kind.value))
        is_kept = variable.name != "LastRefusal"
        assert has[17] == 1 + 2 * variable.writable + 4 * is_kept and has[20] == is_kept
        assert nodes.rules[number] == (Rule.SETPOINT if variable.writable else Rule.OPEN)
        unit, limits = (nodes.find(node_key(2, f"{variable.path}/{name}")) for name in ("EngineeringUnits", "EURange"))
        assert (unit != NO_NODE) == (variable.unit is not None) and (limits != NO_NODE) == (variable.range is not None)
        if variable.unit is not None:
            told = value(nodes, unit)
            assert (told.UnitId, told.DisplayName.Text) == (variable.unit.unit_id, variable.unit.symbol)
        if variable.range is not None:
            told = value(nodes, limits)
            assert (told.Low, told.High) == variable.range
    assert {int(plane.kinds[row]) for row in made.rows} > {BOOLEAN, DOUBLE}


def test_only_what_history_keeps_says_that_it_has_a_past() -> None:
    factory = shop()
    factory = replace(factory, history=replace(factory.history, leave_out=("node:*/status/*",)))
    shown = of_factory(factory)
    nodes, _, built_ = built(shown)
    kept = {path for path in (signal.path for signal in feed_signals(factory)) if factory.history.keeps(path)}
    assert 0 < len(kept) < len(built_.variables)
    for number, variable in zip(built_.variables, shown.variables, strict=True):
        has_past = (value_of(nodes, number, 20), bool(value_of(nodes, number, 17) & 4), variable.kept)
        assert has_past == (variable.path in kept,) * 3, variable.path


def value_of(nodes: Nodes, number: int, attribute: int) -> Any:
    """An attribute, decoded."""
    return variant_from_binary(Buffer(nodes.attributes[number][attribute])).Value


def test_methods_are_for_those_who_may_command_and_say_what_they_take() -> None:
    shown, nodes, _, _ = whole()
    for method in shown.methods:
        number = nodes.find(node_key(2, method.path))
        assert nodes.classes[number] == METHOD and nodes.rules[number] == Rule.COMMAND
        for name, wanted in (("InputArguments", [*method.inputs.values()]), ("OutputArguments", [*method.outputs])):
            at = nodes.find(node_key(2, f"{method.path}/{name}"))
            told = [(a.Name, a.DataType, a.ValueRank, a.Description.Text) for a in value(nodes, at)] if at != NO_NODE else []
            assert told == [(a.name, standard(getattr(ObjectIds, a.kind.value)), -1, a.text) for a in wanted]


def test_an_instance_has_what_its_type_declares_and_its_type_says_that_it_must() -> None:
    shown, nodes, _, _ = whole()
    mandatory, has_rule, hierarchical = nodes.standard(78), nodes.standard(37), nodes.subtypes(nodes.standard(33))

    def below(number: int) -> dict[bytes, int]:
        return {
            nodes.browse_names[child]: child
            for reference, is_forward, child in nodes.references(number)
            if is_forward and reference in hierarchical and nodes.classes[child] in (OBJECT, VARIABLE, METHOD)
        }

    def compare(declared: int, instance: int) -> None:
        wanted, has = below(declared), below(instance)
        for name, child in wanted.items():
            assert nodes.classes[has[name]] == nodes.classes[child] and nodes.kinds[has[name]] == nodes.kinds[child]
            if mandatory in nodes.targets(child, has_rule):
                compare(child, has[name])

    machines = [machine for machine, _ in shown.machines]
    for top in (*machines, *shown.nodes):
        number = nodes.find(node_key(2, top.path))
        assert nodes.classes[nodes.kinds[number]] == OBJECT_TYPE
        compare(nodes.kinds[number], number)
    folder = nodes.find(node_key(nodes.namespaces.index(f"{STANDARD}Machinery/"), 1001))
    assert [*nodes.targets(folder, nodes.standard(35))] == [nodes.find(node_key(2, machine.path)) for machine in machines]


def test_every_machine_carries_its_nameplate() -> None:
    shown, nodes, _, _ = whole()
    di = nodes.namespaces.index(f"{STANDARD}DI/")
    for machine, plate in shown.machines:
        at = nodes.find(node_key(2, f"{machine.path}/Identification"))
        assert nodes.browse_names[at] == qualified("Identification", di)
        assert value(nodes, nodes.find(node_key(2, f"{machine.path}/Identification/SerialNumber"))) == plate.serial_number
        assert value(nodes, nodes.find(node_key(2, f"{machine.path}/Identification/Manufacturer"))).Text == plate.manufacturer


# ---- the server's own nodes


def test_every_variable_below_objects_has_a_value_or_is_one_that_the_running_server_drives() -> None:
    _, nodes, _, _ = whole()
    driven = ("ServerStatus", "ServerDiagnostics", "ServerConfiguration", "ServiceLevel")
    tops = {
        number
        for name in driven
        for number in served._below(nodes, under(nodes, name if name == "ServerConfiguration" else f"Server_{name}"))
    }
    for number in served._below(nodes, nodes.standard(85)) - tops:
        if nodes.classes[number] == VARIABLE:
            assert number in nodes.rows or number in nodes.reads or nodes.attributes[number][VALUE] != b"\x00", nodes.keys[number]


def test_what_nothing_drives_is_not_shown_and_all_types_stay() -> None:
    _, nodes, _, _ = whole()
    for name in ("PublishSubscribe", "Aliases", "Locations", "Server_ServerConfiguration", "Server_LocalTime", "Dictionaries",
                 "Server_RequestServerStateChange", "Server_SetSubscriptionDurable", "Server_EstimatedReturnTime"):  # fmt: skip
        number = getattr(ObjectIds, name, None)
        assert number is None or nodes.find(node_key(0, number)) == NO_NODE, name
    loaded = every().nodes
    for number in loaded.numbers():
        if loaded.classes[number] not in (OBJECT, VARIABLE, METHOD) and namespace_of(loaded.keys[number]) < len(nodes.namespaces):
            assert nodes.find(loaded.keys[number]) != NO_NODE
    there = set(nodes.numbers())
    assert all(other in there for n in nodes.numbers() for _, _, other in nodes.references(n))


def test_mandatory_children_of_the_servers_objects_are_all_there() -> None:
    """Part 5: what the types of Server and below it declare as mandatory."""
    _, nodes, _, _ = whole()
    mandatory, has_rule, has_subtype = nodes.standard(78), nodes.standard(37), nodes.standard(45)
    missing = []
    for number in served._below(nodes, under(nodes, "Server")):
        kind = nodes.kinds[number]
        has = {nodes.browse_names[child] for child in served._children(nodes, number)}
        while kind != NO_NODE:
            for child in served._children(nodes, kind):
                if mandatory in nodes.targets(child, has_rule) and nodes.browse_names[child] not in has:
                    missing.append((nodes.browse_names[number][6:], nodes.browse_names[child][6:]))
            kind = next(nodes.targets(kind, has_subtype, forward=False), NO_NODE)
    assert missing == []


def test_capabilities_tell_the_numbers_that_are_enforced() -> None:
    _, nodes, _, _ = whole()
    of_server = "Server_ServerCapabilities_"
    assert value(nodes, under(nodes, of_server + "MaxBrowseContinuationPoints")) == MOST_POINTS >= 5
    assert value(nodes, under(nodes, of_server + "MaxSessions")) == MOST_SESSIONS
    assert value(nodes, under(nodes, of_server + "MaxQueryContinuationPoints")) == 0
    assert value(nodes, under(nodes, of_server + "LocaleIdArray")) == ["en"]
    profiles = value(nodes, under(nodes, of_server + "ServerProfileArray"))
    assert any("EnhancedDataChangeSubscription2017" in one for one in profiles)
    assert not any("StandardUA2017" in one for one in profiles), "four of its required units are missing"
    limits = set(served._children(nodes, under(nodes, of_server + "OperationLimits")))
    fewer = {"MaxNodesPerHistoryReadData": MOST_NODES, "MaxNodesPerWrite": MOST_WRITES, "MaxNodesPerMethodCall": MOST_CALLS}
    assert len(limits) == 8 and all(value(nodes, n) == fewer.get(nodes.browse_names[n][6:].decode(), 2_000) for n in limits)
    functions = [*nodes.targets(under(nodes, of_server + "AggregateFunctions"), nodes.standard(35))]
    assert under(nodes, "AggregateFunction_Average") in functions and len(functions) >= 20
    assert len([*nodes.targets(under(nodes, of_server + "ModellingRules"), nodes.standard(35))]) == 5
    for number in served._below(nodes, under(nodes, "Server_ServerCapabilities")):
        if nodes.classes[number] == VARIABLE:
            kind = nodes.attributes[number][VALUE][0] & 0x3F
            declared = key_of(variant_from_binary(Buffer(nodes.attributes[number][14])).Value)
            assert kind in (declared[-1], 22, 12, 11, 17), nodes.browse_names[number]


def test_every_namespace_is_told_with_its_version() -> None:
    shown, nodes, _, _ = whole()
    assert value(nodes, under(nodes, "Server_NamespaceArray")) == nodes.namespaces
    assert nodes.namespaces[:3] == [STANDARD, shown.application, shown.namespace]
    assert value(nodes, under(nodes, "Server_ServerArray")) == [shown.application]
    told = {}
    for metadata in nodes.targets(under(nodes, "Server_Namespaces"), nodes.standard(47)):
        has = {nodes.browse_names[child][6:].decode(): child for child in nodes.targets(metadata, nodes.standard(46))}
        told[value(nodes, has["NamespaceUri"])] = has
        assert value(nodes, has["NamespaceVersion"])
    assert told.keys() == set(nodes.namespaces)
    assert (
        value(nodes, told[STANDARD]["IsNamespaceSubset"]) is True
        and value(nodes, told[shown.namespace]["IsNamespaceSubset"]) is False
    )
    ours = told[shown.namespace]
    assert value(nodes, ours["StaticNodeIdTypes"]) == [1] and value(nodes, ours["DefaultAccessRestrictions"]) == 1
    assert {rule.RoleId for rule in value(nodes, ours["DefaultRolePermissions"])} > {standard(ObjectIds.WellKnownRole_Operator)}
    seen = {role: nodes.reads[ours["DefaultUserRolePermissions"]](Someone(role)) for role in Role}
    assert seen[Role.OBSERVER] != seen[Role.ADMINISTRATOR]


def test_trust_and_diagnostics_are_for_those_who_may_see_them() -> None:
    _, nodes, _, _ = whole()
    for method in trust.DECLARED:
        for number in method.ids:
            at = nodes.standard(number)
            assert nodes.rules[at] == Rule.SECURITY, number
    for name, rule in served.RULES.items():
        assert nodes.rules[under(nodes, name)] == rule
    (result,) = Client(nodes, Someone(Role.ENGINEER)).browse(of(2274, 0, 33))
    assert "SubscriptionDiagnosticsArray" in [reference.BrowseName.Name for reference in result.References]
    (result,) = Client(nodes, Someone(Role.OPERATOR)).browse(of(2274, 0, 33))
    assert "SubscriptionDiagnosticsArray" not in [reference.BrowseName.Name for reference in result.References]


def test_all_models_together_still_make_a_server() -> None:
    nodes = unpack(pack(every().nodes))
    served.prune(nodes)
    shown = of_factory(shop())
    build(nodes, shown, Plane())
    assert nodes.find(node_key(2, "printer-1")) != NO_NODE


@pytest.mark.parametrize("count", [100, 1_000])
def test_a_flat_folder_costs_one_node_and_two_references_for_each_variable(count: int) -> None:
    shown = of_factory(belts([300]))
    flat = tuple(Variable(f"factory/v{n}", f"v{n}", Kind.DOUBLE, None, None, None, 1.0, "") for n in range(count))
    plant = replace(shown.factory, variables=flat)
    before = address_space.load((shown.application, shown.namespace))
    build(before, replace(shown, factory=replace(shown.factory, variables=()), variables=()), Plane())
    nodes, plane, _ = built(replace(shown, factory=plant, variables=flat))
    assert len(nodes) - len(before) == len(plane) == count
    assert nodes.changes - before.changes == 3 * count
