"""Every kind of fault of the controller: it strikes, the factory is safe, and without its defence it would not be."""

from collections.abc import Callable
from pathlib import Path

import pytest

from hil.faults.catalogue import CONTROLLER
from tests.hil.faults import belts, controller_cases
from tests.hil.faults.belts import Case


@pytest.mark.parametrize("case", controller_cases.CASES, ids=lambda case: case.kind)
def test_a_fault_of_the_controller_does_no_harm(case: Case, tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    belts.holds(case, tmp_path, record_property)


@pytest.mark.parametrize("case", controller_cases.CASES, ids=lambda case: case.kind)
def test_without_its_defence_it_would(case: Case, tmp_path: Path) -> None:
    belts.fails(case, "controller_cases", tmp_path)


def test_there_is_a_case_for_every_kind() -> None:
    tried = [case.kind for case in controller_cases.CASES]
    assert sorted(tried) == sorted(kind.name for kind in CONTROLLER)
