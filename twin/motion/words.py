"""One line of G-code into a command and its words: no state, no meaning."""

import re
from dataclasses import dataclass
from functools import reduce
from operator import xor

from twin.motion.limits import AXES, JobError

LARGEST = 1e9  # no number of a real program comes near, and sums of such numbers stay exact enough to be refused

_NUMBER = r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)"
_SHORT = r"[-+]?(?:[0-9]{1,6}(?:\.[0-9]{0,9})?|\.[0-9]{1,9})"
_COMMENT = re.compile(r"\([^)]*\)|;.*", re.DOTALL)
_HEAD = re.compile(r"\s*(?:N\s*[0-9]+\s*)?([GMT])\s*0*([0-9]{1,5})(?![0-9])(\.[0-9]{1,5})?", re.ASCII)
_LINE_NUMBER = re.compile(r"\s*N\s*[0-9]+\s*\Z", re.ASCII)
_WORD = re.compile(rf"\s*([A-Z])\s*({_NUMBER})?\s*", re.ASCII)

USUAL_MOVE = re.compile(
    rf"G[01](?: X({_SHORT}))?(?: Y({_SHORT}))?(?: Z({_SHORT}))?(?: E({_SHORT}))?(?: F({_SHORT}))? *(?:;.*)?"
)
"""The way slicers write nearly every move; anything else takes the longer road through `parse`."""


@dataclass(frozen=True, slots=True)
class Command:
    """A code such as G1 or M104, normalised, and its words; a letter without a number has None."""

    code: str
    words: dict[str, float | None]


def parse(raw: str, free_text: frozenset[str]) -> Command | None:
    """The command of a line, None for an empty one.

    Args:
        free_text: codes whose rest of the line is text for people and not looked at.

    Raises:
        JobError: the line is malformed.
    """
    upper = raw.upper() if raw.isascii() else "".join(c.upper() if c.isascii() else c for c in raw)
    head = _HEAD.match(upper)
    if head and _code(head) in free_text:
        return Command(_code(head), {})
    body = _without_checksum(_without_comments(upper), raw)
    if not body.strip() or _LINE_NUMBER.match(body):
        return None
    head = _HEAD.match(body)
    if not head:
        raise JobError(f"no command in {_shown(raw)}")
    return Command(_code(head), _words(body[head.end() :]))


def _code(head: re.Match[str]) -> str:
    return f"{head[1]}{head[2]}{head[3] or ''}"


def _without_comments(text: str) -> str:
    body = _COMMENT.sub(" ", text) if ";" in text or "(" in text else text
    if "(" in body or ")" in body:
        raise JobError("a comment in parentheses is not closed")
    return body


def _without_checksum(body: str, raw: str) -> str:
    """The checksum is the exclusive or of all bytes before its asterisk."""
    if "*" not in body:
        return body
    body, _, digits = body.partition("*")
    digits = digits.strip()
    reckoned = reduce(xor, raw.partition("*")[0].encode("utf-8", "replace"), 0)
    if not re.fullmatch("[0-9]{1,3}", digits):
        raise JobError(f"malformed checksum in {_shown(raw)}")
    if int(digits) != reckoned:
        raise JobError(f"checksum {digits} does not match {reckoned}", value=float(digits), limit=float(reckoned))
    return body


def _words(text: str) -> dict[str, float | None]:
    words: dict[str, float | None] = {}
    at = 0
    while at < len(text):
        found = _WORD.match(text, at)
        if not found:
            if not text[at:].strip():
                break
            raise JobError(f"malformed word at {_shown(text[at:])}")
        letter, number = found[1], found[2]
        if letter in words:
            raise JobError(f"{letter} occurs twice")
        words[letter] = _number(letter, number) if number else None
        at = found.end()
    return words


def _number(letter: str, digits: str) -> float:
    value = float(digits)
    if abs(value) > LARGEST:
        raise JobError(
            f"{letter}{_shown(digits)} is out of range",
            axis=letter if letter in AXES else "",
            value=value,
            limit=LARGEST,
        )
    return value


def _shown(text: str) -> str:
    text = text.strip()
    return repr(text if len(text) <= 40 else text[:37] + "...")
