"""The way to the core: follows its Feed for as long as this process lives, and carries calls to it."""

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path

from asyncua import ua
from asyncua.ua.status_codes import StatusCodes

from controller.feed import Answered, Changes, FeedLost, Follower, Hello, Snapshot, follow
from controller.opcua.build import VARIANT_TYPES
from controller.opcua.names import status
from controller.opcua.session import refused
from controller.opcua.space import Method
from controller.opcua.values import Values
from twin.clock import MS, Clock, Ns, S

log = logging.getLogger("lockstep.opcua")

PATIENCE_S = 10.0
SILENCE = Ns(5 * S)
RETRY = (Ns(100 * MS), Ns(2 * S))


class Core:
    """The core behind its socket. It may come and go; what is shown says so.

    Attributes:
        differs: why this process cannot follow the core, or empty.
    """

    def __init__(self, socket: Path, schema: str, values: Values, clock: Clock) -> None:
        self.differs = ""
        self._socket = socket
        self._schema = schema
        self._values = values
        self._clock = clock
        self._follower: Follower | None = None
        self._heard = clock.now()
        self._silent = False

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
                await self._values.doubt()
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
                    case Snapshot(_, rows) | Changes(_, rows):
                        await self._values.show(rows)
                        if self._silent:
                            self._silent = False
                            await self._values.doubt(lost=False)
                    case _:
                        pass

    async def watch(self) -> None:
        """Doubt everything while the core is silent: every scan changes a node's uptime, so one that lives speaks."""
        while True:
            due = Ns(self._heard + SILENCE)
            await self._clock.until(max(due, Ns(self._clock.now() + S)))
            if self._follower is not None and not self._silent and self._clock.now() - self._heard >= SILENCE:
                self._silent = True
                log.info("the core has said nothing for %d s", SILENCE // S)
                await self._values.doubt()

    async def call(self, method: Method, given: Sequence[ua.Variant], user: str) -> ua.CallMethodResult:
        """Carry a call to the core.

        What the core refuses is still a call that got through: its status is Good, `Accepted` is false and `Text` says
        why. Most clients show no output of a call whose status is bad, and the reason is what people need. A bad
        status is for calls that the core was not asked, or has not answered: then it is unknown whether it acts.
        """
        wrong = _wrong(method, given)
        if wrong is not None:
            return wrong
        args = {name: argument.Value for name, argument in zip(method.inputs, given, strict=True)}
        if method.machine:
            args["machine"] = method.machine
        if self._follower is None:
            return refused(StatusCodes.BadNoCommunication)
        try:
            async with asyncio.timeout(PATIENCE_S):
                answer = await self._follower.ask(method.request, args, user)
        except TimeoutError:
            return refused(StatusCodes.BadTimeout)
        except FeedLost:
            return refused(StatusCodes.BadConnectionClosed)
        log.info("%s by %s: %s", method.path, user, answer.text)
        return _told(answer)


def _wrong(method: Method, given: Sequence[ua.Variant]) -> ua.CallMethodResult | None:
    wanted = tuple(method.inputs.values())
    if len(given) != len(wanted):
        few = len(given) < len(wanted)
        return refused(StatusCodes.BadArgumentsMissing if few else StatusCodes.BadTooManyArguments)
    fits = [v.VariantType == VARIANT_TYPES[w.kind] and v.Value is not None for v, w in zip(given, wanted, strict=True)]
    if all(fits):
        return None
    result = refused(StatusCodes.BadInvalidArgument)
    result.InputArgumentResults = [status(0 if fit else StatusCodes.BadTypeMismatch) for fit in fits]
    return result


def _told(answer: Answered) -> ua.CallMethodResult:
    order = answer.result if isinstance(answer.result, int) else 0
    outputs = [ua.Variant(answer.ok), ua.Variant(answer.text), ua.Variant(order, ua.VariantType.UInt32)]
    return ua.CallMethodResult(OutputArguments=outputs)
