"""What audit events say, field by field, and how values are shown in the log: nothing that is named like a secret."""

import hashlib
import struct
from collections.abc import Sequence
from typing import Any, Final

from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.status_codes import get_name_and_doc
from asyncua.ua.ua_binary import nodeid_from_binary, struct_from_binary, variant_from_binary

from controller.opcua.calling import Called
from controller.opcua.encoding import TICKS_1970, octets, qualified, string, variant
from controller.opcua.events import browse_text
from controller.opcua.names import standard
from controller.opcua.nodes.store import NO_NODE, Nodes
from controller.opcua.roles import WELL_KNOWN
from controller.opcua.sessions import Session
from controller.opcua.writing import Wrote

BOOLEAN, UINT32, DOUBLE, STRING, DATE_TIME, BYTE_STRING, NODE_ID, STATUS_CODE = 1, 7, 11, 12, 13, 15, 17, 19
LONGEST: Final = 200
"""Letters of one value in the log."""
MOST_SHOWN: Final = 16
MOST_CARRIED: Final = 4_096
"""Bytes, letters or elements of an argument in an event."""
HIDDEN: Final = "(hidden)"
SECRETS: Final = ("password", "passwd", "passphrase", "secret", "privatekey", "private_key", "apikey", "api_key", "token", "nonce")
NULL: Final = b"\x00"
_INPUTS: Final = qualified("InputArguments")


def secret(name: str) -> bool:
    """Whether something is named like a secret."""
    lower = name.lower()
    return any(word in lower for word in SECRETS)


def status_name(code: int) -> str:
    """A status by its name; of an unknown one the number."""
    name, told = get_name_and_doc(code) if code else ("Good", "")
    return str(name) if not told.startswith("Unknown StatusCode") else f"0x{code:08X}"


def node_text(key: bytes) -> str:
    """A NodeId as text."""
    return str(nodeid_from_binary(Buffer(key)).to_string())


def name_of(nodes: Nodes, key: bytes, owner: bytes = b"") -> str:
    """What people call a node: the path that it has as a NodeId, else the name of its owner and its own."""
    text = node_text(key)
    _, path, name = text.partition(";s=")
    if path:
        return name
    names = [browse_text(nodes.browse_names[number]) for number in (nodes.find(one) for one in (owner, key)) if number != NO_NODE]
    return "/".join(names) or text


def address_of(session: Session) -> str:
    """Where a session's client is; nothing while it has no channel."""
    return str(getattr(session.channel, "address", ""))


def argument_names(nodes: Nodes, method: int) -> tuple[str, ...]:
    """What a method's inputs are called."""
    if method == NO_NODE:
        return ()
    for below in nodes.targets(method, nodes.standard(ObjectIds.HasProperty)):
        value = nodes.attributes[below].get(AttributeIds.Value)
        if nodes.browse_names[below] == _INPUTS and value is not None:
            return tuple(argument.Name or "" for argument in variant_from_binary(Buffer(value)).Value or ())
    return ()


def shown(inputs: Sequence[ua.Variant], names: Sequence[str]) -> str:
    """A call's inputs for the log."""
    told = []
    for at, given in enumerate(inputs[:MOST_SHOWN]):
        name = names[at] if at < len(names) else ""
        value = HIDDEN if secret(name) else value_text(given.Value)
        told.append(f"{name}={value}" if name else value)
    return ", ".join(told) + (", …" if len(inputs) > MOST_SHOWN else "")


def value_text(value: Any) -> str:
    """A value for the log: bytes are counted, structures are named, and nothing is long."""
    if isinstance(value, bytes):
        return f"({len(value)} bytes)"
    if isinstance(value, list):
        inside = ", ".join(value_text(each) for each in value[:MOST_SHOWN])
        return f"[{inside}{', …' if len(value) > MOST_SHOWN else ''}]"[:LONGEST]
    if value is None or isinstance(value, (bool, int, float)):
        return "" if value is None else f"{value}"
    if isinstance(value, str):
        return value if len(value) <= LONGEST else f"{value[:LONGEST]}… ({len(value)} letters)"
    if isinstance(value, (ua.NodeId, ua.LocalizedText, ua.QualifiedName, ua.StatusCode)):
        return str(value)[:LONGEST]
    return type(value).__name__


# ---- fields ------------------------------------------------------------------------------------------------------------------


def audit_fields(session: Session | None, code: int, utc_ns: int, server: str, entry: str) -> dict[str, bytes]:
    """Of AuditEventType (Part 5 §6.4.3)."""
    return {
        "ActionTimeStamp": struct.pack("<Bq", DATE_TIME, utc_ns // 100 + TICKS_1970),
        "Status": bytes((BOOLEAN, code == 0)),
        "ServerId": _text(server),
        "ClientAuditEntryId": _text(entry or None),
        "ClientUserId": _text(session.who.name or None if session is not None else None),
        "ClientApplicationUri": _text(session.client_uri if session is not None else None),
    }


def channel_fields(channel: Any, code: int) -> dict[str, bytes]:
    """Of AuditOpenSecureChannelEventType (Part 5 §6.4.6)."""
    client = channel.client
    certificate = client.der if client is not None else None
    uri = getattr(channel.policy, "uri", None)
    return {
        "StatusCodeId": _status(code),
        "SecureChannelId": _text(str(channel.number)),
        "ClientCertificate": _bytes(certificate),
        "ClientCertificateThumbprint": _text(hashlib.sha1(certificate).hexdigest() if certificate else None),
        "RequestType": variant(0, ua.VariantType.Int32),
        "SecurityPolicyUri": _text(uri),
        "SecurityMode": variant(int(channel.mode), ua.VariantType.Int32),
    }


def certificate_fields(kind: int, certificate: bytes, code: int) -> dict[str, bytes]:
    """Of AuditCertificateEventType (Part 5 §6.4.12)."""
    return {"StatusCodeId": _status(code), "Certificate": _bytes(certificate or None)}


def session_fields(session: Session | None, code: int, created: bool = False, activated: bool = False) -> dict[str, bytes]:
    """Of AuditSessionEventType, AuditCreateSessionEventType and AuditActivateSessionEventType (Part 5 §6.4.7 to §6.4.10)."""
    fields = {"StatusCodeId": _status(code)}
    if session is None:
        return fields
    fields["SessionId"] = bytes((NODE_ID,)) + session.key
    if created or activated:
        fields["SecureChannelId"] = _text(str(getattr(session.channel, "number", "")))
    if created:
        fields["ClientCertificate"] = _bytes(session.certificate)
        fields["ClientCertificateThumbprint"] = _text(hashlib.sha1(session.certificate).hexdigest())
        fields["RevisedSessionTimeout"] = struct.pack("<Bd", DOUBLE, session.timeout_ms)
    if activated:
        token: Any = ua.UserNameIdentityToken() if session.who.name else ua.AnonymousIdentityToken()
        if session.who.name:
            token.UserName = session.who.name  # and no password
        fields["UserIdentityToken"] = variant(token, ua.VariantType.ExtensionObject)
        roles = [standard(number) for number in WELL_KNOWN[session.role]]
        fields["CurrentRoleIds"] = variant(roles, ua.VariantType.NodeId)
    return fields


def write_fields(one: Wrote, hidden: bool) -> tuple[str, str, dict[str, bytes]]:
    """The old and the new value for the log, and the fields of AuditWriteUpdateEventType (Part 5 §6.4.25)."""
    old = _value_of(one.old)
    fields = {
        "AttributeId": struct.pack("<BI", UINT32, one.attribute),
        "IndexRange": _text(one.range or None),
        "OldValue": NULL if hidden or old is None else variant(old),
        "NewValue": NULL if hidden else variant(one.new),
    }
    if hidden:
        return "", HIDDEN, fields
    return value_text(old.Value) if old is not None else "", value_text(one.new.Value), fields


def call_fields(one: Called, names: Sequence[str]) -> dict[str, bytes]:
    """Of AuditUpdateMethodEventType (Part 5 §6.4.27)."""
    inputs = [
        ua.Variant() if _is_long(given.Value) or (at < len(names) and secret(names[at])) else given
        for at, given in enumerate(one.inputs)
    ]
    return {
        "MethodId": bytes((NODE_ID,)) + one.method,
        "StatusCodeId": _status(one.status),
        "InputArguments": variant(inputs, ua.VariantType.Variant),
        "OutputArguments": variant([ua.Variant() if _is_long(out.Value) else out for out in one.outputs], ua.VariantType.Variant),
    }


def _is_long(value: Any) -> bool:
    """Whether it is a file's content or the like, which events do not carry."""
    return isinstance(value, (bytes, str, list)) and len(value) > MOST_CARRIED


def _value_of(encoded: bytes) -> ua.Variant | None:
    """The value in an encoded DataValue."""
    if not encoded or not encoded[0] & 1:
        return None
    found: ua.Variant | None = struct_from_binary(ua.DataValue, Buffer(encoded)).Value
    return found


def _text(text: str | None) -> bytes:
    return bytes((STRING,)) + string(text) if text is not None else NULL


def _bytes(content: bytes | None) -> bytes:
    return bytes((BYTE_STRING,)) + octets(content) if content is not None else NULL


def _status(code: int) -> bytes:
    return struct.pack("<BI", STATUS_CODE, code)
