"""Two recordings of the same thing: what a second run may differ by, Signal for Signal."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from numbers import Real
from typing import Any

from hil.judging.against import Pairs, mismatch
from hil.judging.rules import Found
from hil.judging.tube import Series, Tolerance
from hil.judging.verdict import Requirement, Verdict, judge, sequence, tube
from twin.trace import Trace

EXACT = Tolerance()
EVENTS = "events"
"""The name under which the order of events has its tolerance in time."""


def compare(reference: Trace, found: Trace, tolerances: Mapping[str, Tolerance] | None = None) -> tuple[Verdict, ...]:
    """A verdict on each Signal of either Trace, and one on the events: as in the reference, within the tolerances.

    Numbers that are floats, or have a tolerance in value, keep to a tube; anything else takes the same values in the same order.
    Of a tuple of numbers each part has its verdict.

    Args:
        tolerances: by a Signal's name or a pattern of names (`*/plant/*`), the first that fits; EXACT where none does.
    """
    known = dict(tolerances or {})
    wanted = [requirement for name in sorted({*reference.series, *found.series}) for requirement in _as_in(reference, name, known)]
    return judge([*wanted, _events(reference, _tolerance(EVENTS, known))], found)


def _tolerance(name: str, known: Mapping[str, Tolerance]) -> Tolerance:
    if name in known:
        return known[name]
    return next((tolerance for pattern, tolerance in known.items() if fnmatchcase(name, pattern)), EXACT)


def _as_in(reference: Trace, name: str, known: Mapping[str, Tolerance]) -> list[Requirement]:
    pairs = list(reference.series.get(name, ()))
    text, tolerance = f"{name} as in the reference", _tolerance(name, known)
    if not pairs:
        return [Requirement(text, lambda _: (False, "not in the reference"))]
    values = [value for _, value in pairs]
    if _numbers(values) and (tolerance.abs or tolerance.rel or any(isinstance(value, float) for value in values)):
        return [tube(text, name, Series.of(pairs), tolerance)]
    if _tuples(values):
        return [_part(name, part, pairs, tolerance) for part in range(len(values[0]))]
    return [sequence(text, name, pairs, tolerance.lead, tolerance.lag)]


def _part(name: str, part: int, pairs: Pairs, tolerance: Tolerance) -> Requirement:
    series = Series.of((time, value[part]) for time, value in pairs)
    return tube(f"{name}[{part}] as in the reference", name, series, tolerance, part=part)


def _tuples(values: list[Any]) -> bool:
    """Whether all are tuples of the same number of numbers, one or more."""
    if not isinstance(values[0], tuple) or not values[0]:
        return False
    return all(isinstance(value, tuple) and len(value) == len(values[0]) and _numbers(value) for value in values)


def _numbers(values: Any) -> bool:
    return all(isinstance(value, Real) and not isinstance(value, bool) for value in values)


def _events(reference: Trace, tolerance: Tolerance) -> Requirement:
    wanted: Pairs = [(entry.time, entry.what.line()) for entry in reference.events]

    def same(trace: Trace) -> Found:
        came: Pairs = [(entry.time, entry.what.line()) for entry in trace.events]
        departs = mismatch(came, wanted, tolerance.lead, tolerance.lag)
        return Found(False, departs.told, departs.at) if departs else Found(True, f"{len(came)} events in the same order")

    return Requirement("events as in the reference", same)
