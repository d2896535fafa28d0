"""The docs' page of registers is the one that the records make."""

from pathlib import Path

from twin import reference

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "registers.md"


def test_the_page_of_registers_is_generated_without_a_difference() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference.page(), "python -m twin.reference > docs/reference/registers.md"
