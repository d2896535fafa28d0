"""What comes in for all subscriptions: commits of the plane, and events."""

from typing import TYPE_CHECKING, Any

import numpy as np

from controller.opcua.events import Event, Events
from controller.opcua.plane import Rows
from controller.opcua.subscriptions.limits import MOST_LOOKED_AT
from controller.opcua.subscriptions.subscription import Subscription

if TYPE_CHECKING:
    from controller.opcua.subscriptions.engine import Engine

LOOK_COSTS = 20
"""What a look at a subscription takes beside its items, in items."""


class Incoming:
    """Brings commits and events to the subscriptions.

    So many items are looked at in one turn of the event loop, and no more: the subscriptions behind them have their turn after it.
    Should another commit come before, they are told of both at once.
    """

    def __init__(self, engine: "Engine", events: Events) -> None:
        self._engine, self._events = engine, events
        self._behind: dict[Subscription, Rows] = {}
        self._turning = False
        self._touched = np.zeros(1, bool)
        engine.plane.listeners.append(self.committed)
        events.listeners.append(self.heard)

    def committed(self, rows: Rows) -> None:
        """Rows of the plane have been put."""
        behind = self._behind
        for one in self._engine:  # who waits already keeps his place
            waits = behind.get(one)
            behind[one] = rows if waits is None else np.union1d(waits, rows)
        if len(self._touched) != len(self._engine.plane) + 1:
            self._touched = np.zeros(len(self._engine.plane) + 1, bool)
        self._look()

    def _again(self) -> None:
        self._turning = False
        self._look()

    def _look(self) -> None:
        """Let the first of those that wait look at their rows."""
        engine, behind, touched = self._engine, self._behind, self._touched
        now, looked = engine.clock.now(), 0
        rows: Any = None
        try:
            while behind and looked < MOST_LOOKED_AT:
                one = next(iter(behind))
                wanted = behind.pop(one)
                if not one.alive:
                    continue
                if wanted is not rows:
                    if rows is not None:
                        touched[rows] = False
                    rows = wanted
                    touched[rows] = True
                with engine.guarded(one):
                    engine.came(one, one.committed(touched, now, engine.plane), now)
                looked += LOOK_COSTS + one.looked
        finally:
            if rows is not None:
                touched[rows] = False
        if behind and not self._turning:
            self._turning = True
            engine.soon(self._again)
        engine.take_turn()

    def heard(self, told: Event) -> None:
        """An event came: each filter judges it once, however many items have it."""
        notifiers = None
        engine, now = self._engine, self._engine.clock.now()
        judged: dict[Any, bytes | None] = {}
        for one in engine:
            if one.notifiers:
                notifiers = self._events.notifiers(told.source) if notifiers is None else notifiers
                with engine.guarded(one):
                    engine.came(one, one.hear(told, notifiers, engine.nodes.rules, judged), now)
        engine.take_turn()
