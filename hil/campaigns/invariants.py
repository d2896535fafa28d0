"""What must hold in every run, whatever breaks: the invariants I1 to I18, as far as there is something to judge them on.

They read the Trace of a House with a `hil.campaigns.tap` on its links and with its core's Feed in it.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from hil.campaigns import violations
from hil.judging.verdict import Requirement
from twin.factory import Factory
from twin.trace import Trace

Judge = Callable[[Factory, Trace], Iterator[str]]
"""Yields a line for each violation."""


@dataclass(frozen=True, slots=True)
class Invariant:
    """One of I1 to I18.

    Attributes:
        judge: what finds violations; None where nothing is built that it could be judged on.
        missing: why not, or what of it is not judged.
    """

    id: str
    text: str
    judge: Judge | None
    missing: str = ""


def invariants(factory: Factory, *ids: str) -> tuple[Requirement, ...]:
    """The invariants that are built, as requirements for a factory; those named, or all."""
    return tuple(_requirement(one, factory) for one in INVARIANTS if one.judge is not None and (not ids or one.id in ids))


def _requirement(one: Invariant, factory: Factory) -> Requirement:
    def judged(trace: Trace) -> tuple[bool, str]:
        assert one.judge is not None
        found = list(_few(one.judge(factory, trace)))
        return not found, "; ".join(found) or "kept to"

    return Requirement(one.text, judged, id=one.id)


def _few(found: Iterable[str], most: int = 3) -> Iterator[str]:
    for count, line in enumerate(found):
        if count == most:
            yield "…"
            return
        yield line


INVARIANTS: tuple[Invariant, ...] = (
    Invariant(
        "I1",
        "no output stays on where nobody is heard",
        violations.silent_nodes_are_safe,
        "that axes come to rest is judged by scenarios",
    ),
    Invariant("I2", "a command runs at most once", violations.commands_run_once),
    Invariant("I3", "what was acknowledged survives a power cut", None, "the book under power cuts: issue 6"),
    Invariant("I4", "the same key gives the same order", None, "orders have no keys from clients yet: issue 6"),
    Invariant("I5", "orders end once, and no part is lost or doubled", violations.orders_and_parts_add_up, "no scrap yet"),
    Invariant(
        "I6",
        "nothing runs late, or for somebody without the right",
        violations.only_what_may_be_commanded_runs,
        "no operating modes yet",
    ),
    Invariant("I7", "a latch ends by a reset alone, and a reset starts nothing", violations.latches_hold),
    Invariant("I8", "interlocks hold", violations.interlocks_hold),
    Invariant("I9", "a guard or emergency stop ends all commands", None, "wired, and no machine type has such an input yet"),
    Invariant("I10", "what is old is never good", violations.old_values_are_not_good),
    Invariant("I11", "numbers of a node's log rise", None, "the rig reads no logs; theirs and the Feed's have tests of their own"),
    Invariant("I12", "the audit chain verifies", None, "there is no audit chain yet: issue 7"),
    Invariant("I13", "twin and history change no command", None, "neither runs beside the core yet: issues 6 and 8"),
    Invariant("I14", "the wall clock changes no command", None, "judged over two runs: tests/hil/test_invariants.py"),
    Invariant(
        "I15", "memory stays in its bounds", violations.memory_is_bounded, "of nodes; the core's are judged by its own tests"
    ),
    Invariant("I16", "a node starts verified images alone", None, "nodes of the rig have no slots: tests/firmware/test_update.py"),
    Invariant("I17", "when faults are over, all is ready or says why not", violations.all_is_ready_or_says_why),
    Invariant("I18", "a stop is always taken", violations.stop_is_always_taken),
)
