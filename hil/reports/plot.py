"""Drawings of a Trace as plain SVG: Signals with their reference and tube, faults, and the first violation.

Colours are variables of the page (`STYLE`), so that one drawing serves a light and a dark one.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from hil.judging.against import Tube
from hil.judging.rules import Trigger, Unseen, end_of, matches
from hil.judging.tube import Series, band
from hil.judging.verdict import Verdict
from hil.reports.record import Foreign
from twin.clock import Ns, S, seconds
from twin.kernel import Floats, Ints
from twin.trace import Event, Trace

WIDTH, LEFT, RIGHT, TOP = 860, 84, 16, 24
PANEL, GAP, AXIS, ROW = 150, 16, 34, 17
CLOSE = 14
MOST_MARKS = 12
MOST_LEVELS = 12
"""How many different values a Signal of words may have to be drawn as levels."""


SHOWN = ("FaultOn", "FaultFired", "FaultOff", "LinkCut", "LinkHealed", "NodeEnded")
"""Events that are always marked, by the names of their types."""

CONTEXT = Ns(2 * S)
WHOLE = Ns(20 * S)
"""A Trace that is no longer is shown whole; of a longer one the violation with its context."""

STYLE = """
.plot { --line: #0b57a4; --wanted: #6b6b6b; --tube: #2e7d3233; --edge: #2e7d32; --fault: #b25b0022; --mark: #9a4d00; --bad: #b3001b;
  --ink: #1b1b1b; --grid: #d9d9d9; --paper: #ffffff;
  font: 12px system-ui, sans-serif; max-width: 100%; height: auto }
@media (prefers-color-scheme: dark) { .plot { --line: #7cb7ff; --wanted: #a8a8a8; --tube: #66bb6a33; --edge: #81c784;
  --fault: #ffb74d22; --mark: #ffb74d; --bad: #ff7b89; --ink: #ececec; --grid: #3d3d3d; --paper: #17191c } }
.plot text { fill: var(--ink) } .plot .paper { fill: var(--paper) } .plot .grid { stroke: var(--grid) }
.plot .line { fill: none; stroke: var(--line); stroke-width: 1.6 }
.plot .wanted { fill: none; stroke: var(--wanted); stroke-width: 1.2; stroke-dasharray: 5 3 }
.plot .tube { fill: var(--tube); stroke: var(--edge); stroke-width: .6 } .plot .fault { fill: var(--fault) }
.plot line.mark { stroke: var(--mark); stroke-dasharray: 2 3 } .plot line.bad { stroke: var(--bad); stroke-width: 1.6 }
.plot .spot { fill: none; stroke: var(--bad); stroke-width: 2 } .plot text.mark { fill: var(--mark) }
.plot text.bad { fill: var(--bad); font-weight: 600 }
"""


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment to be shown, with what to say of it."""

    at: Ns
    text: str
    bad: bool = False


@dataclass(frozen=True, slots=True)
class Span:
    """What part of time is drawn, and where."""

    start: Ns
    end: Ns

    def x(self, time: float) -> float:
        """Where a time lies, kept to the drawing."""
        share = (min(max(time, self.start), self.end) - self.start) / max(1, self.end - self.start)
        return LEFT + share * (WIDTH - LEFT - RIGHT)


@dataclass(frozen=True, slots=True)
class Scale:
    """What part of a Signal's values is drawn, and where."""

    low: float
    high: float
    top: float

    def __call__(self, value: float) -> float:
        """Where a value lies."""
        return self.top + PANEL * (1 - (value - self.low) / (self.high - self.low))


def plot(verdict: Verdict, trace: Trace, name: str) -> str:
    """An `<svg>` of what a verdict judged: its Signals, the tube if its rule is one, faults and the first violation.

    Args:
        name: unique on the page; its title's and description's ids begin with it.
    """
    tube = verdict.rule if isinstance(verdict.rule, Tube) else None
    signals = [signal for signal in verdict.signals if trace.series.get(signal)]
    span = around(trace, verdict.at)
    shown = marks(trace, span, verdict.at, getattr(verdict.rule, "after", None))
    bottom = TOP + max(1, len(signals)) * (PANEL + GAP)
    height = bottom + AXIS + ROW * len(shown)
    parts = [_head(verdict, name, height), *(_shade(trace, span, bottom))]
    for number, signal in enumerate(signals):
        parts += _panel(trace, signal, tube, span, TOP + number * (PANEL + GAP), verdict.at)
    if not signals:
        parts.append(f'<text x="{LEFT}" y="{TOP + PANEL / 2}">events only</text>')
    parts += [*_time_axis(span, bottom), *_marks(shown, span, bottom), "</svg>"]
    return "".join(parts)


def around(trace: Trace, at: Ns | None) -> Span:
    """The part of a Trace to show: all of a short one, else a violation with a tenth of the whole on either side."""
    starts = [series[0][0] for series in trace.series.values() if series] + [entry.time for entry in trace.events][:1]
    start, end = min(starts, default=Ns(0)), end_of(trace)
    if at is None or end - start <= WHOLE:
        return Span(start, max(end, at or end, Ns(start + 1)))
    context = max(CONTEXT, (end - start) // 10)
    return Span(Ns(max(start, at - context)), Ns(max(at, min(end, at + context))))


def kind_of(event: Event) -> str:
    """The name of an event's type, also of one that is not known here."""
    return event.kind.rpartition(".")[2] if isinstance(event, Foreign) else type(event).__name__


def marks(trace: Trace, span: Span, at: Ns | None, after: Trigger | None = None) -> list[Mark]:
    """What is marked in the span: faults, cut links, the event from which on it was judged, and the first violation."""
    begins = [entry for entry in trace.events if after is not None and matches(entry.what, after)][:1]
    found = [Mark(entry.time, entry.what.line()) for entry in trace.events if kind_of(entry.what) in SHOWN or entry in begins]
    found = [mark for mark in found if span.start <= mark.at <= span.end]
    if len(found) > MOST_MARKS:
        found = [*found[:MOST_MARKS], Mark(found[MOST_MARKS].at, f"and {len(found) - MOST_MARKS} more from here on")]
    if at is not None:
        found.append(Mark(at, "first violation", bad=True))
    return sorted(found, key=lambda mark: mark.at)


def _head(verdict: Verdict, name: str, height: float) -> str:
    title = f"{verdict.id} {verdict.requirement}".strip()
    told = f"{'Held' if verdict.passed else 'Did not hold'}: {verdict.evidence}"
    return (
        f'<svg class="plot" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img" '
        f'aria-labelledby="{name}-title {name}-told">'
        f'<title id="{name}-title">{escape(title)}</title><desc id="{name}-told">{escape(told)}</desc>'
        f'<rect class="paper" width="{WIDTH}" height="{height}"/>'
    )


def _shade(trace: Trace, span: Span, bottom: float) -> Iterable[str]:
    """What was broken, from its FaultOn to its FaultOff or to the end."""
    on: dict[str, Ns] = {}
    spans: list[tuple[Ns, Ns]] = []
    for entry in trace.events:
        kind, subject = kind_of(entry.what), entry.what.line().split(" ", 1)[-1]
        if kind == "FaultOn":
            on[subject] = entry.time
        elif kind == "FaultOff" and subject in on:
            spans.append((on.pop(subject), entry.time))
    for since, till in spans + [(since, span.end) for since in on.values()]:
        if since <= span.end and till >= span.start:
            left, right = span.x(since), span.x(till)
            yield f'<rect class="fault" x="{left:.1f}" y="{TOP}" width="{right - left:.1f}" height="{bottom - TOP - GAP}"/>'


# ---- a Signal


def _panel(trace: Trace, signal: str, tube: Tube | None, span: Span, top: float, at: Ns | None) -> Iterable[str]:
    pairs, part = list(trace.series[signal]), tube.part if tube else None
    if part is not None:
        pairs = [(time, value[part]) for time, value in pairs if isinstance(value, tuple) and part < len(value)]
    series, levels = numbers(pairs)
    held = tube.held if tube else True
    curve = _outline(series, span, held)
    wanted = _reference(trace, tube)
    tunnel = band(wanted, tube.tolerance, _columns(span), held) if tube and wanted else None
    y = _scale([curve[1], *((tunnel.low, tunnel.high) if tunnel else ())], levels, top)
    told = (signal if part is None else f"{signal}[{part}]") + (
        ": recorded (line), reference (dashed), allowed (band)" if tunnel else ""
    )
    yield f'<text x="{LEFT}" y="{top - 4}">{escape(told)}</text>'
    yield from _value_axis(y, levels)
    if tunnel and wanted:
        below, above = zip(tunnel.times, tunnel.low, strict=True), zip(tunnel.times[::-1], tunnel.high[::-1], strict=True)
        yield f'<polygon class="tube" points="{_points(below, span, y)} {_points(above, span, y)}"/>'
        yield f'<polyline class="wanted" points="{_points(zip(*_outline(wanted, span, held), strict=True), span, y)}"/>'
    yield f'<polyline class="line" points="{_points(zip(*curve, strict=True), span, y)}"/>'
    if at is not None and len(series.times) and at >= series.times[0]:
        value = float(series.at(np.array([at], np.int64), held)[0])
        yield f'<circle class="spot" cx="{span.x(at):.1f}" cy="{y(value if math.isfinite(value) else y.low):.1f}" r="5"/>'


def _columns(span: Span) -> Ints:
    """Times at which a tube is drawn: twice in each column of the drawing."""
    return np.unique(np.linspace(span.start, span.end, 2 * WIDTH).astype(np.int64))


def _reference(trace: Trace, tube: Tube | None) -> Series | None:
    try:
        return tube.placed(trace) if tube else None
    except Unseen:
        return None


def numbers(pairs: Sequence[tuple[Ns, Any]]) -> tuple[Series, list[str]]:
    """A Signal as numbers: itself; or, of words, the number of each in the list that is returned, too."""
    try:
        return Series.of(pairs), []
    except ValueError:
        words = list(dict.fromkeys(str(value) for _, value in pairs))
        levels = words if len(words) <= MOST_LEVELS else [*words[: MOST_LEVELS - 1], "others"]
        known = {word: min(number, len(levels) - 1) for number, word in enumerate(words)}
        return Series.of((time, known[str(value)]) for time, value in pairs), levels


def _outline(series: Series, span: Span, held: bool) -> tuple[Floats, Floats]:
    """Corners of the curve within the span; of many points in one column of the drawing the first, lowest, highest and last."""
    first = max(0, int(np.searchsorted(series.times, span.start, side="right")) - 1)
    last = int(np.searchsorted(series.times, span.end, side="right")) + (0 if held else 1)
    times, values = series.times[first:last].astype(np.float64), series.values[first:last]
    finite = np.isfinite(values)
    times, values = times[finite], values[finite]
    if len(times) > 4 * WIDTH:
        keep = _kept(times, values, span)
        times, values = times[keep], values[keep]
    if held and len(times):
        ends = np.append(times[1:], max(float(span.end), float(times[-1])))
        times, values = np.column_stack((times, ends)).ravel(), np.repeat(values, 2)
    return times, values


def _kept(times: Floats, values: Floats, span: Span) -> Any:
    columns = np.clip((times - span.start) / max(1, span.end - span.start) * WIDTH, 0, WIDTH).astype(np.int64)
    starts = np.flatnonzero(np.diff(columns, prepend=-1))
    keep: set[int] = set()
    for start, end in zip(starts, np.append(starts[1:], len(times)), strict=True):
        keep |= {int(start), int(start + values[start:end].argmin()), int(start + values[start:end].argmax()), int(end) - 1}
    return np.array(sorted(keep))


def _scale(columns: Iterable[Floats], levels: list[str], top: float) -> Scale:
    if levels:
        return Scale(-0.5, len(levels) - 0.5, top)
    every = np.concatenate([column for column in columns if len(column)] or [np.zeros(1)])
    every = every[np.isfinite(every)] if np.isfinite(every).any() else np.zeros(1)
    low, high = float(every.min()), float(every.max())
    margin = (high - low) * 0.06 or max(abs(high) * 0.05, 0.5)
    return Scale(low - margin, high + margin, top)


def _points(pairs: Iterable[tuple[float, float]], span: Span, y: Scale) -> str:
    return " ".join(f"{span.x(time):.1f},{y(value):.1f}" for time, value in pairs)


# ---- axes and marks


def ticks(low: float, high: float, most: int) -> list[float]:
    """Round numbers in [low, high], at most `most` of them."""
    rough = (high - low) / max(1, most - 1)
    if not rough > 0:
        return [low]
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


def _value_axis(y: Scale, levels: list[str]) -> Iterable[str]:
    yield f'<rect x="{LEFT}" y="{y.top}" width="{WIDTH - LEFT - RIGHT}" height="{PANEL}" fill="none" class="grid"/>'
    words = [level if len(level) <= 12 else level[:11] + "…" for level in levels]
    told = list(enumerate(words)) if words else [(tick, f"{tick:.6g}") for tick in ticks(y.low, y.high, 6)]
    for value, text in told:
        yield f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}"/>'
        yield f'<text x="{LEFT - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{escape(text)}</text>'


def _time_axis(span: Span, bottom: float) -> Iterable[str]:
    low, high = seconds(span.start), seconds(span.end)
    digits = max(0, min(9, 2 - math.floor(math.log10(high - low)))) if high > low else 3
    for tick in ticks(low, high, 10):
        x = span.x(tick * S)
        yield f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{bottom - GAP}"/>'
        yield f'<text x="{x:.1f}" y="{bottom}" text-anchor="middle">{tick:.{digits}f}</text>'
    yield f'<text x="{WIDTH - RIGHT}" y="{bottom + 14}" text-anchor="end">factory time, s</text>'


def _marks(shown: list[Mark], span: Span, bottom: float) -> Iterable[str]:
    before, lower = -math.inf, 0
    for number, mark in enumerate(shown, 1):
        kind, x = ("bad" if mark.bad else "mark"), span.x(mark.at)
        before, lower = x, (lower + 1 if x - before < CLOSE else 0)  # numbers that would lie on each other go down like stairs
        yield f'<line class="{kind}" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{bottom - GAP}"/>'
        yield f'<text class="{kind}" x="{min(x + 2, WIDTH - RIGHT - 12):.1f}" y="{TOP + 11 + 12 * (lower % 8)}">{number}</text>'
        told = f"{number}  {seconds(mark.at):.4f} s  {mark.text}"
        yield f'<text class="{kind}" x="{LEFT}" y="{bottom + 14 + number * ROW}">{escape(told[:120])}</text>'
