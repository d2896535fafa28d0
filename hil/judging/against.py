"""Rules, as in `hil/judging/rules.py`, that hold a Signal against a reference."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from hil.judging.rules import FAR, Found, Trigger, history, occurrences
from hil.judging.tube import NO_TIME, Series, Tolerance, fit
from twin.clock import Ns, S, seconds
from twin.trace import Trace

Pairs = list[tuple[Ns, Any]]


@dataclass(frozen=True, slots=True)
class Tube:
    """See `hil.judging.verdict.tube`."""

    signal: str
    reference: Series = field(repr=False)
    tolerance: Tolerance
    held: bool = True
    after: Trigger | None = None
    part: int | None = None
    lasts: Ns = FAR

    def __call__(self, trace: Trace) -> Found:
        signals = (self.signal,)
        try:
            found, reference = self.found(trace), self.placed(trace)
            kept = fit(found, reference, self.tolerance, self.held, self.end(reference))
        except ValueError as unfit:
            return Found(False, f"{self.signal}: {unfit}", None, signals)
        gap = self._gap(found, reference)
        told = f"at most {kept.largest:.4g} off, rms {kept.rms:.4g}, {kept.judged} moments"
        if kept.passed and gap is None:
            return Found(True, f"{self.signal} {told}", None, signals)
        if kept.passed:
            return Found(False, f"{self.signal} covers only a part of its reference", gap, signals)
        allowed = f"{kept.low:.6g} to {kept.high:.6g} allowed"
        told = f"{self.signal} was {kept.value:.6g} at {seconds(kept.first or NO_TIME):.4f} s, {allowed}"
        told += f"; {kept.outside} of {kept.judged} moments outside, at most by {kept.excess:.4g}"
        told += f"; least off when shifted by {seconds(kept.shift):+.4f} s" if kept.shift else ""
        return Found(False, told, kept.first, signals)

    def found(self, trace: Trace) -> Series:
        """The Signal's numbers; of a tuple the asked part."""
        pairs, part = history(trace, self.signal), self.part
        if part is None:
            return Series.of(pairs)
        strange = next((value for _, value in pairs if not isinstance(value, tuple) or len(value) <= part), None)
        if strange is not None:
            raise ValueError(f"{strange!r} has no part {part}")
        return Series.of((time, value[part]) for time, value in pairs)

    def placed(self, trace: Trace) -> Series:
        """The reference in the Trace's time: it begins with the event, if one is named."""
        if self.after is None:
            return self.reference
        start = occurrences(trace, self.after)[0]
        return replace(self.reference, times=self.reference.times + np.int64(start))

    def end(self, reference: Series) -> Ns:
        """Until when it is judged."""
        return Ns(int(reference.times[0]) + self.lasts) if self.lasts < FAR and len(reference.times) else FAR

    def _gap(self, found: Series, reference: Series) -> Ns | None:
        """Where the Signal is not known though its reference is."""
        if found.times[0] > reference.times[0] + self.tolerance.lag:
            return Ns(int(reference.times[0]))
        if not self.held and found.times[-1] < reference.times[-1] - self.tolerance.lead:
            return Ns(int(found.times[-1]))
        return None


@dataclass(frozen=True, slots=True)
class Sequence:
    """See `hil.judging.verdict.sequence`."""

    signal: str
    reference: tuple[tuple[Ns, Any], ...] = field(repr=False)
    lead: Ns = NO_TIME
    lag: Ns = NO_TIME

    def __call__(self, trace: Trace) -> Found:
        found = history(trace, self.signal)
        departs = mismatch(changes(found), changes(self.reference), self.lead, self.lag)
        if departs is not None:
            return Found(False, f"{self.signal}: {departs.told}", departs.at, (self.signal,))
        return Found(True, f"{self.signal} took {len(found)} values as wanted", None, (self.signal,))


# ---- discrete Signals


@dataclass(frozen=True, slots=True)
class Mismatch:
    """Where a sequence of values departs from its reference.

    Attributes:
        at: the time of it.
        told: a sentence.
    """

    at: Ns
    told: str


def changes(pairs: Iterable[tuple[Ns, Any]]) -> Pairs:
    """The pairs whose value differs from the one before."""
    kept: Pairs = []
    for time, value in pairs:
        if not kept or kept[-1][1] != value:
            kept.append((time, value))
    return kept


def mismatch(came: Pairs, wanted: Pairs, lead: Ns, lag: Ns) -> Mismatch | None:
    """The first departure from the wanted values, each of which must come in order and within its window in time."""
    for number, ((time, value), (due, known)) in enumerate(zip(came, wanted, strict=False), 1):
        if value != known:
            return Mismatch(time, f"value {number} is {value!r}, not {known!r}")
        if not due - lead <= time <= due + lag:
            late = time > due
            told = f"value {number}, {value!r}, came {abs(time - due) / S:.4f} s {'late' if late else 'early'}"
            return Mismatch(time, f"{told}, at most {(lag if late else lead) / S:.4f} s")
    if len(came) > len(wanted):
        return Mismatch(came[len(wanted)][0], f"{len(came)} values, {len(wanted)} wanted: {came[len(wanted)][1]!r} is too many")
    if len(came) < len(wanted):
        return Mismatch(wanted[len(came)][0], f"{len(came)} values, {len(wanted)} wanted: {wanted[len(came)][1]!r} never came")
    return None
