"""DiagnosticInfo: the words behind a status, for a client that asks for them (Part 4 §7.12, Part 6 §5.2.2.12)."""

import struct
from collections.abc import Sequence
from typing import Final

from controller.opcua.encoding import string

WORDS: Final = 0x40 | 0x80
"""ReturnDiagnostics: texts of the operations, as LocalizedText or as AdditionalInfo. What we say stands in the latter."""
_ADDITIONAL: Final = b"\x10"
NOTHING: Final = b"\x00\x00\x00\x00"
"""An array of nothing."""


def infos(texts: Sequence[str], wanted: int) -> bytes:
    """DiagnosticInfo[], one for each operation; of nothing where nobody wants it, or there is nothing to tell."""
    if not wanted & WORDS or not any(texts):
        return NOTHING
    return struct.pack("<i", len(texts)) + b"".join(_ADDITIONAL + string(text) if text else b"\x00" for text in texts)
