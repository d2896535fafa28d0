"""What came of a run of scenarios: one HTML page that needs nothing else, and the same as JSON."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from hil.judging.verdict import Verdict
from hil.reports.plot import STYLE, plot
from twin.clock import seconds
from twin.trace import Trace

FORMAT = "lockstep-report 1"
MOST_PLOTS = 200
"""A page with more would not open; what is left out says so."""

LONGEST = 160  # characters of a value

PAGE = """
:root { color-scheme: light dark; --good: #1b6e2d; --bad: #b3001b; --dim: #5f5f5f; --rule: #c9c9c9 }
@media (prefers-color-scheme: dark) { :root { --good: #7fd691; --bad: #ff7b89; --dim: #a8a8a8; --rule: #484848 } }
body { font: 15px/1.45 system-ui, sans-serif; max-width: 70rem; margin: 1.5rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.2rem; margin-top: 2rem } h3 { font-size: 1rem }
table { border-collapse: collapse; margin: .6rem 0 } caption { text-align: left; color: var(--dim); padding: .3rem 0 }
th, td { border: 1px solid var(--rule); padding: .25rem .5rem; text-align: left; vertical-align: top }
tbody th { white-space: nowrap }
td.number { text-align: right; font-variant-numeric: tabular-nums }
code { font-size: .92em; overflow-wrap: anywhere }
.passed { color: var(--good) } .failed { color: var(--bad); font-weight: 600 } .skipped { color: var(--dim) }
.wide { overflow-x: auto } summary { cursor: pointer } figure { margin: .8rem 0 }
"""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one scenario, or one test, on one target.

    Attributes:
        name: the scenario's or the test's.
        target: what it ran on, as "vm".
        duration_s: wall time.
        trace: for plots; may be left out.
        again: the line that does the same once more.
        error: what ended it early, in one line.
        skipped: why it did not run.
        simulated_s: factory time.
        chosen: ids or sentences of requirements to be drawn also where they held.
    """

    name: str
    target: str
    seed: int | None
    verdicts: tuple[Verdict, ...]
    duration_s: float = 0.0
    trace: Trace | None = field(default=None, repr=False, compare=False)
    again: str = ""
    error: str = ""
    skipped: str = ""
    simulated_s: float = 0.0
    chosen: tuple[str, ...] = ()

    @property
    def outcome(self) -> str:
        """passed, failed or skipped; where nothing was judged, nothing has passed."""
        if self.skipped:
            return "skipped"
        held = self.verdicts and all(verdict.passed for verdict in self.verdicts)
        return "passed" if held and not self.error else "failed"


@dataclass(frozen=True, slots=True)
class Row:
    """One requirement in the matrix.

    Attributes:
        id: the requirement's; empty where it has none.
        cells: for each column in how many of how many runs it held; None where it was not judged.
    """

    id: str
    text: str
    cells: tuple[tuple[int, int] | None, ...]


@dataclass(frozen=True, slots=True)
class Matrix:
    """Which requirement was judged where.

    Attributes:
        columns: (scenario or test, target).
    """

    columns: tuple[tuple[str, str], ...]
    rows: tuple[Row, ...]


def matrix(results: Iterable[Result]) -> Matrix:
    """Requirements by scenario and target; those with an id first, by their id, the others by their sentence."""
    results = list(results)
    columns = tuple(sorted({(result.name, result.target) for result in results}))
    texts: dict[tuple[str, str], str] = {}
    counts: dict[tuple[tuple[str, str], tuple[str, str]], tuple[int, int]] = {}
    for result in results:
        for verdict in result.verdicts:
            key = (verdict.id, "" if verdict.id else verdict.requirement)
            texts.setdefault(key, verdict.requirement)
            held, judged = counts.get((key, (result.name, result.target)), (0, 0))
            counts[key, (result.name, result.target)] = held + verdict.passed, judged + 1
    keys = sorted(texts, key=lambda key: (not key[0], key))
    return Matrix(columns, tuple(Row(key[0], texts[key], tuple(counts.get((key, column)) for column in columns)) for key in keys))


# ---- JSON


def write_json(results: Iterable[Result], path: Path) -> None:
    """Write what `as_json` gives."""
    path.write_text(json.dumps(as_json(results), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def as_json(results: Iterable[Result]) -> dict[str, Any]:
    """Results and matrix in what JSON has; values in excerpts as Python writes them."""
    results = list(results)
    table = matrix(results)
    return {
        "format": FORMAT,
        "outcomes": _outcomes(results),
        "results": [_result(result) for result in results],
        "matrix": {
            "columns": [{"name": name, "target": target} for name, target in table.columns],
            "rows": [{"id": row.id, "requirement": row.text, "held": [_share(cell) for cell in row.cells]} for row in table.rows],
        },
    }


def _share(cell: tuple[int, int] | None) -> dict[str, int] | None:
    return None if cell is None else {"held": cell[0], "judged": cell[1]}


def _outcomes(results: Sequence[Result]) -> dict[str, int]:
    return {outcome: sum(result.outcome == outcome for result in results) for outcome in ("passed", "failed", "skipped")}


def _result(result: Result) -> dict[str, Any]:
    told = {name: getattr(result, name) for name in ("name", "target", "seed", "outcome", "error", "skipped", "again")}
    return told | {
        "duration_s": round(result.duration_s, 6),
        "simulated_s": result.simulated_s,
        "digest": result.trace.digest if result.trace is not None else None,
        "verdicts": [_verdict(verdict) for verdict in result.verdicts],
    }


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "id": verdict.id,
        "requirement": verdict.requirement,
        "passed": verdict.passed,
        "evidence": verdict.evidence,
        "at_ns": verdict.at,
        "signals": list(verdict.signals),
        "excerpt": [{"time_ns": time, "signal": signal, "value": repr(value)} for time, signal, value in verdict.excerpt],
    }


# ---- HTML


def write_html(results: Iterable[Result], path: Path, title: str = "Lockstep: verdicts") -> None:
    """Write what `as_html` gives."""
    path.write_text(as_html(results, title), encoding="utf-8")


def as_html(results: Iterable[Result], title: str = "Lockstep: verdicts") -> str:
    """A page with outcomes, requirements matrix and each result's verdicts, with plots of those that failed or were chosen."""
    results = sorted(results, key=lambda result: ("failed", "passed", "skipped").index(result.outcome))
    told = ", ".join(f"{count} {outcome}" for outcome, count in _outcomes(results).items())
    places = [(number, place) for number, result in enumerate(results) for place in range(len(result.verdicts))]
    wanted = [_name(number, place) for number, place in places if _draws(results[number], place)]
    drawn = frozenset(wanted[:MOST_PLOTS])
    sections = [_section(number, result, drawn) for number, result in enumerate(results)]
    body = [_overview(results), _matrix(matrix(results)), *sections]
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}"><style>{PAGE}{STYLE}</style></head>\n'
        f"<body><main><h1>{escape(title)}</h1><p>{told}</p>\n{''.join(body)}</main></body></html>\n"
    )


def _table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose first column names the rows; cells are HTML already, `<td>` or not."""
    head = "".join(f'<th scope="col">{cell}</th>' for cell in heads)
    lines = [
        f'<tr><th scope="row">{first}</th>{"".join(cell if cell.startswith("<td") else f"<td>{cell}</td>" for cell in rest)}</tr>'
        for first, *rest in rows
    ]
    body = "\n".join(lines)
    table = f"<caption>{caption}</caption><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody>"
    return f'<div class="wide"><table>{table}</table></div>\n'


def _word(outcome: str) -> str:
    return f'<td class="{outcome}">{outcome.upper() if outcome == "failed" else outcome}</td>'


def _number(value: float | None, digits: int) -> str:
    return f'<td class="number">{"" if value is None else f"{value:.{digits}f}"}</td>'


def _overview(results: Sequence[Result]) -> str:
    rows = [
        (
            f'<a href="#r{number}">{escape(result.name)}</a>',
            escape(result.target),
            _word(result.outcome),
            _number(result.seed, 0),
            _number(result.simulated_s, 3),
            _number(result.duration_s, 3),
        )
        for number, result in enumerate(results)
    ]
    heads = ("scenario", "target", "outcome", "seed", "factory time, s", "wall time, s")
    return "<h2>Results</h2>" + _table("Every scenario or test, failed ones first", heads, rows)


def _matrix(table: Matrix) -> str:
    heads = ("id", "requirement", *(f"{escape(name)}<br>{escape(target)}" for name, target in table.columns))
    rows = [(escape(row.id) or "–", escape(row.text), *map(_cell, row.cells)) for row in table.rows]
    caption = "Which requirement held where; an empty cell: not judged there"
    return "<h2>Requirements</h2>" + _table(caption, heads, rows)


def _cell(cell: tuple[int, int] | None) -> str:
    if cell is None:
        return "<td></td>"
    held, judged = cell
    word = ("held" if held == judged else "FAILED") + (f" {held} of {judged}" if judged > 1 else "")
    return f'<td class="{"passed" if held == judged else "failed"}">{word}</td>'


def _section(number: int, result: Result, drawn: frozenset[str]) -> str:
    parts = [f'<section id="r{number}"><h2>{escape(result.name)} on {escape(result.target)}: {result.outcome}</h2>']
    parts += [f"<p>Skipped: {escape(result.skipped)}</p>"] if result.skipped else []
    parts += [f'<p class="failed">{escape(result.error)}</p>'] if result.error else []
    parts += [f"<p>Again: <code>{escape(result.again)}</code></p>"] if result.again else []
    parts += [f"<p>Digest of the trace: <code>{result.trace.digest}</code></p>"] if result.trace is not None else []
    if result.verdicts:
        rows = [
            (escape(found.id) or "–", escape(found.requirement), _word(_passed(found)), escape(found.evidence))
            for found in result.verdicts
        ]
        parts.append(_table("Verdicts", ("id", "requirement", "verdict", "evidence"), rows))
    for place, verdict in enumerate(result.verdicts):
        if not verdict.passed or _chosen(result, verdict):
            name, draws = _name(number, place), _draws(result, place)
            parts.append(f"<h3>{escape(verdict.id)} {escape(verdict.requirement)}</h3>")
            parts.append(_figure(name, result, verdict, name in drawn) if draws else "")
            parts.append(_excerpt(verdict, opened=not draws))
    return "".join([*parts, "</section>\n"])


def _name(number: int, place: int) -> str:
    return f"r{number}v{place}"


def _passed(verdict: Verdict) -> str:
    return "passed" if verdict.passed else "failed"


def _chosen(result: Result, verdict: Verdict) -> bool:
    return (bool(verdict.id) and verdict.id in result.chosen) or verdict.requirement in result.chosen


def _draws(result: Result, place: int) -> bool:
    """Whether there is something to be drawn, and a wish to see it."""
    verdict = result.verdicts[place]
    shows = result.trace is not None and bool(verdict.signals or verdict.at is not None)
    return shows and (not verdict.passed or _chosen(result, verdict))


def _figure(name: str, result: Result, verdict: Verdict, drawn: bool) -> str:
    assert result.trace is not None
    if not drawn:
        return f"<p>Not drawn: a page holds {MOST_PLOTS} plots.</p>"
    return f"<figure>{plot(verdict, result.trace, name)}<figcaption>{escape(verdict.evidence)}</figcaption></figure>"


def _excerpt(verdict: Verdict, opened: bool) -> str:
    if not verdict.excerpt:
        return ""
    rows = []
    for time, signal, value in verdict.excerpt:
        told = repr(value) if signal else str(value)
        rows.append((f"{seconds(time):.6f}", escape(signal or "event"), f"<code>{escape(told[:LONGEST])}</code>"))
    table = _table("What was recorded around the first violation", ("factory time, s", "Signal", "value"), rows)
    return f"<details{' open' if opened else ''}><summary>Evidence</summary>{table}</details>"
