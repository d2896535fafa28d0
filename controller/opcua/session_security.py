"""How a session came in, as the standard tells it (Part 5 §12.12, SessionSecurityDiagnosticsDataType).

Laid out by hand: asyncua's own takes its field Encoding for something else and writes a byte where a text belongs.
"""

import struct
from dataclasses import dataclass
from typing import Any

from asyncua import ua
from asyncua.ua.object_ids import ObjectIds

from controller.opcua.encoding import key_of, octets, string
from controller.opcua.names import standard

UA_BINARY = "UA Binary"


@dataclass(frozen=True)
class SessionSecurity:
    """The fields have the standard's names and types, in its order."""

    SessionId: "ua.NodeId"
    ClientUserIdOfSession: "ua.String"
    ClientUserIdHistory: "list[ua.String]"
    AuthenticationMechanism: "ua.String"
    Encoding: "ua.String"
    TransportProtocol: "ua.String"
    SecurityMode: "ua.MessageSecurityMode"
    SecurityPolicyUri: "ua.String"
    ClientCertificate: "ua.ByteString"

    def whole(self) -> Any:
        """All of it, as what a Variant holds."""
        users: Any = self.ClientUserIdHistory
        fields: Any = self
        content = (
            key_of(self.SessionId),
            string(fields.ClientUserIdOfSession),
            struct.pack("<i", len(users)),
            *(string(name) for name in users),
            string(fields.AuthenticationMechanism),
            string(fields.Encoding),
            string(fields.TransportProtocol),
            struct.pack("<i", int(self.SecurityMode)),
            string(fields.SecurityPolicyUri),
            octets(fields.ClientCertificate),
        )
        made: Any = ua.ExtensionObject
        return made(standard(ObjectIds.SessionSecurityDiagnosticsDataType_Encoding_DefaultBinary), b"".join(content))
