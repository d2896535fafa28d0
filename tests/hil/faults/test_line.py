"""Every kind of fault of a serial line: it strikes, the factory is safe, and without its defence it would not be."""

from collections.abc import Callable
from pathlib import Path

import pytest

from hil.faults.catalogue import LINE
from tests.hil.faults import belts, line_cases
from tests.hil.faults.belts import Case


@pytest.mark.parametrize("case", line_cases.CASES, ids=lambda case: case.kind)
def test_a_fault_of_a_serial_line_does_no_harm(case: Case, tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    belts.holds(case, tmp_path, record_property)


@pytest.mark.parametrize("case", line_cases.CASES, ids=lambda case: case.kind)
def test_without_its_defence_it_would(case: Case, tmp_path: Path) -> None:
    belts.fails(case, "line_cases", tmp_path)


def test_there_is_a_case_for_every_kind() -> None:
    tried = [case.kind for case in line_cases.CASES]
    assert sorted(tried) == sorted(kind.name for kind in LINE)
