"""The files that tell what came of a run: one page of HTML, JSON, JUnit, and the trace as CSV or Parquet."""

import argparse
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence
from pathlib import Path

from hil.campaigns import campaign
from hil.campaigns.perform import Performed
from hil.commands import UsageError
from hil.reports import record
from hil.reports.report import Result, write_html, write_json

TRACES = ("csv", "parquet")


def add_to(parser: argparse.ArgumentParser) -> None:
    """The options that name the files."""
    files = parser.add_argument_group("reports")
    for name, what in (
        ("html", "one page with verdicts, requirements and plots"),
        ("json", "the same as JSON; of a campaign its summary"),
        ("junit", "verdicts as JUnit"),
        ("csv", "the trace as CSV"),
        ("parquet", "the trace as Parquet"),
    ):
        files.add_argument(f"--{name}", type=Path, metavar="FILE", help=what)


def result_of(done: Performed, target: str, again: str) -> Result:
    """A run as the report takes it."""
    return Result(
        done.name,
        target,
        done.seed,
        done.verdicts,
        duration_s=done.wall_s,
        trace=done.trace,
        again=again,
        error=done.error,
        simulated_s=done.simulated_s,
    )


def write(options: argparse.Namespace, done: Performed, again: str) -> None:
    """Write the files that were asked for.

    Raises:
        UsageError: one cannot be written.
    """
    results = [result_of(done, options.target, again)]
    try:
        if options.html:
            write_html(results, options.html)
        if options.json:
            write_json(results, options.json)
        if options.junit:
            write_junit(results, options.junit)
        for name in TRACES:
            if path := getattr(options, name):
                record.write(done.trace, path)
    except (OSError, record.RecordError) as failed:
        raise UsageError(str(failed)) from failed


def write_campaign(options: argparse.Namespace, summary: campaign.Summary) -> None:
    """Write a campaign's summary; a campaign has no one trace, so other files are refused.

    Raises:
        UsageError: it cannot be written, or another file was asked for.
    """
    for name in ("html", "junit", *TRACES):
        if getattr(options, name):
            raise UsageError(f"--{name}: a campaign has a summary as --json alone; run its failing plans for more")
    if options.json:
        try:
            options.json.write_text(summary.as_json() + "\n", encoding="utf-8")
        except OSError as failed:
            raise UsageError(str(failed)) from failed


def write_junit(results: Sequence[Result], path: Path) -> None:
    """Write results as JUnit: a test suite for each, a test case for each of its requirements."""
    root = ET.Element("testsuites")
    for result in results:
        suite = ET.SubElement(root, "testsuite", name=f"{result.name} on {result.target}", time=f"{result.duration_s:.3f}")
        failures = sum(_add_cases(suite, result))
        suite.set("tests", str(len(suite)))
        suite.set("failures", str(failures))
    ET.indent(root)
    ET.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)


def _add_cases(suite: ET.Element, result: Result) -> Iterable[bool]:
    for verdict in result.verdicts:
        case = ET.SubElement(suite, "testcase", classname=result.name, name=f"{verdict.id} {verdict.requirement}".strip())
        if verdict.id:
            properties = ET.SubElement(case, "properties")
            ET.SubElement(properties, "property", name="requirement", value=verdict.id)
        if not verdict.passed:
            ET.SubElement(case, "failure", message=verdict.evidence).text = result.again
        yield not verdict.passed
    if result.error:
        case = ET.SubElement(suite, "testcase", classname=result.name, name="comes to its end")
        ET.SubElement(case, "failure", message=result.error).text = result.again
        yield True
