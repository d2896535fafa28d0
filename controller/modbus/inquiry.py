"""One unit, asked for one thing at a time by a person's command: slowly, counted, and with an end."""

from collections.abc import Sequence
from dataclasses import dataclass

from controller.modbus.burst import Reply, UnitLink
from controller.modbus.pdu import (
    READ_COILS,
    READ_DISCRETE,
    READ_HOLDING,
    READ_INPUT,
    LinkDown,
    ModbusError,
    NoReply,
    Read,
    ReadBits,
    ReadIdentity,
    Refused,
    Request,
    Words,
    identity_of,
)
from twin.clock import MS, Clock, Ns, S
from twin.maps import Table

FUNCTIONS = {Table.COILS: READ_COILS, Table.DISCRETE: READ_DISCRETE, Table.HOLDING: READ_HOLDING, Table.INPUT: READ_INPUT}
ABSENT = (10, 11)
"""Exceptions by which a gateway says that there is no such unit."""
PATIENCE, NO_PAUSE = Ns(500 * MS), Ns(0)
BACK = Ns(3 * S)
"""For so long a connection that a device has closed is waited for."""
LOOK = Ns(20 * MS)


class Over(Exception):
    """No more can be found out: the unit has fallen silent, or as much was asked as may be."""


async def until_up(link: UnitLink, clock: Clock, within: Ns) -> bool:
    """Wait until a link is up, so long at most; whether it is."""
    limit = clock.now() + within
    while not link.up and clock.now() < limit:
        await clock.until(Ns(clock.now() + LOOK))
    return link.up


@dataclass(frozen=True, slots=True)
class How:
    """How cautiously a device is asked.

    Attributes:
        patience: how long a reply is waited for.
        pause: silence before each request.
        most: requests to each unit.
    """

    patience: Ns = PATIENCE
    pause: Ns = NO_PAUSE
    most: int = 4000


class Inquiry:
    """Questions to one unit.

    Attributes:
        asked: how many requests were sent.

    """

    def __init__(self, link: UnitLink, unit: int, clock: Clock, how: How) -> None:
        self.unit, self.asked = unit, 0
        self._link, self._clock, self._how = link, clock, how
        self._answered: Request = Read(0, 1)

    async def there(self) -> bool:
        """Whether the unit answers anything at all; asked once, for the first holding register."""
        reply = await self._once(Read(0, 1))
        if isinstance(reply, LinkDown) and await until_up(self._link, self._clock, BACK):
            reply = await self._once(Read(0, 1))
        return not isinstance(reply, NoReply | LinkDown) and not (isinstance(reply, Refused) and reply.code in ABSENT)

    async def read(self, table: Table, first: int, count: int) -> Words | ModbusError:
        """Registers or bits, or why there are none.

        Raises:
            Over: nothing more can be asked.
        """
        return await self._ask((ReadBits if table.bits else Read)(first, count, FUNCTIONS[table]))

    async def identity(self) -> dict[int, str]:
        """Its identification by object number, basic and regular; empty where it has none.

        Raises:
            Over: nothing more can be asked.
        """
        found: dict[int, str] = {}
        for code in (1, 2):
            reply = await self._ask(ReadIdentity(code), silence_says_no=True)
            if isinstance(reply, tuple):
                found |= identity_of(reply)
            elif not found:
                break
        return found

    async def _ask(self, request: Request, silence_says_no: bool = False) -> Reply:
        """The reply. What gets none is asked once more; a device that closes the connection at it has refused it."""
        for _ in range(2):
            reply = await self._once(request)
            if isinstance(reply, LinkDown):
                if not await until_up(self._link, self._clock, BACK):
                    raise Over(f"the connection is lost: {reply}")
            elif not isinstance(reply, NoReply):
                self._answered = request
                return reply
        if isinstance(reply, NoReply) and not silence_says_no and not await self._still_there():
            raise Over(f"unit {self.unit} has fallen silent at {request}")
        return reply

    async def _still_there(self) -> bool:
        """Whether it answers what it has answered before: then its silence was a refusal. Some need a while to come back."""
        for pause in (NO_PAUSE, BACK):
            await self._clock.until(Ns(self._clock.now() + pause))
            if not isinstance(await self._once(self._answered), NoReply | LinkDown):
                return True
        return False

    async def _once(self, request: Request) -> Reply:
        if self.asked >= self._how.most:
            raise Over(f"{self.asked} requests were sent, and no more may be")
        self.asked += 1
        if self._how.pause:
            await self._clock.until(Ns(self._clock.now() + self._how.pause))
        replies: Sequence[Reply] = await self._link.ask(self.unit, [request], Ns(self._clock.now() + self._how.patience))
        return replies[0]
