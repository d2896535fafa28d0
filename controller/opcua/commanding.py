"""Commands and setpoints of the factory as methods that can be called and Variables that can be written.

Each becomes a Request to the core, as one from the command line does, and is answered when the core has judged it. A refusal has
a bad status by its kind, and says why: in the outputs, in the DiagnosticInfo for a client that asks for it, and in the Variable
LastRefusal beside the method, which every client can show.
"""

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Protocol

from asyncua import ua
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.status_codes import StatusCodes

from controller.feed import Answered
from controller.opcua.calling import Called, Calling, NotDone
from controller.opcua.encoding import node_key, ticks
from controller.opcua.methods import Function, Methods, Outputs, Result
from controller.opcua.names import OURS
from controller.opcua.names import status as named
from controller.opcua.nodes.store import NO_NODE, Nodes
from controller.opcua.plane import STRING, Plane
from controller.opcua.reading import Reading
from controller.opcua.sessions import Session
from controller.opcua.space import Kind, Method, Object, Space, Unless, Variable
from controller.opcua.writing import Outcome, Set, Writable, Writing, Wrote
from controller.orders.order import Why
from twin.clock import utc_ns

log = logging.getLogger("lockstep.opcua")

PATIENCE_S = 10.0
PATIENCE_DEVICES_S = 30.0
"""A machine that is not ours is written to, and then read back."""
STATUSES: Final[dict[str, int]] = {
    Why.STATE: StatusCodes.BadInvalidState,
    Why.MISSING: StatusCodes.BadNotFound,
    Why.ARGUMENT: StatusCodes.BadInvalidArgument,
    Why.RANGE: StatusCodes.BadOutOfRange,
    Why.BUSY: StatusCodes.BadTooManyOperations,
    Why.SHUT: StatusCodes.BadResourceUnavailable,
    Why.UNREACHED: StatusCodes.BadNoCommunication,
    Why.REFUSED: StatusCodes.BadRequestNotAllowed,
    Why.MISMATCH: StatusCodes.BadDeviceFailure,
    Why.UNSURE: StatusCodes.BadTimeout,
}
"""The status of each kind of refusal."""
ALWAYS: Final = ("stop", "pause")
"""Requests that are asked for even where nothing can be written down."""
TYPES: Final = {kind: ua.VariantType[kind.value] for kind in Kind}
_SEVERITY = 30


class Asks(Protocol):
    """Carries requests to the core: `core_link.CoreLink` does."""

    async def ask(self, kind: str, args: dict[str, Any], user: str, patience_s: float) -> Answered:
        """What became of one."""
        ...


class Records(Protocol):
    """Writes down what is asked for before it is: `auditing.Auditing` does."""

    def commanding(self, owner: bytes, method: bytes, function: Function, stop: bool = False) -> Function:
        """A method that is called once that is recorded; `stop`: even where it can't be."""
        ...

    def setting(self, key: bytes, set_value: Set) -> Set:
        """A Variable that is set once that is recorded."""
        ...


class Commanding:
    """Puts a Space's methods and writable Variables where clients find them."""

    def __init__(self, nodes: Nodes, plane: Plane, space: Space, core: Asks) -> None:
        self._nodes, self._plane, self._space, self._core = nodes, plane, space, core
        self._refusals: dict[bytes, tuple[str, int]] = {}

    def register(
        self, methods: Methods, calling: Calling, writing: Writing, reading: Reading, records: Records | None = None
    ) -> None:
        """Offer all that can be asked for; called once, when the Space's nodes are there.

        Args:
            records: writes down what is asked for before it is.
        """
        for method, owner, keys in _methods(self._space):
            function = self._function(method)
            for key in keys:
                stop = method.request in ALWAYS
                recorded = records.commanding(_key(owner), key, function, stop) if records is not None else function
                methods.register(_key(owner), key, recorded)
                self._note_at(key, method.name, method.refusals)
            node = self._nodes.find(keys[0])
            if method.unless and node != NO_NODE:
                reading.hindrances[node] = self._hindrance(method)
        for variable in self._space.variables:
            node = self._nodes.find(_key(variable.path))
            if variable.sets is not None and node != NO_NODE:
                key, set_value = _key(variable.path), self._set(variable)
                recorded_set = records.setting(key, set_value) if records is not None else set_value
                writing.register(node, Writable(TYPES[variable.kind].value, variable.range, recorded_set))
                self._note_at(key, variable.path, f"{variable.sets[0]}/LastRefusal")
        calling.called.append(self._called)
        writing.wrote.append(self._wrote)

    # ---- methods

    def _function(self, method: Method) -> Function:
        hindered = self._hindrance(method)

        def call(session: Session, given: Sequence[ua.Variant]) -> Result:
            args = _inputs(method, given)
            if why := hindered():
                raise NotDone(StatusCodes.BadNotExecutable, why, (), _outputs(method, Answered(0, False, why)))
            return self._ask(method, args, session.who.name)

        return call

    async def _ask(self, method: Method, args: dict[str, Any], user: str) -> Outputs:
        if method.calls:
            args = {"machine": method.machine, "method": method.calls, "arguments": args}
        elif method.machine:
            args["machine"] = method.machine
        patience = PATIENCE_DEVICES_S if method.calls else PATIENCE_S
        answer = await self._core.ask(method.request, args, user, patience)
        log.info("%s by %s: %s", method.path, user, answer.text)
        outputs = _outputs(method, answer)
        if not answer.ok:
            raise NotDone(STATUSES.get(answer.why, StatusCodes.BadInvalidState), answer.text, (), outputs)
        return outputs

    def _hindrance(self, method: Method) -> Callable[[], str]:
        """What tells why a method cannot be called now."""
        watched = [(row, unless) for unless in method.unless if (row := self._row(unless.signal)) is not None]
        return lambda: next((unless.text for row, unless in watched if self._holds(row, unless)), "")

    def _row(self, path: str) -> int | None:
        return self._nodes.rows.get(self._nodes.find(_key(path)))

    def _holds(self, row: int, unless: Unless) -> bool:
        plane = self._plane
        if not plane.known[row] or plane.status[row] >> _SEVERITY:
            return False
        if plane.kinds[row] != STRING:
            return any(plane.numbers[row] == value for value in unless.says)
        text = plane.texts[row][5:].decode()
        return any(text.startswith(str(value)) for value in unless.says)

    # ---- setpoints, and what is written to machines that are none of ours

    def _set(self, variable: Variable) -> Set:
        assert variable.sets is not None
        machine, signal = variable.sets

        async def write(session: Session, value: Any) -> Outcome:
            args, user = {"machine": machine, "signal": signal, "value": value}, session.who.name
            answer = await self._core.ask("write", args, user, PATIENCE_DEVICES_S)
            log.info("%s written by %s: %s", variable.path, user, answer.text)
            return Outcome(0 if answer.ok else STATUSES.get(answer.why, StatusCodes.BadInvalidState), answer.text)

        return write

    # ---- what was refused

    def _note_at(self, key: bytes, what: str, refusals: str) -> None:
        row = self._row(refusals) if refusals else None
        if row is None:
            return
        self._refusals[key] = what, row
        if not self._plane.known[row]:
            self._say(row, "")

    def _called(self, call: Called) -> None:
        if call.status and call.text and call.method in self._refusals:
            self._refused(call.method, call.text, call.status, call.session)

    def _wrote(self, wrote: Wrote) -> None:
        outcome = wrote.outcome
        if outcome.status and outcome.text and wrote.attribute == AttributeIds.Value and wrote.key in self._refusals:
            self._refused(wrote.key, outcome.text, outcome.status, wrote.session)

    def _refused(self, key: bytes, text: str, status: int, session: Session) -> None:
        what, row = self._refusals[key]
        self._say(row, f"{what} for {session.who.name or 'nobody'}: {text} ({named(status).name})")

    def _say(self, row: int, text: str) -> None:
        now = ticks(utc_ns())
        self._plane.put_text(row, text, 0, now)
        self._plane.commit(now)


def _key(path: str) -> bytes:
    return node_key(OURS, path)


def _methods(space: Space) -> Iterator[tuple[Method, str, list[bytes]]]:
    """Each method, the object that has it, and its keys: its own, then its type's."""
    tops: list[Object] = [*(machine for machine, _ in space.machines), *space.nodes, space.factory]
    for top in tops:
        for method in top.methods:
            keys = [_key(method.path)]
            if top.type:
                keys.append(_key(top.type + method.path.removeprefix(top.path)))
            yield method, top.path, keys


def _inputs(method: Method, given: Sequence[ua.Variant]) -> dict[str, Any]:
    """The inputs by the Feed's name for each.

    Raises:
        NotDone: one of them is null, or not what the core takes.
    """
    fits = [v.VariantType is TYPES[w.kind] and v.Value is not None for v, w in zip(given, method.inputs.values(), strict=True)]
    if not all(fits):
        results = [0 if fit else StatusCodes.BadTypeMismatch for fit in fits]
        raise NotDone(StatusCodes.BadInvalidArgument, "an argument is null or of another type", results)
    return {name: value.Value for name, value in zip(method.inputs, given, strict=True)}


def _outputs(method: Method, answer: Answered) -> list[ua.Variant]:
    """Whether it was done, the text, and what came of it: the order's number, or what a machine's method gave back."""
    first = [ua.Variant(answer.ok, ua.VariantType.Boolean), ua.Variant(answer.text, ua.VariantType.String)]
    if method.calls:
        result = "" if answer.result is None else json.dumps(answer.result)
        return [*first, ua.Variant(result, ua.VariantType.String)]
    order = answer.result if isinstance(answer.result, int) else 0
    return [*first, ua.Variant(order, ua.VariantType.UInt32)]
