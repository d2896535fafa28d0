"""The nodeset files, read a second time in a plain way, are the truth; what is encoded is decoded by asyncua."""

import dataclasses
import struct
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import from_binary, variant_from_binary

from controller.opcua.encoding import key_of, qualified, text
from controller.opcua.names import in_namespace, standard
from controller.opcua.nodes.cache import complete
from controller.opcua.nodes.nodeset import DESIGN_ONLY, Loaded, load
from controller.opcua.nodes.sources import NodesetError
from controller.opcua.nodes.store import NO_NODE, VALUE
from tests.controller.opcua.nodes.files import MORE, NAMESPACES, SERVED, every, named

UA = "{http://opcfoundation.org/UA/2011/03/UANodeSet.xsd}"
STANDARD = "http://opcfoundation.org/UA/"
CLASSES = {"UAObject": 1, "UAVariable": 2, "UAMethod": 4, "UAObjectType": 8, "UAVariableType": 16, "UAReferenceType": 32,
           "UADataType": 64, "UAView": 128}  # fmt: skip


@dataclasses.dataclass
class Plain:
    """One file, read by ElementTree as it is."""

    file: Path
    root: ElementTree.Element
    indexes: list[int]
    aliases: dict[str, str]

    def id(self, written: str) -> Any:
        """A NodeId, with the server's namespace index."""
        found = ua.NodeId.from_string(self.aliases.get(written, written))
        return in_namespace(self.indexes[found.NamespaceIndex], found.Identifier)

    def key(self, written: str) -> bytes:
        """The same, as nodes are found by."""
        return key_of(self.id(written))

    def nodes(self) -> Iterator[tuple[str, ElementTree.Element]]:
        """The file's nodes but those for design tools."""
        for element in self.root:
            name = element.tag.removeprefix(UA)
            if name in CLASSES and element.get("DesignToolOnly") != "true":
                yield name, element


@pytest.fixture(scope="module")
def loaded() -> Loaded:
    """All files."""
    return every()


@pytest.fixture(scope="module")
def plain(loaded: Loaded) -> list[Plain]:
    """All files, read plainly."""
    found = []
    for file in (*SERVED, *MORE):
        root = ElementTree.parse(file).getroot()
        uris = [STANDARD, *(uri.text or "" for uri in root.findall(f"{UA}NamespaceUris/{UA}Uri"))]
        aliases = {alias.get("Alias", ""): alias.text or "" for alias in root.findall(f"{UA}Aliases/{UA}Alias")}
        found.append(Plain(file, root, [loaded.nodes.namespaces.index(uri) for uri in uris], aliases))
    return found


def decoded(variant: bytes) -> Any:
    """What asyncua makes of an encoded Variant."""
    content = Buffer(variant)
    value = variant_from_binary(content).Value
    assert len(content) == 0
    return value


def test_nothing_is_lost_but_what_is_for_design_tools(loaded: Loaded, plain: list[Plain]) -> None:
    wanted = sum(1 for file in plain for _ in file.nodes())
    assert wanted > 9_000 and len(loaded.nodes) == wanted
    assert {missing.reason for missing in loaded.left_out} == {DESIGN_ONLY} and len(loaded.left_out) == 12
    assert loaded.unresolved == []


def test_every_node_has_its_class_names_and_description(loaded: Loaded, plain: list[Plain]) -> None:
    nodes = loaded.nodes
    for file in plain:
        for name, element in file.nodes():
            number = nodes.find(file.key(element.get("NodeId", "")))
            assert number != NO_NODE and nodes.classes[number] == CLASSES[name]
            browse = element.get("BrowseName", "")
            index, colon, rest = browse.partition(":")
            expected = qualified(rest, file.indexes[int(index)]) if colon and index.isdigit() else qualified(browse)
            assert nodes.browse_names[number] == expected
            for tag, column in (("DisplayName", nodes.display_names), ("Description", nodes.descriptions)):
                written = element.find(UA + tag)
                told = text(None) if written is None else text(written.text or "", written.get("Locale"))
                assert column[number] == told, element.attrib


def _dimensions(element: ElementTree.Element, _: Plain) -> Any:
    return [int(each) for each in element.get("ArrayDimensions", "").split(",")]


ATTRIBUTES: dict[str, tuple[int, Callable[[ElementTree.Element, Plain], Any]]] = {
    "IsAbstract": (8, lambda e, _: e.get("IsAbstract") == "true"),
    "Symmetric": (9, lambda e, _: e.get("Symmetric") == "true"),
    "EventNotifier": (12, lambda e, _: int(e.get("EventNotifier", "0"))),
    "DataType": (14, lambda e, f: f.id(e.get("DataType", "i=24"))),
    "ValueRank": (15, lambda e, _: int(e.get("ValueRank", "-1"))),
    "ArrayDimensions": (16, _dimensions),
    "AccessLevel": (17, lambda e, _: int(e.get("AccessLevel", "1"))),
    "UserAccessLevel": (18, lambda e, _: int(e.get("UserAccessLevel", "1"))),
    "AccessRestrictions": (26, lambda e, _: int(e.get("AccessRestrictions", "0"))),
}
ALWAYS = {1: ["EventNotifier"], 2: ["DataType", "ValueRank", "AccessLevel", "UserAccessLevel"], 4: [], 8: ["IsAbstract"],
          16: ["DataType", "ValueRank", "IsAbstract"], 32: ["IsAbstract", "Symmetric"], 64: ["IsAbstract"]}  # fmt: skip


def test_every_attribute_is_there_as_written_or_as_it_is_when_nothing_is_written(loaded: Loaded, plain: list[Plain]) -> None:
    nodes, seen = loaded.nodes, set()
    for file in plain:
        for name, element in file.nodes():
            number = nodes.find(file.key(element.get("NodeId", "")))
            has = nodes.attributes[number]
            written = {attribute for attribute in ATTRIBUTES if element.get(attribute)}
            for attribute in written | set(ALWAYS[CLASSES[name]]):
                at, expected = ATTRIBUTES[attribute]
                assert decoded(has[at]) == expected(element, file), (element.attrib, attribute)
                seen.add(attribute)
            inverse = element.find(UA + "InverseName")
            assert (10 in has) == (inverse is not None)
            assert inverse is None or has[10] == b"\x15" + text(inverse.text)
            permissions = element.find(UA + "RolePermissions")
            assert (24 in has) == (permissions is not None)
            if permissions is not None:
                told = [(rule.RoleId, int(rule.Permissions)) for rule in decoded(has[24])]
                assert told == [(file.id(one.text or ""), int(one.get("Permissions", "0"))) for one in permissions]
                seen.add("RolePermissions")
    assert seen == {*ATTRIBUTES, "RolePermissions"}, "the files are not what they were"


def test_every_reference_is_there_from_both_its_ends_and_no_other_is(loaded: Loaded, plain: list[Plain]) -> None:
    nodes = loaded.nodes
    written = set()
    for file in plain:
        for _, element in file.nodes():
            here = nodes.find(file.key(element.get("NodeId", "")))
            for reference in element.find(UA + "References") or ():
                kind = nodes.find(file.key(reference.get("ReferenceType", "")))
                there = nodes.find(file.key(reference.text or ""))
                assert kind != NO_NODE and there != NO_NODE
                written.add((here, kind, there) if reference.get("IsForward") != "false" else (there, kind, here))
    forward = {(n, kind, other) for n in nodes.numbers() for kind, is_forward, other in nodes.references(n) if is_forward}
    inverse = {(other, kind, n) for n in nodes.numbers() for kind, is_forward, other in nodes.references(n) if not is_forward}
    assert forward == inverse == written
    has_type = nodes.standard(40)
    for number in nodes.numbers():
        assert nodes.kinds[number] == next(nodes.targets(number, has_type), NO_NODE)


def plain_value(held: ElementTree.Element, file: Plain) -> Any:
    """An XML value, as asyncua would hold it; None where this test does not know how."""
    name = held.tag.rpartition("}")[2]
    parts = {each.tag.rpartition("}")[2]: each for each in held}
    written = held.text or ""
    match name:
        case "Boolean":
            return written.strip() == "true"
        case "Int32" | "UInt32" | "Int64" | "UInt16" | "Byte":
            return int(written)
        case "Double" | "Float":
            return float(written)
        case "String":
            return written
        case "ByteString":
            return None
        case "DateTime":
            return datetime.fromisoformat(written.replace("Z", "+00:00")).replace(tzinfo=UTC)
        case "LocalizedText":
            said = [parts[part].text or None if part in parts else None for part in ("Text", "Locale")]
            return ua.LocalizedText(said[0] or ("" if "Text" in parts else None), said[1])
        case "QualifiedName":
            index = int(parts["NamespaceIndex"].text or 0) if "NamespaceIndex" in parts else 0
            return ua.QualifiedName((parts["Name"].text or "").strip(), file.indexes[index])
        case _ if name.startswith("ListOf"):
            each = [plain_value(one, file) for one in held]
            return None if None in each else each
        case "ExtensionObject":
            return plain_structure(held, file)
        case _:
            return None


def plain_structure(held: ElementTree.Element, file: Plain) -> Any:
    """Structures by asyncua's own classes."""
    body = held.find("{*}Body")
    if body is None or not len(body):
        return None
    of = body[0]
    name = of.tag.rpartition("}")[2]
    parts = {each.tag.rpartition("}")[2]: each for each in of}

    def number(part: str) -> Any:
        return int(parts[part].text or 0) if part in parts else 0

    def localized(part: str) -> Any:
        if part not in parts:
            return ua.LocalizedText()
        inner = {each.tag.rpartition("}")[2]: each.text for each in parts[part]}
        return ua.LocalizedText(inner["Text"] or "" if "Text" in inner else None, inner.get("Locale") or None)

    match name:
        case "Argument":
            identifier = parts["DataType"].find("{*}Identifier")
            assert identifier is not None
            dimensions = [int(each.text or 0) for each in parts["ArrayDimensions"]] if "ArrayDimensions" in parts else None
            told = localized("Description")
            return (parts["Name"].text, file.id((identifier.text or "").strip()), number("ValueRank"), dimensions or [], told)
        case "EnumValueType":
            return (number("Value"), localized("DisplayName"), localized("Description"))
        case "EUInformation":
            return (parts["NamespaceUri"].text, number("UnitId"), localized("DisplayName"), localized("Description"))
        case "Range":
            return tuple(float(parts[part].text or 0) for part in ("Low", "High"))
        case _:
            return None


def tupled(value: Any) -> Any:
    """Structures of asyncua's as tuples of their fields."""
    if isinstance(value, list):
        return [tupled(each) for each in value]
    if type(value).__name__ == "Argument":
        return value.Name, value.DataType, value.ValueRank, list(value.ArrayDimensions or []), value.Description
    if isinstance(value, (ua.EnumValueType, ua.EUInformation, ua.Range)):
        return tuple(getattr(value, field.name) for field in dataclasses.fields(value))
    return value


def test_every_value_is_as_written(loaded: Loaded, plain: list[Plain]) -> None:
    nodes, compared, skipped = loaded.nodes, 0, 0
    for file in plain:
        for _, element in file.nodes():
            value = element.find(UA + "Value")
            if value is None or not len(value):
                continue
            expected = plain_value(value[0], file)
            if expected is None:
                skipped += 1
                continue
            found = decoded(nodes.attributes[nodes.find(file.key(element.get("NodeId", "")))][VALUE])
            assert tupled(found) == expected, element.attrib
            compared += 1
    assert compared > 1_900 and skipped < 80


def test_definitions_of_the_standards_structures_have_the_fields_that_asyncua_has(loaded: Loaded, plain: list[Plain]) -> None:
    nodes, compared = loaded.nodes, 0
    for name, element in plain[0].nodes():
        number = nodes.find(plain[0].key(element.get("NodeId", "")))
        made = getattr(ua, element.get("BrowseName", ""), None)
        if name != "UADataType" or not dataclasses.is_dataclass(made) or 23 not in nodes.attributes[number]:
            continue
        definition = decoded(nodes.attributes[number][23])
        ours = [field.Name for field in definition.Fields if field.Name != "Encoding"]
        theirs = [field.name for field in dataclasses.fields(made) if field.name != "Encoding"]
        if not isinstance(definition, ua.StructureDefinition) or definition.StructureType not in (0, 1):
            continue
        assert ours == theirs, element.attrib
        compared += 1
    assert compared > 150


def test_definitions_of_enumerations_have_their_values(loaded: Loaded, plain: list[Plain]) -> None:
    nodes, compared = loaded.nodes, 0
    for file in plain:
        for name, element in file.nodes():
            definition = element.find(UA + "Definition")
            if name != "UADataType" or definition is None or not any(field.get("Value") for field in definition):
                continue
            told = decoded(nodes.attributes[nodes.find(file.key(element.get("NodeId", "")))][23])
            assert isinstance(told, ua.EnumDefinition)
            expected = [(int(field.get("Value", "-1")), field.get("Name")) for field in definition]
            assert [(field.Value, field.Name) for field in told.Fields] == expected
            compared += 1
    assert compared > 90


def test_a_structures_definition_begins_with_the_fields_of_what_it_is_derived_from(loaded: Loaded) -> None:
    told = decoded(loaded.nodes.attributes[loaded.nodes.standard(15487)][23])  # StructureDescription: DataTypeDescription's and one
    assert [field.Name for field in told.Fields] == ["DataTypeId", "Name", "StructureDefinition"]
    assert told.BaseDataType == standard(14525) and told.DefaultEncodingId == standard(126)


def test_what_a_structure_of_another_namespace_holds_is_encoded_by_its_own_definition(loaded: Loaded) -> None:
    nodes = loaded.nodes
    at = nodes.namespaces.index("http://opcfoundation.org/UA/Machinery/Result/")
    written = ElementTree.parse(named("Machinery_Result")).getroot()
    found = 0
    for element in written:
        body = element.find(f"{UA}Value/{{*}}ExtensionObject/{{*}}Body/{{*}}ProcessingTimesDataType")
        if body is None:
            continue
        number = nodes.find(key_of(in_namespace(at, int(element.get("NodeId", "").partition("i=")[2]))))
        content = Buffer(nodes.attributes[number][VALUE])
        assert content.read(1) == b"\x16"
        encoding = from_binary(ua.NodeId, content)
        kind = nodes.find(key_of(encoding))
        assert nodes.browse_names[kind] == qualified("Default Binary")
        assert content.read(1) == b"\x01"
        size = int.from_bytes(content.read(4), "little")
        assert size == len(content)
        optional = [name for name in ("AcquisitionDuration", "ProcessingDuration") if body.find(f"{{*}}{name}") is not None]
        assert int.from_bytes(content.read(4), "little") == sum(
            1 << ["AcquisitionDuration", "ProcessingDuration"].index(o) for o in optional
        )
        assert len(content) == 16 + 8 * len(optional)
        found += 1
    assert found == 2


def small(tmp_path: Path, content: str, more: str = "") -> Path:
    """A file of one's own."""
    file = tmp_path / "small.xml"
    file.write_text(
        f'<UANodeSet xmlns="{UA[1:-1]}" xmlns:uax="{STANDARD}2008/02/Types.xsd"><NamespaceUris><Uri>urn:small</Uri></NamespaceUris>'
        f'<Models><Model ModelUri="urn:small">{more}</Model></Models>{content}</UANodeSet>'
    )
    return file


def variable(number: int, attributes: str = "", reference: str = "", value: str = "") -> str:
    """A Variable in XML."""
    names = f'NodeId="ns=1;i={number}" BrowseName="1:v{number}"'
    value = f"<Value>{value}</Value>" if value else ""
    references = f"<References>{reference}</References>"
    return f"<UAVariable {names} {attributes}><DisplayName>v</DisplayName>{references}{value}</UAVariable>"


ODD = {
    1: (variable(1, reference='<Reference ReferenceType="i=47">ns=1;i=99</Reference>'), "to ns=1;i=99, which is not there"),
    2: (variable(2, reference='<Reference ReferenceType="HasNothing">i=9</Reference>'), "neither a NodeId nor an alias"),
    3: (variable(3, value="<uax:Guess>1</uax:Guess>"), "a value 'Guess'"),
    4: (variable(4, value="<uax:Int32>many</uax:Int32>"), "its value: invalid literal"),
    5: (variable(5, value="<uax:Byte>256</uax:Byte>"), "its value"),
    6: (variable(6, 'DataType="ns=1;i=99"'), "is no data type"),
    7: (variable(7) * 2, "there is one with this NodeId already"),
    8: (variable(8, value="<uax:String>1</uax:String><uax:String>2</uax:String>"), "a value 'String'"),
}


def data_type(number: int, base: str, fields: str, more: str = "") -> str:
    """A DataType with its binary encoding at 100 more."""
    subtype = f'<Reference ReferenceType="i=45" IsForward="false">{base}</Reference>'
    back = f'<Reference ReferenceType="i=38" IsForward="false">ns=1;i={number}</Reference>'
    return (
        f'<UADataType NodeId="ns=1;i={number}" BrowseName="1:T{number}"><References>{subtype}</References>'
        f'<Definition Name="1:T{number}"{more}>{fields}</Definition></UADataType>'
        f'<UAObject NodeId="ns=1;i={number + 100}" BrowseName="Default Binary"><References>{back}</References></UAObject>'
    )


def structure(number: int, kind: int, held: str) -> str:
    """A Variable that holds a structure."""
    identifier = f"<uax:TypeId><uax:Identifier>ns=1;i={kind + 100}</uax:Identifier></uax:TypeId>"
    body = f"<uax:Body><T>{held}</T></uax:Body>"
    return variable(number, value=f"<uax:ExtensionObject>{identifier}{body}</uax:ExtensionObject>")


def fields(**types: str) -> str:
    """Fields by name: their data type, with a `?` behind it when they are optional."""
    optional = {False: "", True: ' IsOptional="true"'}
    written = (f'<Field Name="{name}" DataType="{of.rstrip("?")}"{optional[of.endswith("?")]}/>' for name, of in types.items())
    return "".join(written)


STRUCTURES = {
    30: (data_type(30, "i=22", fields(A="i=6?", B="i=12", C="i=11?")), "<B>x</B><C>1.5</C>",
         b"\2\0\0\0" + b"\1\0\0\0x" + struct.pack("<d", 1.5)),
    31: (data_type(31, "ns=1;i=30", '<Field Name="D" DataType="i=1" ValueRank="1"/>'), "<A>7</A><D><Boolean>true</Boolean></D>",
         b"\1\0\0\0" + b"\7\0\0\0" + b"\xff\xff\xff\xff" + b"\1\0\0\0\1"),
    32: (data_type(32, "i=12756", fields(A="i=6", B="i=3"), ' IsUnion="true"'), "<B>9</B>",
         b"\2\0\0\0\x09"),
    33: (data_type(33, "i=22", fields(E="i=852", F="ns=1;i=32", G="i=24")),
         "<E>Suspended_3</E><F><A>5</A></F><G><uax:Value><uax:Int16>4</uax:Int16></uax:Value></G>",
         b"\3\0\0\0" + b"\1\0\0\0\5\0\0\0" + b"\4\4\0"),
}  # fmt: skip
"""By the number of its type: how it is written, what is written, and what it comes to (Part 6 §5.2.6 to §5.2.8)."""


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    """A file full of mistakes, with one Variable that has a name in Korean."""
    korean = variable(20).replace("</DisplayName>", '</DisplayName><DisplayName Locale="ko">값</DisplayName>')
    kinds = "".join(kind + structure(number + 20, number, held) for number, (kind, held, _) in STRUCTURES.items())
    content = "".join(written for written, _ in ODD.values()) + korean + kinds
    return load((SERVED[0], small(tmp_path_factory.mktemp("odd"), content)), NAMESPACES)


def test_what_cannot_be_loaded_is_told_by_its_node_and_its_reason(odd: Loaded) -> None:
    told = [each for each in (*odd.left_out, *odd.unresolved) if each.reason != DESIGN_ONLY]
    assert {each.file for each in told} == {"small.xml"} and len(told) == len(ODD)
    for number, (_, reason) in ODD.items():
        (missing,) = [each for each in told if each.node == f"ns=1;i={number}"]
        assert reason in missing.reason
    with pytest.raises(NodesetError, match=r"small.xml: ns=1;i=7 1:v7: there is one .* \(8 such\)"):
        complete(odd)


@pytest.mark.parametrize("number", list(STRUCTURES))
def test_structures_are_encoded_by_their_definitions(odd: Loaded, number: int) -> None:
    body = STRUCTURES[number][2]
    encoding = key_of(in_namespace(3, number + 100))
    found = odd.nodes.attributes[odd.nodes.find(key_of(in_namespace(3, number + 20)))][VALUE]
    assert found == b"\x16" + encoding + b"\x01" + struct.pack("<i", len(body)) + body
    told = decoded(odd.nodes.attributes[odd.nodes.find(key_of(in_namespace(3, number)))][23])
    assert told.StructureType == {30: 1, 31: 1, 32: 2, 33: 0}[number] and told.DefaultEncodingId == in_namespace(3, number + 100)


def test_other_locales_are_kept_beside_the_first(odd: Loaded) -> None:
    number = odd.nodes.find(key_of(in_namespace(3, 20)))
    shown = odd.nodes.display
    assert shown(number, ("ko-KR", "en")) == text("값", "ko")
    assert shown(number, ("en", "ko")) == shown(number, ()) == shown(number, ("fr",)) == text("v")


def test_a_file_that_builds_on_one_that_is_not_there_is_refused(tmp_path: Path) -> None:
    needs = '<RequiredModel ModelUri="urn:other"/>'
    with pytest.raises(NodesetError, match=r"small\.xml builds on urn:other"):
        load((small(tmp_path, "", needs),), NAMESPACES)


def test_a_file_that_is_no_xml_is_refused_by_its_name(tmp_path: Path) -> None:
    file = tmp_path / "broken.xml"
    file.write_text("<UANodeSet>")
    with pytest.raises(NodesetError, match=r"broken\.xml"):
        load((file,), NAMESPACES)
