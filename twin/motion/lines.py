"""A Job of G-code lines, for a printer that plans for itself: written anew out of a checked plan, never the author's own text.

Little-endian. The header of any Job, with `LSG1` for its magic and the number of records, then records:

    u16 lines of the program since the record before, u16 chunks of time that it takes, u8 kind, u8 length, then the G-code

All coordinates are absolute and in mm, filament is counted in differences (M83), and a move lasts PIECE at most, so that whoever
sends them knows how far ahead the printer is. What must be waited for (heat, homing, a dwell) has a kind of its own: the
sender waits, the printer never does.
"""

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from twin.kernel import Floats
from twin.motion.check import clamped_settings
from twin.motion.findings import Findings, Refusal
from twin.motion.job import HEADER, header
from twin.motion.limits import AXES, BED, JobError, Limits
from twin.motion.plan import Plan
from twin.motion.program import ACCELERATION, JERK, PRINT, RETRACT, SPEED, TRAVEL, Op, OpKind

MAGIC = b"LSG1"
PIECE = 0.25
"""Seconds that one line of motion lasts at most, as planned."""
LONGEST = 80
"""Characters of a line: Marlin takes 96, with the line's number and checksum."""
_RECORD = struct.Struct("<HHBB")
_MOST = 0xFFFF
_UNSAFE = re.compile(r"\s*(?:N\s*\d+\s*)?(M\s*0*(?:112|302|303|500|501|502|504|851|997|999))(?!\d)", re.IGNORECASE)


class Kind(IntEnum):
    """What its sender does with a record."""

    NOTHING = 0
    MOVE = 1
    SET = 2
    WAIT_HOTEND = 3
    WAIT_BED = 4
    DWELL = 5
    HOME = 6
    MOTORS_OFF = 7
    END = 255


@dataclass(frozen=True, slots=True)
class Record:
    """One record.

    Attributes:
        line: of the program that it comes from; 0 before the first.
        chunks: planned at its end, since the Job's start.
    """

    line: int
    chunks: int
    kind: Kind
    text: str


def unsafe(program: str) -> tuple[Refusal, ...]:
    """Commands that change or defeat the printer's own settings and guards; each of them refuses the program."""
    found = []
    for number, line in enumerate(program.split("\n"), 1):
        if "M" in line.upper() and (hit := _UNSAFE.match(line)):
            code = re.sub(r"\s|(?<=M)0+", "", hit[1].upper())
            found.append(Refusal(number, "", None, None, f"{code} changes the printer itself and is never sent"))
    return tuple(found)


def encode(plan: Plan, limits: Limits) -> bytes:
    """The Job of a plan.

    Raises:
        JobError: something in the plan was refused; the first refusal's line, axis, value and limit.
    """
    if plan.refusals:
        worst = plan.refusals[0]
        raise JobError(worst.text, worst.line, worst.axis, worst.value, worst.limit)
    out = _Writer(limits)
    settings, _ = clamped_settings(plan.program, limits, Findings())
    for text in ("G21", "G90", "M83", "G92 E0", "M220 S100", "M221 S100"):
        out.put(0, Kind.SET, text)
    out.settings(0, settings[0], limits)
    feeds = _feeds(plan, settings)
    moves, ops, at, row = plan.moves, plan.ops, 0, 0
    for move in range(len(moves) + 1):
        while at < len(ops) and ops[at].before == move:
            out.op(ops[at])
            at += 1
        if move == len(moves):
            break
        if plan.program.setting[move] != row:
            row = int(plan.program.setting[move])
            out.settings(int(moves.line[move]), settings[row], limits)
        out.move(int(moves.line[move]), moves.start[move], moves.end[move], int(plan.program.named[move]), float(feeds[move]),
                 float(moves.duration[move]))  # fmt: skip
    out.put(plan.program.lines, Kind.END, "")
    return out.job()


def _feeds(plan: Plan, settings: Floats) -> Floats:
    """(n,) mm/s along the path as asked for, no more than any axis may have."""
    share = np.abs(plan.moves.along)
    with np.errstate(divide="ignore"):
        allowed = (settings[plan.program.setting][:, SPEED] / share).min(axis=1, initial=np.inf)
    return np.asarray(np.minimum(plan.program.feed, allowed))


class _Writer:
    """Records as they are written."""

    def __init__(self, limits: Limits) -> None:
        self._chunk, self._fingerprint = limits.chunk, limits.fingerprint()
        self._home = limits.home
        self._body = bytearray()
        self._records = 0
        self._line = 0
        self._seconds, self._chunks = 0.0, 0
        self._at: list[float | None] = [None, None, None]
        self._fed = 0.0
        self._feed = 0

    def put(self, line: int, kind: Kind, text: str, seconds: float = 0.0) -> None:
        """A record, after as many empty ones as its numbers need."""
        assert len(text) <= LONGEST, text
        self._seconds += seconds
        chunks = round(self._seconds / self._chunk) - self._chunks
        lines = max(0, line - self._line)
        self._chunks += chunks
        self._line += lines
        filler = Kind.DWELL if kind is Kind.DWELL else Kind.NOTHING
        while lines > _MOST or chunks > _MOST:
            self._pack(min(lines, _MOST), min(chunks, _MOST), filler, "")
            lines, chunks = lines - min(lines, _MOST), chunks - min(chunks, _MOST)
        self._pack(lines, chunks, kind, text)

    def _pack(self, lines: int, chunks: int, kind: Kind, text: str) -> None:
        self._body += _RECORD.pack(lines, chunks, kind, len(text)) + text.encode("ascii")
        self._records += 1

    def settings(self, line: int, row: Floats, limits: Limits) -> None:
        """The board keeps to what the plan keeps to."""
        for code, columns in (("M201", ACCELERATION), ("M203", SPEED), ("M205", JERK)):
            words = " ".join(f"{axis}{_number(float(value), 2)}" for axis, value in zip(AXES, row[columns], strict=True))
            self.put(line, Kind.SET, f"{code} {words}")
        named = (("P", PRINT), ("R", RETRACT), ("T", TRAVEL))
        self.put(line, Kind.SET, "M204 " + " ".join(f"{letter}{_number(float(row[column]), 2)}" for letter, column in named))

    def move(self, line: int, start: Floats, end: Floats, named: int, feed: float, seconds: float) -> None:
        """A straight move, in pieces that last no longer than PIECE."""
        pieces = max(1, int(np.ceil(seconds / PIECE - 1e-9)))
        for piece in range(1, pieces + 1):
            to = (start + (end - start) * (piece / pieces) if piece < pieces else end).tolist()
            words = self._words(to, named)
            if words and (per_minute := max(1, round(feed * 60))) != self._feed:
                self._feed = per_minute
                words += f" F{per_minute}"
            self.put(line, Kind.MOVE if words else Kind.NOTHING, "G1" + words if words else "", seconds / pieces)

    def _words(self, to: list[float], named: int) -> str:
        words = ""
        for axis in range(3):
            value = round(to[axis], 3)
            if value != self._at[axis] and (self._at[axis] is not None or named >> axis & 1):
                self._at[axis] = value
                words += f" {AXES[axis]}{_number(value, 3)}"
        fed = round(to[3], 5)
        if fed != self._fed:
            words += f" E{_number(fed - self._fed, 5)}"
            self._fed = fed
        return words

    def op(self, op: Op) -> None:
        """What happens between moves."""
        match op.kind:
            case OpKind.HEAT | OpKind.WAIT:
                text = f"{'M140' if op.arg == BED else 'M104'} S{_number(op.value, 1)}"
                waits = Kind.WAIT_BED if op.arg == BED else Kind.WAIT_HOTEND
                self.put(op.line, waits if op.kind is OpKind.WAIT else Kind.SET, text)
            case OpKind.FAN:
                self.put(op.line, Kind.SET, f"M106 S{round(op.value * 255)}" if op.value > 0 else "M107")
            case OpKind.HOME:
                for axis in range(3):
                    if op.arg >> axis & 1:
                        self._at[axis] = None  # where homing leaves it, the printer knows best
                letters = "".join(f" {AXES[axis]}" for axis in range(3) if op.arg >> axis & 1)
                self.put(op.line, Kind.HOME, "G28" + ("" if op.arg == 0b111 else letters))
            case OpKind.MOTORS:
                self.put(op.line, Kind.SET if op.arg else Kind.MOTORS_OFF, "M17" if op.arg else "M84")
            case OpKind.DWELL:
                self.put(op.line, Kind.DWELL, "", op.value)
            case OpKind.PROBE:
                raise JobError("a printer that takes lines is not probed (G38.2): its own board keeps what it finds", op.line)
            case _:
                raise AssertionError(op.kind)

    def job(self) -> bytes:
        body = bytes(self._body)
        head = HEADER.pack(MAGIC, 10, 4, self._records, self._chunks, 0, self._fingerprint, len(body), zlib.crc32(body))
        return head + body


def _number(value: float, digits: int) -> str:
    text = f"{value:.{digits}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def inspect(job: bytes) -> Iterator[Record]:
    """The records of a Job.

    Raises:
        JobError: bytes that are none of ours.
    """
    head = header(job, MAGIC)
    at, line, chunks, found = HEADER.size, 0, 0, 0
    kind = Kind.NOTHING
    while at < len(job):
        if kind is Kind.END or len(job) - at < _RECORD.size:
            raise JobError(f"byte {at} begins no record")
        lines, more, code, length = _RECORD.unpack_from(job, at)
        at += _RECORD.size
        try:
            kind, text = Kind(code), job[at : at + length].decode("ascii")
        except ValueError:
            raise JobError(f"record {found + 1} is of kind {code}, or no text") from None
        if len(text) != length:
            raise JobError(f"record {found + 1} is cut short")
        at, line, chunks, found = at + length, line + lines, chunks + more, found + 1
        yield Record(line, chunks, kind, text)
    if kind is not Kind.END or found != head.records or chunks != head.chunks:
        raise JobError(f"{found} records of {chunks} chunks are not the {head.records} of {head.chunks} that its header tells")


def texts(job: bytes) -> Iterator[tuple[str, Record]]:
    """Lines of plain G-code for a printer that waits for itself, as Klipper does, each with the record it comes from.

    M201, M203 and M205 are left out: Klipper has them in its own configuration.
    """
    before = 0
    for record in inspect(job):
        took, before = record.chunks - before, record.chunks
        match record.kind:
            case Kind.WAIT_HOTEND | Kind.WAIT_BED:
                yield record.text.replace("M104", "M109").replace("M140", "M190"), record
            case Kind.DWELL:
                yield f"G4 P{took * 40 / 1000:.0f}", record
            case _ if record.text and not record.text.startswith(("M201", "M203", "M205")):
                yield record.text, record


def shortest_reserve(job: bytes, ring: int) -> float:
    """Seconds of motion that a full ring of bytes holds where the Job is densest; infinite if the ring takes all of it."""
    if len(job) <= ring:
        return float("inf")
    records = list(inspect(job))
    chunks = np.array([record.chunks for record in records])
    ends = HEADER.size + np.cumsum([_RECORD.size + len(record.text) for record in records])
    last = np.searchsorted(ends, ends + ring, side="right") - 1
    inside = np.flatnonzero(ends + ring <= len(job))
    if not len(inside):
        return float("inf")
    return float((chunks[last[inside]] - chunks[inside]).min() * 40e-6)
