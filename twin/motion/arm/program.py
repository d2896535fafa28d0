"""The arm's program language: one command a line, text in, moves and operations out.

    ; everything after a semicolon is a comment
    speed 0.5                           share of the speed limits, 0.01 to 1, for what follows
    blend 0.02                          how far from a corner a line may leave it [m], for what follows; 0 stops there
    tool 0 0 0.12 0 0 0                 the tool point in the flange's frame [m, °], for what follows
    joints 0 -90 90 -90 -90 0           joint angles [°] (a prismatic joint: mm), all axes in step
    to 0.4 0.1 0.3 180 0 90             the tool's pose in the arm's base frame [m, °], by a move of the joints
    line 0.4 0.1 0.2 180 0 90           the same pose, along a straight line of the tool point
    grip                                release, wait SECONDS, home (reference the joints): the arm rests for them

A pose is x, y, z and roll, pitch, yaw: the frame is turned about the fixed axes x, then y, then z.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from twin.motion.limits import JobError

Six = tuple[float, float, float, float, float, float]

LONGEST_TEXT = 1_000_000  # characters
MOST_AXES = 8
LARGEST = 1e4  # metres, degrees, millimetres: nothing that an arm does comes near
LONGEST_WAIT = 3600.0  # s
LARGEST_BLEND = 10.0  # m
NO_TOOL: Six = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)

_NUMBER = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]{1,3})?", re.ASCII)


class MoveKind(StrEnum):
    """How a target is reached: joint angles, a pose by a move of the joints, a pose along a straight line."""

    JOINTS = "joints"
    TO = "to"
    LINE = "line"


class ArmOpKind(StrEnum):
    """What the arm rests for."""

    GRIP = "grip"
    RELEASE = "release"
    WAIT = "wait"
    HOME = "home"


@dataclass(frozen=True, slots=True)
class ArmMove:
    """One move, with what was set before it.

    Attributes:
        line: of the program, from 1.
        target: JOINTS: one number for each axis, as written [°, or mm of a prismatic joint]; else x, y, z [m] and
            roll, pitch, yaw [rad] of the tool in the arm's base frame.
        speed: share of the speed limits.
        blend: how far from its end the move may be left for the next line [m].
        tool: pose of the tool point in the flange's frame, as a target [m, rad].
    """

    line: int
    kind: MoveKind
    target: tuple[float, ...]
    speed: float
    blend: float
    tool: Six


@dataclass(frozen=True, slots=True)
class ArmOp:
    """One operation.

    Attributes:
        line: of the program.
        before: in a program, index of the move that it precedes; in a plan, of the first sample after it. The number of
            moves, or of samples, at the end.
        seconds: WAIT: how long; else 0.
    """

    line: int
    kind: ArmOpKind
    before: int
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class ArmProgram:
    """What `read` makes of a text: moves in order and the operations between them; `lines`: how many the text has."""

    moves: tuple[ArmMove, ...]
    ops: tuple[ArmOp, ...]
    lines: int


def read(text: str) -> ArmProgram:
    """The program in a text.

    Raises:
        JobError: a line is no command, or a number is missing, too many or out of range; it names the line.
    """
    if len(text) > LONGEST_TEXT:
        raise JobError(f"{len(text)} characters are more than {LONGEST_TEXT}", 0, "", len(text), LONGEST_TEXT)
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    reader = _Reader()
    for number, line in enumerate(lines, 1):
        words = line.partition(";")[0].split()
        if words:
            reader.take(number, words)
    return ArmProgram(tuple(reader.moves), tuple(reader.ops), len(lines))


@dataclass(slots=True)
class _Reader:
    """The modal state of a program being read."""

    number: int = 0
    speed: float = 1.0
    blend: float = 0.0
    tool: Six = NO_TOOL
    moves: list[ArmMove] = field(default_factory=list)
    ops: list[ArmOp] = field(default_factory=list)

    def take(self, number: int, words: list[str]) -> None:
        self.number = number
        name = words[0].lower()
        if name not in _COMMANDS:
            raise JobError(f"{_shown(words[0])} is no command; there are {', '.join(_COMMANDS)}", number)
        least, most, act = _COMMANDS[name]
        if not least <= len(words) - 1 <= most:
            wanted = f"{least}" if least == most else f"{least} to {most}"
            raise JobError(f"{name} takes {wanted} numbers, not {len(words) - 1}", number, "", len(words) - 1, most)
        act(self, [self._value(name, word) for word in words[1:]])

    def move(self, kind: MoveKind, target: tuple[float, ...]) -> None:
        self.moves.append(ArmMove(self.number, kind, target, self.speed, self.blend, self.tool))

    def op(self, kind: ArmOpKind, seconds: float = 0.0) -> None:
        self.ops.append(ArmOp(self.number, kind, len(self.moves), seconds))

    def within(self, name: str, value: float, least: float, most: float) -> float:
        if not least <= value <= most:
            limit = least if value < least else most
            raise JobError(f"{name} {value:g} is not {least:g} to {most:g}", self.number, "", value, limit)
        return value

    def _value(self, name: str, word: str) -> float:
        if not _NUMBER.fullmatch(word):
            raise JobError(f"{name}: {_shown(word)} is no number", self.number)
        return self.within(name, float(word), -LARGEST, LARGEST)


def _pose(values: list[float]) -> Six:
    x, y, z, roll, pitch, yaw = values
    return x, y, z, math.radians(roll), math.radians(pitch), math.radians(yaw)


def _set_speed(reader: _Reader, values: list[float]) -> None:
    reader.speed = reader.within("speed", values[0], 0.01, 1.0)


def _set_blend(reader: _Reader, values: list[float]) -> None:
    reader.blend = reader.within("blend", values[0], 0.0, LARGEST_BLEND)


def _set_tool(reader: _Reader, values: list[float]) -> None:
    reader.tool = _pose(values)


def _joints(reader: _Reader, values: list[float]) -> None:
    reader.move(MoveKind.JOINTS, tuple(values))


def _to(reader: _Reader, values: list[float]) -> None:
    reader.move(MoveKind.TO, _pose(values))


def _line(reader: _Reader, values: list[float]) -> None:
    reader.move(MoveKind.LINE, _pose(values))


def _op(kind: ArmOpKind) -> Callable[[_Reader, list[float]], None]:
    def add(reader: _Reader, values: list[float]) -> None:
        reader.op(kind)

    return add


def _wait(reader: _Reader, values: list[float]) -> None:
    reader.op(ArmOpKind.WAIT, reader.within("wait", values[0], 0.0, LONGEST_WAIT))


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")


_COMMANDS: dict[str, tuple[int, int, Callable[[_Reader, list[float]], None]]] = {
    "speed": (1, 1, _set_speed),
    "blend": (1, 1, _set_blend),
    "tool": (6, 6, _set_tool),
    "joints": (1, MOST_AXES, _joints),
    "to": (6, 6, _to),
    "line": (6, 6, _line),
    "grip": (0, 0, _op(ArmOpKind.GRIP)),
    "release": (0, 0, _op(ArmOpKind.RELEASE)),
    "wait": (1, 1, _wait),
    "home": (0, 0, _op(ArmOpKind.HOME)),
}
"""Least and most numbers of a command, and what it does."""
