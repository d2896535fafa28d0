"""`lockstep hil run`: a scenario by its name, a plan's file, or a campaign of random plans."""

import argparse
import dataclasses
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from hil import scenarios
from hil.campaigns import campaign
from hil.campaigns.perform import Performed, perform, perform_scenario
from hil.campaigns.plan import DURATION, load
from hil.commands import UsageError, reports
from hil.faults import KINDS
from hil.scenario import SCENARIOS
from hil.targets.choice import DEFAULT, TARGETS
from hil.targets.vm import BOARD, FREE
from twin.clock import seconds
from twin.factory import read

COSTS = {"board": BOARD, "free": FREE}
CAMPAIGN = "campaign"


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """The command's arguments."""
    run = commands.add_parser("run", help="run a scenario, a plan's file, or a campaign of random plans")
    run.add_argument("what", help=f"a scenario of `lockstep hil list`, a file such as plan.toml, or '{CAMPAIGN}'")
    run.add_argument("--seed", type=int, help="of the scenario, the plan or the only seed of the campaign")
    run.add_argument("--seeds", type=_seeds, default=range(0, 100), metavar="FROM:TO", help="of the campaign (0:100)")
    run.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="processes of the campaign (all processors)")
    run.add_argument("--kinds", default="", help="draw from these kinds of faults alone, with commas between them")
    run.add_argument("--no-shrink", action="store_true", help="leave failing plans as long as they were drawn")
    run.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a parameter of the scenario")
    run.add_argument("--target", choices=TARGETS, default=DEFAULT, help="what the nodes run on")
    run.add_argument("--factory", type=Path, help="another factory than the scenario's own")
    run.add_argument("--firmware", type=Path, help="another firmware: a folder with a main.py")
    run.add_argument("--costs", choices=COSTS, default="free", help="cost model of the boards (free)")
    run.add_argument("--state", type=Path, help="keep the nodes' and the core's files here")
    reports.add_to(run)
    run.set_defaults(do=_run)


def _seeds(text: str) -> Sequence[int]:
    first, colon, last = text.partition(":")
    try:
        return range(int(first), int(last) if colon else int(first) + 1)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not FROM:TO") from None


def _run(options: argparse.Namespace) -> int:
    scenarios.load()
    if options.firmware is not None and not (options.firmware / "main.py").is_file():
        raise UsageError(f"--firmware {options.firmware}: there is no main.py in it")
    if options.what == CAMPAIGN:
        return _campaign(options)
    rig = {"target": options.target}
    if options.firmware is not None:
        rig["firmware"] = options.firmware.resolve()
    if options.what in SCENARIOS:
        done = perform_scenario(
            SCENARIOS[options.what],
            options.state,
            seed=options.seed or 0,
            parameters=_parameters(options.set),
            factory=read(options.factory) if options.factory else None,
            costs=COSTS[options.costs],
            **rig,
        )
    elif Path(options.what).suffix == ".toml":
        plan = load(Path(options.what))
        if options.seed is not None:
            plan = dataclasses.replace(plan, seed=options.seed)
        done = perform(plan, options.state, costs=COSTS[options.costs], **rig)
    else:
        raise UsageError(f"{options.what!r} is neither a plan's file nor a scenario; there are {', '.join(sorted(SCENARIOS))}")
    return _tell(done, options)


def _parameters(pairs: Iterable[str]) -> dict[str, float]:
    found = {}
    for pair in pairs:
        name, _, value = pair.partition("=")
        try:
            found[name] = float(value)
        except ValueError:
            raise UsageError(f"--set {pair!r}: {value!r} is not a number") from None
    return found


def _tell(done: Performed, options: argparse.Namespace) -> int:
    for verdict in done.verdicts:
        print(verdict)
    if done.error:
        print(f"FAILED  {done.error}")
    pace = f"{done.simulated_s:g} s in {done.wall_s:.1f} s ({done.simulated_s / done.wall_s:.0f} times)"
    print(f"{done.name}, seed {done.seed}: {pace}, digest {done.trace.digest[:16]}")
    reports.write(options, done, _again(options))
    return 0 if done.passed else 1


def _again(options: argparse.Namespace) -> str:
    """The line that does the same once more."""
    words = ["lockstep hil run", options.what]
    words += [f"--seed {options.seed}"] if options.seed is not None else []
    words += [f"--set {pair}" for pair in options.set]
    words += [f"--target {options.target}"] if options.target != DEFAULT else []
    for name in ("factory", "firmware"):
        if given := getattr(options, name):
            words.append(f"--{name} {given}")
    return " ".join(words)


# ---- campaigns


def _campaign(options: argparse.Namespace) -> int:
    if options.target != DEFAULT:
        raise UsageError(f"--target {options.target}: campaigns run on {DEFAULT}")
    setting = campaign.Setting(kinds=tuple(kind for kind in options.kinds.split(",") if kind))
    unknown = set(setting.kinds) - set(KINDS)
    if unknown:
        raise UsageError(f"--kinds: {', '.join(sorted(unknown))}: `lockstep hil faults` lists those there are")
    if options.factory is not None:
        path = options.factory.resolve()
        read(path)
        setting = dataclasses.replace(setting, factory=path.name, folder=path.parent)
    if options.firmware is not None:
        setting = dataclasses.replace(setting, firmware=options.firmware.resolve())
    seeds = options.seeds if options.seed is None else [options.seed]
    console = Console()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("campaigns", total=len(seeds))

        def heard(outcome: campaign.Outcome) -> None:
            progress.advance(task)
            if outcome.broken:
                console.print(_failure(outcome), highlight=False, markup=False)

        summary = campaign.run(seeds, setting, jobs=max(1, options.jobs), shrink=not options.no_shrink, heard=heard)
    console.print(_fired(summary, setting))
    simulated = summary.runs * seconds(DURATION)
    console.print(
        f"{summary.runs} campaigns, {len(summary.failed)} failed: {simulated:g} s in {summary.wall_s:.1f} s "
        f"({simulated / max(summary.wall_s, 1e-9):.0f} times)",
        highlight=False,
    )
    reports.write_campaign(options, summary)
    return 1 if summary.failed else 0


def _failure(outcome: campaign.Outcome) -> str:
    lines = [f"seed {outcome.seed} broke {', '.join(outcome.broken)}", *(f"  {line}" for line in outcome.failures)]
    lines += ["  again: " + campaign.again(outcome.seed), "  shortest plan that breaks the same:"]
    return "\n".join([*lines, *(f"    {line}" for line in outcome.plan.splitlines())])


def _fired(summary: campaign.Summary, setting: campaign.Setting) -> Table:
    table = Table("kind", "campaigns in which it fired", box=None, pad_edge=False)
    for name in KINDS:
        if not setting.kinds or name in setting.kinds:
            table.add_row(name, str(summary.fired.get(name, 0)))
    return table
