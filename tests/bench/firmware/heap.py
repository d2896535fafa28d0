"""How much of a board's heap is free at worst: every scenario of the rig on its narrow target, with the costs of a board."""

from collections.abc import Iterator

from hil import scenarios
from hil.campaigns.perform import perform_scenario
from hil.scenario import SCENARIOS
from hil.targets.choice import why_absent
from hil.targets.vm import BOARD

TARGET = "narrow"


def free() -> Iterator[tuple[str, int]]:
    """Each scenario's name, and the least bytes that any of its nodes had free.

    Raises:
        RuntimeError: there is no VM of 32 bits here, or a scenario failed.
    """
    if why := why_absent(TARGET):
        raise RuntimeError(why)
    scenarios.load()
    for name, scenario in SCENARIOS.items():
        done = perform_scenario(scenario, None, target=TARGET, costs=BOARD)
        if not done.passed:
            raise RuntimeError(f"{name}: {done.error or [str(verdict) for verdict in done.verdicts if not verdict.passed]}")
        series = [values for signal, values in done.trace.series.items() if signal.endswith("/node/heap_free")]
        yield name, min(value for values in series for _, value in values)
