"""Makes a failing plan short: fewer entries, shorter faults, default numbers, round times."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

from hil.campaigns.plan import Plan
from twin.clock import MS, Ns, S
from twin.fault import Fault

T = TypeVar("T")
Fails = Callable[[Plan], bool]
MOST_TRIES = 120
AFTERWARDS = 4
"""Seconds that a plan goes on after its last fault, so that what it caused can show."""


class _Tries:
    """Asks whether a plan fails, up to a bound; what has been asked is not asked again."""

    def __init__(self, fails: Fails, most: int) -> None:
        self._fails, self._left = fails, most
        self._known: dict[str, bool] = {}

    def __call__(self, plan: Plan) -> bool:
        key = repr(plan)
        if key not in self._known:
            if self._left == 0:
                return False
            self._left -= 1
            self._known[key] = self._fails(plan)
        return self._known[key]


def shortest(plan: Plan, fails: Fails, most: int = MOST_TRIES) -> Plan:
    """The shortest plan that still fails, as far as that many tries find one; the plan itself must fail."""
    tries = _Tries(fails, most)
    plan = _sooner_over(plan, tries)
    plan = replace(plan, faults=tuple(fewest(plan.faults, lambda kept: tries(replace(plan, faults=tuple(kept))))))
    if plan.asks and tries(without := replace(plan, asks=())):
        plan = without
    if plan.orders and tries(without := replace(plan, orders=())):
        plan = without
    if plan.parts and tries(without := replace(plan, parts=())):
        plan = without
    for index in range(len(plan.faults)):
        plan = _simpler(plan, index, tries)
    return _sooner_over(plan, tries)


def _sooner_over(plan: Plan, tries: Fails) -> Plan:
    """It with an end soon after its last fault."""
    over = max((fault.at + (fault.lasts or S) for fault in plan.faults), default=0)
    end = Ns((over // S + AFTERWARDS) * S)
    sooner = replace(
        plan,
        duration=end,
        parts=tuple(part for part in plan.parts if part.at < end),
        orders=tuple(order for order in plan.orders if order.at < end),
        asks=tuple(ask for ask in plan.asks if ask.at < end),
    )
    return sooner if sooner.duration < plan.duration and tries(sooner) else plan


def fewest(items: Sequence[T], fails: Callable[[Sequence[T]], bool]) -> Sequence[T]:
    """A part of the items that fails and of which nothing can be left out (delta debugging).

    Args:
        fails: whether a part still fails; all items together must.
    """
    if len(items) == 1 and not fails(()):
        return items
    pieces = 2
    while len(items) > 1:
        size = -(-len(items) // pieces)
        rests = [[*items[:at], *items[at + size :]] for at in range(0, len(items), size)]
        found = next((rest for rest in rests if fails(rest)), None)
        if found is not None:
            items, pieces = found, max(2, pieces - 1)
        elif size == 1:
            return items
        else:
            pieces = min(len(items), 2 * pieces)
    return [] if items and fails(()) else items


def _simpler(plan: Plan, index: int, tries: Fails) -> Plan:
    again = True
    while again:
        again = False
        for fault in _variants(plan.faults[index]):
            tried = replace(plan, faults=(*plan.faults[:index], fault, *plan.faults[index + 1 :]))
            if tries(tried):
                plan, again = tried, True
                break
    return plan


def _variants(fault: Fault) -> Iterator[Fault]:
    """Simpler faults, the simplest first."""
    for name in fault.parameters:
        yield replace(fault, parameters={n: v for n, v in fault.parameters.items() if n != name})
    if fault.lasts is not None:
        for step in (S, 100 * MS, 10 * MS):
            rounded = Ns(round(fault.lasts / step) * step)
            if rounded > 0 and rounded != fault.lasts:
                yield replace(fault, lasts=rounded)
        if fault.lasts > 100 * MS:
            yield replace(fault, lasts=Ns(fault.lasts // 2 // MS * MS))
    for step in (S, 100 * MS):
        rounded = Ns(round(fault.at / step) * step)
        if rounded != fault.at:
            yield replace(fault, at=rounded)
