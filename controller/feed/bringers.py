"""The core's end for what other processes bring: rows of Signals that are declared as brought, and what is wanted in return.

A face claims blocks (`OWNER/GROUP`) and is the only one that may bring their rows while it is there and speaks. The latest row of
a Signal wins; a face that brings more than MOST_ROWS between two beats is not read until the next, so it waits and nothing else.
"""

import asyncio
import math
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from controller.feed.messages import Answered, Brings, Brought, Done, Pending, Row, Told, Value, Wanted
from controller.feed.signals import FeedSignal
from twin.clock import Ns, S

MOST_ROWS = 2000  # of one face between two beats; Events count as rows
MOST_EVENTS = 1000  # of all faces between two beats
MOST_WANTED = 64  # of one face, under way
MOST_TEXT = 1024
MOST_CAUSE = 256
MOST_KIND = 64
MOST_FIELDS = 32
SILENCE = Ns(5 * S)
STATES = ("confirmed", "refused", "mismatch", "unknown")
NOBODY = "no process brings it"
NOTHING = "the process that brings it has brought nothing yet"
_QUALITIES = (0, 1, 2)
_WHOLE = range(-(2**63), 2**63)


class NotBrought(Exception):
    """Nobody can be asked, and why."""


@dataclass
class _Face:
    """One face that brings something."""

    blocks: tuple[str, ...]
    heard: Ns
    rows: int = 0
    silent: bool = False
    room: asyncio.Event = field(default_factory=asyncio.Event)


def block(signal: FeedSignal) -> str:
    """What a Signal is brought with."""
    return f"{signal.owner}/{signal.group}"


class Bringers:
    """All faces that bring something.

    Attributes:
        refused: rows, Events and claims that were refused since start.

    Args:
        blocks: that may be brought at all; all else is the core's own.
    """

    def __init__(self, signals: Sequence[FeedSignal], blocks: Collection[str]) -> None:
        self._signals, self._allowed = signals, frozenset(blocks)
        self._block_of = {index: block(signal) for index, signal in enumerate(signals) if block(signal) in self._allowed}
        self._faces: dict[Pending, _Face] = {}
        self._by: dict[str, Pending] = {}
        self._rows: dict[str, dict[int, Row]] = {}
        self._events: deque[Told] = deque()
        self._causes: dict[str, str] = dict.fromkeys(self._allowed, NOBODY)
        self._claims: dict[str, int] = dict.fromkeys(self._allowed, 0)
        self._empty: set[str] = set()
        self._asked: dict[int, tuple[Pending, asyncio.Future[Done]]] = {}
        self._last = 0
        self._now = Ns(0)
        self.refused = 0

    # ---- what faces say

    def hear(self, face: Pending, said: Brings | Brought | Done) -> None:
        """Take in what a face says; what is wrong with it, it is told. The caller has seen that it has room for an answer."""
        match said:
            case Brings():
                why = self._claim(face, said.blocks)
                self.refused += bool(why)
                face.first(Answered(said.request, not why, why or f"{len(said.blocks)} blocks are yours to bring"))
            case Brought():
                if why := self._take_in(face, said):
                    face.first(Answered(0, False, why))
            case Done():
                if why := self._done(face, said):
                    self.refused += 1
                    face.first(Answered(0, False, why))

    async def room(self, face: Pending) -> None:
        """Wait until a face may bring more: at once, or at the next beat."""
        if (found := self._faces.get(face)) is not None:
            await found.room.wait()

    def forget(self, face: Pending) -> None:
        """A face has gone: what it brought grows stale, what was wanted of it may have been done or not."""
        found = self._faces.pop(face, None)
        if found is None:
            return
        for name in found.blocks:
            if self._by.get(name) is face:
                del self._by[name]
                self._causes[name] = "the process that brings it has gone"
        self._give_up(face, "the process that was asked has gone")

    def _give_up(self, face: Pending, why: str) -> None:
        for number, (asked, answer) in list(self._asked.items()):
            if asked is face:
                del self._asked[number]
                if not answer.done():
                    answer.set_result(Done(number, "unknown", why))

    def _claim(self, face: Pending, blocks: list[str]) -> str:
        for name in blocks:
            if name not in self._allowed:
                return f"{name[:64]!r} is not brought by any process of this factory"
            holder = self._by.get(name)
            if holder is not None and holder is not face and not self._faces[holder].silent:
                return f"{name} is brought by another process already"
        before = self._faces.get(face)
        claimed = dict.fromkeys([*(before.blocks if before else ()), *blocks])
        self._faces[face] = made = _Face(tuple(claimed), self._now)
        made.room.set()
        for name in blocks:
            if self._by.get(name) is not face:
                self._claims[name] += 1
                self._empty.add(name)
                self._rows.pop(name, None)
            self._by[name] = face
            self._causes[name] = ""
        return ""

    def _take_in(self, face: Pending, said: Brought) -> str:
        found = self._faces.get(face)
        count = len(said.rows) + len(said.events)
        if found is None:
            self.refused += count
            return "say first what you bring"
        found.heard, found.rows = self._now, found.rows + count
        if found.silent:
            self._speaks(face, found)
        if found.rows >= MOST_ROWS:
            found.room.clear()
        if count > MOST_ROWS:
            self.refused += count
            return f"{count} rows and events in one message are more than {MOST_ROWS}"
        wrong = [why for row in said.rows if (why := self._put(face, row))]
        wrong += [why for event in said.events if (why := self._happened(found, event))]
        self.refused += len(wrong)
        return f"{wrong[0]} ({len(wrong)} of {count} refused)" if wrong else ""

    def _speaks(self, face: Pending, found: _Face) -> None:
        found.silent = False
        for name in found.blocks:
            if self._by.get(name) is face:
                self._causes[name] = ""

    def _put(self, face: Pending, row: Row) -> str:
        name = self._block_of.get(row.index)
        if name is None or self._by.get(name) is not face:
            return f"row {row.index} is not yours to bring"
        if why := wrong_row(self._signals[row.index], row):
            return f"{self._signals[row.index].path}: {why}"
        at_ns = row.at_ns if 0 <= row.at_ns <= self._now else 0
        self._empty.discard(name)
        self._rows.setdefault(name, {})[row.index] = Row(row.index, row.value, row.quality, row.cause, row.utc_ns, at_ns)
        return ""

    def _happened(self, found: _Face, event: Told) -> str:
        if not any(name.rpartition("/")[0] == event.subject for name in found.blocks):
            return f"an event of {event.subject[:64]!r} is not yours to bring"
        if len(self._events) >= MOST_EVENTS:
            return f"{MOST_EVENTS} events wait already"
        if len(event.kind) > MOST_KIND or len(event.fields) > MOST_FIELDS or not 0 <= event.utc_ns < _WHOLE.stop:
            return f"an event of kind {event.kind[:64]!r} with {len(event.fields)} fields at {event.utc_ns} cannot be"
        at_ns = event.at_ns if 0 <= event.at_ns <= self._now else 0
        self._events.append(Told(event.utc_ns, event.kind, event.subject, event.fields, at_ns))
        return ""

    def _done(self, face: Pending, said: Done) -> str:
        asked = self._asked.get(said.wanted)
        if asked is None or asked[0] is not face:
            return f"{said.wanted} was not wanted of you, or is settled already"
        del self._asked[said.wanted]
        wrong = said.state not in STATES
        done = Done(said.wanted, "unknown", f"answered {said.state[:32]!r}") if wrong else said
        if not asked[1].done():
            asked[1].set_result(done)
        return f"{said.state[:32]!r} is none of {', '.join(STATES)}" if wrong else ""

    # ---- what the core does

    def beat(self, now: Ns) -> None:
        """Let everybody bring again; who has said nothing for SILENCE counts as silent."""
        self._now = now
        for face, found in self._faces.items():
            found.rows = 0
            found.room.set()
            if not found.silent and now - found.heard > SILENCE:
                found.silent = True
                for name in found.blocks:
                    if self._by.get(name) is face:
                        self._causes[name] = f"the process that brings it has said nothing for {SILENCE // S} s"

    def take(self, blocks: Iterable[str]) -> list[Row]:
        """The latest row of each Signal of these blocks that was brought since they were asked for last."""
        return [row for name in blocks for row in self._rows.pop(name, {}).values()]

    def events(self) -> list[Told]:
        """What has happened since this was asked last."""
        found = list(self._events)
        self._events.clear()
        return found

    def cause(self, name: str) -> str:
        """Why a block is not brought; empty when it is."""
        return self._causes[name] or (NOTHING if name in self._empty else "")

    def claim(self, name: str) -> int:
        """How many faces have claimed a block so far: with each, what the one before brought counts no more."""
        return self._claims[name]

    def want(self, name: str, kind: str, args: Mapping[str, Value]) -> "asyncio.Future[Done]":
        """Ask who brings a block for something, once; what came of it. To cancel it is to give it up.

        Raises:
            NotBrought: nobody was asked.
        """
        face = self._by.get(name)
        if face is None or self._causes[name]:
            raise NotBrought(self._causes[name])
        under_way = sum(asked is face for asked, _ in self._asked.values())
        if under_way >= MOST_WANTED or not face.room:
            raise NotBrought(f"{under_way} requests are under way there already: try again later")
        self._last += 1
        number = self._last
        answer: asyncio.Future[Done] = asyncio.get_running_loop().create_future()
        answer.add_done_callback(lambda _: self._asked.pop(number, None))
        self._asked[number] = face, answer
        face.first(Wanted(number, name, kind, dict(args)))
        return answer


def wrong_row(signal: FeedSignal, row: Row) -> str:
    """What is wrong with a row that was brought; empty when nothing is."""
    if row.quality not in _QUALITIES or len(row.cause) > MOST_CAUSE or not 0 <= row.utc_ns < _WHOLE.stop:
        return f"quality {row.quality}, a cause of {len(row.cause)} characters or the time {row.utc_ns} cannot be"
    value = row.value
    if value is None:
        return "a value that is Good must be there" if row.quality == 0 else ""
    if signal.type is float:
        fits = type(value) is float and math.isfinite(value)
    elif signal.type is str:
        fits = isinstance(value, str) and len(value) <= MOST_TEXT
    elif signal.type is bool:
        fits = isinstance(value, bool)
    else:
        fits = type(value) is int and value in _WHOLE and _known(signal.type, value)
    return "" if fits else f"{str(value)[:64]!r} is no {signal.type.__name__}"


def _known(kind: type, value: int) -> bool:
    if kind is int:
        return True
    try:
        kind(value)
    except ValueError:
        return False
    return True
