"""`python -m tests.mutation`: how many one-operator edits of the lease, latch, interlock, scan and codec code go unnoticed."""

import argparse
import json
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from tests.mutation.run import Bench, MutationError, Outcome, Tally, choose
from tests.mutation.targets import TARGETS, Target

SEED = 3
PER_FILE = 24
RATE = 0.90


def measure(targets: Sequence[Target], per_file: int = PER_FILE, seed: int = SEED, jobs: int = 2) -> list[Tally]:
    """The figures of each file, told as they come."""
    bench, tallies = Bench(jobs), []
    for target in targets:
        chosen, existing, equivalent = choose(target, per_file, seed)
        print(f"{target.file}: {existing} edits, {equivalent} of them equivalent, {len(chosen)} drawn", flush=True)
        tallies.append(Tally(target.file, existing, equivalent, tuple(bench.run(target, chosen, _tell))))
    bench.check()
    return tallies


def _tell(outcome: Outcome) -> None:
    said = f"killed by {outcome.by}" if outcome.killed else "SURVIVES"
    print(f"  {outcome.seconds:5.1f} s  {outcome.edit}\n           {said[:180]}", flush=True)


def rate(tallies: Sequence[Tally]) -> float:
    """Share of the mutants that were killed."""
    total = sum(len(tally.outcomes) for tally in tallies)
    return sum(tally.killed for tally in tallies) / total if total else 1.0


def table(tallies: Sequence[Tally]) -> str:
    """Figures per file, then the survivors."""
    lines = [f"{'file':32} {'edits':>6} {'equivalent':>10} {'drawn':>6} {'killed':>7} {'rate':>7}"]
    for tally in tallies:
        drawn = len(tally.outcomes)
        share = f"{tally.killed / drawn:7.1%}" if drawn else "      –"
        lines.append(f"{tally.file:32} {tally.existing:6} {tally.equivalent:10} {drawn:6} {tally.killed:7} {share}")
    survivors = [edit for tally in tallies for edit in tally.survivors]
    total = sum(len(tally.outcomes) for tally in tallies)
    lines.append(f"{total - len(survivors)} of {total} mutants killed: {rate(tallies):.1%}; unlisted survivors: {len(survivors)}")
    return "\n".join([*lines, *(f"  survives: {edit}" for edit in survivors)])


def main(arguments: Sequence[str] | None = None) -> int:
    """0 where at least 90 % are killed."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--per-file", type=int, default=PER_FILE, metavar="N", help="edits drawn of each file; 0 for all")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", action="append", default=[], metavar="FILE", help="again for more files")
    parser.add_argument("--json", type=Path, metavar="PATH", help="every outcome goes there")
    options = parser.parse_args(arguments)
    if unknown := set(options.only) - {target.file for target in TARGETS}:
        parser.error(f"no such target: {', '.join(sorted(unknown))}; there are {', '.join(t.file for t in TARGETS)}")
    targets = [target for target in TARGETS if not options.only or target.file in options.only]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what runs is ended, as it is after ^C
    try:
        tallies = measure(targets, options.per_file, options.seed, options.jobs)
    except MutationError as broken:
        print(broken, file=sys.stderr)
        return 2
    print(table(tallies))
    if options.json:
        options.json.write_text(json.dumps([asdict(tally) for tally in tallies], indent=1), encoding="utf-8")
    return 0 if rate(tallies) >= RATE else 1


if __name__ == "__main__":
    sys.exit(main())
