"""Commands to machines as the book has them: intent first, then what became of it. Never sent twice to find that out."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

FIRST_OF_DEVICES = 1 << 32
"""Commands of our own nodes are known by their command_id, 32 bits; those of other devices count on from here."""


class IntentState(StrEnum):
    """What became of a command."""

    OPEN = "open"
    DONE = "done"
    REFUSED = "refused"
    MISMATCH = "mismatch"
    VOID = "not carried out"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Intent:
    """One command that has an effect at a machine.

    Attributes:
        place: the node or the machine that it is for.
        what: start, stop, reset, or the Signal or method of a machine that is not ours.
        value: what was to be written or called with, as text; empty where there is nothing.
        boot_id, not_after, before: of our own nodes: the run it is meant for, the uptime [ms] after which it is void, and the
            command that the node had judged last when this one was made.
        utc_ns: when it was made, for people.
        text: what the machine, or the lack of its word, told.
    """

    id: int
    place: str
    what: str
    value: str = ""
    user: str = ""
    boot_id: int = 0
    not_after: int = 0
    before: int = -1
    utc_ns: int = 0
    state: IntentState = IntentState.OPEN
    text: str = ""

    @property
    def owed(self) -> bool:
        """Whether somebody still has to find out what became of it."""
        return self.state is IntentState.OPEN

    def settle(self, state: IntentState, text: str = "") -> "Intent":
        """It with its outcome."""
        return replace(self, state=state, text=text)


class Intents:
    """Commands to devices that are not ours, numbered and open until they are settled.

    The device's own code asks `open` (through the keeper, which answers once it is on disk), sends, reads back and calls
    `settle`. What an earlier run has left open is in `owed`: it is settled by reading the device and is never sent again.
    """

    def __init__(self, found: Iterable[Intent] = ()) -> None:
        self.owed: dict[int, Intent] = {intent.id: intent for intent in found if intent.id >= FIRST_OF_DEVICES}
        self._next = max([FIRST_OF_DEVICES - 1, *self.owed]) + 1

    def begin_after(self, highest: int) -> None:
        """No number up to this one is given out again."""
        self._next = max(self._next, highest + 1)

    def make(self, place: str, what: str, value: str = "", user: str = "", utc_ns: int = 0) -> Intent:
        """A fresh one; it is owed from now on."""
        made = Intent(self._next, place, what, value, user, utc_ns=utc_ns)
        self._next += 1
        self.owed[made.id] = made
        return made

    def settle(self, number: int, state: IntentState, text: str = "") -> Intent | None:
        """It with its outcome, owed no longer; None where it was settled before."""
        found = self.owed.pop(number, None)
        return None if found is None else found.settle(state, text)

    def of(self, place: str) -> Mapping[int, Intent]:
        """What is owed at a machine, oldest first."""
        return {number: intent for number, intent in sorted(self.owed.items()) if intent.place == place}
