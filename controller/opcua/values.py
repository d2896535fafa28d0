"""Rows of the Feed -> values of variables, with their unit, time and status."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from asyncua import ua
from asyncua.server.address_space import AddressSpace
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.status_codes import StatusCodes

from controller.feed import Row
from controller.opcua.build import VARIANT_TYPES
from controller.opcua.names import node_id, status
from controller.opcua.space import Variable
from twin.clock import utc_ns

GOOD, STALE, BAD = range(3)
CAUSES = (
    ("range", StatusCodes.BadOutOfRange),
    ("differs", StatusCodes.BadConfigurationError),
    ("not a valid", StatusCodes.BadDecodingError),
)
"""What a bad value's cause holds, and the code that says so."""


def code(quality: int, cause: str, known: bool) -> int:
    """The status of a value.

    Args:
        known: whether there is a value, or ever was one.
    """
    if not known and quality != BAD:  # nothing was ever told, or, of what is written, nothing was written yet
        return StatusCodes.BadWaitingForInitialData
    if quality == GOOD:
        return 0
    if quality == STALE:
        return StatusCodes.UncertainLastUsableValue
    return next((found for text, found in CAUSES if text in cause), StatusCodes.Bad)


def data_value(variable: Variable, row: Row, received_ns: int, lost: bool = False) -> ua.DataValue:
    """A row as it is shown; `lost`: there is no core to tell whether it still holds."""
    is_known = row.value is not None
    told = code(row.quality, row.cause, is_known)
    if lost and is_known and row.quality != BAD:
        told = StatusCodes.UncertainNoCommunicationLastUsableValue
    shown = ua.Variant(variable.value(row.value), VARIANT_TYPES[variable.kind]) if is_known else ua.Variant()
    source, server = _moment(row.utc_ns) if row.utc_ns else None, _moment(received_ns)
    return ua.DataValue(shown, StatusCode=status(told), SourceTimestamp=source, ServerTimestamp=server)


def _moment(at_utc_ns: int) -> Any:
    return datetime.fromtimestamp(at_utc_ns / 1e9, UTC)


class Values:
    """The latest row of every variable, shown in the address space."""

    def __init__(self, space: AddressSpace, variables: Sequence[Variable]) -> None:
        self._space = space
        self._variables = tuple((node_id(variable.path), variable) for variable in variables)
        self._rows: dict[int, Row] = {}

    async def show(self, rows: Iterable[Row]) -> None:
        """Rows have come."""
        for row in rows:
            self._rows[row.index] = row
            await self._show(row)

    async def doubt(self, lost: bool = True) -> None:
        """Nobody tells any more whether what is shown still holds; or, when not `lost`, somebody does again."""
        for row in self._rows.values():
            await self._show(row, lost)

    def forget(self) -> None:
        """What is shown stays as it is until another row comes: no later word is about these."""
        self._rows.clear()

    async def _show(self, row: Row, lost: bool = False) -> None:
        node, variable = self._variables[row.index]
        shown = data_value(variable, row, utc_ns(), lost)
        written = await self._space.write_attribute_value(node, AttributeIds.Value, shown)
        written.check()
