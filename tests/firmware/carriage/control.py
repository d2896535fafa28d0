"""Nobody orders a carriage about: the tests drive its node themselves."""

from typing import Any

from tests.firmware.carriage.spec import Command


def decide(sample: Any, wish: Any, params: Any, now: Any) -> tuple[Command, tuple[()]]:
    """Nothing."""
    return Command(), ()
