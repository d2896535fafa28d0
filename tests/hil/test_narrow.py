"""The same firmware in a VM with a board's words does the same, and leaves a board's heap enough room."""

from pathlib import Path

import pytest

from hil.house import House
from hil.targets.choice import why_absent
from hil.targets.vm import BOARD
from tests.hil.jobs import first_layer, one_printer
from twin.clock import Ns, S
from twin.machines.printer.plant import Physics
from twin.node import JobState

WARM = Physics(start_temperature=(165.0, 29.0))
LEAST_FREE = 40 * 1024


def printed(target: str, folder: Path) -> tuple[str, int]:
    """The trace's digest of a short print, and the least heap that was free."""
    factory = one_printer()
    programs = {"p.gcode": first_layer(5.0)}
    physics = dict.fromkeys(factory.machines, WARM)
    recipe = next(iter(factory.recipes))
    with House(factory, folder, programs, recipe, "p.gcode", costs=BOARD, physics=physics, target=target) as house:
        (looks,) = house.looks.values()
        house.run(Ns(200 * S), lambda: bool(looks) and looks[-1].node.job_state is JobState.DONE)
        assert looks[-1].node.job_state is JobState.DONE
        # What a heap holds is no part of what a node does.
        found = {name: series for name, series in house.rig.trace.series.items() if not name.endswith("/heap_free")}
        return repr(sorted((name, list(series)) for name, series in found.items())), min(look.node.heap_free for look in looks)


def test_a_print_is_the_same_in_words_of_32_bits_and_leaves_40_kb_of_a_board_s_heap(tmp_path: Path) -> None:
    if why := why_absent("narrow"):
        pytest.skip(why)
    wide, _ = printed("vm", tmp_path / "wide")
    narrow, free = printed("narrow", tmp_path / "narrow")
    assert narrow == wide
    assert free >= LEAST_FREE
