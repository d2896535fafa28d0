"""Reads G-code. Nothing that moves or heats passes unread: what is unknown is refused, or warned of where harmless."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from twin.motion.findings import Findings
from twin.motion.limits import AXES, BED, HOTEND, JobError, Three
from twin.motion.program import (
    ACCELERATION,
    JERK,
    MIN_PRINT_SPEED,
    MIN_TRAVEL_SPEED,
    PRINT,
    RETRACT,
    SETTINGS,
    SPEED,
    TRAVEL,
    Op,
    OpKind,
    Program,
    Setting,
    table,
)
from twin.motion.words import USUAL_MOVE, parse

LONGEST_TEXT = 100_000_000  # characters
NOTHING = 1e-7  # mm; a shorter move is rounding, not a move

Words = dict[str, float | None]
Row = tuple[float, ...]

# Shown to people, counted, or asked of a host: none of it moves, heats or waits.
HARMLESS = frozenset(
    "T0 M70 M72 M73 M75 M76 M77 M78 M105 M110 M111 M113 M114 M115 M117 M118 M119 M150 M155 M300 M400 M486 M500 M501 "
    "M503 M572 M593 M900 M862.1 M862.2 M862.3 M862.4 M862.5 M862.6".split()
)


def read(text: str, home: Three = (0.0, 0.0, 0.0)) -> Program:
    """The program in a text. It never raises: what is wrong is among its refusals, with its line.

    Args:
        home: where X, Y and Z stand after G28 [mm].
    """
    reader = _Reader(home)
    if len(text) > LONGEST_TEXT:
        reader.findings.refuse(0, f"{len(text)} characters are more than {LONGEST_TEXT}", "", len(text), LONGEST_TEXT)
        text = ""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    usual = USUAL_MOVE.fullmatch
    for number, line in enumerate(lines, 1):
        reader.number = number
        if found := usual(line):
            reader.usual_move(found.groups())
        elif line.startswith(";"):
            reader.comment(line)
        elif line:
            reader.take(line)
    return reader.program(len(lines))


class _Reader:
    """The modal state of a program being read."""

    def __init__(self, home: Three) -> None:
        self.number = 0
        self.findings = Findings()
        self.scale = 1.0
        self.relative = False
        self.e_relative = False
        self.target = [0.0, 0.0]
        self._home = home
        self._at = [*home, 0.0]
        self._origin = [0.0, 0.0, 0.0, 0.0]
        self._feed = math.nan
        self._moves: list[Row] = []
        self._rows: list[Row] = [(*[math.inf] * MIN_PRINT_SPEED, 0.0, 0.0)]
        self._set: list[Setting] = []
        self._ops: list[Op] = []
        self._layers: list[int] = []

    def program(self, lines: int) -> Program:
        moves = table(self._moves, 8)
        return Program(
            line=moves[:, 0].astype(np.int64),
            end=np.ascontiguousarray(moves[:, 4:8]),
            feed=moves[:, 3].copy(),
            named=moves[:, 1].astype(np.int64),
            setting=moves[:, 2].astype(np.int64),
            settings=table(self._rows, SETTINGS),
            set=tuple(self._set),
            ops=tuple(self._ops),
            layers=np.array(self._layers, dtype=np.int64),
            lines=lines,
            refusals=self.findings.refusals,
            notices=self.findings.notices,
        )

    def take(self, line: str) -> None:
        """Act on one line; what is wrong with it becomes a refusal."""
        try:
            command = parse(line, HARMLESS)
            if command is None:
                return
            if command.code in HARMLESS:
                self.findings.warn(self.number, f"{command.code} is ignored")
                return
            if command.code not in _COMMANDS:
                raise JobError(f"{command.code} is unknown")
            letters, act = _COMMANDS[command.code]
            self._check_letters(command.code, command.words, letters)
            act(self, command.words)
        except JobError as error:
            self.findings.refuse_error(self.number, error)

    def comment(self, line: str) -> None:
        if line.startswith((";LAYER_CHANGE", ";LAYER:")):
            self._layers.append(len(self._moves))

    def _check_letters(self, code: str, words: Words, letters: str) -> None:
        """A second command, axis or tool is refused; an unknown parameter of an M-code is only warned of."""
        for letter, value in words.items():
            if letter in letters:
                if value is None and code not in _BARE_LETTERS:
                    raise JobError(f"{code} {letter} has no number", axis=_axis(letter))
            elif code[0] == "G" or letter in "GM" or (letter == "T" and value):
                raise JobError(f"{code} takes no {letter}", axis=_axis(letter), value=value)
            elif letter != "T":
                self.findings.warn(self.number, f"{code} {letter} is ignored")

    def usual_move(self, words: Sequence[str | None]) -> None:
        """A move already split into short numbers: X, Y, Z, E and F, each of which converts."""
        try:
            if words[4]:
                self.set_feed(float(words[4]))
            self.go([float(word) if word else None for word in words[:4]])
        except JobError as error:
            self.findings.refuse_error(self.number, error)

    def set_feed(self, per_minute: float) -> None:
        if per_minute <= 0:
            raise JobError(f"feed rate F{per_minute:g} is not above 0", value=per_minute, limit=0.0)
        self._feed = per_minute * self.scale / 60

    def go(self, asked: Sequence[float | None]) -> None:
        """Append a move to where X, Y, Z and E are asked to be; None is an axis not named."""
        at = self._at
        to = at.copy()
        named, far = 0, 0.0
        for axis, value in enumerate(asked):
            if value is not None:
                named |= 1 << axis
                relative = self.relative or (axis == 3 and self.e_relative)
                to[axis] = value * self.scale + (at[axis] if relative else self._origin[axis])
                far = max(far, abs(to[axis] - at[axis]))
        if far > NOTHING:
            self._moves.append((self.number, named, len(self._rows) - 1, self._feed, *to))
            self._at = to

    def op(self, kind: OpKind, arg: int = 0, value: float = 0.0) -> None:
        self._ops.append(Op(self.number, len(self._moves), kind, arg, value))

    def probe(self, axis: int, value: float) -> None:
        """Seek until something is touched, and come back: where the axis stands afterwards is known."""
        to = value * self.scale + (self._at[axis] if self.relative else self._origin[axis])
        way = to - self._at[axis]
        if abs(way) <= NOTHING:
            raise JobError(f"{AXES[axis]} stands where it is to probe to", 0, AXES[axis], value)
        self.op(OpKind.PROBE, axis, way)

    def go_home(self, axes: Sequence[int]) -> None:
        for axis in axes:
            self._at[axis], self._origin[axis] = self._home[axis], 0.0
        self.op(OpKind.HOME, sum(1 << axis for axis in axes))

    def rename(self, axis: int, value: float) -> None:
        """The axis' position gets another coordinate; nothing moves."""
        self._origin[axis] = self._at[axis] - value * self.scale

    def change(self, wanted: Sequence[tuple[str, int, float | None]]) -> None:
        """New settings: name, column, value. A jerk or least speed may be 0, the others not."""
        row = list(self._rows[-1])
        for name, column, given in wanted:
            value = (given or 0.0) * self.scale
            if value < 0 or (value == 0 and column not in _MAY_BE_0):
                raise JobError(f"{name}{value:g} is not above 0", axis=_axis(name[-1]), value=value, limit=0.0)
            row[column] = value
            self._set.append(Setting(self.number, name, column, value))
        self._rows.append(tuple(row))


Meaning = Callable[[_Reader, Words], None]


def _move(reader: _Reader, words: Words) -> None:
    feed = words.get("F")
    if feed is not None:
        reader.set_feed(feed)
    reader.go([words.get(letter) for letter in AXES])


def _dwell(reader: _Reader, words: Words) -> None:
    seconds = words.get("S")
    if seconds is None:
        seconds = (words.get("P") or 0.0) / 1000
    if seconds < 0:
        raise JobError(f"G4 can't wait {seconds:g} s", value=seconds, limit=0.0)
    reader.op(OpKind.DWELL, 0, seconds)


def _unit(scale: float) -> Meaning:
    def set_unit(reader: _Reader, words: Words) -> None:
        reader.scale = scale

    return set_unit


def _home(reader: _Reader, words: Words) -> None:
    reader.go_home([axis for axis in range(3) if AXES[axis] in words] or [0, 1, 2])


def _probe(reader: _Reader, words: Words) -> None:
    named = [(axis, value) for axis in range(3) if (value := words.get(AXES[axis])) is not None]
    if len(named) != 1:
        raise JobError("G38.2 probes along one of X, Y and Z")
    if "F" in words:
        reader.findings.warn(reader.number, "F of G38.2 is ignored: a probe goes as slowly as a homing's end")
    reader.probe(*named[0])


def _relative(relative: bool) -> Meaning:
    def set_relative(reader: _Reader, words: Words) -> None:
        reader.relative = relative

    return set_relative


def _e_relative(relative: bool) -> Meaning:
    def set_e_relative(reader: _Reader, words: Words) -> None:
        reader.e_relative = relative

    return set_e_relative


def _rename(reader: _Reader, words: Words) -> None:
    for axis, letter in enumerate(AXES):
        if letter in words or not words:
            reader.rename(axis, words.get(letter) or 0.0)


def _heat(heater: int) -> Meaning:
    def heat(reader: _Reader, words: Words) -> None:
        target = words.get("S")
        if target is None:
            raise JobError("no temperature S is given")
        reader.target[heater] = target
        reader.op(OpKind.HEAT, heater, target)

    return heat


def _heat_and_wait(heater: int) -> Meaning:
    """Without a temperature it waits for the one set before; S and R are one, since a node waits for cooling too."""

    def heat_and_wait(reader: _Reader, words: Words) -> None:
        target = words.get("S", words.get("R"))
        reader.target[heater] = reader.target[heater] if target is None else target
        reader.op(OpKind.WAIT, heater, reader.target[heater])

    return heat_and_wait


def _fan(reader: _Reader, words: Words) -> None:
    power = words.get("S", 255.0) or 0.0
    if words.get("P"):
        reader.findings.warn(reader.number, "there is only fan P0; another is ignored")
        return
    if not 0 <= power <= 255:
        raise JobError(f"fan power S{power:g} is not 0 to 255", value=power, limit=255.0)
    reader.op(OpKind.FAN, 0, power / 255)


def _fan_off(reader: _Reader, words: Words) -> None:
    _fan(reader, {**words, "S": 0.0})


def _motors_off(reader: _Reader, words: Words) -> None:
    if "S" in words:
        reader.findings.warn(reader.number, "M84 S, the motors' idle time, is ignored")
        return
    if words:
        reader.findings.warn(reader.number, "M84 switches all motors off, not the named ones alone")
    reader.op(OpKind.MOTORS, 0)


def _motors_on(reader: _Reader, words: Words) -> None:
    reader.op(OpKind.MOTORS, 1)


def _settings(name: str, *columns: tuple[str, int]) -> Meaning:
    def set_columns(reader: _Reader, words: Words) -> None:
        reader.change([(f"{name} {letter}", column, words[letter]) for letter, column in columns if letter in words])

    return set_columns


def _by_axis(columns: slice) -> tuple[tuple[str, int], ...]:
    return tuple(zip(AXES, range(columns.start, columns.stop), strict=True))


def _axis(letter: str) -> str:
    return letter if letter in AXES else ""


_MAY_BE_0 = (*range(JERK.start, JERK.stop), MIN_PRINT_SPEED, MIN_TRAVEL_SPEED)
_BARE_LETTERS = ("G28", "M17", "M18", "M84")

_COMMANDS: dict[str, tuple[str, Meaning]] = {
    "G0": ("XYZEF", _move),
    "G1": ("XYZEF", _move),
    "G4": ("PS", _dwell),
    "G20": ("", _unit(25.4)),
    "G21": ("", _unit(1.0)),
    "G28": ("XYZ", _home),
    "G38.2": ("XYZF", _probe),
    "G90": ("", _relative(False)),
    "G91": ("", _relative(True)),
    "G92": ("XYZE", _rename),
    "M17": ("XYZE", _motors_on),
    "M18": ("XYZES", _motors_off),
    "M82": ("", _e_relative(False)),
    "M83": ("", _e_relative(True)),
    "M84": ("XYZES", _motors_off),
    "M104": ("S", _heat(HOTEND)),
    "M106": ("PS", _fan),
    "M107": ("P", _fan_off),
    "M109": ("RS", _heat_and_wait(HOTEND)),
    "M140": ("S", _heat(BED)),
    "M190": ("RS", _heat_and_wait(BED)),
    "M201": ("XYZE", _settings("M201", *_by_axis(ACCELERATION))),
    "M203": ("XYZE", _settings("M203", *_by_axis(SPEED))),
    # The old S of M204 means P and T.
    "M204": ("PRTS", _settings("M204", ("S", PRINT), ("S", TRAVEL), ("P", PRINT), ("R", RETRACT), ("T", TRAVEL))),
    "M205": ("XYZEST", _settings("M205", *_by_axis(JERK), ("S", MIN_PRINT_SPEED), ("T", MIN_TRAVEL_SPEED))),
}
"""What is understood: the letters a command takes, and what it does. G90 and G91 leave M82/M83 as they are."""
