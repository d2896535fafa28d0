"""The patterns of the operator Like (Part 4 §7.7.3)."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

LONGEST_PATTERN: Final = 256


def like(content: str, pattern: str) -> bool:
    r"""Whether a text matches a pattern (Table 124).

    % is any text, _ one letter, [abc] or [a-c] one of these, [^abc] none of these, \ takes away the next one's meaning. A bracket
    that is never closed means itself.
    """
    return _match(content, _pieces(pattern))


@dataclass(frozen=True, slots=True)
class _One:
    """One letter: out of these, or not out of these."""

    among: Callable[[str], bool]


_ANY = None
"""Any text."""
_Pieces = tuple[_One | None, ...]


@lru_cache(256)
def _pieces(pattern: str) -> _Pieces:
    made: list[_One | None] = []
    at = 0
    while at < len(pattern):
        letter = pattern[at]
        at += 1
        if letter == "%":
            made.append(_ANY)
        elif letter == "_":
            made.append(_One(lambda _: True))
        elif letter == "[" and (end := _closing(pattern, at)) is not None:
            made.append(_One(_among(pattern[at:end])))
            at = end + 1
        else:
            if letter == "\\" and at < len(pattern):
                letter, at = pattern[at], at + 1
            made.append(_One(letter.__eq__))
    return tuple(made)


def _closing(pattern: str, at: int) -> int | None:
    """Where the bracket closes; there is at least one letter in it."""
    at += pattern[at : at + 1] == "^"
    first = at
    while at < len(pattern):
        if pattern[at] == "\\":
            at += 1
        elif pattern[at] == "]" and at > first:
            return at
        at += 1
    return None


def _among(inside: str) -> Callable[[str], bool]:
    without = inside[:1] == "^"
    letters = re.findall(r"\\(.)|(.)", inside[without:], re.DOTALL)
    singles, ranges, at = set(), [], 0
    while at < len(letters):
        escaped, plain = letters[at]
        if at + 2 < len(letters) and letters[at + 1] == ("", "-"):
            ranges.append((escaped or plain, letters[at + 2][0] or letters[at + 2][1]))
            at += 3
        else:
            singles.add(escaped or plain)
            at += 1

    def among(letter: str) -> bool:
        return (letter in singles or any(low <= letter <= high for low, high in ranges)) != without

    return among


def _match(content: str, pieces: _Pieces) -> bool:
    """Greedy, with one place to come back to: steps are bounded by the product of both lengths."""
    at = piece = 0
    back_at = back_piece = -1
    while at < len(content):
        if piece < len(pieces) and (one := pieces[piece]) is not _ANY and one.among(content[at]):
            at, piece = at + 1, piece + 1
        elif piece < len(pieces) and pieces[piece] is _ANY:
            back_at, back_piece = at, piece
            piece += 1
        elif back_piece >= 0:
            back_at += 1
            at, piece = back_at, back_piece + 1
        else:
            return False
    return all(rest is _ANY for rest in pieces[piece:])
