"""Which of this machine's processors the rig and what it starts run on."""

import os
from collections.abc import Iterable

from hil.targets import Target


def take_one() -> set[int]:
    """Confine this process, and with it all that it starts, to one of its processors."""
    chosen = {max(os.sched_getaffinity(0))}
    os.sched_setaffinity(0, chosen)
    return chosen


def spread(nodes: Iterable[Target]) -> None:
    """Each of many nodes keeps to a processor: they run at the same time, and moving them about costs more than it gains."""
    several, processors = list(nodes), sorted(os.sched_getaffinity(0))
    if len(several) > len(processors):
        for number, node in enumerate(several):
            node.processors = {processors[number % len(processors)]}
