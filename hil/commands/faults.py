"""`lockstep hil faults`: every kind of fault there is, as a table or as a page of the docs."""

import argparse
import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from hil.commands import UsageError
from hil.faults import KINDS
from twin.fault import Kind, Subject

WHERE = {
    Subject.SENSOR: "`machine.sensor`",
    Subject.ACTUATOR: "`machine.output`, `machine.frames` for a step stream",
    Subject.PLANT: "`machine`",
    Subject.LINK: "`node`",
    Subject.NODE: "`node`",
    Subject.CONTROLLER: "`core`",
}


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """The command's arguments."""
    found = commands.add_parser("faults", help="every kind of fault there is")
    found.add_argument("--page", type=Path, metavar="FILE", help="write them as a page of the docs")
    found.add_argument(
        "--results", type=Path, metavar="FILE", help="what their tests came to, for the page: pytest's JUnit file, or JSON by kind"
    )
    found.set_defaults(do=_faults)


def _faults(options: argparse.Namespace) -> int:
    if options.page is not None:
        results = _results(options.results) if options.results else {}
        options.page.write_text(page(results), encoding="utf-8")
        return 0
    console = Console()
    table = Table("kind", "subject", "what breaks", "parameters", box=None, pad_edge=False)
    for kind in KINDS.values():
        table.add_row(kind.name, kind.subject, kind.text, _parameters(kind))
    console.print(table)
    console.print(f"{len(KINDS)} kinds", highlight=False)
    return 0


def _results(path: Path) -> dict[str, Mapping[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8")
        found: Any = _of_tests(text) if path.suffix == ".xml" else json.loads(text)
    except (OSError, ValueError, ElementTree.ParseError) as broken:
        raise UsageError(f"--results {path}: {broken}") from broken
    if not isinstance(found, dict) or not all(isinstance(one, dict) for one in found.values()):
        raise UsageError(f"--results {path}: must be an object of objects, by kind")
    return dict(found)


def _of_tests(junit: str) -> dict[str, dict[str, Any]]:
    """What tests that name a `fault-kind` in their properties came to: passed where all tests of a kind did."""
    found: dict[str, dict[str, Any]] = {}
    for case in ElementTree.fromstring(junit).iter("testcase"):
        failed = any(case.find(name) is not None for name in ("failure", "error"))
        for one in case.iter("property"):
            if one.get("name") == "fault-kind" and case.find("skipped") is None:
                known = found.setdefault(str(one.get("value")), {"result": "passed", "tests": 0})
                known["test"] = str(case.get("classname")).replace(".", "/") + ".py"
                known["tests"] += 1
                known["result"] = "failed" if failed else known["result"]
    return found


def page(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The catalogue as a page: by subject, what breaks, what is expected, where it shows, and what its test last came to.

    Args:
        results: by kind: `result` ("passed", "failed"), `fired`, `caught` and `test`.
    """
    lines = [
        "# Faults",
        "",
        "Made by `lockstep hil faults --page`; do not edit.",
        "",
        f"{len(KINDS)} kinds of faults can be put into a factory: by a [plan](../how-to/write-a-scenario.md), by a scenario's",
        "`inject`, or by a random campaign. A kind is in here once its test shows that it fired and that the requirement held,",
        "and that the requirement fails when the defence is taken out. *Ref* is its entry in the fault catalogue that the",
        "project started from.",
    ]
    for subject in Subject:
        kinds = [kind for kind in KINDS.values() if kind.subject is subject]
        lines += ["", f"## {subject.capitalize()}: {len(kinds)}", "", f"Target: {WHERE[subject]}.", ""]
        lines += ["| Kind | What breaks | Expected | Observable | Parameters | Ref | Last result | Test |", "|---" * 8 + "|"]
        lines += [_row(kind, results.get(kind.name, {})) for kind in kinds]
    return "\n".join(lines) + "\n"


def _row(kind: Kind, result: Mapping[str, Any]) -> str:
    last = str(result.get("result", "not run"))
    test = f"`{result['test']}`" if "test" in result else ""
    cells = (f"`{kind.name}`", kind.text, kind.expected, kind.observable, _parameters(kind), kind.reference, last, test)
    return "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _parameters(kind: Kind) -> str:
    told = (f"{name} = {one.default:g} ({one.low:g} to {one.high:g}) {one.text}" for name, one in kind.parameters.items())
    return "; ".join(line.strip() for line in told)
