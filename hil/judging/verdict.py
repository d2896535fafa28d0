"""Requirements over a Trace, and the verdict on each with its evidence.

A requirement is a sentence and a rule. The usual rules are data (`rules`, `against`); a function of a Trace that gives (held,
evidence) is a rule, too. They read a live Trace and a recorded one (`hil.reports.record`) alike. A Signal that was never recorded,
or an event that never came, fails a requirement that speaks of it, unless the requirement is `optional`.
"""

import dataclasses
from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from hil.judging.against import Sequence, Tube
from hil.judging.conditions import AtLeast, AtMost, Between, Is, IsNot, OneOf
from hil.judging.rules import (
    FAR,
    Absent,
    Always,
    Condition,
    Found,
    Never,
    Ordered,
    Responds,
    Step,
    Trigger,
    Unseen,
    Until,
    When,
)
from hil.judging.tube import NO_TIME, Series, Tolerance
from twin.clock import Ns
from twin.trace import Event, Trace

__all__ = [
    "FAR", "AtLeast", "AtMost", "Between", "Found", "Is", "IsNot", "OneOf", "Requirement", "Series", "Step", "Tolerance", "Unseen",
    "Verdict", "When", "absent", "always", "happened", "judge", "never", "ordered", "responds", "sequence", "tube", "until",
]  # fmt: skip

BEFORE, AFTER = 4, 4
"""How many values (or events) before and after the first violation are kept as evidence."""

Rule = Callable[[Trace], Found | tuple[bool, str]]
Pairs = Iterable[tuple[Ns, Any]]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a requirement held, and what shows it.

    Attributes:
        requirement: its sentence.
        id: the name it goes by elsewhere, as "CELL-012"; may be empty.
        at: the first violation.
        signals: the Signals judged; none where events were.
        excerpt: what was recorded around the first violation: (time, Signal or "", value or event's line).
        rule: what was judged, for plots.
    """

    requirement: str
    passed: bool
    evidence: str
    id: str = ""
    at: Ns | None = None
    signals: tuple[str, ...] = ()
    excerpt: tuple[tuple[Ns, str, Any], ...] = field(default=(), repr=False)
    rule: Rule | None = field(default=None, repr=False, compare=False)

    def __str__(self) -> str:
        name = f"{self.id} " if self.id else ""
        return f"{'passed' if self.passed else 'FAILED'}  {name}{self.requirement}: {self.evidence}"


@dataclass(frozen=True, slots=True)
class Requirement:
    """What must hold over a Trace.

    Attributes:
        text: a sentence.
        judge: what it finds in a Trace; it reads nothing else.
        id: the name it goes by elsewhere; may be empty.
        optional: whether it holds where what it speaks of was never recorded.
    """

    text: str
    judge: Rule
    id: str = ""
    optional: bool = False

    def over(self, trace: Trace) -> Verdict:
        """The verdict on a Trace."""
        try:
            found = self.judge(trace)
        except Unseen as unseen:
            found = Found(self.optional, str(unseen))
        if isinstance(found, tuple):
            found = Found(*found)
        around = excerpt(trace, found) if not found.passed and found.at is not None else ()
        return Verdict(self.text, found.passed, found.told, self.id, found.at, found.signals, around, self.judge)

    def named(self, id: str) -> "Requirement":
        """The same requirement under an id."""
        return dataclasses.replace(self, id=id)


def judge(requirements: Iterable[Requirement], trace: Trace) -> tuple[Verdict, ...]:
    """The verdicts on a Trace, in order."""
    return tuple(requirement.over(trace) for requirement in requirements)


def excerpt(trace: Trace, found: Found) -> tuple[tuple[Ns, str, Any], ...]:
    """What was recorded of the judged Signals, or of events where there are none, around a violation."""
    assert found.at is not None
    columns = [[(time, signal, value) for time, value in trace.series.get(signal, ())] for signal in found.signals]
    columns = columns or [[(entry.time, "", entry.what.line()) for entry in trace.events]]
    kept = []
    for column in columns:
        middle = bisect_left(column, found.at, key=lambda entry: entry[0])
        kept += column[max(0, middle - BEFORE) : middle + AFTER]
    return tuple(sorted(kept, key=lambda entry: entry[0]))


# ---- the usual requirements


def responds(
    text: str,
    after: Trigger,
    signal: str,
    holds: Condition,
    within: Ns,
    *,
    lasting: bool = True,
    every: bool = False,
    id: str = "",
    optional: bool = False,
) -> Requirement:
    """After an event a Signal must come to meet a condition within a time, and go on meeting it to the Trace's end.

    Args:
        after: an event, or a type of events; the first one counts.
        lasting: whether it must go on; else having met it once in time is enough.
        every: after each such event; each time lasts until the next.
    """
    return Requirement(text, Responds(after, signal, holds, within, lasting, every), id, optional)


def never(
    text: str,
    signal: str,
    holds: Condition,
    after: Trigger | None = None,
    before: Trigger | None = None,
    *,
    id: str = "",
    optional: bool = False,
) -> Requirement:
    """A Signal must not meet a condition at any time (from one event on, up to another, where they are named)."""
    return Requirement(text, Never(signal, holds, after, before), id, optional)


def always(
    text: str,
    signal: str,
    holds: Condition,
    while_: When | None = None,
    *,
    grace: Ns = NO_TIME,
    after: Trigger | None = None,
    before: Trigger | None = None,
    id: str = "",
    optional: bool = False,
) -> Requirement:
    """A Signal must meet a condition all the time, or all the time while another Signal meets one.

    Args:
        grace: how long it may take after the other Signal has come to meet its condition.
    """
    return Requirement(text, Always(signal, holds, while_, grace, after, before), id, optional)


def until(
    text: str,
    signal: str,
    holds: Condition,
    end: When | Trigger,
    within: Ns,
    after: Trigger | None = None,
    *,
    id: str = "",
    optional: bool = False,
) -> Requirement:
    """A Signal must meet a condition until something comes, and that must come within a time.

    Args:
        end: a Signal's meeting a condition, an event, or a type of events.
        after: where it begins; else where the Signal was first recorded.
    """
    return Requirement(text, Until(signal, holds, end, within, after), id, optional)


def happened(text: str, *wanted: type[Event], id: str = "") -> Requirement:
    """Events of these types must have come in this order, others between them or not."""
    return Requirement(text, Ordered(tuple(Step(what) for what in wanted)), id)


def ordered(text: str, *steps: Step | Trigger, id: str = "") -> Requirement:
    """Events must have come in this order, others between them or not, each within its time after the one before."""
    return Requirement(text, Ordered(tuple(step if isinstance(step, Step) else Step(step) for step in steps)), id)


def absent(text: str, *what: Trigger, after: Trigger | None = None, id: str = "", optional: bool = False) -> Requirement:
    """None of these events must have come (from one event on, where it is named)."""
    return Requirement(text, Absent(what, after), id, optional)


def tube(
    text: str,
    signal: str,
    reference: Series | Pairs,
    tolerance: Tolerance,
    *,
    held: bool = True,
    after: Trigger | None = None,
    part: int | None = None,
    lasts: Ns = FAR,
    id: str = "",
    optional: bool = False,
) -> Requirement:
    """A Signal must keep to a reference within a tolerance in value and in time.

    Args:
        held: both keep each value until the next; else both are straight between their points, and the Signal is judged at its own.
        after: the reference's time is counted from this event.
        part: which number, where the Signal's values are tuples.
        lasts: how long it is judged from the reference's beginning; the reference keeps its last value.
    """
    series = reference if isinstance(reference, Series) else Series.of(reference)
    return Requirement(text, Tube(signal, series, tolerance, held, after, part, lasts), id, optional)


def sequence(
    text: str, signal: str, reference: Pairs, lead: Ns = NO_TIME, lag: Ns = NO_TIME, *, id: str = "", optional: bool = False
) -> Requirement:
    """A Signal must take exactly these values in this order, each at most `lead` earlier and `lag` later than given."""
    return Requirement(text, Sequence(signal, tuple(reference), lead, lag), id, optional)
