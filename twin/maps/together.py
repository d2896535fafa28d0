"""Signals that must be read in one request, and whether they can be: what the planner of requests takes for granted."""

from collections.abc import Sequence

from twin.maps import sunspec
from twin.maps.document import Row
from twin.maps.map import Map, Mapped, Place

Pairs = Sequence[tuple[Row, Mapped]]


def check_together(pairs: Pairs, made: Map) -> None:
    """Every such group in one table and unit, within what one request may read, and with nothing forbidden between.

    Args:
        pairs: the rows that have a Place, and what was made of them. What lies in two tables by its `scale_from` is told already.
    """
    rows = {mapped.name: row for row, mapped in pairs}
    read = [mapped for _, mapped in pairs if mapped.readable]
    by_name = {mapped.name: mapped for mapped in read}
    for group in _groups(read, made):
        others = [by_name[name] for mapped in group for name in _others(mapped.place) if name in by_name]
        _check(rows[group[0].name], list(dict.fromkeys([*group, *others])), made)


def _check(row: Row, group: list[Mapped], made: Map) -> None:
    places: list[Place] = [mapped.place for mapped in group]
    names = ", ".join(mapped.name for mapped in group)
    key = "together" if places[0].together else "scale_from" if places[0].scale_from else "plus_from"
    table = places[0].table
    if any((place.table, place.unit) != (table, places[0].unit) for place in places):
        row.wrong("together", f"{names} are read in one request, and must be in one table and unit")
        return
    first, end = min(place.address for place in places), max(place.end for place in places)
    most = made.most_bits if table.bits else made.most_registers
    if end - first > most:
        row.wrong(key, f"{names} are read in one request and take {end - first} addresses; one request reads at most {most}")
    for one in made.forbidden:
        if len(group) > 1 and one.table is table and first <= one.last and one.first < end:
            row.wrong(key, f"{names} are read in one request, and {table} {one.first}-{one.last} between them is forbidden")


def _groups(read: list[Mapped], made: Map) -> list[list[Mapped]]:
    """Signals that one request must read, each in one group; what each is scaled by is added where it is read less often."""
    indices = {mapped.name: index for index, mapped in enumerate(read)}
    scans = _scans(read, made)
    parents = list(range(len(read)))

    def root(index: int) -> int:
        while parents[index] != index:
            parents[index] = parents[parents[index]]
            index = parents[index]
        return index

    words: dict[str, int] = {}
    for index, mapped in enumerate(read):
        if word := _word(mapped.place):
            parents[root(index)] = root(words.setdefault(word, index))
        for name in _others(mapped.place):
            other = indices.get(name)
            if other is not None and scans[other] == scans[index]:
                parents[root(index)] = root(other)
    found: dict[int, list[Mapped]] = {}
    for index, mapped in enumerate(read):
        found.setdefault(root(index), []).append(mapped)
    return list(found.values())


def _scans(read: list[Mapped], made: Map) -> list[str]:
    """The scan class of each; what is read together is read as often as the most frequent of it."""
    fastest: dict[str, str] = {}
    for mapped in read:
        word = _word(mapped.place)
        fastest.setdefault(word, mapped.scan)
        fastest[word] = min(fastest[word], mapped.scan, key=lambda scan: made.classes[scan] or float("inf"))
    return [fastest[word] if (word := _word(mapped.place)) else mapped.scan for mapped in read]


def _word(place: Place) -> str:
    """What binds it to others; a model of SunSpec does not: it is where a place counts from."""
    return "" if sunspec.models(place.together) else place.together


def _others(place: Place) -> list[str]:
    return [name for name in (place.scale_from, place.plus_from) if name]
