"""The Call service against the results that Part 4 §5.11.2 names, and what becomes of calls that take their time."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from asyncua import ua
from asyncua.common.utils import ServiceError
from asyncua.ua.status_codes import StatusCodes
from asyncua.ua.ua_binary import struct_to_binary

from controller.opcua.asked import Asked
from controller.opcua.calling import Called, Calling, NotDone
from controller.opcua.encoding import node_key, variant
from controller.opcua.methods import Methods, Outputs
from controller.opcua.roles import Rule
from controller.opcua.sessions import Session
from controller.users import Role
from tests.controller.opcua.answering import METHOD, OBJECT, VARIABLE, Place, ask, listed, our, session
from twin.clock import Ns

MODE = 777
INPUTS = [
    ua.Argument(Name="Speed", DataType=ua.NodeId(11)),  # type: ignore[arg-type]
    ua.Argument(Name="Mode", DataType=ua.NodeId(MODE)),  # type: ignore[arg-type]
    ua.Argument(Name="Names", DataType=ua.NodeId(12), ValueRank=1),  # type: ignore[arg-type]
    ua.Argument(Name="Anything", DataType=ua.NodeId(24), ValueRank=-2),  # type: ignore[arg-type]
]
FITTING = (1.5, ua.Variant(2, ua.VariantType.Int32), ["a"], b"x")


class Shop:
    """A machine with methods."""

    def __init__(self) -> None:
        place, self.methods = Place(), Methods()
        self.calling = Calling(place.nodes, self.methods)
        self.told: list[Called] = []
        self.given: list[list[Any]] = []
        self.calling.called.append(self.told.append)
        machine, other = place.add("machine", OBJECT), place.add("other", OBJECT)
        enumeration = place.add(MODE, 64, "Mode")
        place.refer(place.nodes.standard(29), 45, enumeration)
        place.add("value", VARIABLE)
        for name in ("go", "slow", "idle", "trust", "set"):
            rule = Rule.SECURITY if name == "trust" else Rule.COMMAND
            place.refer(machine, 47, place.add(name, METHOD, rule=rule))
        place.refer(other, 47, place.add("off", METHOD, rule=Rule.COMMAND, Executable=variant(False)))
        listed_ = place.constant("set/in", INPUTS, ua.VariantType.ExtensionObject, "InputArguments")
        place.refer(place.nodes.find(node_key(2, "set")), 46, listed_)
        for owner, name, function in (
            ("machine", "go", self._go), ("machine", "slow", self._slow), ("machine", "trust", self._go),
            ("machine", "set", self._go), ("other", "off", self._go),
        ):  # fmt: skip
            self.methods.register(node_key(2, owner), node_key(2, name), function)

    def _go(self, by: Session, given: Sequence[ua.Variant]) -> Outputs:
        self.given.append([one.Value for one in given])
        return [ua.Variant(True), ua.Variant(f"for {by.who.name}")]

    async def _slow(self, by: Session, given: Sequence[ua.Variant]) -> Outputs:
        await asyncio.sleep(0)
        self.given.append(["slow"])
        raise NotDone(StatusCodes.BadInvalidState, "the node is latched", (), [ua.Variant(False)])

    def call(self, *calls: ua.CallMethodRequest, role: Role = Role.OPERATOR, diagnostics: int = 0) -> tuple[list[Any], list[Any]]:
        """Results, and words."""
        asked = ua.CallParameters(list(calls))
        return listed(ask(self.calling.call, asked, session(role), diagnostics), ua.CallMethodResult)


def to(owner: str, method: str, *given: Any) -> ua.CallMethodRequest:
    """One call."""
    return ua.CallMethodRequest(our(owner), our(method), [v if isinstance(v, ua.Variant) else ua.Variant(v) for v in given])


def brief(result: Any) -> tuple[str, list[Any]]:
    """A result's status and outputs."""
    return result.StatusCode.name, [output.Value for output in result.OutputArguments or ()]


@pytest.mark.parametrize(
    ("one", "role", "status"),
    [
        (to("machine", "go"), Role.OPERATOR, "Good"),
        (to("machine", "go"), Role.OBSERVER, "BadUserAccessDenied"),
        (to("machine", "go", 1.0), Role.OPERATOR, "BadTooManyArguments"),
        (to("nobody", "go"), Role.OPERATOR, "BadNodeIdUnknown"),
        (ua.CallMethodRequest(ua.NodeId(), our("go")), Role.OPERATOR, "BadNodeIdInvalid"),
        (to("value", "go"), Role.OPERATOR, "BadNodeIdInvalid"),
        (to("machine", "nothing"), Role.OPERATOR, "BadMethodInvalid"),
        (to("machine", "value"), Role.OPERATOR, "BadMethodInvalid"),
        (to("other", "go"), Role.OPERATOR, "BadMethodInvalid"),
        (to("machine", "idle"), Role.OPERATOR, "BadNotExecutable"),
        (to("other", "off"), Role.OPERATOR, "BadNotExecutable"),
        (to("machine", "trust"), Role.ENGINEER, "BadMethodInvalid"),
        (to("machine", "trust"), Role.ADMINISTRATOR, "Good"),
        (to("machine", "set", *FITTING), Role.OPERATOR, "Good"),
        (to("machine", "set", *FITTING[:3]), Role.OPERATOR, "BadArgumentsMissing"),
        (to("machine", "set", *FITTING, 1), Role.OPERATOR, "BadTooManyArguments"),
    ],
)
def test_a_call_is_made_or_refused_as_the_standard_has_it(one: ua.CallMethodRequest, role: Role, status: str) -> None:
    shop = Shop()
    (result,), _ = shop.call(one, role=role)
    assert result.StatusCode.name == status
    assert len(shop.given) == (status == "Good")
    assert [(told.status, told.audit) for told in shop.told] == [(result.StatusCode.value, "audit-1")]


@pytest.mark.parametrize(
    ("at", "wrong"),
    [
        (0, ua.Variant(1, ua.VariantType.Int32)), (0, ua.Variant([1.5])), (1, ua.Variant(2, ua.VariantType.UInt32)),
        (2, ua.Variant("a")), (2, ua.Variant([1], ua.VariantType.Int32)),
    ],
)  # fmt: skip
def test_an_argument_of_another_type_is_named(at: int, wrong: ua.Variant) -> None:
    shop = Shop()
    given = [*FITTING[:at], wrong, *FITTING[at + 1 :]]
    (result,), _ = shop.call(to("machine", "set", *given))
    assert result.StatusCode.name == "BadInvalidArgument"
    names = [status.name for status in result.InputArgumentResults]
    assert names == ["BadTypeMismatch" if n == at else "Good" for n in range(4)]
    assert not result.InputArgumentDiagnosticInfos and shop.given == []


def test_calls_of_one_request_are_made_one_after_the_other_and_a_refusal_has_its_words() -> None:
    shop = Shop()
    results, words = shop.call(to("machine", "go"), to("machine", "slow"), to("machine", "go"), diagnostics=0x80)
    assert [brief(one) for one in results] == [
        ("Good", [True, "for otto"]), ("BadInvalidState", [False]), ("Good", [True, "for otto"]),
    ]  # fmt: skip
    assert [info.AdditionalInfo for info in words] == [None, "the node is latched", None]
    assert shop.given == [[], ["slow"], []]
    assert [told.text for told in shop.told] == ["", "the node is latched", ""]


def test_a_call_that_nobody_waits_for_any_more_is_told_for_the_audit() -> None:
    shop = Shop()

    async def never(by: Session, given: Sequence[ua.Variant]) -> Outputs:
        await asyncio.Event().wait()
        return []

    shop.methods.register(node_key(2, "machine"), node_key(2, "slow"), never)

    def later(work: Any) -> None:
        async def give_up() -> None:
            task = asyncio.ensure_future(work)
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        asyncio.run(give_up())

    content = struct_to_binary(ua.CallParameters([to("machine", "slow")]))
    shop.calling.call(Asked(session(), 1, content, 0, Ns(0), lambda *_: None, lambda _, work: later(work)))
    assert [told.status for told in shop.told] == [StatusCodes.BadTimeout]


def test_nothing_to_do_and_too_much_are_faults() -> None:
    for calls, code in (([], StatusCodes.BadNothingToDo), ([to("machine", "go")] * 2001, StatusCodes.BadTooManyOperations)):
        with pytest.raises(ServiceError) as refused:
            Shop().call(*calls)
        assert refused.value.code == code
