"""TOML as tables: whatever is wrong with a text is one kind of error, and no number in it is too long to be told."""

import re
import tomllib
from typing import Any

LONGEST = 300
"""Digits in a row; no file of ours needs 30, and Python neither reads nor writes more than 4300."""
DEEPEST = 64
"""Lists and tables in each other."""
_DIGITS = re.compile(rf"[0-9A-Fa-f_]{{{LONGEST},}}")


def loads(text: str) -> dict[str, Any]:
    """The tables of a text.

    Raises:
        ValueError: it is no TOML, is nested too deeply, or has a number of more than LONGEST digits.
    """
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise
    except RecursionError as deep:
        raise ValueError("nested too deeply") from deep
    except ValueError as long:  # int() of thousands of digits
        raise _too_long(text) from long
    if depth(found) > DEEPEST:
        raise ValueError(f"nested more than {DEEPEST} deep")
    if _has_long(found):
        raise _too_long(text)
    return found


def depth(value: Any) -> int:
    """How deeply lists and tables lie in each other."""
    deep, level = 0, [value]
    while level:
        deep += 1
        inside = [item for item in level if isinstance(item, (dict, list))]
        level = [part for item in inside for part in (item.values() if isinstance(item, dict) else item)]
    return deep


def _has_long(found: Any) -> bool:
    waiting = [found]
    while waiting:
        one = waiting.pop()
        if isinstance(one, int) and one.bit_length() > 3 * LONGEST:
            return True
        waiting += one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()
    return False


def _too_long(text: str) -> ValueError:
    there = _DIGITS.search(text)
    line = "" if there is None else f" (at line {text.count(chr(10), 0, there.start()) + 1})"
    return ValueError(f"a number has more than {LONGEST} digits{line}")
