"""The list of conformance units is true: what is tested names tests that are there, and the docs' page is made of it."""

import ast
from functools import cache
from pathlib import Path

import pytest

from controller.opcua.historic.aggregates import AGGREGATES as RECKONED
from tests.controller.opcua.conformance import PROFILE, Unit, count
from tests.controller.opcua.conformance_besides import AGGREGATES, BESIDES, NO_AGGREGATES
from tests.controller.opcua.conformance_page import page

TESTS = Path(__file__).resolve().parents[2]
PAGE = TESTS.parent / "docs" / "reference" / "opcua-conformance.md"
LEAST = 0.8


@cache
def _collected(path: str) -> frozenset[str]:
    """The names of the tests that pytest would collect from a file, without those of its soak."""
    tree = ast.parse((TESTS / path).read_text(encoding="utf-8"))
    functions = [one for one in tree.body if isinstance(one, ast.FunctionDef) and one.name.startswith("test_")]
    return frozenset(one.name for one in functions if _runs(one))


def _runs(test: ast.FunctionDef) -> bool:
    return not any("mark.soak" in (mark := ast.unparse(one)) or "mark.skip" in mark for one in test.decorator_list)


@pytest.mark.parametrize("unit", PROFILE + BESIDES, ids=lambda unit: unit.name)
def test_a_unit_is_tested_by_tests_that_are_there_or_says_why_not(unit: Unit) -> None:
    assert bool(unit.tests) == (unit.state == "tested")
    for test in unit.tests:
        path, _, name = test.partition("::")
        assert (TESTS / path).is_file(), test
        assert name in _collected(path), test
    assert unit.meaning and (unit.note or unit.state != "not served")


def test_no_unit_is_counted_twice() -> None:
    names = [unit.name for unit in PROFILE + BESIDES]
    assert len(names) == len(set(names)) and {unit.state for unit in PROFILE + BESIDES} <= {"tested", "served", "not served"}


def test_four_fifths_of_the_profile_are_tested() -> None:
    assert count(PROFILE, "tested") >= LEAST * len(PROFILE)


def test_the_profile_has_the_units_of_the_standards_tables() -> None:
    """Part 7 v1.04: tables 25, 37, 39, 41, 87, 89, 91, 93, 165, 183, 188 and 189, one unit of several tables once."""
    assert (len(PROFILE), sum(unit.required for unit in PROFILE)) == (75, 59)


def test_the_aggregates_are_those_that_are_reckoned() -> None:
    assert set(AGGREGATES) == set(RECKONED) and not set(AGGREGATES) & set(NO_AGGREGATES)


def test_the_page_of_conformance_units_is_up_to_date() -> None:
    made = "python -m tests.controller.opcua.conformance_page > docs/reference/opcua-conformance.md"
    assert PAGE.read_text(encoding="utf-8") == page(), made
