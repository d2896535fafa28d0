"""Values -> bytes as they go over the wire (Part 6 §5.2), for what is laid out ahead."""

import struct
from typing import Any

from asyncua import ua
from asyncua.ua.ua_binary import struct_to_binary, variant_to_binary

NULL_STRING = b"\xff\xff\xff\xff"
NULL_TEXT = b"\x00"
"""A LocalizedText without locale and text."""
NULL_NODE = b"\x00\x00"
TICKS_1970 = 116_444_736_000_000_000
"""DateTime counts 100 ns since 1601; this is 1970."""


def string(text: str | None) -> bytes:
    """A String; None is null."""
    if text is None:
        return NULL_STRING
    content = text.encode()
    return struct.pack("<i", len(content)) + content


def octets(content: bytes | None) -> bytes:
    """A ByteString; None is null."""
    return NULL_STRING if content is None else struct.pack("<i", len(content)) + content


def node_key(namespace: int, identifier: int | str | bytes) -> bytes:
    """A NodeId in its shortest encoding: what nodes are found by."""
    if isinstance(identifier, int):
        if namespace == 0 and identifier < 256:
            return bytes((0, identifier))
        if namespace < 256 and identifier < 65_536:
            return struct.pack("<BBH", 1, namespace, identifier)
        return struct.pack("<BHI", 2, namespace, identifier)
    if isinstance(identifier, str):
        return struct.pack("<BH", 3, namespace) + string(identifier)
    return struct.pack("<BH", 5, namespace) + octets(identifier)


def key_of(node: ua.NodeId) -> bytes:
    """The key of a NodeId that asyncua has decoded."""
    identifier: Any = node.Identifier
    if isinstance(identifier, (int, str, bytes)):
        return node_key(node.NamespaceIndex, identifier)
    return struct.pack("<BH", 4, node.NamespaceIndex) + bytes(identifier.bytes_le)


def read_key(content: bytes, at: int) -> tuple[bytes, int]:
    """The key of the NodeId at a position, and where it ends.

    Raises:
        ValueError: there is no NodeId; struct.error or IndexError: it is cut off.
    """
    kind = content[at]
    if kind == 3 or kind == 5:
        (size,) = struct.unpack_from("<i", content, at + 3)
        end = at + 7 + size
        if size < 0 or end > len(content):
            raise ValueError(f"an identifier of {size} bytes")
        return content[at:end], end
    if kind == 0:
        return bytes((0, content[at + 1])), at + 2
    if kind == 1:
        namespace, number = struct.unpack_from("<BH", content, at + 1)
        return node_key(namespace, number), at + 4
    if kind == 2:
        namespace, number = struct.unpack_from("<HI", content, at + 1)
        return node_key(namespace, number), at + 7
    if kind == 4:
        if at + 19 > len(content):
            raise ValueError("a GUID that is cut off")
        return content[at : at + 19], at + 19
    raise ValueError(f"a NodeId of kind {kind}")


def namespace_of(key: bytes) -> int:
    """The namespace index in a node's key."""
    kind = key[0]
    if kind == 0:
        return 0
    return key[1] if kind == 1 else int.from_bytes(key[1:3], "little")


def qualified(name: str, namespace: int = 0) -> bytes:
    """A QualifiedName."""
    return struct.pack("<H", namespace) + string(name)


def text(content: str | None, locale: str | None = None) -> bytes:
    """A LocalizedText."""
    mask = (locale is not None) | (content is not None) << 1
    return bytes((mask,)) + (string(locale) if locale is not None else b"") + (string(content) if content is not None else b"")


def variant(value: Any, kind: ua.VariantType | None = None) -> bytes:
    """A Variant of what asyncua makes of a value."""
    made: Any = value if isinstance(value, ua.Variant) else ua.Variant(value, kind)  # type: ignore[arg-type]
    return bytes(variant_to_binary(made))


def structure(value: Any) -> bytes:
    """A structure's fields."""
    return bytes(struct_to_binary(value))


def ticks(utc_ns: int) -> int:
    """UTC [ns since 1970] as DateTime."""
    return utc_ns // 100 + TICKS_1970


def data_value(encoded_variant: bytes | None, status: int = 0, source: int = 0, server: int = 0) -> bytes:
    """A DataValue; what is 0 or None is left out."""
    mask = (encoded_variant is not None) | (status != 0) << 1 | (source != 0) << 2 | (server != 0) << 3
    return b"".join(
        (
            bytes((mask,)),
            encoded_variant or b"",
            struct.pack("<I", status) if status else b"",
            struct.pack("<q", source) if source else b"",
            struct.pack("<q", server) if server else b"",
        )
    )
