"""The virtual factory's physical side: the plants and Parts of `twin.plant`, on the pins of the virtual nodes."""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hil.follow import Follower
from hil.targets.vm import FramesQueued, Output, PinSet, StreamCut
from twin import plant
from twin.clock import MS, US, Ns
from twin.factory import Factory, Machine
from twin.kernel import Ints, Words
from twin.trace import Trace

FRAME = Ns(10 * US)
STEP = Ns(10 * MS)
"""How finely plants are stepped while no sensor changes."""
FAR = Ns(2**62)
NO_WORDS: Words = np.zeros(0, np.uint32)


class World:
    """Steps the plants to wherever the rig is, and shows the nodes their sensors.

    Plants move on a grid of one frame; a node sees a change at the first moment it is asked after it.

    Attributes:
        followers: by machine, who compares its steps with a plan.
        paces: by machine, where its axes were and when, if somebody put a list there.
        digest: the trace's, when a Part last came to light, was handed over or arrived; empty before.
    """

    def __init__(self, factory: Factory, trace: Trace, physics: Mapping[str, Any]) -> None:
        self.factory = factory
        self.state = plant.start(factory, physics)
        self.followers: dict[str, Follower] = {}
        self._trace = trace
        self._pins: dict[str, dict[str, Any]] = {name: {} for name in factory.machines}
        self._streams: dict[str, deque[tuple[Ns, Words]]] = {name: deque() for name in factory.machines}
        self._waiting: dict[str, deque[PinSet | StreamCut]] = {name: deque() for name in factory.nodes}
        modules = {name: plant.plant_of(machine.type) for name, machine in factory.machines.items()}
        self._shown = {name: module.signals for name, module in modules.items() if hasattr(module, "signals")}
        self._wired = {node: _wiring(factory.on(node)) for node in factory.nodes}
        self._told: dict[str, dict[int, int]] = {name: {} for name in factory.nodes}
        self._edge = FAR
        self._clear = Ns(0)
        self.digest = ""
        self.paces: dict[str, list[tuple[Ns, Ints]]] = {}

    # ---- what the nodes do

    def outputs(self, node: str, outputs: Sequence[Output]) -> None:
        """Take what a node's pins did; it may lie ahead of the world's time."""
        if not outputs:
            return
        for output in outputs:
            machine, _ = self._wired[node].get(getattr(output, "pin", -1), ("", ""))
            if isinstance(output, FramesQueued) and machine:
                self._clear = min(self._clear, output.time)
                self._streams[machine].append((output.time, output.words))
                if machine in self.followers:
                    self.followers[machine].queue(output.words)
            elif isinstance(output, StreamCut) and machine:
                self._clear = Ns(0)
                _truncate(self._streams[machine], output.time)
                self._waiting[node].append(output)
            elif isinstance(output, PinSet):
                self._clear = min(self._clear, output.time)
                self._waiting[node].append(output)
        self._edge = FAR

    def power_off(self, node: str, now: Ns) -> None:
        """All pins of a node fall to low and its step stream ends."""
        self.advance(now)
        self._waiting[node].clear()
        self._told[node].clear()
        for machine in self.factory.on(node):
            self._pins[machine.name].clear()
            self._streams[machine.name].clear()
        self._edge = FAR
        self._clear = Ns(0)

    def streams(self, node: str) -> bool:
        """Whether a node's step stream is being played, or is about to be."""
        return any(self._streams[machine.name] for machine in self.factory.on(node))

    # ---- what the nodes see

    def inputs(self, node: str, now: Ns) -> dict[int, int]:
        """The inputs of a node that changed since it was last told, by GPIO."""
        if now - self.state.now >= STEP or self._edge <= now:
            self.advance(now)
        told = self._told[node]
        changed = {}
        for machine in self.factory.on(node):
            for name, value in self.state.sensors[machine.name].items():
                gpio = machine.pins[name]
                if told.get(gpio, 0) != value:
                    changed[gpio] = told[gpio] = value
        return changed

    def edge(self, now: Ns, limit: Ns) -> Ns:
        """When the next digital sensor of any machine changes, as far as the outputs known now say; at most `limit`."""
        if limit <= self._clear:
            return limit
        if self._edge <= limit:
            return self._edge
        ahead = Ns(limit - self.state.now)
        if ahead <= 0:
            return limit
        found = plant.horizon(self.state, self.factory, self._pins_over(self.state.now, ahead), ahead)
        if found >= ahead:
            self._clear = limit
            return limit
        self._edge = _grid(Ns(self.state.now + found))
        return max(now, self._edge)

    # ---- time

    def advance(self, now: Ns) -> None:
        """Step every plant to `now`, on the grid of frames, through every change of a pin on the way."""
        until = Ns(now // FRAME * FRAME)
        while self.state.now < until:
            self._apply(self.state.now)
            change = min((q[0].time for q in self._waiting.values() if q), default=until)
            pause = Ns(min(until, max(_grid(change), self.state.now + FRAME)))
            if self.state.now < self._edge < pause:
                pause = self._edge
            self._step(Ns(pause - self.state.now))
        self._apply(until)
        if self._edge <= now:
            self._edge = FAR
            self._clear = Ns(0)

    def _apply(self, now: Ns) -> None:
        for node, waiting in self._waiting.items():
            while waiting and waiting[0].time <= now:
                self._output(node, waiting.popleft())

    def _output(self, node: str, output: PinSet | StreamCut) -> None:
        machine, pin = self._wired[node].get(output.pin, ("", ""))
        if isinstance(output, StreamCut):
            if machine in self.followers:
                self.followers[machine].home()
        elif machine:
            self._pins[machine][pin] = output.value
            self._trace.value(output.time, f"{machine}/pin/{pin}", output.value)

    def _step(self, dt: Ns) -> None:
        start = self.state.now
        pins = self._pins_over(start, dt)
        for name, follower in self.followers.items():
            follower.play(pins[name].get("frames", NO_WORDS))
        for name, pace in self.paces.items():
            pace.append((start, self.state.states[name].position.copy()))
        self.state, events = plant.step(self.state, self.factory, pins, dt)
        self._forget_played()
        for event in events:
            self._trace.event(self.state.now, event)
            self._clear = Ns(0)  # a Part has moved
        self._record()
        if events:
            self.digest = self._trace.digest

    def _pins_over(self, start: Ns, dt: Ns) -> dict[str, dict[str, Any]]:
        pins = self._pins
        for name, stream in self._streams.items():
            if stream:
                pins = {**pins, name: {**pins[name], "frames": _words(stream, start, dt)}}
        return pins

    def _forget_played(self) -> None:
        for stream in self._streams.values():
            while stream and stream[0][0] + len(stream[0][1]) * FRAME <= self.state.now:
                stream.popleft()

    def _record(self) -> None:
        for name, signals in self._shown.items():
            for signal, value in signals(self.state.states[name]).items():
                self._trace.value(self.state.now, f"{name}/plant/{signal}", value)


def _grid(time: Ns) -> Ns:
    return Ns(-(-time // FRAME) * FRAME)


def _wiring(machines: Sequence[Machine]) -> dict[int, tuple[str, str]]:
    return {gpio: (machine.name, pin) for machine in machines for pin, gpio in machine.pins.items()}


def _truncate(stream: deque[tuple[Ns, Words]], end: Ns) -> None:
    """Drop the words that would be played from `end` on."""
    while stream and stream[-1][0] >= end:
        stream.pop()
    if stream:
        time, words = stream[-1]
        stream[-1] = (time, words[: (end - time) // FRAME])


def _words(stream: deque[tuple[Ns, Words]], start: Ns, dt: Ns) -> Words:
    """The words that are played from `start` on for `dt`; zeros where there are none."""
    size = dt // FRAME
    first_time, first = stream[0]
    skip = (start - first_time) // FRAME
    if skip >= 0 and len(first) - skip >= size:
        return first[skip : skip + size]
    words = np.zeros(size, np.uint32)
    for time, piece in stream:
        at = (time - start) // FRAME
        if at >= size:
            break
        low, high = max(0, at), min(size, at + len(piece))
        if high > low:
            words[low:high] = piece[low - at : high - at]
    return words
