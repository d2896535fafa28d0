"""A write to a device: sent once, before all reads, and then read back.

What became of it: confirmed (read back as written; or, where a Signal cannot be read, echoed by the device), refused (the device
said no, or nothing was sent), mismatch (something else is there), unknown (no reply, and reading gave none either). A write is
never repeated: where its reply is missing, reading says what is there.

One bit of a register is not written: its register would have to be read first, and what a device changed meanwhile would be lost.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

from controller.devices import Outcome, Written
from controller.fieldbus.ask import Ask
from controller.fieldbus.channel import Channel
from controller.fieldbus.decode import Decoder, EncodeError, Recipe, encode, text_of
from controller.fieldbus.plan import FUNCTIONS, Atom, Block
from controller.modbus.pdu import (
    LinkDown,
    ModbusError,
    NoReply,
    NotAsked,
    QueueFull,
    Read,
    ReadBits,
    Refused,
    Request,
    Write,
    WriteCoil,
    WriteOne,
)
from twin.clock import MS, Clock, Ns, S
from twin.maps import Form, Map, Mapped, Table

READ_BACKS = 3
PATIENCE = Ns(250 * MS)
"""Between two attempts to read back; reading changes nothing and may be repeated."""
BACK = Ns(10 * S)
"""So long it is waited until a device that was lost with a write can be read again."""


async def ask(channel: Channel, unit: int, request: Request) -> tuple[bytes | ModbusError, bool]:
    """The reply to one request before all reads, and whether it was sent."""
    done: asyncio.Future[bytes | ModbusError] = asyncio.get_running_loop().create_future()

    def told(ask: Ask, reply: bytes | ModbusError, now: Ns) -> None:
        if not done.done():
            done.set_result(reply)

    asked = Ask(unit, request, told)
    channel.put(asked, first=True)
    try:
        return await done, asked.sent > 0
    finally:
        if asked.way == 1:
            asked.way = 0  # whoever waited has gone: what was not sent is not sent


class Writer:
    """Writes to one machine.

    Args:
        rows: of its Map by name, with their places in the device.
    """

    def __init__(self, map: Map, rows: Mapping[str, Mapped], channel: Channel, unit: int, clock: Clock) -> None:
        self._map, self._rows, self._channel, self._clock = map, rows, channel, clock
        self._machine_unit = unit

    async def write(self, name: str, value: Any) -> Written:
        """Write a value [SI] and say what became of it."""
        row = self._rows.get(name)
        if row is None or not row.writable:
            return Written(Outcome.REFUSED, f"{name} cannot be written")
        limits = row.signal.range
        if limits is not None and not limits.low <= value <= limits.high:
            return Written(Outcome.REFUSED, f"{name}={value:g} is outside {limits.low:g} to {limits.high:g}")
        if not self._channel.line.up:
            return Written(Outcome.REFUSED, f"nothing was sent: {self._channel.down or self._channel.line.cause}")
        unit = self._machine_unit if row.place.unit is None else row.place.unit
        try:
            exponent = await self._exponent(row, unit)
            request = self._request(row, encode(row, value, exponent))
        except EncodeError as wrong:
            return Written(Outcome.REFUSED, str(wrong))
        except ModbusError as wrong:
            return Written(Outcome.REFUSED, f"nothing was sent: its scale {row.place.scale_from} cannot be read: {wrong}")
        reply, sent = await ask(self._channel, unit, request)
        if isinstance(reply, Refused):
            return Written(Outcome.REFUSED, str(reply))
        if isinstance(reply, ModbusError) and (not sent or isinstance(reply, QueueFull | NotAsked)):
            return Written(Outcome.REFUSED, f"nothing was sent: {reply}")
        return await self._resolved(row, unit, value, exponent, reply if isinstance(reply, ModbusError) else None)

    async def _exponent(self, row: Mapped, unit: int) -> int:
        if not row.place.scale_from:
            return 0
        place = self._rows[row.place.scale_from].place
        reply, _ = await ask(self._channel, unit, Read(place.address, 1, FUNCTIONS[place.table]))
        if isinstance(reply, ModbusError):
            raise reply
        exponent = int.from_bytes(reply, "big", signed=True)
        if not -10 <= exponent <= 10:
            raise EncodeError(f"{row.place.scale_from}={exponent} is no scale (-10 to 10)")
        return exponent

    def _request(self, row: Mapped, words: tuple[int, ...]) -> Request:
        place = row.place
        if place.table is Table.COILS:
            return WriteCoil(place.address, bool(words[0]))
        if place.table is not Table.HOLDING:
            raise EncodeError(f"{row.name} lies in {place.table}, which cannot be written")
        if place.bit is not None:
            raise EncodeError(f"{row.name} is a bit, which cannot be written without its register")
        if len(words) > self._map.most_written:
            raise EncodeError(f"{row.name} takes {len(words)} registers, the device takes {self._map.most_written} at a time")
        if len(words) == 1 and self._map.write_one:
            return WriteOne(place.address, words[0])
        return Write(place.address, words)

    async def _resolved(self, row: Mapped, unit: int, value: Any, exponent: int, error: ModbusError | None) -> Written:
        """What stands in the device now."""
        before = "" if error is None else f"{_short(error)}; "
        if not row.readable:
            if error is None:
                return Written(Outcome.CONFIRMED, "by the device's echo: it cannot be read back")
            return Written(Outcome.UNKNOWN, f"{before}it cannot be read back")
        wanted = encode(row, value, exponent)
        found: tuple[int, ...] | ModbusError = ()
        limit, asked = Ns(self._clock.now() + BACK), 0
        while True:  # a device may take its time
            found = await self._read_back(row, unit)
            unasked = isinstance(found, LinkDown | NotAsked) and self._clock.now() < limit
            asked += not unasked
            if found == wanted or isinstance(found, Refused) or asked >= READ_BACKS:
                break
            await self._clock.until(Ns(self._clock.now() + PATIENCE))
        if isinstance(found, ModbusError):
            return Written(Outcome.UNKNOWN, f"{before}reading it back: {found}")
        if found == wanted:
            return Written(Outcome.CONFIRMED, f"{before}read back as written" if before else "")
        return Written(Outcome.MISMATCH, f"{before}got {self._shown(row, found)}")

    async def _read_back(self, row: Mapped, unit: int) -> tuple[int, ...] | ModbusError:
        """Its registers as they are, or one bit."""
        place = row.place
        if not self._channel.line.up:
            return LinkDown(self._channel.down or self._channel.line.cause)
        function = FUNCTIONS[place.table]
        request = ReadBits(place.address, 1, function) if place.table.bits else Read(place.address, place.registers, function)
        reply, _ = await ask(self._channel, unit, request)
        if isinstance(reply, ModbusError):
            return reply
        if place.table.bits:
            return (reply[0] & 1,)
        return tuple(int.from_bytes(reply[i : i + 2], "big") for i in range(0, len(reply), 2))

    def _shown(self, row: Mapped, words: tuple[int, ...]) -> str:
        """What is there, as people read it."""
        place, signal = row.place, row.signal
        if place.table.bits:
            return str(bool(words[0])).lower()
        data = b"".join(word.to_bytes(2, "big") for word in words)
        if place.form is Form.STRING:
            return repr(text_of(place, data))
        if place.scale_from:
            return " ".join(f"{word:04X}" for word in words)
        block = Block(0, place.table, place.address, place.end, (Atom(place.address, place.end, (0,)),))
        decoder = Decoder(Recipe(block, [row], {}))
        decoder.feed(data)
        value = decoder.values[0]
        if value is None:
            return " ".join(f"{word:04X}" for word in words)
        return f"{value / signal.size:g} {signal.unit.symbol}".rstrip()


def _short(error: ModbusError) -> str:
    return "no reply" if isinstance(error, NoReply) else str(error)
