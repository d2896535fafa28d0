"""UANodeSet files (Part 6 Annex F) -> nodes, completely: what is left out is told, with its reason."""

import struct
import uuid
import xml.etree.ElementTree as ElementTree
from base64 import b64decode
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from xml.etree.ElementTree import Element

from controller.opcua.encoding import NULL_TEXT, node_key, qualified, text
from controller.opcua.nodes.definitions import BASE_DATA_TYPE, EXTENSION_OBJECT, VARIANT, Definition, Field, Types, extension_object
from controller.opcua.nodes.literals import ARRAY, Literals, child, local, null
from controller.opcua.nodes.sources import STANDARD, NodesetError
from controller.opcua.nodes.store import (
    DATA_TYPE,
    METHOD,
    NO_NODE,
    OBJECT,
    OBJECT_TYPE,
    REFERENCE_TYPE,
    VALUE,
    VARIABLE,
    VARIABLE_TYPE,
    VIEW,
    Nodes,
)
from controller.opcua.roles import Rule

CLASSES: Final = {
    "UAObject": OBJECT, "UAVariable": VARIABLE, "UAMethod": METHOD, "UAObjectType": OBJECT_TYPE, "UAVariableType": VARIABLE_TYPE,
    "UAReferenceType": REFERENCE_TYPE, "UADataType": DATA_TYPE, "UAView": VIEW,
}  # fmt: skip
(WRITE_MASK, USER_WRITE_MASK, IS_ABSTRACT, SYMMETRIC, INVERSE_NAME, CONTAINS_NO_LOOPS, EVENT_NOTIFIER) = range(6, 13)
(DATA_TYPE_OF, VALUE_RANK, ARRAY_DIMENSIONS, ACCESS_LEVEL, USER_ACCESS_LEVEL, MINIMUM_SAMPLING, HISTORIZING) = range(14, 21)
(EXECUTABLE, USER_EXECUTABLE, DEFINITION, ROLE_PERMISSIONS, USER_ROLE_PERMISSIONS, ACCESS_RESTRICTIONS, ACCESS_LEVEL_EX) = range(
    21, 28
)
DESIGN_ONLY: Final = "for design tools only"
ROLE_PERMISSION_ENCODING: Final = node_key(0, 128)
IDENTIFIERS: Final[dict[str, Callable[[str], int | str | bytes]]] = {"i": int, "s": str, "b": b64decode}


@dataclass(frozen=True, slots=True)
class Missing:
    """Something of a file that is not there.

    Attributes:
        node: the NodeId as the file writes it.
    """

    file: str
    node: str
    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Model:
    """What a file says it is."""

    uri: str
    version: str
    published: str


@dataclass
class Loaded:
    """What was made of the files.

    Attributes:
        left_out: nodes that were not loaded.
        unresolved: references and values that could not be made.
    """

    nodes: Nodes
    models: list[Model] = field(default_factory=list)
    left_out: list[Missing] = field(default_factory=list)
    unresolved: list[Missing] = field(default_factory=list)


@dataclass
class _File:
    """One file while it is read."""

    name: str
    uris: list[str] = field(default_factory=lambda: [STANDARD])
    indexes: list[int] = field(default_factory=lambda: [0])
    aliases: dict[str, str] = field(default_factory=dict)
    keys: dict[str, bytes] = field(default_factory=dict)
    references: list[tuple[bytes, str, str, bool]] = field(default_factory=list)
    values: list[tuple[int, Element]] = field(default_factory=list)
    types: list[tuple[int, bool]] = field(default_factory=list)

    def index(self, theirs: int) -> int:
        """The server's index of one of its namespaces."""
        if not 0 <= theirs < len(self.indexes):
            raise ValueError(f"namespace {theirs} is not among the file's {len(self.indexes)}")
        return self.indexes[theirs]

    def key(self, written: str) -> bytes:
        """The key of a NodeId or an alias.

        Raises:
            ValueError: it is neither.
        """
        found = self.keys.get(written)
        if found is None:
            found = self.keys[written] = self._key(self.aliases.get(written, written))
        return found

    def _key(self, written: str) -> bytes:
        space, _, rest = written.partition(";") if written.startswith("ns=") else ("ns=0", "", written)
        kind, _, identifier = rest.partition("=")
        index = self.index(int(space[3:]))
        if kind == "g":
            return struct.pack("<BH", 4, index) + uuid.UUID(identifier).bytes_le
        if kind not in IDENTIFIERS:
            raise ValueError(f"{written!r} is neither a NodeId nor an alias")
        return node_key(index, IDENTIFIERS[kind](identifier))

    def qualified(self, written: str) -> bytes:
        """A QualifiedName."""
        space, colon, name = written.partition(":")
        return qualified(name, self.index(int(space))) if colon and space.isdigit() else qualified(written)


def load(files: Iterable[Path], namespaces: tuple[str, str]) -> Loaded:
    """The nodes of some files, the standard's first; our application's and our own namespace are at index 1 and 2.

    Raises:
        NodesetError: a file is not such a file, or builds on one that is not there.
    """
    loading = _Loading(namespaces)
    for source in files:
        try:
            loading.read(source)
        except (ElementTree.ParseError, ValueError, OSError) as wrong:
            raise NodesetError(f"{source}: {wrong}") from wrong
    return loading.finish()


class _Loading:
    """Nodes first, then references, then what needs all types to be known."""

    def __init__(self, namespaces: tuple[str, str]) -> None:
        self.nodes = Nodes()
        self.nodes.namespaces = [STANDARD, *namespaces]
        self.types = Types(self.nodes)
        self.loaded = Loaded(self.nodes)
        self._files: list[_File] = []
        self._shared: dict[tuple[tuple[int, bytes], ...], Mapping[int, bytes]] = {}

    def read(self, source: Path) -> None:
        """Read a file's nodes."""
        file = _File(source.name)
        self._files.append(file)
        for _, element in ElementTree.iterparse(source):
            name = local(element.tag)
            if name in CLASSES:
                self._node(file, CLASSES[name], element)
            elif name == "NamespaceUris":
                self._namespaces(file, [(each.text or "").strip() for each in element])
            elif name == "Aliases":
                file.aliases = {each.get("Alias", ""): (each.text or "").strip() for each in element}
            elif name == "Models":
                self._models(file, element)
            else:
                continue
            element.clear()

    def _namespaces(self, file: _File, uris: list[str]) -> None:
        known = self.nodes.namespaces
        known += [uri for uri in uris if uri not in known]
        file.uris += uris
        file.indexes = [known.index(uri) for uri in file.uris]

    def _models(self, file: _File, models: Element) -> None:
        for model in models:
            there = {each.uri for each in self.loaded.models}
            for needed in model:
                uri = needed.get("ModelUri", "")
                if local(needed.tag) == "RequiredModel" and uri not in there:
                    raise NodesetError(f"{file.name} builds on {uri}, which is not among the files before it")
            told = (model.get(name, "") for name in ("ModelUri", "Version", "PublicationDate"))
            self.loaded.models.append(Model(*told))

    def _node(self, file: _File, node_class: int, element: Element) -> None:
        written, name = element.get("NodeId", ""), element.get("BrowseName", "")
        if element.get("DesignToolOnly") == "true":
            self.loaded.left_out.append(Missing(file.name, written, name, DESIGN_ONLY))
            return
        key = file.key(written)
        if self.nodes.find(key) != NO_NODE:
            self.loaded.left_out.append(Missing(file.name, written, name, "there is one with this NodeId already"))
            return
        display, *others = [*_texts(element, "DisplayName")] or [("", text(name.partition(":")[2] or name))]
        described = next(_texts(element, "Description"), ("", NULL_TEXT))
        attributes = self._intern(_attributes(file, node_class, element))
        number = self.nodes.add(
            key, node_class, file.qualified(name), display[1], rule=Rule.OPEN, description=described[1], attributes=attributes
        )
        if others:
            self.nodes.other_texts[number] = dict(others)
        for each in child(element, "References") or ():
            kind, target = each.get("ReferenceType", ""), (each.text or "").strip()
            file.references.append((key, kind, target, each.get("IsForward") != "false"))
        value = child(element, "Value")
        if value is not None:
            file.values.append((number, value))
        elif node_class == VARIABLE:
            file.values.append((number, _NOTHING))
        if node_class == DATA_TYPE:
            file.types.append((number, element.get("IsAbstract") == "true"))
            if (definition := child(element, "Definition")) is not None:
                self.types.definitions[key] = _definition(file, definition)

    def finish(self) -> Loaded:
        """Tie everything together."""
        for file in self._files:
            for reference in file.references:
                self._refer(file, *reference)
        self.types.ready()
        for file in self._files:
            for number, is_abstract in file.types:
                told = self.types.attribute(self.nodes.keys[number], is_abstract)
                if told is not None:
                    self._put(number, DEFINITION, told)
            literals = Literals(self.types, file.key, file.index)
            for number, value in file.values:
                self._value(file, literals, number, value)
        return self.loaded

    def _refer(self, file: _File, source: bytes, kind: str, target: str, is_forward: bool) -> None:
        nodes = self.nodes
        try:
            ends = (nodes.find(source), nodes.find(file.key(kind)), nodes.find(file.key(target)))
        except ValueError as wrong:
            self._unresolved(file, source, f"{kind}: {wrong}")
            return
        if NO_NODE in ends:
            what = f"{kind} {'to' if is_forward else 'from'} {target}, which is not there"
            self._unresolved(file, source, what)
        elif is_forward:
            nodes.refer(*ends)
        else:
            nodes.refer(ends[2], ends[1], ends[0])

    def _value(self, file: _File, literals: Literals, number: int, value: Element) -> None:
        try:
            encoded = self._default(number) if value is _NOTHING else literals.variant(value)
        except (ValueError, LookupError, struct.error) as wrong:
            self._unresolved(file, self.nodes.keys[number], f"its value: {wrong}")
            encoded = b"\x00"
        self._put(number, VALUE, encoded)

    def _default(self, number: int) -> bytes:
        """What a Variable holds where its file says nothing: nothing, as its data type writes that."""
        kind = self.types.built_in(self.nodes.attributes[number][DATA_TYPE_OF][1:])
        rank = struct.unpack("<i", self.nodes.attributes[number][VALUE_RANK][1:])[0]
        if kind == VARIANT or rank < -1 or rank > 1 or (kind == EXTENSION_OBJECT and rank == -1):
            return b"\x00"
        return struct.pack("<Bi", ARRAY | kind, 0) if rank >= 0 else bytes((kind,)) + null(kind)

    def _put(self, number: int, attribute: int, encoded: bytes) -> None:
        self.nodes.attributes[number] = self._intern({**self.nodes.attributes[number], attribute: encoded})

    def _intern(self, attributes: Mapping[int, bytes]) -> Mapping[int, bytes]:
        return self._shared.setdefault(tuple(attributes.items()), attributes)

    def _unresolved(self, file: _File, key: bytes, reason: str) -> None:
        written = next((written for written, found in file.keys.items() if found == key), repr(key))
        number = self.nodes.find(key)
        name = "" if number == NO_NODE else self.nodes.browse_names[number][6:].decode()
        self.loaded.unresolved.append(Missing(file.name, written, name, reason))


_NOTHING: Final = Element("nothing")


def _texts(of: Element, name: str) -> Iterator[tuple[str, bytes]]:
    """The texts with a name: their locale, and encoded."""
    for each in of:
        if local(each.tag) == name:
            locale = each.get("Locale") or None
            yield locale or "", text(each.text or "", locale)


def _attributes(file: _File, node_class: int, of: Element) -> dict[int, bytes]:
    """The attributes that a node has beyond those of all nodes."""
    found = {WRITE_MASK: _uint32(of.get("WriteMask", "0")), USER_WRITE_MASK: _uint32(of.get("UserWriteMask", "0"))}
    if node_class in (OBJECT_TYPE, VARIABLE_TYPE, REFERENCE_TYPE, DATA_TYPE):
        found[IS_ABSTRACT] = _boolean(of.get("IsAbstract"))
    if node_class == REFERENCE_TYPE:
        found[SYMMETRIC] = _boolean(of.get("Symmetric"))
        for _, inverse in _texts(of, "InverseName"):
            found[INVERSE_NAME] = b"\x15" + inverse
    if node_class == VIEW:
        found[CONTAINS_NO_LOOPS] = _boolean(of.get("ContainsNoLoops"))
    if node_class in (OBJECT, VIEW):
        found[EVENT_NOTIFIER] = _byte(of.get("EventNotifier", "0"))
    if node_class in (VARIABLE, VARIABLE_TYPE):
        found |= _typed(file, of)
    if node_class == VARIABLE:
        access = int(of.get("AccessLevel", "1"))
        found[ACCESS_LEVEL], found[USER_ACCESS_LEVEL] = _byte(str(access & 0xFF)), _byte(of.get("UserAccessLevel", "1"))
        if access > 0xFF:
            found[ACCESS_LEVEL_EX] = _uint32(str(access))
        found[HISTORIZING] = _boolean(of.get("Historizing"))
        if (interval := of.get("MinimumSamplingInterval")) is not None:
            found[MINIMUM_SAMPLING] = b"\x0b" + struct.pack("<d", float(interval))
    if node_class == METHOD:
        found[EXECUTABLE], found[USER_EXECUTABLE] = (_boolean(of.get(n, "true")) for n in ("Executable", "UserExecutable"))
    if (restrictions := of.get("AccessRestrictions")) is not None:
        found[ACCESS_RESTRICTIONS] = b"\x05" + struct.pack("<H", int(restrictions))
    if (permissions := child(of, "RolePermissions")) is not None:
        found[ROLE_PERMISSIONS] = _permissions(file, permissions)
    return found


def _typed(file: _File, of: Element) -> Iterator[tuple[int, bytes]]:
    yield DATA_TYPE_OF, b"\x11" + file.key(of.get("DataType", "i=24"))
    yield VALUE_RANK, b"\x06" + struct.pack("<i", int(of.get("ValueRank", "-1")))
    if dimensions := _dimensions(of):
        yield ARRAY_DIMENSIONS, struct.pack(f"<Bi{len(dimensions)}I", ARRAY | 7, len(dimensions), *dimensions)


def _dimensions(of: Element) -> tuple[int, ...]:
    return tuple(int(each) for each in of.get("ArrayDimensions", "").split(",") if each.strip())


def _permissions(file: _File, of: Element) -> bytes:
    each = [file.key((one.text or "").strip()) + struct.pack("<I", int(one.get("Permissions", "0"))) for one in of]
    objects = [extension_object(ROLE_PERMISSION_ENCODING, body) for body in each]
    return struct.pack("<Bi", ARRAY | EXTENSION_OBJECT, len(objects)) + b"".join(objects)


def _definition(file: _File, of: Element) -> Definition:
    fields = tuple(_field(file, each) for each in of if local(each.tag) == "Field")
    return Definition(fields, of.get("IsUnion") == "true", of.get("IsOptionSet") == "true")


def _field(file: _File, of: Element) -> Field:
    name = of.get("Name", "")
    return Field(
        name,
        next((each for _, each in _texts(of, "DisplayName")), text(name)),
        next((each for _, each in _texts(of, "Description")), NULL_TEXT),
        file.key(of.get("DataType", "i=24")) if of.get("DataType") else BASE_DATA_TYPE,
        int(of.get("ValueRank", "-1")),
        _dimensions(of),
        int(of.get("MaxStringLength", "0")),
        of.get("IsOptional") == "true",
        of.get("AllowSubTypes") == "true",
        int(of.get("Value", "-1")),
    )


def _boolean(written: str | None) -> bytes:
    return b"\x01\x01" if written == "true" else b"\x01\x00"


def _byte(written: str) -> bytes:
    return bytes((3, int(written)))


def _uint32(written: str) -> bytes:
    return b"\x07" + struct.pack("<I", int(written))
