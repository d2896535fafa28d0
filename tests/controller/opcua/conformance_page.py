"""The docs' page of conformance units: python -m tests.controller.opcua.conformance_page > docs/reference/opcua-conformance.md"""

from collections.abc import Iterable, Iterator

from tests.controller.opcua.conformance import FACETS, PROFILE, Facet, Unit, count
from tests.controller.opcua.conformance_besides import BESIDES
from tests.controller.opcua.conformance_besides import FACETS as OTHERS

STATES = ("tested", "served", "not served")


def page() -> str:
    """The page."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    share = 100 * count(PROFILE, "tested") // len(PROFILE)
    missing = [one for one in PROFILE if one.required and one.state == "not served"]
    yield from (
        "# OPC UA conformance units",
        "",
        "Made by `python -m tests.controller.opcua.conformance_page` of the tables in `tests/controller/opcua/conformance.py` and",
        "`conformance_besides.py`; a test fails when a test that is named here is gone.",
        "",
        "The profile is *Standard 2017 UA Server* of OPC 10000-7 v1.04, §6.6.70, with all that it includes. Units are described in",
        "our words. They are judged by our own tests: nobody has certified this server.",
        "",
        f"Of the profile's {len(PROFILE)} units, {count(PROFILE, 'tested')} are tested ({share} %).",
        f"{len(missing)} that it requires are not served, so the profile is not met to the letter:",
        "",
        *(f"- *{one.name}*: {one.note}." for one in missing),
        "",
        "| | Units | Tested | Served, no test | Not served |",
        "|---|---|---|---|---|",
        _total("The profile: required", [one for one in PROFILE if one.required]),
        _total("The profile: optional", [one for one in PROFILE if not one.required]),
        _total("Besides", BESIDES),
        "",
        "## The profile",
    )
    for facet in FACETS:
        yield from _facet(facet)
    yield from ("", "## Besides", "", "A unit that the profile has already is not listed again.")
    for facet in OTHERS:
        yield from _facet(facet)


def _total(name: str, units: Iterable[Unit]) -> str:
    listed = list(units)
    return f"| {name} | {len(listed)} | {' | '.join(str(count(listed, state)) for state in STATES)} |"  # type: ignore[arg-type]


def _facet(facet: Facet) -> Iterator[str]:
    yield from ("", f"### {facet.name}", "", "| Unit | Asks for | State | Test, or why not |", "|---|---|---|---|")
    for one in facet.units:
        name = one.name if one.required else f"{one.name} (optional)"
        yield f"| {name} | {one.meaning} | {one.state} | {'<br>'.join((*_tests(one), *([one.note] if one.note else [])))} |"


def _tests(unit: Unit) -> Iterator[str]:
    for test in unit.tests:
        path, _, name = test.partition("::")
        yield f"[{name.removeprefix('test_').replace('_', ' ')}](../../tests/{path})"


if __name__ == "__main__":
    print(page(), end="")
