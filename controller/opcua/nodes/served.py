"""Which of the standard's objects this server shows: those that something drives; the others are taken away. Their types stay.

Part 5 §6.3 and §8.3 name what a server must have, and what it may.
"""

from collections.abc import Iterator, Mapping
from typing import Final, TypeAlias

from asyncua.ua.object_ids import ObjectIds

from controller.opcua.encoding import namespace_of
from controller.opcua.events import browse_text
from controller.opcua.nodes.capabilities import OPERATIONS
from controller.opcua.nodes.store import METHOD, OBJECT, VALUE, VARIABLE, Nodes
from controller.opcua.roles import Rule

Kept: TypeAlias = "Mapping[str, Kept] | None"
"""By browse name, None: with all that is below; "*" is every name."""


def _just(*names: str) -> dict[str, Kept]:
    return dict.fromkeys(names, None)


_ROLES: Final = (
    "Anonymous", "AuthenticatedUser", "Observer", "Operator", "Engineer", "ConfigureAdmin", "SecurityAdmin",
)  # fmt: skip
_CAPABILITIES: Final[dict[str, Kept]] = {
    **_just("ServerProfileArray", "LocaleIdArray", "MinSupportedSampleRate", "MaxBrowseContinuationPoints"),
    **_just("MaxQueryContinuationPoints", "MaxHistoryContinuationPoints", "SoftwareCertificates", "MaxArrayLength"),
    **_just("MaxStringLength", "MaxByteStringLength", "ModellingRules", "AggregateFunctions", "MaxSessions", "MaxSubscriptions"),
    **_just("MaxMonitoredItems", "MaxSubscriptionsPerSession", "MaxMonitoredItemsPerSubscription", "MaxMonitoredItemsQueueSize"),
    **_just("MaxSelectClauseParameters", "MaxWhereClauseParameters", "HistoryServerCapabilities"),
    "OperationLimits": _just(*OPERATIONS),
    "RoleSet": {"AddRole": None, "RemoveRole": None, **{role: _just("Identities") for role in _ROLES}},
}
_TRUST_LIST: Final = _just(
    "Size", "Writable", "UserWritable", "OpenCount", "Open", "Close", "Read", "Write", "GetPosition", "SetPosition",
    "LastUpdateTime", "OpenWithMasks", "CloseAndUpdate", "AddCertificate", "RemoveCertificate",
)  # fmt: skip
_CONFIGURATION: Final[dict[str, Kept]] = {
    **_just("ServerCapabilities", "SupportedPrivateKeyFormats", "MaxTrustListSize", "MulticastDnsEnabled", "HasSecureElement"),
    **_just("UpdateCertificate", "ApplyChanges", "CancelChanges", "CreateSigningRequest", "GetRejectedList"),
    "CertificateGroups": {"DefaultApplicationGroup": {"TrustList": _TRUST_LIST, "CertificateTypes": None}},
}
_METADATA: Final = _just(
    "NamespaceUri", "NamespaceVersion", "NamespacePublicationDate", "IsNamespaceSubset", "StaticNodeIdTypes",
    "StaticNumericNodeIdRange", "StaticStringNodeIdPattern", "DefaultRolePermissions", "DefaultUserRolePermissions",
    "DefaultAccessRestrictions",
)  # fmt: skip
KEPT: Final[dict[str, Kept]] = {
    "Server": {
        **_just("ServerArray", "NamespaceArray", "ServerStatus", "ServiceLevel", "Auditing", "VendorServerInfo"),
        **_just("GetMonitoredItems", "ResendData"),
        "ServerCapabilities": _CAPABILITIES,
        "ServerDiagnostics": {
            **_just("ServerDiagnosticsSummary", "SubscriptionDiagnosticsArray", "SessionsDiagnosticsSummary", "EnabledFlag"),
        },
        "ServerRedundancy": _just("RedundancySupport"),
        "Namespaces": {"*": _METADATA},
        "ServerConfiguration": _CONFIGURATION,
    },
    "Machines": None,
}
"""What stays below the Objects folder."""
_DIAGNOSTICS: Final = "Server_ServerDiagnostics"
_SUMMARY: Final = f"{_DIAGNOSTICS}_SessionsDiagnosticsSummary"
RULES: Final = {
    "Server_ServerDiagnostics_SubscriptionDiagnosticsArray": Rule.DIAGNOSTICS,
    f"{_SUMMARY}_SessionDiagnosticsArray": Rule.DIAGNOSTICS,
    f"{_SUMMARY}_SessionSecurityDiagnosticsArray": Rule.SECURITY,
    "Server_GetMonitoredItems": Rule.OWN,
    "Server_ResendData": Rule.OWN,
    "ServerType_GetMonitoredItems": Rule.OWN,
    "ServerType_ResendData": Rule.OWN,
    "Server_ServerCapabilities_RoleSet_AddRole": Rule.SECURITY,
    "Server_ServerCapabilities_RoleSet_RemoveRole": Rule.SECURITY,
}
"""Of single nodes, by their name in the standard."""
SECRET: Final = "ServerConfiguration"
"""This object and all below it are for administrators alone."""
SECRET_TYPES: Final = ("FileType", "TrustListType", "ServerConfigurationType")
"""Their methods are, too: they may be called by the type's NodeId, and no other object here has them."""


def prune(nodes: Nodes) -> None:
    """Take away what is not served, and say who may do what with the rest."""
    objects = nodes.standard(ObjectIds.ObjectsFolder)
    kept: set[int] = set()
    _keep(nodes, objects, KEPT, kept)
    gone = _below(nodes, objects) - kept - {objects}
    partial = {namespace_of(nodes.keys[number]) for number in gone}
    for number in gone:
        nodes.remove(number)
    _say_partial(nodes, {nodes.namespaces[index] for index in partial})
    for number in _below(nodes, nodes.standard(getattr(ObjectIds, SECRET))):
        nodes.rules[number] = Rule.SECURITY
    for name in SECRET_TYPES:
        for child in _children(nodes, nodes.standard(getattr(ObjectIds, name))):
            if nodes.classes[child] == METHOD:
                nodes.rules[child] = Rule.SECURITY
    for name, rule in RULES.items():
        nodes.rules[nodes.standard(_number(name))] = rule
    for name in (
        "Server_ServerCapabilities_RoleSet_AddRole",
        "Server_ServerCapabilities_RoleSet_RemoveRole",
    ):  # a role set must have them, and ours never changes
        for attribute in (21, 22):
            nodes.put(nodes.standard(_number(name)), attribute, b"\x01\x00")


def _say_partial(nodes: Nodes, uris: set[str]) -> None:
    """IsNamespaceSubset of the namespaces that lost something."""
    for metadata in _children(nodes, nodes.standard(ObjectIds.Server_Namespaces)):
        for child in _children(nodes, metadata):
            if browse_text(nodes.browse_names[child]) == "IsNamespaceSubset":
                is_partial = browse_text(nodes.browse_names[metadata]) in uris
                nodes.put(child, VALUE, b"\x01\x01" if is_partial else b"\x01\x00")


def _keep(nodes: Nodes, parent: int, kept: Mapping[str, Kept], found: set[int]) -> None:
    """Find the nodes that stay."""
    for child in _children(nodes, parent):
        name = browse_text(nodes.browse_names[child])
        if name in kept or "*" in kept:
            found.add(child)
            below = kept[name] if name in kept else kept["*"]
            if below is None:
                found.update(_below(nodes, child))
            else:
                _keep(nodes, child, below, found)


def _below(nodes: Nodes, top: int) -> set[int]:
    """A node and all objects, variables and methods below it."""
    found, todo = {top}, [top]
    while todo:
        more = set(_children(nodes, todo.pop())) - found
        found |= more
        todo += more
    return found


def _children(nodes: Nodes, parent: int) -> Iterator[int]:
    hierarchical = nodes.subtypes(nodes.standard(ObjectIds.HierarchicalReferences))
    for reference, is_forward, child in nodes.references(parent):
        if is_forward and reference in hierarchical and nodes.classes[child] in (OBJECT, VARIABLE, METHOD):
            yield child


def _number(name: str) -> int:
    return int(getattr(ObjectIds, name))
