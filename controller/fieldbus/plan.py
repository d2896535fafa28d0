"""What to ask a unit for: the readable Signals of a Map in few requests, and what is left when a device refuses one. Pure.

Signals that must be read in one request are an Atom and are never cut. Atoms in a row become a Block, one request, where
reading the addresses between them costs less than another request would; which Atoms go together is chosen for the least cost.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from controller.modbus.pdu import READ_COILS, READ_DISCRETE, READ_HOLDING, READ_INPUT, Read, ReadBits
from twin.maps import Map, MapError, Mapped, Place, Table
from twin.serial import Serial

FUNCTIONS = {Table.COILS: READ_COILS, Table.DISCRETE: READ_DISCRETE, Table.HOLDING: READ_HOLDING, Table.INPUT: READ_INPUT}


@dataclass(frozen=True, slots=True)
class Costs:
    """What a request costs by itself, and what each register or 16 bits in it cost [µs], on the line and at both ends."""

    request: float
    register: float


NETWORK = Costs(350.0, 2.5)
"""A round trip in a network and a small device's time for it. Measured on loopback (facts: 50 scattered reads 6.6 ms, one
block of 100 registers 0.15 ms): 130 µs and 0.2 µs; a device with a slow processor has more of both."""


def serial_costs(line: Serial) -> Costs:
    """Of a serial line: 8 bytes of request, 5 of reply, two silences of 3.5 characters and the device's own turn-round."""
    character = 1e6 * line.character_bits / line.baud
    silence = max(3.5 * character, 1750.0)
    return Costs(13 * character + 2 * silence + 2000.0, 2 * character)


@dataclass(frozen=True, slots=True)
class Atom:
    """Addresses that are read in one request, and the rows (by their index) that are made of them."""

    first: int
    end: int
    rows: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Block:
    """One request."""

    unit: int
    table: Table
    first: int
    end: int
    atoms: tuple[Atom, ...]

    @property
    def count(self) -> int:
        return self.end - self.first

    @property
    def rows(self) -> tuple[int, ...]:
        """The rows that are made of it."""
        return tuple(row for atom in self.atoms for row in atom.rows)

    @property
    def request(self) -> Read | ReadBits:
        """What goes onto the line."""
        if self.table.bits:
            return ReadBits(self.first, self.count, FUNCTIONS[self.table])
        return Read(self.first, self.count, FUNCTIONS[self.table])

    def halves(self) -> tuple["Block", ...]:
        """The same Atoms in two requests, cut in the middle; none where it is a single Atom."""
        if len(self.atoms) < 2:
            return ()
        middle = len(self.atoms) // 2
        return _block(self.unit, self.table, self.atoms[:middle]), _block(self.unit, self.table, self.atoms[middle:])


def _block(unit: int, table: Table, atoms: Sequence[Atom]) -> Block:
    return Block(unit, table, min(a.first for a in atoms), max(a.end for a in atoms), tuple(atoms))


Plan = Mapping[tuple[int, str], tuple[Block, ...]]


def plan(
    map: Map,
    unit: int = 1,
    costs: Costs = NETWORK,
    rows: Sequence[Mapped] | None = None,
    without: Collection[int] = (),
) -> Plan:
    """The Blocks of each (unit, scan class) that has any.

    Args:
        unit: the machine's own.
        rows: what is read, in the order of their indices, where it is not `map.read`: places may have been found at run time.
        without: rows (by their index) that are not read.

    Raises:
        MapError: Signals that must be read in one request and cannot be; or one lies where nothing may be read.
    """
    read = map.read if rows is None else rows
    found: dict[tuple[int, str], list[Block]] = defaultdict(list)
    for (its_unit, table, scan), atoms in _atoms(map, read, unit, without).items():
        found[its_unit, scan] += _blocks(map, costs, its_unit, table, atoms)
    return {key: tuple(blocks) for key, blocks in found.items()}


_Kind = tuple[int, Table, str]


def _atoms(map: Map, rows: Sequence[Mapped], unit: int, without: Collection[int]) -> dict[_Kind, list[Atom]]:
    """The Atoms of each (unit, table, class), sorted."""
    by_name = {row.name: row for row in map.signals} | {row.name: row for row in rows}
    classes = _classes(map, rows)
    parents = list(range(len(rows)))

    def root(index: int) -> int:
        while parents[index] != index:
            index = parents[index]
        return index

    indices, groups = {row.name: i for i, row in enumerate(rows)}, dict[str, int]()
    for index, row in enumerate(rows):
        if row.place.together:
            parents[root(index)] = root(groups.setdefault(row.place.together, index))
        for other in _others(row.place):
            if other in indices and classes[indices[other]] == classes[index]:
                parents[root(index)] = root(indices[other])
    members: dict[int, list[int]] = defaultdict(list)
    for index in range(len(rows)):
        if index not in without:
            members[root(index)].append(index)
    found: dict[_Kind, list[Atom]] = defaultdict(list)
    for group in members.values():
        kind, atom = _atom(map, rows, by_name, unit, group)
        found[(*kind, classes[group[0]])].append(atom)
    for atoms in found.values():
        atoms.sort(key=lambda a: (a.first, a.end))
    return found


def _others(place: Place) -> Iterable[str]:
    return (name for name in (place.scale_from, place.plus_from) if name)


def _classes(map: Map, rows: Sequence[Mapped]) -> list[str]:
    """The scan class of each row; what is read together is read as often as the most frequent of it."""
    fastest: dict[str, str] = {}
    for row in rows:
        word = row.place.together
        if word and (word not in fastest or _rank(map, row.scan) < _rank(map, fastest[word])):
            fastest[word] = row.scan
    return [fastest.get(row.place.together, row.scan) for row in rows]


def _rank(map: Map, scan: str) -> float:
    return map.classes[scan] or float("inf")


def _atom(
    map: Map, rows: Sequence[Mapped], by_name: Mapping[str, Mapped], unit: int, group: Sequence[int]
) -> tuple[tuple[int, Table], Atom]:
    own = [rows[i] for i in group]
    read = [*own, *(by_name[name] for row in own for name in _others(row.place))]
    kinds = {(unit if row.place.unit is None else row.place.unit, row.place.table) for row in read}
    first, end = min(row.place.address for row in read), max(row.place.end for row in read)
    names = ", ".join(dict.fromkeys(row.name for row in read))
    if len(kinds) > 1:
        raise MapError((f"line {own[0].line}: {names} must be read in one request, but lie in different units or tables",))
    ((its_unit, table),) = kinds
    most = _most(map, table)
    if end - first > most:
        raise MapError((f"line {own[0].line}: {names} take {end - first} addresses in one request, at most {most} can be read",))
    for places in map.forbidden:
        if places.table is table and first <= places.last and places.first < end:
            raise MapError((f"line {own[0].line}: {names} need {table} {places.first} to {places.last} read, which is forbidden",))
    return (its_unit, table), Atom(first, end, tuple(group))


def _most(map: Map, table: Table) -> int:
    return map.most_bits if table.bits else map.most_registers


def _blocks(map: Map, costs: Costs, unit: int, table: Table, atoms: Sequence[Atom]) -> list[Block]:
    """The cheapest way to cut sorted Atoms into requests: `cheapest[i]` is the cost of the first i, `start[i]` where the last
    request of them begins."""
    most, register = _most(map, table), costs.register / (16 if table.bits else 1)
    cheapest, start = [0.0], [0]
    for i in range(1, len(atoms) + 1):
        best, at, end = float("inf"), i - 1, 0
        for j in range(i - 1, -1, -1):
            end = max(end, atoms[j].end)
            span = end - atoms[j].first
            if span > most or (j + 1 < i and not _joins(map, table, atoms[j : j + 2])):
                break
            cost = cheapest[j] + costs.request + register * span
            if cost < best:
                best, at = cost, j
        cheapest.append(best)
        start.append(at)
    cuts = [len(atoms)]
    while cuts[-1]:
        cuts.append(start[cuts[-1]])
    cuts.reverse()
    return [_block(unit, table, atoms[a:b]) for a, b in pairwise(cuts)]


def _joins(map: Map, table: Table, pair: Sequence[Atom]) -> bool:
    """Whether two neighbours may be read in one request."""
    first, last = pair[0].end, pair[1].first - 1
    if map.gap is not None and last - first + 1 > map.gap:
        return False
    return not any(p.table is table and first <= p.last and p.first <= last for p in map.forbidden)
