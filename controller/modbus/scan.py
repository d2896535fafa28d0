"""What there is on a Modbus connection: units, who they say they are, what of their four tables can be read, SunSpec models.

Devices are slow, and some fall over when they are asked too much. So there is one request at a time, the ends of what can be read
are found by doubling and halving, and only some addresses are tried as beginnings.
"""

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field

from controller.fieldbus.sunspec import Chain, Model, walk
from controller.modbus.burst import UnitLink
from controller.modbus.inquiry import ABSENT, How, Inquiry, Over
from controller.modbus.pdu import MOST_BITS_READ, MOST_READ, Refused
from twin.clock import Clock
from twin.maps import Table

ADDRESSES = 65_536
LONG = 2048
"""A range that has grown so long is only sampled from there on."""
ILLEGAL_FUNCTION = 1
STRANGERS = (213, 119, 246)
"""Units that hardly anybody has: who answers for all of them answers for every unit."""
BASES = (40_000, 50_000, 0)
MODELS = {
    1: "common", 101: "inverter, single phase", 102: "inverter, split phase", 103: "inverter, three phases",
    111: "inverter, single phase, float", 112: "inverter, split phase, float", 113: "inverter, three phases, float",
    120: "nameplate", 121: "basic settings", 122: "measurements and status", 123: "immediate controls", 124: "storage",
    126: "volt-VAR", 127: "frequency-watt", 131: "watt-power factor", 132: "volt-watt", 160: "multiple MPPT",
    201: "meter, single phase", 202: "meter, split phase", 203: "meter, star", 204: "meter, delta",
    211: "meter, single phase, float", 212: "meter, split phase, float", 213: "meter, star, float",
    214: "meter, delta, float", 701: "DER AC measurement", 702: "DER capacity", 703: "enter service",
    704: "DER AC controls", 713: "DER storage capacity", 714: "DER DC measurement", 802: "battery", 803: "lithium-ion battery bank",
}  # fmt: skip
_SEEDS = sorted(
    {0, 1, 2, 16, 32, 64, 100, 128, 200, 256, 300, 400, 500, 512, 600, 700, 768, 800, 900, 3000, 30_001, 40_001, 0xFC00, 0xFF00}
    | set(range(1000, 10_000, 1000)) | set(range(10_000, ADDRESSES, 10_000)) | set(range(1024, ADDRESSES, 4096)) | {65_535}
)  # fmt: skip
_AHEAD = (1, 2, 4, 8, 16, 32, 64)
"""How far behind a range's end others may begin."""


@dataclass(frozen=True, slots=True)
class Found:
    """Addresses in a row that can be read.

    Attributes:
        sampled: beyond the first LONG of them not every one was tried.
    """

    first: int
    last: int
    sampled: bool = False


@dataclass(slots=True)
class Tables:
    """What of a table can be read.

    Attributes:
        served: whether the unit knows the function at all.
        most: the most that one request may read, as far as was found.
    """

    served: bool = True
    ranges: list[Found] = field(default_factory=list)
    most: int = 0


@dataclass(slots=True)
class Unit:
    """What was found out about a unit.

    Attributes:
        identity: by object number.
        models: of its SunSpec chain; `base`: where that begins.
        notes: what else is worth knowing.
    """

    unit: int
    identity: dict[int, str] = field(default_factory=dict)
    tables: dict[Table, Tables] = field(default_factory=dict)
    base: int | None = None
    models: list[Model] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    asked: int = 0


Say = Callable[[str], None]
Reads = Callable[[int, int], Awaitable[bool]]


async def units(link: UnitLink, wanted: Sequence[int], clock: Clock, how: How, say: Say) -> tuple[list[int], bool]:
    """Which of the units answer, and whether the device answers for every one: then only the first is named."""
    found = []

    async def there(unit: int) -> bool:
        return await Inquiry(link, unit, clock, how).there()

    if len(wanted) > len(STRANGERS) and all([await there(unit) for unit in STRANGERS]) and await there(wanted[0]):
        return [wanted[0]], True
    for unit in wanted:
        if await there(unit):
            say(f"unit {unit} answers")
            found.append(unit)
    return found, False


async def survey(link: UnitLink, unit: int, clock: Clock, how: How, say: Say) -> Unit:
    """Everything about one unit that can be found out."""
    inquiry, made = Inquiry(link, unit, clock, how), Unit(unit)
    try:
        made.identity = await inquiry.identity()
        await _chain(inquiry, made)
        for table in (Table.HOLDING, Table.INPUT, Table.COILS, Table.DISCRETE):
            say(f"unit {unit}: {table}, after {inquiry.asked} requests")
            made.tables[table] = Tables()
            await _Search(inquiry, table, made.tables[table]).run([] if made.base is None else [made.base])
    except Over as over:
        made.notes.append(f"not everything was tried: {over}")
    made.asked = inquiry.asked
    if _alike(made):
        made.notes.append("input registers have the same ranges as holding registers")
    return made


def _alike(unit: Unit) -> bool:
    one, other = unit.tables.get(Table.HOLDING), unit.tables.get(Table.INPUT)
    return one is not None and other is not None and bool(one.ranges) and one.ranges == other.ranges


async def _chain(inquiry: Inquiry, unit: Unit) -> None:
    """Walk the SunSpec chain, if there is one."""
    chain = await chain_of(inquiry)
    if isinstance(chain, Chain):
        unit.base, unit.models = chain.base, list(chain.models)
        unit.notes += [chain.doubt] if chain.doubt else []


async def chain_of(inquiry: Inquiry, bases: Sequence[int] = BASES) -> Chain | str:
    """The SunSpec chain, or why there is none."""
    walking = walk(bases)
    try:
        where = next(walking)
        while True:
            where = walking.send(await inquiry.read(Table.HOLDING, *where))
    except StopIteration as end:
        found: Chain | str = end.value
        return found


class _Search:
    """Looks for the readable ranges of one table."""

    def __init__(self, inquiry: Inquiry, table: Table, found: Tables) -> None:
        self._inquiry, self._table, self._found = inquiry, table, found
        self._most = MOST_BITS_READ if table.bits else MOST_READ
        self._known = 0

    async def run(self, hints: Collection[int]) -> None:
        """Fill in the ranges; a hint is an address that can be read."""
        for seed in sorted({*_SEEDS, *hints}):
            if any(one.first <= seed <= one.last for one in self._found.ranges):
                continue
            if not await self._reads(seed, 1) and not ((seed == 0 or seed in hints) and await self._reads(seed, 2)):
                if not self._found.served:
                    return
                continue
            await self._from(seed)
        self._found.most = self._known

    async def _from(self, seed: int) -> None:
        """The range around a seed, and those that begin a little behind it."""
        todo = [seed]
        while todo:
            at = todo.pop()
            before = max((one.last + 1 for one in self._found.ranges if one.last < at), default=0)
            first = at - await self._grow(at, before, down=True)
            count = at - first + await self._grow(at, ADDRESSES)
            self._found.ranges.append(Found(first, first + count - 1, count > LONG))
            end = first + count
            for ahead in _AHEAD:
                if end + ahead < ADDRESSES and await self._reads(end + ahead, 1):
                    todo.append(end + ahead)
                    break
        self._found.ranges.sort(key=lambda one: one.first)

    async def _grow(self, at: int, limit: int, down: bool = False) -> int:
        """How many addresses in a row can be read from `at` up (itself among them), or below it down to `limit`."""
        done, step, room = 0, 2, (at - limit if down else limit - at)

        async def reads(skip: int, count: int) -> bool:
            return await self._reads(at - skip - count if down else at + skip, count)

        while done < room:
            if done >= LONG:
                return done + await self._sampled(reads, done, room)
            count = min(step, self._most, room - done)
            if await reads(done, count):
                done, step = done + count, 2 * step
                continue
            good = await self._most_of(reads, done, count)
            done += good
            if not good or not (await reads(done, 1) or (done + 2 <= room and await reads(done, 2))):
                return done
            self._most, step = max(good, 1), good  # all of it can be read, but not at once
        return done

    async def _most_of(self, reads: Reads, done: int, count: int) -> int:
        """The most that can be read from there on in one request, below `count`, which is refused."""
        good, bad = 0, count
        while bad - good > 1:
            middle = (good + bad) // 2
            if await reads(done, middle):
                good = middle
            else:
                bad = middle
        return good

    async def _sampled(self, reads: Reads, done: int, room: int) -> int:
        """How many more can be read, by single addresses: doubling, then halving."""
        good, step = done, 1
        while good < room:
            ahead = min(good + step, room) - 1
            if not await reads(ahead, 1):
                break
            good, step = ahead + 1, 2 * step
        else:
            return good - done
        bad = min(good + step, room) - 1
        while bad - good > 0:
            middle = (good + bad) // 2
            if await reads(middle, 1):
                good = middle + 1
            else:
                bad = middle
        return good - done

    async def _reads(self, first: int, count: int) -> bool:
        reply = await self._inquiry.read(self._table, first, count)
        if isinstance(reply, Refused):
            if reply.code == ILLEGAL_FUNCTION:
                self._found.served = bool(self._found.ranges)
            if reply.code in ABSENT:
                raise Over(f"the gateway says: {reply}")
        if isinstance(reply, tuple):
            self._known = max(self._known, count)
            return True
        return False
