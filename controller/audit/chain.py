"""Records as lines of a chain: each line's hash covers the line and the hash of the one before it. No I/O.

A line is canonical JSON (keys sorted, no spaces, ASCII) with the hash at its end. The hash is an HMAC-SHA256 over the line's own
bytes without it: so whatever is changed in a line is found, and nobody has to agree on how JSON is written.
"""

import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

import msgspec

GENESIS: Final = "0" * 64
"""What the first record of a chain comes after."""
HASH_OPENS: Final = b',"hash":"'
TAIL: Final = len(HASH_OPENS) + 64 + len(b'"}')
LONGEST_TEXT: Final = 1_000
"""Letters of one field; what is longer is cut off, and the field says so."""
STARTED, ROLLED, RESUMED, BROKEN, ACCEPTED, RETIRED = "started", "rolled", "resumed", "broken", "accepted", "retired"
"""Actions of the log itself: a file begins (after a start; after a full one; after a write that failed or was cut off; after a
break in the chain), a break is accepted, an old file is deleted."""
OPENING: Final = frozenset({STARTED, ROLLED, RESUMED, BROKEN})


@dataclass(frozen=True, slots=True)
class Record:
    """Something that was done, or tried.

    Attributes:
        action: what, in a word: `call`, `write`, `login`.
        target: to what: a path.
        who, role: the user's name, empty for nobody in particular, and the role it had.
        where: the client's address.
        session: its session's NodeId.
        client: its application's URI.
        old, new: values before and after, as text.
        status: `asked` for an intent, else what became of it.
        text: what there is to say besides.
        entry: the client's own name for the request (AuditEntryId).
    """

    action: str
    target: str = ""
    who: str = ""
    role: str = ""
    where: str = ""
    session: str = ""
    client: str = ""
    old: str = ""
    new: str = ""
    status: str = ""
    text: str = ""
    entry: str = ""


NAMES: Final = tuple(field.name for field in fields(Record))


_encode: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False).encode


class ChainError(ValueError):
    """A line that is not one of the chain's."""


@dataclass(frozen=True, slots=True)
class Line:
    """A record as it stands in the chain."""

    number: int
    utc_ns: int
    previous: str
    hash: str
    record: Record


def lay(record: Record, number: int, utc_ns: int, previous: str, key: bytes) -> tuple[bytes, str]:
    """A record's line, with its newline, and its hash."""
    content: dict[str, Any] = {name: _cut(getattr(record, name)) for name in NAMES}
    content |= {"number": number, "utc_ns": utc_ns, "previous": previous}
    return seal(content, key)


def seal(content: Mapping[str, Any], key: bytes) -> tuple[bytes, str]:
    """A line of any content, with its newline, and its hash."""
    body = _encode(content).encode("ascii")
    digest = hmac.digest(key, body, "sha256").hex()
    return body[:-1] + HASH_OPENS + digest.encode("ascii") + b'"}\n', digest


def unseal(line: bytes, key: bytes) -> tuple[dict[str, Any], str]:
    """A line's content and its hash; the line comes without its newline.

    Raises:
        ChainError: its hash is not the one of its bytes.
    """
    body, tail = line[:-TAIL] + b"}", line[-TAIL:]
    expected = hmac.digest(key, body, "sha256").hex()
    if not hmac.compare_digest(tail, HASH_OPENS + expected.encode("ascii") + b'"}'):
        raise ChainError("its hash is not the one of what it says")
    return msgspec.json.decode(body), expected


def read(line: bytes, key: bytes) -> Line:
    """A line of the log, without its newline.

    Raises:
        ChainError: its hash is not the one of its bytes.
    """
    content, digest = unseal(line, key)
    if content.keys() != {*NAMES, "number", "utc_ns", "previous"}:
        raise ChainError("it is no record")
    record = Record(**{name: content[name] for name in NAMES})
    return Line(content["number"], content["utc_ns"], content["previous"], digest, record)


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}… ({len(text)} letters)"
