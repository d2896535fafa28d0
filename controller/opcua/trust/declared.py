"""The methods and properties of push management, by their nodes in the standard's address space."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from asyncua import ua
from asyncua.common.utils import ServiceError
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.status_codes import StatusCodes

from controller.opcua.encoding import node_key
from controller.opcua.trust import content
from controller.opcua.trust.files import IDLE, MOST_AT_ONCE
from controller.opcua.trust.push import TYPES, Push
from twin.clock import MS

_LIST = "ServerConfiguration_CertificateGroups_DefaultApplicationGroup_TrustList"
_ANY = ua.VariantType

Outputs = Sequence[ua.Variant]
Function = Callable[[Any, Sequence[ua.Variant]], Outputs | Awaitable[Outputs]]
Register = Callable[[bytes, bytes, Function, tuple[int, ...] | None], None]
Recorded = Callable[[bytes, bytes, Function], Function]
"""Makes of an object's method one that is called once that is written down."""
CHANGING = frozenset(
    (
        "close_and_update",
        "add_certificate",
        "remove_certificate",
        "create_signing_request",
        "update_certificate",
        "apply_changes",
        "cancel_changes",
    )
)
"""What is written down before it is done. What is written to the list's file changes nothing before CloseAndUpdate."""


@dataclass(frozen=True, slots=True)
class Method:
    """One method.

    Attributes:
        owner: the object that it is called on.
        name: of the function in Push.
        ids: NodeIds that it is called by: its own, and its declaration's in the type.
        inputs: built-in types, negative for arrays.
        output: of what it answers with; None for nothing.
    """

    owner: int
    name: str
    ids: tuple[int, ...]
    inputs: tuple[int, ...]
    output: ua.VariantType | None = None
    output_is_array: bool = False


def _id(name: str) -> int:
    return int(getattr(ObjectIds, name))


def _of_list(name: str, function: str, kind: str, inputs: Sequence[ua.VariantType], output: ua.VariantType | None = None) -> Method:
    return Method(_id(_LIST), function, (_id(f"{_LIST}_{name}"), _id(f"{kind}_{name}")), tuple(map(int, inputs)), output)


def _of_server(
    name: str, function: str, inputs: Sequence[int], output: ua.VariantType | None = None, array: bool = False
) -> Method:
    ids = _id(f"ServerConfiguration_{name}"), _id(f"ServerConfigurationType_{name}")
    return Method(_id("ServerConfiguration"), function, ids, tuple(map(int, inputs)), output, array)


_REQUEST = (_ANY.NodeId, _ANY.NodeId, _ANY.String, _ANY.Boolean, _ANY.ByteString)
_UPDATE = (_ANY.NodeId, _ANY.NodeId, _ANY.ByteString, -_ANY.ByteString, _ANY.String, _ANY.ByteString)
DECLARED = (
    _of_list("Open", "open", "FileType", (_ANY.Byte,), _ANY.UInt32),
    _of_list("Close", "close", "FileType", (_ANY.UInt32,)),
    _of_list("Read", "read", "FileType", (_ANY.UInt32, _ANY.Int32), _ANY.ByteString),
    _of_list("Write", "write", "FileType", (_ANY.UInt32, _ANY.ByteString)),
    _of_list("GetPosition", "get_position", "FileType", (_ANY.UInt32,), _ANY.UInt64),
    _of_list("SetPosition", "set_position", "FileType", (_ANY.UInt32, _ANY.UInt64)),
    _of_list("OpenWithMasks", "open_with_masks", "TrustListType", (_ANY.UInt32,), _ANY.UInt32),
    _of_list("CloseAndUpdate", "close_and_update", "TrustListType", (_ANY.UInt32,), _ANY.Boolean),
    _of_list("AddCertificate", "add_certificate", "TrustListType", (_ANY.ByteString, _ANY.Boolean)),
    _of_list("RemoveCertificate", "remove_certificate", "TrustListType", (_ANY.String, _ANY.Boolean)),
    _of_server("GetRejectedList", "get_rejected_list", (), _ANY.ByteString, True),
    _of_server("CreateSigningRequest", "create_signing_request", _REQUEST, _ANY.ByteString),
    _of_server("UpdateCertificate", "update_certificate", _UPDATE, _ANY.Boolean),
    _of_server("ApplyChanges", "apply_changes", ()),
    _of_server("CancelChanges", "cancel_changes", ()),
)


def methods(push: Push) -> dict[int, tuple[int, str, Function]]:
    """By the numeric NodeId of each method, of those in the types, too: its object's, its name and what it does."""
    return {
        number: (method.owner, method.name, partial(_call, getattr(push, method.name), method))
        for method in DECLARED
        for number in method.ids
    }


def declare(push: Push, register: Register, recorded: Recorded | None = None) -> None:
    """Register all methods, each by its own NodeId and its type's."""
    for method in DECLARED:
        function: Function = partial(_call, getattr(push, method.name), method)
        for number in method.ids:
            owner, key = node_key(0, method.owner), node_key(0, number)
            noted = recorded(owner, key, function) if recorded is not None and method.name in CHANGING else function
            register(owner, key, noted, method.inputs)


def _call(function: Callable[..., Any], method: Method, session: Any, inputs: Sequence[ua.Variant]) -> Outputs | Awaitable[Outputs]:
    """Call with what a request brought, and bring back what it answers with.

    Raises:
        ServiceError: what it ends with; BadArgumentsMissing, BadTooManyArguments.
    """
    if len(inputs) < len(method.inputs):
        raise ServiceError(StatusCodes.BadArgumentsMissing)
    if len(inputs) > len(method.inputs):
        raise ServiceError(StatusCodes.BadTooManyArguments)
    result = function(session, *(_plain(given.Value, kind) for given, kind in zip(inputs, method.inputs, strict=True)))
    return _later(result, method) if isinstance(result, Awaitable) else _outputs(result, method)


def _plain(value: Any, kind: int) -> Any:
    """A null as what it stands for."""
    if value is None and kind == _ANY.ByteString:
        return b""
    return "" if value is None and kind == _ANY.String else value


async def _later(result: Awaitable[Any], method: Method) -> Outputs:
    return _outputs(await result, method)


def _outputs(result: Any, method: Method) -> Outputs:
    if method.output is None:
        return []
    made: Any = ua.Variant
    return [made(result, method.output, is_array=method.output_is_array)]


def properties(push: Push, capabilities: Sequence[str]) -> dict[int, Callable[[], ua.Variant]]:
    """What gives each property's value at the moment, by the numeric NodeId of its Variable.

    Args:
        capabilities: of the server, as Part 12 Annex D abbreviates them, such as DA.
    """
    made: Any = ua.Variant
    store = push.store

    def fixed(value: Any, kind: ua.VariantType, array: bool = False) -> Callable[[], ua.Variant]:
        return lambda: made(value, kind, is_array=array)

    kinds = [ua.NodeId(ua.Int32(TYPES[-1]))]
    listed: dict[str, Callable[[], ua.Variant]] = {
        "Size": lambda: made(len(content.encoded(store.current)), _ANY.UInt64),
        "OpenCount": lambda: made(len(push.files), _ANY.UInt16),
        "LastUpdateTime": lambda: made(_updated(push), _ANY.DateTime),
        "Writable": fixed(True, _ANY.Boolean),
        "UserWritable": fixed(True, _ANY.Boolean),
        "ActivityTimeout": fixed(IDLE / MS, _ANY.Double),
        "MaxByteStringLength": fixed(MOST_AT_ONCE, _ANY.UInt32),
    }
    configured: dict[str, Callable[[], ua.Variant]] = {
        "SupportedPrivateKeyFormats": fixed(["PEM"], _ANY.String, True),
        "MaxTrustListSize": fixed(content.MOST, _ANY.UInt32),
        "MulticastDnsEnabled": fixed(False, _ANY.Boolean),
        "ServerCapabilities": fixed(list(capabilities), _ANY.String, True),
        "HasSecureElement": fixed(False, _ANY.Boolean),
        "SupportsTransactions": fixed(False, _ANY.Boolean),
        "CertificateGroups_DefaultApplicationGroup_CertificateTypes": fixed(kinds, _ANY.NodeId, True),
    }
    return {
        **{_id(f"{_LIST}_{name}"): value for name, value in listed.items()},
        **{_id(f"ServerConfiguration_{name}"): value for name, value in configured.items()},
    }


def _updated(push: Push) -> datetime:
    _ = push.store.current
    return push.store.updated
