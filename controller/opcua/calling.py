"""The Call service (Part 4 §5.11.2): methods are looked up, what is given is checked, and they are called one after the other."""

import asyncio
import inspect
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from asyncua import ua
from asyncua.common.utils import ServiceError
from asyncua.ua.status_codes import StatusCodes

from controller.opcua.arguments import HAS_COMPONENT, Wanted, declared, mismatches
from controller.opcua.asked import MOST_CALLS, Asked, Handle
from controller.opcua.attributes import executable
from controller.opcua.diagnosis import NOTHING, infos
from controller.opcua.encoding import NULL_NODE, key_of, variant
from controller.opcua.methods import Methods, Outputs, Result, Served
from controller.opcua.nodes.store import METHOD, NO_NODE, OBJECT, OBJECT_TYPE, Nodes
from controller.opcua.roles import May, Rule
from controller.opcua.sessions import Session

UNKNOWN, MISSING, INVALID = StatusCodes.BadNodeIdUnknown, StatusCodes.BadMethodInvalid, StatusCodes.BadNodeIdInvalid

UNSURE = "nobody waited for the answer: whether it was done is not known"
BROKEN = "the server has failed at it: whether it was done is not known"
NOT_BEGUN = "nobody waited for the answer: it was not begun"


class NotDone(ServiceError):
    """A call that has not done what was asked.

    Attributes:
        text: why, for people.
        inputs: the status of each input, where it is one of them.
        outputs: given all the same, for clients that show them.
    """

    def __init__(self, code: int, text: str = "", inputs: Sequence[int] = (), outputs: Outputs = ()) -> None:
        super().__init__(code)
        self.text, self.inputs, self.outputs = text, tuple(inputs), tuple(outputs)


@dataclass(frozen=True, slots=True)
class Called:
    """A call that somebody asked for, and what became of it: for the audit, and for who keeps what was refused.

    Attributes:
        owner, method: keys as they were asked for.
    """

    session: Session
    audit: str
    owner: bytes
    method: bytes
    inputs: tuple[ua.Variant, ...]
    status: int
    text: str = ""
    outputs: tuple[ua.Variant, ...] = ()
    input_results: tuple[int, ...] = ()


class Calling:
    """Calls what is registered.

    Attributes:
        called: told of every call that was asked for, when it is over.
    """

    def __init__(self, nodes: Nodes, methods: Methods) -> None:
        self._nodes, self._methods = nodes, methods
        self._wanted: dict[int, Wanted] = {}
        self._changes = nodes.changes
        self.called: list[Callable[[Called], None]] = []

    def services(self) -> dict[str, Handle]:
        """What is served."""
        return {"Call": self.call}

    def call(self, asked: Asked) -> bytes | None:
        """Results in order.

        Raises:
            ServiceError: BadDecodingError, BadNothingToDo, BadTooManyOperations.
        """
        wanted = asked.operations(ua.CallParameters, "MethodsToCall", MOST_CALLS)
        done: list[Called] = []
        for one in wanted:
            made = self._begin(asked, one)
            if not isinstance(made, Called):
                self._later(asked, wanted, done, made)
                return None
            done.append(self._told(made))
        return _answer(done, asked.diagnostics)

    def _later(self, asked: Asked, wanted: Sequence[Any], done: list[Called], first: Any) -> None:
        """Answer when the first one that takes its time is over, and those after it."""
        work = self._rest(asked, wanted, done, first)

        def unbegun() -> None:
            if inspect.iscoroutine(first):
                first.close()
            self._unbegun(asked, wanted[len(done) :])

        try:
            asked.later(work, unbegun)
        except ServiceError:
            work.close()
            if inspect.iscoroutine(first):
                first.close()
            raise

    async def _rest(self, asked: Asked, wanted: Sequence[Any], done: list[Called], first: Any) -> bytes:
        made = first
        for at, one in enumerate(wanted[len(done) :], len(done) + 1):
            try:
                made = self._begin(asked, one) if made is None else made
                if not isinstance(made, Called):
                    made = await self._end(asked, one, made)
            except BaseException:
                self._unbegun(asked, wanted[at:])
                raise
            done.append(self._told(made))
            made = None
        return _answer(done, asked.diagnostics)

    def _unbegun(self, asked: Asked, left: Sequence[Any]) -> None:
        """Tell of those whose turn never came."""
        for one in left:
            self._told(_bad(asked, one, NotDone(StatusCodes.BadOperationAbandoned, NOT_BEGUN)))

    async def _end(self, asked: Asked, one: Any, under_way: Any) -> Called:
        try:
            return _good(asked, one, await under_way)
        except ServiceError as refused:
            return _bad(asked, one, refused)
        except asyncio.CancelledError:
            self._told(_bad(asked, one, NotDone(StatusCodes.BadTimeout, UNSURE)))
            raise
        except BaseException:
            self._told(_bad(asked, one, NotDone(StatusCodes.BadInternalError, BROKEN)))
            raise

    def _told(self, made: Called) -> Called:
        for tell in self.called:
            tell(made)
        return made

    def _begin(self, asked: Asked, one: Any) -> Any:
        """What became of a call; or what must be waited for."""
        try:
            if not asked.stands:
                raise ServiceError(StatusCodes.BadUserAccessDenied)
            result: Result = self._served(asked.session, one)(asked.session, one.InputArguments or ())
            return result if inspect.isawaitable(result) else _good(asked, one, result)
        except ServiceError as refused:
            return _bad(asked, one, refused)
        except BaseException:
            self._told(_bad(asked, one, NotDone(StatusCodes.BadInternalError, BROKEN)))
            raise

    # ---- looking up

    def _served(self, session: Session, one: Any) -> Callable[[Session, Sequence[ua.Variant]], Result]:
        """The function behind an object and a method.

        Raises:
            ServiceError: there is none, it can't be called, or not with these arguments.
        """
        owner, method = key_of(one.ObjectId), key_of(one.MethodId)
        at, of = self._nodes.find(owner), self._nodes.find(method)
        if at == NO_NODE or not session.may(self._nodes.rules[at], May.BROWSE):
            raise ServiceError(INVALID if owner == NULL_NODE else UNKNOWN)
        if self._nodes.classes[at] not in (OBJECT, OBJECT_TYPE):
            raise ServiceError(INVALID)
        seen = of != NO_NODE and self._nodes.classes[of] == METHOD and session.may(self._nodes.rules[of], May.BROWSE)
        served = self._methods.find(owner, method) if seen else None
        if served is None:
            raise ServiceError(self._not_served(at, of) if seen else MISSING)
        if not session.may(self._nodes.rules[of], May.CALL):
            raise ServiceError(StatusCodes.BadUserAccessDenied)
        if self._nodes.rules[of] == Rule.SECURITY and session.overheard:
            raise NotDone(StatusCodes.BadSecurityModeInsufficient, "it is called over an encrypted channel alone")
        self._check(of, served, one.InputArguments or ())
        if not executable(self._nodes, of):
            raise ServiceError(StatusCodes.BadNotExecutable)
        return served.function

    def _not_served(self, owner: int, method: int) -> int:
        """A method that the object does have, and nobody serves, can't be executed."""
        has = self._nodes.standard(HAS_COMPONENT)
        owners = (owner, self._nodes.kinds[owner])
        hangs = any(method in self._nodes.targets(one, has) for one in owners if one != NO_NODE)
        return StatusCodes.BadNotExecutable if hangs else MISSING

    def _check(self, method: int, served: Served, given: Sequence[ua.Variant]) -> None:
        """That what is given is what the method takes.

        Raises:
            ServiceError: BadArgumentsMissing, BadTooManyArguments, BadInvalidArgument.
        """
        wanted = self._declared(method) if served.inputs is None else served.inputs
        if len(given) != len(wanted):
            code = StatusCodes.BadArgumentsMissing if len(given) < len(wanted) else StatusCodes.BadTooManyArguments
            raise NotDone(code, f"it takes {len(wanted)} arguments, not {len(given)}")
        if wrong := mismatches(wanted, given):
            raise NotDone(StatusCodes.BadInvalidArgument, "an argument is of another type", wrong)

    def _declared(self, method: int) -> Wanted:
        if self._changes != self._nodes.changes:
            self._wanted.clear()
            self._changes = self._nodes.changes
        found = self._wanted.get(method)
        if found is None:
            found = self._wanted[method] = declared(self._nodes, method)
        return found


def _good(asked: Asked, one: Any, outputs: Outputs) -> Called:
    return Called(asked.session, asked.audit, *_keys(one), tuple(one.InputArguments or ()), 0, "", tuple(outputs))


def _bad(asked: Asked, one: Any, refused: ServiceError) -> Called:
    told = refused if isinstance(refused, NotDone) else NotDone(refused.code)
    given = tuple(one.InputArguments or ())
    return Called(asked.session, asked.audit, *_keys(one), given, told.code, told.text, tuple(told.outputs), told.inputs)


def _keys(one: Any) -> tuple[bytes, bytes]:
    return key_of(one.ObjectId), key_of(one.MethodId)


def _answer(done: Sequence[Called], wanted: int) -> bytes:
    results = b"".join(_result(one) for one in done)
    return struct.pack("<i", len(done)) + results + infos([one.text for one in done], wanted)


def _result(one: Called) -> bytes:
    """A CallMethodResult; diagnostics of its inputs are never given."""
    inputs = struct.pack(f"<i{len(one.input_results)}I", len(one.input_results), *one.input_results)
    outputs = b"".join(variant(output) for output in one.outputs)
    return struct.pack("<I", one.status) + inputs + NOTHING + struct.pack("<i", len(one.outputs)) + outputs
