"""The View services, asked as a client asks; requests and answers pass asyncua's codec."""

from collections.abc import Callable
from typing import Any

import pytest
from asyncua import ua
from asyncua.common.utils import ServiceError
from asyncua.ua.status_codes import StatusCodes
from asyncua.ua.ua_binary import struct_to_binary
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.opcua import nodes as address_space
from controller.opcua.encoding import NULL_TEXT, key_of, node_key, qualified, text
from controller.opcua.names import in_namespace, standard
from controller.opcua.nodes import browsing
from controller.opcua.nodes.store import DATA_TYPE, METHOD, OBJECT, OBJECT_TYPE, VARIABLE, Nodes
from controller.opcua.roles import Rule
from controller.opcua.view import MOST_PER_NODE, MOST_POINTS
from controller.users import Role
from tests.controller.opcua.nodes.asking import Client, Someone, of, path

FORWARD, INVERSE, BOTH = range(3)
MANY = 2_500
HUGE = 12_000
HAS_COMPONENT, ORGANIZES, HAS_PROPERTY, HIERARCHICAL, NON_HIERARCHICAL = 47, 35, 46, 33, 32


@pytest.fixture(scope="module")
def nodes() -> Nodes:
    """The standard's nodes, two big folders, and a folder whose nodes not everybody sees."""
    made = address_space.load(("urn:a", "urn:b"))
    organizes, objects, kind = made.standard(ORGANIZES), made.standard(85), made.standard(61)

    def add(name: str, parent: int, rule: Rule = Rule.OPEN) -> int:
        new = made.add(node_key(2, name), OBJECT, qualified(name.rpartition("/")[2], 2), text(name), rule=rule)
        made.refer(parent, organizes, new)
        made.refer(new, made.standard(40), kind)
        return new

    for name, count in (("many", MANY), ("huge", HUGE)):
        folder = add(name, objects)
        for number in range(count):
            add(f"{name}/{number}", folder)
    mixed = add("mixed", objects)
    for rule in Rule:
        add(f"mixed/{rule.name}", mixed, rule)
    return made


@pytest.fixture
def client(nodes: Nodes) -> Client:
    """Somebody without a name."""
    return Client(nodes)


def ours(name: str) -> Any:
    """One of the nodes above."""
    return in_namespace(2, name)


def names(references: list[Any]) -> list[str]:
    """Browse names."""
    return [reference.BrowseName.Name for reference in references]


# ---- Browse


@pytest.mark.parametrize("direction", [FORWARD, INVERSE, BOTH])
@pytest.mark.parametrize("kind", [None, HIERARCHICAL, HAS_COMPONENT, NON_HIERARCHICAL, 40])
@pytest.mark.parametrize("subtypes", [True, False])
@pytest.mark.parametrize("classes", [0, OBJECT, VARIABLE | METHOD, OBJECT_TYPE | DATA_TYPE])
def test_browse_tells_just_the_references_that_are_asked_for(
    nodes: Nodes, client: Client, direction: int, kind: int | None, subtypes: bool, classes: int
) -> None:
    server = nodes.standard(2253)
    has_subtype = nodes.standard(45)

    def is_below(number: int, above: int) -> bool:
        return number == above or any(is_below(parent, above) for parent in nodes.targets(number, has_subtype, forward=False))

    expected = []
    for reference, is_forward, other in nodes.references(server):
        if direction != BOTH and is_forward != (direction == FORWARD):
            continue
        if kind is not None and not (is_below(reference, nodes.standard(kind)) if subtypes else reference == nodes.standard(kind)):
            continue
        if (classes and not nodes.classes[other] & classes) or nodes.rules[other] == Rule.SECURITY:
            continue
        expected.append((nodes.keys[reference], is_forward, nodes.keys[other], nodes.classes[other]))
    (result,) = client.browse(of(2253, direction, kind, subtypes, classes))
    told = [(key_of(r.ReferenceTypeId), r.IsForward, key_of(r.NodeId), int(r.NodeClass)) for r in result.References]
    assert told == expected and result.StatusCode.is_good() and not result.ContinuationPoint


@pytest.mark.parametrize("bit", range(6))
def test_what_is_not_in_the_result_mask_is_null(client: Client, bit: int) -> None:
    (whole,), (part,) = client.browse(of(2253, FORWARD)), client.browse(of(2253, FORWARD, results=1 << bit))
    fields = ("ReferenceTypeId", "IsForward", "NodeClass", "BrowseName", "DisplayName", "TypeDefinition")
    null: dict[str, Any] = {
        "ReferenceTypeId": ua.NodeId(), "IsForward": False, "NodeClass": ua.NodeClass.Unspecified, "BrowseName": ua.QualifiedName(),
        "DisplayName": ua.LocalizedText(), "TypeDefinition": ua.NodeId(),
    }  # fmt: skip
    for has, told in zip(whole.References, part.References, strict=True):
        assert told.NodeId == has.NodeId
        for at, name in enumerate(fields):
            expected = getattr(has, name) if at == bit else null[name]
            found = getattr(told, name)
            assert found == expected or (name == "BrowseName" and not found.Name and not expected.Name)


def test_type_definitions_are_told_of_objects_and_variables_alone(client: Client) -> None:
    (result,) = client.browse(of(2253, FORWARD, HIERARCHICAL))
    kinds = {reference.BrowseName.Name: reference.TypeDefinition for reference in result.References}
    assert kinds["ServerStatus"] == standard(2138) and kinds["GetMonitoredItems"] == ua.NodeId()


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        (of(999_999), StatusCodes.BadNodeIdUnknown),
        (of(ua.NodeId()), StatusCodes.BadNodeIdInvalid),
        (of(ours("mixed/SECURITY")), StatusCodes.BadNodeIdUnknown),
        (of(85, kind=999_999), StatusCodes.BadReferenceTypeIdInvalid),
        (of(85, kind=58), StatusCodes.BadReferenceTypeIdInvalid),
    ],
)
def test_what_cannot_be_browsed_is_told_for_each_node_by_itself(client: Client, wanted: Any, code: int) -> None:
    good, bad, again = client.browse(of(84), wanted, of(84))
    assert bad.StatusCode.value == code and not bad.References
    assert good == again and good.StatusCode.is_good()


def test_a_direction_that_is_none_is_refused(client: Client) -> None:
    content = struct_to_binary(ua.BrowseParameters(ua.ViewDescription(), 0, [of(85)]))
    at = content.index(struct_to_binary(of(85))) + 2
    answer = client.ask("Browse", content[:at] + b"\x03" + content[at + 1 :])
    assert int.from_bytes(answer.read(8)[4:], "little") == StatusCodes.BadBrowseDirectionInvalid


def code_of(ask: Callable[[], Any]) -> int:
    """The status of the fault that a request ends in."""
    with pytest.raises(ServiceError) as refused:
        ask()
    return int(refused.value.code)


def test_only_the_null_view_is_there(client: Client) -> None:
    view: Any = ua.ViewDescription
    assert code_of(lambda: client.browse(of(85), view=view(ViewId=standard(87)))) == StatusCodes.BadViewIdUnknown


@pytest.mark.parametrize("role", list(Role))
def test_each_role_sees_the_nodes_that_it_may_browse(nodes: Nodes, role: Role) -> None:
    (result,) = Client(nodes, Someone(role)).browse(of(ours("mixed"), FORWARD, ORGANIZES))
    hidden = {Role.OBSERVER: {"DIAGNOSTICS", "SECURITY"}, Role.OPERATOR: {"DIAGNOSTICS", "SECURITY"}, Role.ENGINEER: {"SECURITY"}}
    assert set(names(result.References)) == {rule.name for rule in Rule} - hidden.get(role, set())


def test_the_server_hides_its_configuration_from_all_but_administrators(nodes: Nodes) -> None:
    for role in Role:
        (result,) = Client(nodes, Someone(role)).browse(of(2253, FORWARD, HIERARCHICAL))
        assert ("ServerConfiguration" in names(result.References)) == (role is Role.ADMINISTRATOR)


def test_display_names_come_in_the_sessions_language_where_they_are_there(nodes: Nodes) -> None:
    number = nodes.find(node_key(2, "mixed/OPEN"))
    nodes.other_texts[number] = {"ko": text("열림", "ko")}
    try:
        for locales, shown in ((("ko-KR",), "열림"), (("en", "ko"), "mixed/OPEN"), ((), "mixed/OPEN"), (("fr", "ko"), "열림")):
            (result,) = Client(nodes, Someone(locales=locales)).browse(of(ours("mixed"), FORWARD, ORGANIZES))
            assert next(r.DisplayName.Text for r in result.References if r.BrowseName.Name == "OPEN") == shown
    finally:
        del nodes.other_texts[number]


# ---- continuation points


@settings(max_examples=8, deadline=None)
@given(most=st.integers(1, 400), node=st.sampled_from([ours("many"), standard(68), standard(2253), standard(63)]))
def test_browsing_in_pieces_of_any_size_finds_what_browsing_at_once_finds(nodes: Nodes, most: int, node: Any) -> None:
    client = Client(nodes)
    assert client.whole(of(node), most) == client.whole(of(node), 0)


def test_an_answer_has_at_most_a_thousand_references_of_one_node_whatever_is_asked(client: Client) -> None:
    for most in (0, 5_000, 2**32 - 1):
        (result,) = client.browse(of(ours("many"), FORWARD), most=most)
        assert len(result.References) == MOST_PER_NODE == 1_000 and result.ContinuationPoint


def test_a_continuation_point_is_good_once(client: Client) -> None:
    (first,) = client.browse(of(ours("many"), FORWARD), most=10)
    (second,) = client.browse_next(first.ContinuationPoint)
    assert len(second.References) == 10 and second.References[0] != first.References[0]
    (again,) = client.browse_next(first.ContinuationPoint)
    assert again.StatusCode.value == StatusCodes.BadContinuationPointInvalid
    (third,) = client.browse_next(second.ContinuationPoint)
    assert third.StatusCode.is_good()


def test_released_points_are_gone_and_releasing_answers_with_nothing(client: Client) -> None:
    (first,) = client.browse(of(ours("many"), FORWARD), most=10)
    assert client.browse_next(first.ContinuationPoint, b"never given", release=True) == []
    (gone,) = client.browse_next(first.ContinuationPoint)
    assert gone.StatusCode.value == StatusCodes.BadContinuationPointInvalid


def test_points_belong_to_one_session_and_end_with_it(nodes: Nodes, client: Client) -> None:
    (first,) = client.browse(of(ours("many"), FORWARD), most=10)
    other = Client(nodes, view=client.view)
    (foreign,) = other.browse_next(first.ContinuationPoint)
    assert foreign.StatusCode.value == StatusCodes.BadContinuationPointInvalid
    for end in client.session.on_close:
        end()
    assert not any(points.held for points in client.view._points.values())


def test_a_later_request_takes_the_oldest_points_and_one_request_never_its_own(client: Client) -> None:
    wanted = [of(ours("many"), FORWARD)] * (MOST_POINTS + 2)
    results = client.browse(*wanted, most=5)
    assert [r.StatusCode.value for r in results] == [0] * MOST_POINTS + [StatusCodes.BadNoContinuationPoints] * 2
    assert all(len(r.References) == 5 for r in results[:MOST_POINTS]) and not any(r.References for r in results[MOST_POINTS:])
    client.browse(*wanted[:3], most=5)
    told = [client.browse_next(r.ContinuationPoint)[0].StatusCode.value for r in results[:MOST_POINTS]]
    assert told == [StatusCodes.BadContinuationPointInvalid] * 3 + [0] * (MOST_POINTS - 3)


def test_all_points_together_can_be_continued_again_and_again(client: Client) -> None:
    whole = client.whole(of(2253), 0)
    results = client.browse(*[of(2253)] * MOST_POINTS, most=len(whole) // 4)
    rounds = 0
    while points := [r.ContinuationPoint for r in results if r.ContinuationPoint]:
        results = client.browse_next(*points)
        assert all(r.StatusCode.is_good() for r in results)
        rounds += 1
    assert rounds in (3, 4)


def test_what_a_session_may_no_longer_see_is_not_told_when_it_goes_on(nodes: Nodes) -> None:
    client = Client(nodes, Someone(Role.ADMINISTRATOR))
    (first,) = client.browse(of(ours("mixed"), FORWARD, ORGANIZES), most=1)
    client.session.role = Role.OBSERVER
    (rest,) = client.browse_next(first.ContinuationPoint)
    found = names(rest.References)
    while rest.ContinuationPoint:
        (rest,) = client.browse_next(rest.ContinuationPoint)
        found += names(rest.References)
    assert found and not {"SECURITY", "DIAGNOSTICS"} & set(found)


@pytest.mark.parametrize("told", [1, 3])
def test_what_is_taken_away_or_added_between_two_answers_moves_nothing_else(nodes: Nodes, client: Client, told: int) -> None:
    organizes, folder = nodes.standard(ORGANIZES), nodes.add(node_key(2, f"f{told}"), OBJECT, qualified("f", 2), NULL_TEXT, rule=0)
    below = [nodes.add(node_key(2, f"f{told}/{n}"), OBJECT, qualified(str(n), 2), NULL_TEXT, rule=0) for n in range(6)]
    for child in below[:5]:
        nodes.refer(folder, organizes, child)
    (first,) = client.browse(of(ours(f"f{told}"), FORWARD), most=told)
    nodes.part(folder, organizes, below[0])
    nodes.refer(folder, organizes, below[5])
    found = names(first.References)
    while first.ContinuationPoint:
        (first,) = client.browse_next(first.ContinuationPoint)
        found += names(first.References)
    assert found == [str(n) for n in range(6)]


def test_a_node_that_is_taken_away_meanwhile_is_left_out(nodes: Nodes, client: Client) -> None:
    folder, organizes = nodes.find(node_key(2, "mixed")), nodes.standard(ORGANIZES)
    extra = nodes.add(node_key(2, "extra"), OBJECT, qualified("extra", 2), NULL_TEXT, rule=0)
    nodes.refer(folder, organizes, extra)
    (first,) = client.browse(of(ours("mixed"), FORWARD, ORGANIZES), most=2)
    nodes.remove(extra)
    (rest,) = client.browse_next(first.ContinuationPoint)
    while rest.ContinuationPoint:
        first.References += rest.References
        (rest,) = client.browse_next(rest.ContinuationPoint)
    assert "extra" not in names(first.References + rest.References)


# ---- bounds


def test_the_biggest_request_is_answered_in_slices_and_with_bounded_many_references(client: Client) -> None:
    results = client.browse(*[of(ours("huge"), FORWARD)] * 2_000)
    told = sum(len(result.References) for result in results)
    assert told <= browsing.MOST_REFERENCES and len(results) == 2_000
    looked_at = min(browsing.MOST_LOOKED_AT, 2_000 * HUGE)
    assert client.turns >= looked_at // (2 * HUGE), "others must have had their turn"
    assert results[0].StatusCode.is_good() and results[-1].StatusCode.value == StatusCodes.BadNoContinuationPoints


@pytest.mark.parametrize("service", ["Browse", "BrowseNext", "TranslateBrowsePathsToNodeIds", "RegisterNodes", "UnregisterNodes"])
def test_nothing_and_too_much_to_do_are_refused_as_such(client: Client, service: str) -> None:
    head = {"Browse": struct_to_binary(ua.ViewDescription()) + bytes(4), "BrowseNext": b"\x00"}.get(service, b"")
    for count, code in (
        (0, StatusCodes.BadNothingToDo),
        (2**32 - 1, StatusCodes.BadNothingToDo),
        (2_001, StatusCodes.BadTooManyOperations),
    ):
        assert code_of(lambda count=count: client.ask(service, head + count.to_bytes(4, "little"))) == code  # type: ignore[misc]


CUT = {
    "Browse": struct_to_binary(ua.BrowseParameters(ua.ViewDescription(), 0, [of(85), of(ours("many"))])),
    "BrowseNext": struct_to_binary(ua.BrowseNextParameters(False, [b"12345678", b"1"])),
    "TranslateBrowsePathsToNodeIds": struct_to_binary(ua.TranslateBrowsePathsToNodeIdsParameters([path(84, "Objects", "Server")])),
    "RegisterNodes": struct_to_binary(ua.RegisterNodesParameters([standard(85), ours("many")])),
    "UnregisterNodes": struct_to_binary(ua.RegisterNodesParameters([standard(85), ours("many")])),
}


@pytest.mark.parametrize("service", list(CUT))
def test_a_request_that_is_cut_off_anywhere_is_refused(client: Client, service: str) -> None:
    content = CUT[service]
    client.ask(service, content)
    for size in range(len(content)):
        assert code_of(lambda size=size: client.ask(service, content[:size])) in (  # type: ignore[misc]
            StatusCodes.BadDecodingError,
            StatusCodes.BadNothingToDo,
        )


@settings(max_examples=150, deadline=None)
@given(service=st.sampled_from(list(CUT)), at=st.integers(0, 200), byte=st.integers(0, 255), more=st.binary(max_size=8))
def test_changed_bytes_are_answered_or_refused_and_nothing_else(
    nodes: Nodes, service: str, at: int, byte: int, more: bytes
) -> None:
    content = bytearray(CUT[service])
    content[at % len(content)] = byte
    try:
        Client(nodes).ask(service, bytes(content) + more)
    except ServiceError as refused:
        assert refused.code


# ---- TranslateBrowsePathsToNodeIds


def targets(result: Any) -> list[Any]:
    """Where a path leads."""
    assert all(target.RemainingPathIndex == 0xFFFF_FFFF for target in result.Targets)
    return [target.TargetId for target in result.Targets]


def test_paths_lead_down_up_and_through_any_reference(client: Client) -> None:
    down, up, anywhere, exact = client.translate(
        path(84, "Objects", "Server", "ServerStatus", "State"),
        path(2259, "ServerStatus", "Server", "Objects", inverse=True),
        path(2253, "ServerType", kind=None),
        path(2253, "ServerStatus", kind=HAS_COMPONENT, subtypes=False),
    )
    assert [targets(r) for r in (down, up, anywhere, exact)] == [
        [standard(2259)],
        [standard(85)],
        [standard(2004)],
        [standard(2256)],
    ]


def test_a_last_element_without_a_name_leads_to_all_targets(client: Client) -> None:
    (result,) = client.translate(path(84, "Objects", ("mixed", 2), ""))
    assert {str(target.Identifier) for target in targets(result)} == {f"mixed/{r.name}" for r in Rule} - {
        "mixed/SECURITY",
        "mixed/DIAGNOSTICS",
    }


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        (path(84, "Objects", "Nobody"), StatusCodes.BadNoMatch),
        (path(84, ("Objects", 2)), StatusCodes.BadNoMatch),
        (path(84, "Objects", kind=HAS_PROPERTY), StatusCodes.BadNoMatch),
        (path(84, "Objects", kind=999_999), StatusCodes.BadNoMatch),
        (path(84, "Objects", kind=HIERARCHICAL, subtypes=False), StatusCodes.BadNoMatch),
        (path(84, "Objects", "Server", "ServerConfiguration"), StatusCodes.BadNoMatch),
        (path(84), StatusCodes.BadNothingToDo),
        (path(84, "", "Server"), StatusCodes.BadBrowseNameInvalid),
        (path(999_999, "Objects"), StatusCodes.BadNodeIdUnknown),
        (path(ua.NodeId(), "Objects"), StatusCodes.BadNodeIdInvalid),
        (path(85, ("many", 2), ""), StatusCodes.BadTooManyMatches),
        (path(84, *["Objects"] * 101), StatusCodes.BadQueryTooComplex),
        (path(58, *["", "", ""][:1], kind=None), StatusCodes.Good),
    ],
)
def test_paths_that_lead_nowhere_say_why(client: Client, wanted: Any, code: int) -> None:
    (result,) = client.translate(wanted)
    assert result.StatusCode.value == code and bool(result.Targets) == (code == 0)


def test_many_paths_through_one_big_folder_look_at_it_once(client: Client) -> None:
    results = client.translate(*[path(85, ("huge", 2), (str(number), 2)) for number in range(2_000)])
    assert [targets(result) for result in results] == [[ours(f"huge/{number}")] for number in range(2_000)]
    assert client.turns < 3, "each path would have looked at 12,000 references"


# ---- RegisterNodes


def test_registered_nodes_come_back_as_they_are(client: Client) -> None:
    wanted = [standard(85), ours("many"), standard(999_999)]
    encoded = struct_to_binary(ua.RegisterNodesParameters(wanted))
    assert bytes(client.ask("RegisterNodes", encoded).read(len(encoded))) == encoded
    assert len(client.ask("UnregisterNodes", encoded)) == 0


def test_what_is_no_node_id_is_not_registered(client: Client) -> None:
    encoded = struct_to_binary(ua.RegisterNodesParameters([standard(85), ua.NodeId()]))
    assert code_of(lambda: client.ask("RegisterNodes", encoded)) == StatusCodes.BadNodeIdInvalid
