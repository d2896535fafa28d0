"""Requirements over a Trace, and the verdict on each with its evidence."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from twin.clock import MS, Ns, seconds
from twin.trace import Event, Trace


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a requirement held, and what shows it."""

    requirement: str
    passed: bool
    evidence: str

    def __str__(self) -> str:
        return f"{'passed' if self.passed else 'FAILED'}  {self.requirement}: {self.evidence}"


@dataclass(frozen=True, slots=True)
class Requirement:
    """What must hold over a Trace.

    Attributes:
        text: a sentence.
        judge: (held, evidence) of a Trace; it reads nothing else.
    """

    text: str
    judge: Callable[[Trace], tuple[bool, str]]

    def over(self, trace: Trace) -> Verdict:
        """The verdict on a Trace."""
        return Verdict(self.text, *self.judge(trace))


def judge(requirements: Iterable[Requirement], trace: Trace) -> tuple[Verdict, ...]:
    """The verdicts on a Trace, in order."""
    return tuple(requirement.over(trace) for requirement in requirements)


def responds(text: str, after: Event, signal: str, holds: Callable[[Any], bool], within: Ns) -> Requirement:
    """After an event a Signal must come to meet a condition within a time, and go on meeting it to the Trace's end."""

    def found(trace: Trace) -> tuple[bool, str]:
        try:
            since = trace.after(after)
        except LookupError as never:
            return False, str(never)
        settled = since.settled(signal, holds)
        if settled is None:
            return False, f"{signal} is {trace.last(signal)!r} at the end"
        return settled <= within, f"{signal} after {settled / MS:.1f} ms, at most {within / MS:.1f} ms"

    return Requirement(text, found)


def never(text: str, signal: str, holds: Callable[[Any], bool], after: Event | None = None) -> Requirement:
    """A Signal must not meet a condition at any time (after an event, if one is named)."""

    def found(trace: Trace) -> tuple[bool, str]:
        try:
            start = trace.after(after).start if after is not None else Ns(0)
        except LookupError as never_came:
            return False, str(never_came)
        for time, value in trace.series.get(signal, ()):
            if time >= start and holds(value):
                return False, f"{signal} was {value!r} at {seconds(time):.4f} s"
        return True, f"{signal} kept to it"

    return Requirement(text, found)


def happened(text: str, *wanted: type[Event]) -> Requirement:
    """Events of these types must have come in this order, others between them or not."""

    def found(trace: Trace) -> tuple[bool, str]:
        missing = list(wanted)
        for entry in trace.events:
            if missing and isinstance(entry.what, missing[0]):
                missing.pop(0)
        return not missing, f"missing {missing[0].__name__}" if missing else f"{len(wanted)} events in order"

    return Requirement(text, found)
