"""What is read of one machine: its Pages as they come, and the Sample that is made of all of them."""

from collections.abc import Callable, Collection, Mapping, Sequence
from operator import itemgetter
from types import MappingProxyType
from typing import Any

from controller.fieldbus.ask import Ask
from controller.fieldbus.channel import Channel, Unit
from controller.fieldbus.decode import Decoder, Recipe
from controller.fieldbus.plan import Block
from controller.fieldbus.rounds import Round
from controller.modbus.pdu import ModbusError, Refused
from twin.clock import MS, Ns, S, utc_ns
from twin.maps import Mapped
from twin.trace import GOOD, Belief, Quality, Sample

RETRY = Ns(60 * S)
"""What a device refused to read is asked for again after this: some refuse while they start."""
NEVER = Belief(Quality.STALE, "never heard")
CANNOT_READ = (2, 3)
"""Exceptions that say that these addresses, or so many of them, cannot be read: the block is cut until they are found."""
_NO_DOUBTS: Mapping[str, Belief] = MappingProxyType({})
_tuple: Any = tuple.__new__  # a namedtuple's _make also counts what it is given
_NO_TIMES: Mapping[str, int] = MappingProxyType({})


class Page:
    """One Block of a machine, again and again.

    Attributes:
        gone: it was replaced; replies that still come are no business of its machine's.
    """

    __slots__ = ("_seen", "ask", "at", "block", "decoder", "doubt", "fresh", "gone", "limit", "payload", "reading", "round",
                 "stale", "told")  # fmt: skip

    def __init__(self, reading: "Reading", round_: Round, block: Block, recipe: Recipe | None = None) -> None:
        self.reading, self.round, self.block = reading, round_, block
        self.decoder = Decoder(recipe or Recipe(block, reading.rows, reading.by_name))
        self.ask = Ask(block.unit, block.request, self.heard)
        self.payload = self._seen = b""
        self.at = Ns(-1)
        self.limit = round_.limit
        self.fresh = self.stale = self.gone = False
        self.doubt: Belief | None = NEVER
        self.told = True

    def heard(self, ask: Ask, reply: bytes | ModbusError, now: Ns) -> None:
        """Take a reply; it is decoded when its scan is complete."""
        if self.gone:
            pass
        elif type(reply) is bytes:
            self.payload, self.at, self.fresh = reply, now, True
            if self.doubt is not None:
                self.doubt, self.told = None, True
            self.reading.fresh = True
        elif isinstance(reply, Refused) and reply.code in CANNOT_READ:
            self.reading.refused(self, reply, now)
        else:
            self._failed(reply)  # type: ignore[arg-type]
        self.round.done(now, type(reply) is bytes)

    def _failed(self, error: ModbusError) -> None:
        """A device that says why is believed at once; silence makes values old, not wrong."""
        if isinstance(error, Refused) and error.code not in (5, 6, 10, 11):
            self.doubt, self.told, self.reading.fresh = Belief(Quality.BAD, str(error)), True, True

    def decode(self) -> bool:
        """Whether anything of it is to be told anew."""
        changed, self.told = self.told, False
        if self.fresh:
            self.fresh = False
            if self.payload != self._seen:
                self._seen = self.payload
                changed |= self.decoder.feed(self.payload)
        return changed

    def follow(self, values: Mapping[int, Any], doubts: Mapping[str, Belief], at: Ns) -> None:
        """Begin with what others have told of its rows, by their index, until its own reply comes."""
        decoder = self.decoder
        decoder.values = [values.get(row) for row in decoder.rows]
        names = (self.reading.rows[row].name for row in decoder.rows)
        decoder.doubts = {name: doubts[name] for name in names if name in doubts}
        self.at, self.doubt = at, None


class Reading:
    """One machine as it is read.

    Attributes:
        rows: what can be read, in the order of its Status; their places are absolute.
        fresh: whether anything has come since the Sample was made.
        missing: Signals that cannot be read, and why.
        why: nothing can be read yet.
        replan: makes its Pages anew, without some of its rows (by their index), where what can be read has changed.
    """

    def __init__(self, name: str, status: type, rows: Sequence[Mapped], channel: Channel) -> None:
        self.name, self.rows, self.channel = name, rows, channel
        self.by_name: Mapping[str, Mapped] = {}
        self.fresh = True
        self.pages: list[Page] = []
        self.missing: dict[str, Belief] = {}
        self.why = ""
        self.replan: Callable[[Collection[int]], None] | None = None
        self._status: Any = status
        self._order: Callable[[list[Any]], tuple[Any, ...]] | None = None
        self._units: list[Unit] = []
        self._refused: dict[Round, list[Block]] = {}
        self._tried: list[Page] = []
        self._improved = self._armed = False
        self._apart = Ns(0)
        self._times: tuple[tuple[tuple[Page, Ns], ...], Mapping[str, int]] = (), _NO_TIMES
        self._sample: Sample[Any] = Sample(None, Ns(0), 0, NEVER)
        self._new = False
        self._seen = -1

    def places(self, rows: Sequence[Mapped], by_name: Mapping[str, Mapped]) -> None:
        """Where everything lies.

        Args:
            by_name: also what is not read for itself.
        """
        self.rows, self.by_name = rows, by_name

    def clear(self) -> None:
        """Without its Pages: it will get others."""
        for page in self.pages:
            page.round.remove(page)
        self.pages, self.missing, self._refused, self._order, self._tried = [], {}, {}, None, []
        self.fresh, self._seen, self._improved = True, -1, False

    def watch(self, page: Page) -> None:
        """One more Page to make its Sample of."""
        self._order = None
        self.pages.append(page)
        self._apart = min((page.round.period for page in self.pages if page.round.period), default=Ns(0))
        if page.round.unit not in self._units:
            self._units.append(page.round.unit)

    def refused(self, page: Page, error: Refused, now: Ns) -> None:
        """A Block that cannot be read: its halves may be; of a single Atom nothing is known."""
        self.pages.remove(page)
        self._order = None
        page.round.remove(page)
        halves = page.block.halves()
        for block in halves:
            self._split(page, block)
        if not halves:
            self._refused.setdefault(page.round, []).append(page.block)
            if not self._armed:
                self._armed = True
                self.channel.wheel.at(Ns(now + RETRY), self)
            cause = "illegal address" if error.code == 2 else str(error)
            for row in page.block.rows:
                self.missing[self.rows[row].name] = Belief(Quality.BAD, cause)
        self.fresh, self._seen = True, -1

    def _split(self, page: Page, block: Block) -> None:
        made = Page(self, page.round, block)
        if page.at >= 0 and page.doubt is None:
            made.follow(dict(zip(page.decoder.rows, page.decoder.values, strict=True)), page.decoder.doubts, page.at)
        self.watch(made)
        page.round.add(made)

    def retry(self, round_: Round) -> None:
        """What was refused is asked for once more, each Atom by itself."""
        for block in self._refused.pop(round_, []):
            page = Page(self, round_, block)
            for row in block.rows:
                page.doubt = self.missing.pop(self.rows[row].name, page.doubt)
            self.watch(page)
            self._tried.append(page)
            round_.add(page, now=False)

    def fire(self, due: Ns, now: Ns) -> None:
        """Ask for what was refused with the next scan."""
        self._armed = False
        for round_ in list(self._refused):
            self.retry(round_)
            if not round_.period:
                round_.found(now)

    def _judge(self, now: Ns) -> None:
        """What was asked for once more can be read now, or was refused again: is it worth another plan?"""
        answered = [page for page in self._tried if page.doubt is None]
        self._tried = [page for page in self._tried if page.doubt is not None and not page.gone]
        self._improved |= bool(answered)
        if self._tried or not self._improved or self.replan is None:
            return
        values: dict[int, Any] = {}
        doubts: dict[str, Belief] = {}
        at: Ns | None = None
        for page in self.pages:
            if page.doubt is None:
                page.decode()
                values |= zip(page.decoder.rows, page.decoder.values, strict=True)
                doubts |= page.decoder.doubts
                at = page.at if at is None else min(at, page.at)
        missing, refused, old = self.missing, self._refused, self.pages
        self.clear()
        self.missing, self._refused = missing, refused
        without = {row for blocks in refused.values() for block in blocks for row in block.rows}
        self.replan(without)
        for page in self.pages:
            if at is not None and values.keys() >= set(page.decoder.rows):
                page.follow(values, doubts, min((p.at for p in old if p.round is page.round and p.at >= 0), default=at))
            elif not page.round.period:
                page.round.found(now)

    def take(self, now: Ns) -> Sample[Any] | None:
        """Its Sample, where there is a new one since this was asked last."""
        changed, seen = self.fresh, self.channel.changes
        if seen != self._seen:
            self._seen, changed = seen, True
        for page in self.pages:
            if (now - page.at > page.limit) is not page.stale:
                page.stale, changed = not page.stale, True
        if changed:
            self.make(now, True)
        if not self._new:
            return None
        self._new = False
        return self._sample

    def make(self, now: Ns, changed: bool = False) -> None:
        """Make its Sample of what has come; `changed`: because how far it is believed has."""
        if self._tried:
            self._judge(now)
        self.fresh, self._new, at = False, True, Ns(-1)
        for page in self.pages:
            changed |= page.decode()
            its = page.at
            if its > at:
                at = its
        utc = utc_ns() - (now - at)
        times = self._older(at, utc) if len(self.pages) > 1 else _NO_TIMES
        if changed:
            self._sample = self._made(at, utc, times)
        else:
            sample = self._sample
            self._sample = Sample(sample.status, at, utc, sample.every, sample.doubts, None, times)

    def _older(self, at: Ns, utc: int) -> Mapping[str, int]:
        """When those Signals were true [UTC ns] that have not come with the newest scan."""
        apart = self._apart
        old = tuple((page, page.at) for page in self.pages if page.at >= 0 and at - page.at >= apart)
        if old != self._times[0]:
            rows = self.rows
            told = {rows[row].name: utc - (at - its) for page, its in old if its < at for row in page.decoder.rows}
            self._times = old, MappingProxyType(told) if told else _NO_TIMES
        return self._times[1]

    def _nothing(self) -> Sample[Any]:
        """Nothing was read yet, or nothing can be."""
        why = self.channel.down or self.why or next((unit.silent for unit in self._units if unit.silent), "")
        if why:
            return Sample(None, Ns(0), 0, Belief(Quality.STALE, why))
        bad = [page.doubt for page in self.pages if page.doubt is not None and page.doubt.quality is Quality.BAD]
        return Sample(None, Ns(0), 0, next(iter([*bad, *self.missing.values()]), NEVER))

    def _made(self, at: Ns, utc: int, times: Mapping[str, int]) -> Sample[Any]:
        if at < 0:
            return self._nothing()
        link = self.channel.down
        values: list[Any] = []
        doubts: dict[str, Belief] = dict(self.missing)
        for page in self.pages:
            decoder = page.decoder
            doubt = self._doubt(page)
            values += decoder.values
            if doubt is not None:
                doubts |= dict.fromkeys((self.rows[row].name for row in decoder.rows), doubt)
            elif decoder.doubts:
                doubts |= decoder.doubts
        values.append(None)
        status = self._in_order(values)
        if status == self._sample.status:
            status = self._sample.status
        every = Belief(Quality.STALE, link) if link else GOOD
        before = self._sample.doubts
        kept = before if doubts == before else MappingProxyType(doubts) if doubts else _NO_DOUBTS
        return Sample(status, at, utc, every, kept, None, times)

    def _in_order(self, values: list[Any]) -> Any:
        """The Status of its Pages' values, one Page's after another's, with None behind them."""
        if self._order is None:
            found = {row: i for i, row in enumerate(row for page in self.pages for row in page.decoder.rows)}
            order = [found.get(row, len(values) - 1) for row in range(len(self.rows))]
            one = len(order) == 1  # an itemgetter of one item makes no tuple
            self._order = (lambda values: (values[order[0]],)) if one else itemgetter(*order)
        return _tuple(self._status, self._order(values))

    def _doubt(self, page: Page) -> Belief | None:
        if page.round.unit.silent:
            return Belief(Quality.STALE, page.round.unit.silent)
        if page.doubt is not None:
            return page.doubt
        return Belief(Quality.STALE, f"no reply for {page.limit // MS} ms") if page.stale else None

