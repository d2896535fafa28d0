"""What people ask of machines that are none of ours, in the book before it is sent, and what became of it."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from controller.devices import Outcome, Written, value_of
from controller.orders.intents import Intent, IntentState
from controller.orders.keeper import Keeper
from controller.orders.order import OrderError
from controller.orders.turn import Request
from twin.clock import utc_ns
from twin.devices import Mirrored
from twin.factory import Factory
from twin.maps import Mapped
from twin.trace import Event, Sample

_BECAME = {
    Outcome.CONFIRMED: IntentState.DONE,
    Outcome.REFUSED: IntentState.REFUSED,
    Outcome.MISMATCH: IntentState.MISMATCH,
    Outcome.UNKNOWN: IntentState.UNKNOWN,
}
_LEFT = "left open by an earlier run"
Found = tuple[IntentState, str]


@dataclass(frozen=True, slots=True)
class DeviceRecalled(Event):
    """What became of a command to a device that an earlier run had left open; `value` as it was asked for, in JSON."""

    what: str
    value: str
    outcome: str
    text: str
    user: str


class AskedOfDevices:
    """Requests of people as commands of the book; a request is known by its id until it is settled."""

    def __init__(self, keeper: Keeper, factory: Factory) -> None:
        self._keeper, self._machines = keeper, factory.mirrored
        self._numbers: dict[int, int] = {}
        places = {intent.place for intent in keeper.intents.owed.values()}
        self._left = {place: dict(keeper.intents.of(place)) for place in sorted(places)}
        self._events: list[Event] = []
        for intents in list(self._left.values()):
            for intent in list(intents.values()):
                if why := _untold(self._machines.get(intent.place), intent):
                    self._settle(intent, (IntentState.UNKNOWN, why))

    async def before(self, request: Request) -> None:
        """Return once it is safe on disk.

        Raises:
            OrderError: it can't be written down, so it must not be sent.
        """
        args = dict(request.args)
        what = f"{request.kind} {args.get('signal') or args.get('method') or ''}"
        value = json.dumps(args.get("value", args.get("arguments")), separators=(",", ":"), default=str)
        for intent in list(self._left.get(args["machine"], {}).values()):
            if intent.what == what:
                self._settle(intent, (IntentState.UNKNOWN, f"{_LEFT}; it was asked for again before it could be read back"))
        intent = await self._keeper.open(args["machine"], what, value, request.user, utc_ns())
        self._numbers[request.id] = intent.id

    def after(self, request: Request, done: Written) -> None:
        """What became of it."""
        number = self._numbers.pop(request.id, None)
        if number is not None:
            self._keeper.settle(number, _BECAME[done.state], done.text)

    def look(self, samples: Mapping[str, Sample[Any]]) -> list[Event]:
        """Look into fresh Samples for what an earlier run has left open. Each is settled once, by reading; nothing is sent."""
        if self._left:
            for name, sample in samples.items():
                for intent in list(self._left.get(name, {}).values()):
                    if (found := _read_back(self._machines[name], intent, sample)) is not None:
                        self._settle(intent, found)
        told, self._events = self._events, []
        return told

    def _settle(self, intent: Intent, found: Found) -> None:
        state, text = found
        self._keeper.settle(intent.id, state, text)
        self._events.append(DeviceRecalled(intent.place, intent.what, intent.value, state, text, intent.user))
        del self._left[intent.place][intent.id]
        if not self._left[intent.place]:
            del self._left[intent.place]


def _untold(machine: Mirrored | None, intent: Intent) -> str:
    """Why nobody can find out what became of a command; empty where reading tells."""
    if machine is None:
        return f"{_LEFT}; the factory has no such machine any more"
    row = _row(machine, intent)
    if row is None or not row.readable:
        return f"{_LEFT}; it cannot be read back"
    try:
        value_of(machine, row.name, json.loads(intent.value))
    except (OrderError, ValueError) as strange:
        return f"{_LEFT}; it cannot be read back: {strange}"
    return ""


def _row(machine: Mirrored, intent: Intent) -> Mapped | None:
    kind, _, name = intent.what.partition(" ")
    return next((row for row in machine.map.signals if row.name == name), None) if kind == "write" else None


def _read_back(machine: Mirrored, intent: Intent, sample: Sample[Any]) -> Found | None:
    """What a Sample says of a write; None where its Signal is not to be believed yet."""
    row = _row(machine, intent)
    assert row is not None, "what cannot be read back was settled at the start"
    got = getattr(sample.status, row.name, None)
    if got is None or not sample.good or row.name in sample.doubts:
        return None
    if _same(row, value_of(machine, row.name, json.loads(intent.value)), got, sample.status):
        return IntentState.DONE, f"{_LEFT}; read back as written"
    shown = f"{got / row.signal.size:g} {row.signal.unit.symbol}".rstrip() if row.signal.type is float else str(got)
    return IntentState.MISMATCH, f"{_LEFT}; got {shown}"


def _same(row: Mapped, wanted: Any, got: Any, status: Any) -> bool:
    """Whether a device holds a value [SI], as finely as its registers can."""
    if row.signal.type is not float:
        return bool(wanted == got)
    step = abs(getattr(row.place, "scale", 0.0)) * row.signal.size
    if name := getattr(row.place, "scale_from", ""):
        step *= 10.0 ** (getattr(status, name) or 0)
    return math.isclose(wanted, got, rel_tol=1e-6, abs_tol=0.51 * step)
