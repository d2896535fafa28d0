"""What of the address space has changed: since the last start, and while it runs (Part 3 §9.32).

Each thing at the top of our namespace (a machine, a device, a type) has a version, which is counted up when anything below it is
another one than at the last start. Objects tell theirs as NodeVersion; the namespace tells how often any of them changed.
"""

import hashlib
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.ua_binary import nodeid_from_binary

from controller.nodes.epochs import write_durably
from controller.opcua.encoding import NULL_NODE, node_key, qualified, string, text, ticks, variant
from controller.opcua.events import Events, browse_text, event
from controller.opcua.names import OURS
from controller.opcua.nodes.store import NO_NODE, OBJECT, VALUE, VARIABLE, Nodes

FORMAT: Final = 1
ADDED, DELETED, REFERENCE_ADDED, REFERENCE_DELETED, DATA_TYPE_CHANGED = (1 << bit for bit in range(5))
"""Verbs of ModelChangeStructureDataType (Part 5 §12.16)."""
MOST_CHANGES: Final = 1_000
"""In one event; of more it says no more than that there were many."""
SEVERITY: Final = 100
_HEAD: Final = struct.Struct("<BHi")
_NODE_VERSION: Final = "NodeVersion"
_TELLING: Final = (14, 15, 17)
"""DataType, ValueRank, AccessLevel."""


class Shown(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Something at the top of our namespace; keys in hexadecimal."""

    digest: str
    version: int
    kind: str


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: int
    version: int
    changed_ns: int
    shown: dict[str, Shown]


@dataclass(frozen=True, slots=True)
class Change:
    """What happened to a node.

    Attributes:
        key, kind: of the node, and of its type definition.
        verb: how it changed.
    """

    key: bytes
    kind: bytes
    verb: int


class ModelChanges:
    """Knows what was shown, and tells what is no longer the same.

    Attributes:
        changes: what has changed since the last start.
    """

    def __init__(self, nodes: Nodes, events: Events, utc: Callable[[], int], remembered: Path) -> None:
        """`remembered`: the file in which what is shown is kept between starts."""
        self._nodes, self._events, self._utc, self._path = nodes, events, utc, remembered
        self.changes: tuple[Change, ...] = ()

    def start(self) -> None:
        """Compare with the last start, count the versions up, remember them, and tell.

        Raises:
            OSError: what is shown cannot be remembered.
        """
        before = _read(self._path)
        known = before.shown if before is not None else {}
        now = {path: _digest(self._nodes, numbers) for path, numbers in _tops(self._nodes).items()}
        shown = {path: self._shown(path, digest, known.get(path)) for path, digest in now.items()}
        self.changes = tuple(self._changes(known, shown)) if before is not None else ()
        version = (before.version if before is not None else 0) + bool(self.changes or before is None)
        changed_ns = self._utc() if self.changes or before is None else before.changed_ns
        if before is None or self.changes:
            write_durably(self._path, msgspec.json.encode(_File(FORMAT, version, changed_ns, shown)).decode() + "\n")
        for path, one in shown.items():
            self._tell_version(path, one.version)
        self._tell_namespace(version, changed_ns)
        self.tell(self.changes)

    def tell(self, changes: tuple[Change, ...]) -> None:
        """Tell what has changed, as one event; nothing is told of nothing."""
        if not changes:
            return
        nodes = self._nodes
        few = len(changes) <= MOST_CHANGES
        kind = ObjectIds.GeneralModelChangeEventType if few else ObjectIds.BaseModelChangeEventType
        fields = {"Changes": _structures(changes)} if few else {}
        names = ", ".join(f"{_word(change.verb)} {_path(change.key)}" for change in changes[:10])
        said = f"{names}{f' and {len(changes) - 10} more' if len(changes) > 10 else ''}"
        server = nodes.standard(ObjectIds.Server)
        self._events.tell(event(nodes, nodes.standard(kind), server, said, SEVERITY, self._utc(), fields))

    def _shown(self, path: str, digest: str, before: Shown | None) -> Shown:
        number = self._nodes.find(node_key(OURS, path))
        kind = self._nodes.kinds[number] if number != NO_NODE else NO_NODE
        version = 1 if before is None else before.version + (before.digest != digest)
        return Shown(digest, version, (self._nodes.keys[kind] if kind != NO_NODE else NULL_NODE).hex())

    def _changes(self, before: dict[str, Shown], now: dict[str, Shown]) -> Iterator[Change]:
        for path, one in now.items():
            if path not in before:
                yield Change(node_key(OURS, path), bytes.fromhex(one.kind), ADDED)
            elif before[path].digest != one.digest:
                yield Change(node_key(OURS, path), bytes.fromhex(one.kind), REFERENCE_ADDED | REFERENCE_DELETED)
        for path, one in before.items():
            if path not in now:
                yield Change(node_key(OURS, path), bytes.fromhex(one.kind), DELETED)

    def _tell_version(self, path: str, version: int) -> None:
        """Give an object its NodeVersion (Part 3 §5.5.1)."""
        nodes = self._nodes
        owner = nodes.find(node_key(OURS, path))
        if owner == NO_NODE or nodes.classes[owner] != OBJECT:
            return
        key, value = node_key(OURS, f"{path}/{_NODE_VERSION}"), bytes((12,)) + string(str(version))
        found = nodes.find(key)
        if found != NO_NODE:
            nodes.put(found, VALUE, value)
            return
        kind = bytes((17,)) + node_key(0, ObjectIds.String)
        attributes, rule = {14: kind, 15: struct.pack("<Bi", 6, -1), 17: b"\x03\x01", VALUE: value}, nodes.rules[owner]
        made = nodes.add(key, VARIABLE, qualified(_NODE_VERSION), text(_NODE_VERSION), rule=rule, attributes=attributes)
        nodes.refer(owner, nodes.standard(ObjectIds.HasProperty), made)
        nodes.refer(made, nodes.standard(ObjectIds.HasTypeDefinition), nodes.standard(ObjectIds.PropertyType))

    def _tell_namespace(self, version: int, changed_ns: int) -> None:
        """NamespaceVersion counts the models there were, NamespacePublicationDate is when the newest one came (Part 5 §6.3.13)."""
        nodes = self._nodes
        namespaces, has_property = nodes.standard(ObjectIds.Server_Namespaces), nodes.standard(ObjectIds.HasProperty)
        for of in nodes.targets(namespaces, nodes.standard(ObjectIds.HasComponent)):
            if browse_text(nodes.browse_names[of]) != nodes.namespaces[OURS]:
                continue
            for child in nodes.targets(of, has_property):
                name = browse_text(nodes.browse_names[child])
                if name == "NamespaceVersion":
                    nodes.put(child, VALUE, bytes((12,)) + string(str(version)))
                elif name == "NamespacePublicationDate":
                    nodes.put(child, VALUE, struct.pack("<Bq", 13, ticks(changed_ns)))


def _read(path: Path) -> _File | None:
    """What was remembered; what cannot be read counts as nothing: then nobody is told of changes, and all begins anew."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=_File)
    except (FileNotFoundError, msgspec.MsgspecError):
        return None
    return found if found.format == FORMAT else None


def _tops(nodes: Nodes) -> dict[str, list[int]]:
    """The nodes of our namespace by the first part of their paths. NodeVersions themselves are left out."""
    found: dict[str, list[int]] = {}
    for number, key in enumerate(nodes.keys):
        if key[:3] != b"\x03\x02\x00" or nodes.find(key) != number:
            continue
        path = _path(key)
        if not path.endswith("/" + _NODE_VERSION):
            found.setdefault(path.partition("/")[0], []).append(number)
    return found


def _digest(nodes: Nodes, numbers: list[int]) -> str:
    """Over what each node is, not over what it is worth."""
    lines = []
    for number in numbers:
        attributes, kind = nodes.attributes[number], nodes.kinds[number]
        told = [attributes.get(each, b"") for each in _TELLING]
        about = (nodes.keys[number], nodes.browse_names[number], *told, nodes.keys[kind] if kind != NO_NODE else b"")
        lines.append(bytes((nodes.classes[number],)) + b"\x00".join(about))
    return hashlib.sha256(b"\n".join(sorted(lines))).hexdigest()[:32]


def _path(key: bytes) -> str:
    if key[:1] == b"\x03":
        return key[_HEAD.size :].decode()
    return str(nodeid_from_binary(Buffer(key)).to_string())


def _structures(changes: tuple[Change, ...]) -> bytes:
    structure: Any = ua.ModelChangeStructureDataType
    made = [structure(*(nodeid_from_binary(Buffer(key)) for key in (change.key, change.kind)), change.verb) for change in changes]
    return variant(made, ua.VariantType.ExtensionObject)


def _word(verb: int) -> str:
    return "new:" if verb & ADDED else "gone:" if verb & DELETED else "changed:"
