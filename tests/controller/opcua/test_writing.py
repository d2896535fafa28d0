"""The Write service: what reaches a machine is a scalar of the type, within its limits, by somebody who may, and no more."""

import struct
from typing import Any

import numpy as np
import pytest
from asyncua import ua
from asyncua.common.utils import ServiceError
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.status_codes import StatusCodes
from hypothesis import given
from hypothesis import strategies as st

from controller.opcua.plane import BOOLEAN, DOUBLE, INT32, STRING
from controller.opcua.reading import Reading
from controller.opcua.roles import Rule
from controller.opcua.sessions import Session
from controller.opcua.writing import Outcome, Writable, Writing, Wrote
from controller.users import Role
from tests.controller.opcua.answering import OBJECT, Place, ask, listed, our, session

TEXT = 0x40 | 0x80
KINDS = {"speed": DOUBLE, "free": DOUBLE, "mode": INT32, "on": BOOLEAN, "name": STRING}


class Machine:
    """Takes what it is set to, but for what it refuses."""

    def __init__(self) -> None:
        self.place = Place()
        self.set: list[tuple[str, Any, str]] = []
        self.wrote: list[Wrote] = []
        self.writing = Writing(self.place.nodes, Reading(self.place.nodes, self.place.plane))
        self.writing.wrote.append(self.wrote.append)
        for name, kind in KINDS.items():
            node, row = self.place.variable(name, kind, Rule.SETPOINT, access=3)
            self.writing.register(node, Writable(kind, (1.0, 500.0) if name == "speed" else None, self._taking(name)))
            if name == "speed":
                self.place.plane.put(np.array([row]), np.array([100.0]), 0, 5)
                self.place.plane.commit(6)
        self.place.variable("shown", DOUBLE)
        self.place.add("machine", OBJECT)

    def _taking(self, name: str) -> Any:
        async def take(by: Session, value: Any) -> Outcome:
            self.set.append((name, value, by.who.name))
            return Outcome(StatusCodes.BadInvalidState, "not now") if value == 13.0 else Outcome(0)

        return take

    def write(self, *values: ua.WriteValue, role: Role = Role.OPERATOR, diagnostics: int = 0) -> tuple[list[str], list[Any]]:
        """The statuses' names, and the words."""
        asked = ua.WriteParameters(list(values))
        statuses, infos = listed(ask(self.writing.write, asked, session(role), diagnostics), ua.StatusCode)
        return [status.name for status in statuses], [info.AdditionalInfo for info in infos]


def value(path: str, content: Any, text: str | None = None, attribute: int = AttributeIds.Value, **more: Any) -> ua.WriteValue:
    """One write."""
    held = content if isinstance(content, ua.Variant) else ua.Variant(content)
    return ua.WriteValue(our(path), AttributeIds(attribute), text, ua.DataValue(held, **more))


def number(content: Any, kind: str) -> ua.Variant:
    """A Variant of a type."""
    return ua.Variant(content, ua.VariantType[kind])


@pytest.mark.parametrize(
    ("one", "status"),
    [
        (value("speed", 80.0), "Good"),
        (value("mode", number(2, "Int32")), "Good"),
        (value("on", True), "Good"),
        (value("name", "cube"), "Good"),
        (value("speed", 13.0), "BadInvalidState"),
        (value("speed", 500.0), "Good"),
        (value("speed", 500.1), "BadOutOfRange"),
        (value("speed", 0.9), "BadOutOfRange"),
        (value("speed", float("nan")), "BadOutOfRange"),
        (value("speed", float("inf")), "BadOutOfRange"),
        (value("speed", -0.0), "BadOutOfRange"),
        (value("free", -1e9), "Good"),
        (value("free", -0.0), "BadOutOfRange"),
        (value("free", float("-inf")), "BadOutOfRange"),
        (value("speed", number(80, "Int32")), "BadTypeMismatch"),
        (value("speed", number(80.0, "Float")), "BadTypeMismatch"),
        (value("speed", "80"), "BadTypeMismatch"),
        (value("speed", [80.0]), "BadTypeMismatch"),
        (value("speed", ua.Variant()), "BadTypeMismatch"),
        (value("mode", number(2, "UInt32")), "BadTypeMismatch"),
        (value("on", number(1, "Int32")), "BadTypeMismatch"),
        (value("name", number(None, "String")), "BadTypeMismatch"),
        (value("speed", 80.0, "0"), "BadWriteNotSupported"),
        (value("name", "c", "1:0"), "BadIndexRangeInvalid"),
        (value("speed", 80.0, SourceTimestamp=ua.win_epoch_to_datetime(7)), "BadWriteNotSupported"),
        (value("speed", 80.0, StatusCode=ua.StatusCode(0x40000000)), "BadWriteNotSupported"),  # type: ignore[arg-type]
        (value("shown", 80.0), "BadNotWritable"),
        (value("speed", "other", attribute=AttributeIds.DisplayName), "BadNotWritable"),
        (value("speed", True, attribute=AttributeIds.IsAbstract), "BadAttributeIdInvalid"),
        (value("machine", 80.0), "BadAttributeIdInvalid"),
        (value("nobody", 80.0), "BadNodeIdUnknown"),
    ],
)
def test_a_machine_gets_a_value_that_fits_and_nothing_else(one: ua.WriteValue, status: str) -> None:
    machine = Machine()
    assert machine.write(one)[0] == [status]
    assert len(machine.set) == (status in ("Good", "BadInvalidState"))


@given(st.floats() | st.integers(-(2**31), 2**31 - 1) | st.text(max_size=4) | st.booleans() | st.binary(max_size=4))
def test_whatever_is_written_the_machine_is_only_set_to_numbers_in_range(content: Any) -> None:
    machine = Machine()
    machine.write(value("speed", content))
    assert all(isinstance(taken, float) and 1.0 <= taken <= 500.0 for _, taken, _ in machine.set)


def test_several_writes_are_asked_for_one_after_the_other_and_answered_in_their_order() -> None:
    machine = Machine()
    four = value("speed", 80.0), value("nobody", 1.0), value("speed", 13.0), value("speed", 90.0)
    statuses, words = machine.write(*four, diagnostics=TEXT)
    assert statuses == ["Good", "BadNodeIdUnknown", "BadInvalidState", "Good"]
    assert words == [None, None, "not now", None]
    assert machine.set == [("speed", 80.0, "otto"), ("speed", 13.0, "otto"), ("speed", 90.0, "otto")]
    assert machine.write(value("speed", 13.0))[1] == []  # nobody wanted words


def test_a_role_without_the_right_changes_nothing_and_is_told_so() -> None:
    machine = Machine()
    assert machine.write(value("speed", 80.0), role=Role.OBSERVER)[0] == ["BadUserAccessDenied"]
    assert machine.set == []


def test_every_write_is_told_for_the_audit_with_what_was_there_before() -> None:
    machine = Machine()
    machine.write(value("speed", 80.0), value("speed", 900.0), value("shown", 1.0))
    told = [(w.audit, w.key[7:].decode(), w.new.Value, w.outcome.status, bool(w.old)) for w in machine.wrote]
    assert told == [
        ("audit-1", "speed", 80.0, 0, True),
        ("audit-1", "speed", 900.0, StatusCodes.BadOutOfRange, False),
        ("audit-1", "shown", 1.0, StatusCodes.BadNotWritable, False),
    ]


@pytest.mark.parametrize("content", [struct.pack("<i", -1), struct.pack("<i", 0), struct.pack("<i", 5000), b"\x01\x00", b""])
def test_requests_that_make_no_sense_are_refused_as_a_whole(content: bytes) -> None:
    machine = Machine()
    with pytest.raises(ServiceError) as refused:
        ask(machine.writing.write, content, session())
    assert refused.value.code in (StatusCodes.BadNothingToDo, StatusCodes.BadDecodingError, StatusCodes.BadEncodingLimitsExceeded)
