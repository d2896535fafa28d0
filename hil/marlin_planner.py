"""How a simulated Marlin board moves and heats: a planner that lays move behind move, and heaters that lag.

It models what a host can notice, not how Marlin is written.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass

from twin.clock import Ns, S

MOVES = 16  # of the planner's buffer

Four = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Moved:
    """One move as the planner has it: from when to when, from where to where [mm]."""

    begin: Ns
    end: Ns
    start: Four
    to: Four

    def at(self, now: Ns) -> Four:
        """Where it has come to; E as filament fed."""
        share = min(1.0, max(0.0, (now - self.begin) / max(1, self.end - self.begin)))
        x, y, z, e = (a + (b - a) * share for a, b in zip(self.start, self.to, strict=True))
        return x, y, z, e


class Heat:
    """A heater that its own loop holds, as a first-order lag [s]."""

    def __init__(self, lag: float, ambient: float) -> None:
        self._lag, self._ambient = lag, ambient
        self.target, self.now = 0.0, ambient

    def pass_time(self, elapsed: float) -> None:
        goal = max(self.target, self._ambient)
        self.now = goal + (self.now - goal) * math.exp(-elapsed / self._lag)


class Planner:
    """Where the board has been told to go.

    Attributes:
        moves: what has been planned; those that were cut short end where they were cut.
        at: where the last of them ends; E as the program counts it. fed: filament fed in all [mm].
        relative, relative_e: words count from there.
    """

    def __init__(self, moves: list[Moved]) -> None:
        self.moves = moves
        self.at, self.fed = [0.0, 0.0, 0.0, 0.0], 0.0
        self.relative = self.relative_e = False
        self._feed = 25.0

    def waiting(self, now: Ns) -> list[Moved]:
        """Moves that have not ended."""
        return [move for move in self.moves[-MOVES - 1 :] if move.end > now]

    def where(self, now: Ns) -> Four:
        """Where it is; E as filament fed."""
        if not self.moves:
            x, y, z, _ = self.at
            return x, y, z, self.fed
        before = next((move for move in self.moves[-MOVES - 1 :] if move.end > now), self.moves[-1])
        return before.at(now)

    def stop(self, now: Ns) -> None:
        """As M410: at once, wherever it is."""
        left = self.waiting(now)
        if not left:
            return
        place = self.where(now)
        self.moves[:] = [move for move in self.moves if move.begin < now]
        if self.moves:
            self.moves[-1] = dataclasses.replace(self.moves[-1], end=now, to=place)
        self.at = list(place)
        self.fed = place[3]

    def move(self, words: Mapping[str, float], now: Ns) -> None:
        """Lay a G1 behind what there is."""
        before: Four = (self.at[0], self.at[1], self.at[2], self.fed)
        self._feed = words.get("F", self._feed * 60) / 60
        for axis, letter in enumerate("XYZE"):
            if letter in words:
                relative = self.relative_e if axis == 3 else self.relative
                to = words[letter] + (self.at[axis] if relative else 0.0)
                self.fed += to - self.at[axis] if axis == 3 else 0.0
                self.at[axis] = to
        after: Four = (self.at[0], self.at[1], self.at[2], self.fed)
        far = math.dist(before[:3], after[:3]) or abs(after[3] - before[3])
        begin = self.moves[-1].end if self.waiting(now) else now
        self.moves.append(Moved(Ns(begin), Ns(begin + round(far / self._feed * S)), before, after))

    def home(self, words: Mapping[str, float], now: Ns) -> None:
        """The axes of a G28 are at their ends."""
        for axis in range(3):
            if "XYZ"[axis] in words or not set("XYZ") & words.keys():
                self.at[axis] = 0.0
        x, y, z, _ = self.at
        self.moves.append(Moved(now, now, (x, y, z, self.fed), (x, y, z, self.fed)))
