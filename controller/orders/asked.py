"""What people ask of machines that are none of ours, in the book before it is sent, and what became of it."""

import json

from controller.devices import Outcome, Written
from controller.orders.intents import IntentState
from controller.orders.keeper import Keeper
from controller.orders.turn import Request
from twin.clock import utc_ns

_BECAME = {
    Outcome.CONFIRMED: IntentState.DONE,
    Outcome.REFUSED: IntentState.REFUSED,
    Outcome.MISMATCH: IntentState.MISMATCH,
    Outcome.UNKNOWN: IntentState.UNKNOWN,
}


class AskedOfDevices:
    """Requests of people as commands of the book; a request is known by its id until it is settled."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._numbers: dict[int, int] = {}

    async def before(self, request: Request) -> None:
        """Return once it is safe on disk.

        Raises:
            OrderError: it can't be written down, so it must not be sent.
        """
        args = dict(request.args)
        what = str(args.get("signal") or args.get("method") or "")
        value = json.dumps(args.get("value", args.get("arguments")), separators=(",", ":"), default=str)
        intent = await self._keeper.open(args["machine"], f"{request.kind} {what}", value, request.user, utc_ns())
        self._numbers[request.id] = intent.id

    def after(self, request: Request, done: Written) -> None:
        """What became of it."""
        number = self._numbers.pop(request.id, None)
        if number is not None:
            self._keeper.settle(number, _BECAME[done.state], done.text)
