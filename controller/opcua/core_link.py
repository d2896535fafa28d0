"""The way to the core: follows its Feed into the plane for as long as this process lives, and carries requests to it."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from asyncua.ua.status_codes import StatusCodes

from controller.feed import Answered, Changes, FeedLost, Follower, Hello, Row, Snapshot, Told, follow
from controller.opcua.encoding import ticks
from controller.opcua.plane import Plane, Rows, put_each
from controller.opcua.space import Kind, Variable
from controller.orders.order import Why
from twin.clock import MS, Clock, Ns, S, utc_ns

log = logging.getLogger("lockstep.opcua")

SILENCE = Ns(5 * S)
RETRY = (Ns(100 * MS), Ns(2 * S))
GOOD, STALE, BAD = range(3)
CAUSES = (
    ("range", StatusCodes.BadOutOfRange),
    ("differs", StatusCodes.BadConfigurationError),
    ("not a valid", StatusCodes.BadDecodingError),
)
"""What a bad value's cause holds, and the code that says so."""
DOUBTED: Final = StatusCodes.UncertainNoCommunicationLastUsableValue
WAITING: Final = StatusCodes.BadWaitingForInitialData


def code(quality: int, cause: str, known: bool) -> int:
    """The status of a value.

    Args:
        known: whether there is a value, or ever was one.
    """
    if not known and quality != BAD:  # nothing was ever told, or, of what is written, nothing was written yet
        return WAITING
    if quality == GOOD:
        return 0
    if quality == STALE:
        return StatusCodes.UncertainLastUsableValue
    return next((found for text, found in CAUSES if text in cause), StatusCodes.Bad)


class Values:
    """The latest row of every Signal, in the plane.

    Args:
        rows: of the plane, for each variable, in the Feed's order.
    """

    def __init__(self, plane: Plane, variables: Sequence[Variable], rows: Sequence[int]) -> None:
        self._plane, self._variables = plane, tuple(variables)
        self._rows = np.array(rows, np.int64)
        self._at = self._rows.tolist()
        self._told = np.full(len(self._variables), WAITING, np.uint32)
        self._fed = np.zeros(len(self._variables), bool)

    def show(self, rows: Iterable[Row]) -> None:
        """Rows have come; they count together. What is none of its Variable's kind is no value, and out of range."""
        wholes: list[tuple[int, Any, int, int]] = []
        unsigned: list[tuple[int, Any, int, int]] = []
        others: list[tuple[int, Any, int, int]] = []
        for row in rows:
            index, is_known = row.index, row.value is not None
            told, variable, value = code(row.quality, row.cause, is_known), self._variables[index], None
            if is_known:
                try:
                    value = variable.value(row.value)
                except (ValueError, OverflowError) as wrong:
                    told = StatusCodes.BadOutOfRange
                    log.debug("%s: %s", variable.path, wrong)
            self._told[index], self._fed[index] = told, True
            source = ticks(row.utc_ns) if row.utc_ns else 0
            if value is None:
                self._plane.put_nothing(self._rows[index : index + 1], told, np.array([source]))
                continue
            # Beyond 2**53 a whole number is only itself among whole numbers, and beyond 2**63 only among those without a sign.
            alike = unsigned if variable.kind is Kind.UINT64 else wholes if isinstance(value, int) else others
            alike.append((self._at[index], value, told, source))
        put_each(self._plane, wholes)
        put_each(self._plane, unsigned, np.uint64)
        put_each(self._plane, others)
        self._plane.commit(ticks(utc_ns()))

    def doubt(self, lost: bool = True) -> None:
        """Nobody tells any more whether what is shown still holds; or, when not `lost`, somebody does again."""
        shaky = np.flatnonzero(self._fed & (self._told >> 30 != 2))
        rows: Rows = self._rows[shaky]
        if len(rows):
            self._plane.put_status(rows, DOUBTED if lost else self._told[shaky])
            self._plane.commit(ticks(utc_ns()))

    def forget(self) -> None:
        """What is shown stays as it is until another row comes: no later word is about these."""
        self._fed[:] = False


class CoreLink:
    """The core behind its socket. It may come and go; what is shown says so.

    Attributes:
        differs: why this process cannot follow the core, or empty.
        listeners: told of the core's Events.
    """

    def __init__(self, socket: Path, schema: str, values: Values, clock: Clock) -> None:
        self.differs = ""
        self.listeners: list[Callable[[Sequence[Told]], None]] = []
        self._socket, self._schema, self._values, self._clock = socket, schema, values, clock
        self._follower: Follower | None = None
        self._heard = clock.now()
        self._silent = False

    def follows(self) -> bool:
        """Whether there is a core that speaks."""
        return self._follower is not None and not self._silent

    async def run(self) -> None:
        """Follow the Feed, again and again, until the core proves to run another factory than this process."""
        told, wait = "", RETRY[0]
        while True:
            try:
                await self._follow()
                cause, wait = "it has ended", RETRY[0]
            except FeedLost as lost:
                cause = str(lost)
            if self.differs:
                return
            if self._follower is not None:
                self._follower, self._silent = None, False
                self._values.doubt()
                self._values.forget()
            if cause != told:
                log.info("no Feed: %s", cause)
                told = cause
            await self._clock.until(Ns(self._clock.now() + wait))
            wait = min(Ns(2 * wait), RETRY[1])

    async def _follow(self) -> None:
        async with follow(self._socket) as follower:
            async for message in follower:
                self._heard = self._clock.now()
                match message:
                    case Hello(schema) if schema != self._schema:
                        self.differs = (
                            f"the core at {self._socket} runs another factory (its schema is {schema[:12]}, this one's "
                            f"is {self._schema[:12]}): start both with the same factory file"
                        )
                        return
                    case Hello():
                        self._follower = follower
                        log.info("the Feed is there")
                    case Snapshot(_, rows):
                        self._show(rows)
                    case Changes(_, rows, events):
                        self._show(rows)
                        if events:
                            self._tell(events)
                    case _:
                        pass

    def _show(self, rows: Iterable[Row]) -> None:
        self._values.show(rows)
        if self._silent:
            self._silent = False
            self._values.doubt(lost=False)

    def _tell(self, events: Sequence[Told]) -> None:
        for listener in self.listeners:
            listener(events)

    async def watch(self) -> None:
        """Doubt everything while the core is silent: every scan changes a node's uptime, so one that lives speaks."""
        while True:
            due = Ns(self._heard + SILENCE)
            await self._clock.until(max(due, Ns(self._clock.now() + S)))
            if self._follower is not None and not self._silent and self._clock.now() - self._heard >= SILENCE:
                self._silent = True
                log.info("the core has said nothing for %d s", SILENCE // S)
                self._values.doubt()

    async def ask(self, kind: str, args: dict[str, Any], user: str, patience_s: float) -> Answered:
        """What became of a request: refused with its kind where the core was not asked, or has not answered in time."""
        if self._follower is None:
            return Answered(0, False, "the controller can't be reached", None, Why.UNREACHED)
        try:
            async with asyncio.timeout(patience_s):
                return await self._follower.ask(kind, args, user)
        except TimeoutError:
            text = f"no answer within {patience_s:g} s: whether it was done is not known"
        except FeedLost:
            text = "the controller has gone: whether it did what was asked is not known"
        return Answered(0, False, text, None, Why.UNSURE)
