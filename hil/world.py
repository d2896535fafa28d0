"""The virtual factory's physical side: the plants and Parts of `twin.plant`, on the pins of the virtual nodes."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hil.follow import Follower
from hil.recorder import Recorder, numbers
from hil.stream import FRAME, NO_WORDS, Stream
from hil.targets import FramesQueued, Output, PinSet, StreamCut
from twin import plant
from twin.clock import MS, Ns, S
from twin.factory import Factory, Machine
from twin.faults import FRAMES, Edit
from twin.kernel import Floats, Ints
from twin.machine import Heater, Input, Joint, Servo, Stepper
from twin.trace import Trace

STEP = Ns(10 * MS)
"""How finely plants are stepped while no sensor changes."""
STALE = Ns(100 * MS)
"""How long a node may run alone, where what its sensors say may change in that time."""
UNCOUPLED = Ns(10 * S)
"""The same where every change is known before: plants with closed forms, and nobody else who acts on them."""
SHOWN = Ns(50 * MS)
"""How far apart the trace's values of the plants' signals are, at least."""
REACH = Ns(10 * S)
FAR = Ns(2**62)
NOTHING: dict[int, int] = {}


class World:
    """Steps the plants to wherever the rig is, and shows the nodes their sensors.

    Plants move on a grid of one frame; a node sees a change at the first moment it is asked after it.

    Attributes:
        followers: by machine, who compares its steps with a plan.
        alone: by node, how long it may run alone at most.
        paces: by machine, where its axes were and when, if somebody put a list there.
        sensor_edits: by machine and sensor, the faults that a reading passes on its way to the node.
        pin_edits: by machine and pin, the faults that an output passes on its way to the plant; "frames" is the step stream.
        recorder: takes samples of everything, if one was put there.
        digest: the trace's, when a Part last came to light, was handed over or arrived; empty before.
    """

    def __init__(self, factory: Factory, trace: Trace, physics: Mapping[str, Any]) -> None:
        self.factory = factory
        self.state = plant.start(factory, physics)
        self.followers: dict[str, Follower] = {}
        self._trace = trace
        self._pins: dict[str, dict[str, Any]] = {name: {} for name in factory.machines}
        self._streams = {name: Stream() for name, machine in factory.machines.items() if machine.type.limits is not None}
        self._waiting: dict[str, deque[PinSet | StreamCut]] = {name: deque() for name in factory.nodes}
        modules = {name: plant.plant_of(machine.type) for name, machine in factory.machines.items()}
        self._courses = {name: module.course for name, module in modules.items() if hasattr(module, "course")}
        self._shown = {name: module.signals for name, module in modules.items() if hasattr(module, "signals")}
        self._shown_at = Ns(-SHOWN)
        self._wired = {node: _wiring(factory.on(node)) for node in factory.nodes}
        self._on = {name: factory.on(name) for name in factory.nodes}
        self._levels = {(m.name, b.signal) for m in factory.machines.values() for b in m.type.blocks if isinstance(b, Input)}
        rest = STALE if factory.handovers else UNCOUPLED
        self.alone = {name: rest if self._foreseen(name) else STALE for name in factory.nodes}
        self._patience = {name: rest if self._foreseen(name) else STEP for name in factory.nodes}
        self._looked: dict[str, plant.World | None] = dict.fromkeys(factory.nodes)
        self._told: dict[str, dict[int, int]] = {name: {} for name in factory.nodes}
        self._edge = FAR
        self._clear = Ns(0)
        self.digest = ""
        self.recorder: Recorder | None = None
        self.paces: dict[str, list[tuple[Ns, Ints]]] = {}
        self.sensor_edits: dict[tuple[str, str], list[Edit]] = {}
        self.pin_edits: dict[tuple[str, str], list[Any]] = {}

    def _foreseen(self, node: str) -> bool:
        """Whether every change of a node's sensors is known before: levels only, and plants that say when they change."""
        blocks = [block for machine in self._on[node] for block in machine.type.blocks]
        plants = [plant.plant_of(machine.type) for machine in self._on[node]]
        unforeseen = (Heater, Stepper, Servo, Joint)  # a step stream's words come one after the other
        return not any(isinstance(block, unforeseen) for block in blocks) and all(hasattr(one, "horizon") for one in plants)

    # ---- what the nodes do

    def outputs(self, node: str, outputs: Sequence[Output]) -> None:
        """Take what a node's pins did; it may lie ahead of the world's time."""
        if not outputs:
            return
        for output in outputs:
            machine, _ = self._wired[node].get(getattr(output, "pin", -1), ("", ""))
            if isinstance(output, FramesQueued) and machine:
                self._clear = min(self._clear, output.time)
                words = output.words
                for edit in self.pin_edits.get((machine, FRAMES), ()):
                    words = edit(output.time, words)
                self._streams[machine].queue(output.time, words)
                if machine in self.followers:
                    self.followers[machine].queue(output.words)
            elif isinstance(output, StreamCut) and machine:
                self._clear = Ns(0)
                self._streams[machine].cut(output.time)
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
        self._looked[node] = None
        for machine in self.factory.on(node):
            for pin in self._pins[machine.name]:
                self._trace.value(now, f"{machine.name}/pin/{pin}", 0)
            self._pins[machine.name].clear()
            if machine.name in self._streams:
                self._streams[machine.name].clear()
        self._edge = FAR
        self._clear = Ns(0)

    def streams(self, node: str) -> bool:
        """Whether a node's step stream is being played, or is about to be."""
        return any(machine.name in self._streams and self._streams[machine.name] for machine in self._on[node])

    def touch(self, machine: str, change: Callable[[Any, Any], Any], now: Ns) -> None:
        """Change a plant from outside: `change(state, params)` is its state from now on."""
        self.advance(now)
        self.state = plant.changed(self.state, self.factory, machine, change)
        self._edge = FAR
        self._clear = Ns(0)

    # ---- what the nodes see

    def inputs(self, node: str, now: Ns) -> dict[int, int]:
        """The inputs of a node that changed since it was last told, by GPIO."""
        if now - self.state.now >= self._patience[node] or self._edge <= now:
            self.advance(now)
        if self._looked[node] is self.state and not self.sensor_edits:
            return NOTHING
        self._looked[node] = self.state
        told = self._told[node]
        changed = {}
        for machine in self._on[node]:
            for name, value in self.state.sensors[machine.name].items():
                for edit in self.sensor_edits.get((machine.name, name), ()) if self.sensor_edits else ():
                    value = edit(now, value)
                gpio = machine.pins[name]
                if told.get(gpio, 0) != value:
                    changed[gpio] = told[gpio] = value
                    if (machine.name, name) in self._levels:
                        self._trace.value(now, f"{machine.name}/sensor/{name}", value)
        return changed

    def edge(self, now: Ns, limit: Ns) -> Ns:
        """When the next digital sensor of any machine changes, as far as the outputs known now say; at most `limit`."""
        if self.sensor_edits:
            limit = min(limit, self._edits_wake(now, self.sensor_edits))
        if limit <= self._clear:
            return limit
        if self._edge <= limit:
            return max(now, self._edge)
        if self._output_due() <= now:
            self.advance(now)
        due = self._output_due()
        if now < due < limit:
            limit = due  # what it changes is known only then
        reach = limit if any(self._streams.values()) else max(limit, Ns(now + REACH))
        ahead = Ns(reach - self.state.now)
        if ahead <= 0:
            return limit
        found = plant.horizon(self.state, self.factory, self._pins_over(self.state.now, ahead), ahead)
        if found >= ahead:
            self._clear = min(reach, due)
            return limit
        self._edge = _grid(Ns(self.state.now + found))
        return max(now, min(limit, self._edge))

    def stirs(self, now: Ns) -> bool:
        """Whether a sensor may be about to change at this moment, after `edge` has named it."""
        return self._edge <= now or bool(self.sensor_edits)

    # ---- time

    def advance(self, now: Ns) -> None:
        """Step every plant to `now`, on the grid of frames, through every change of a pin on the way."""
        until = Ns(now // FRAME * FRAME)
        while self.state.now < until:
            self._apply(self.state.now)
            change = min(until, self._output_due())
            change = min(change, self._edits_wake(self.state.now, self.pin_edits))
            pause = Ns(min(until, max(_grid(change), self.state.now + FRAME)))
            if self.state.now < self._edge < pause:
                pause = self._edge
            self._step(Ns(pause - self.state.now))
        self._apply(until)
        if self._edge <= now:
            self._edge = FAR
            self._clear = Ns(0)

    def _output_due(self) -> Ns:
        """When the next output takes effect of those that are known."""
        return min((waiting[0].time for waiting in self._waiting.values() if waiting), default=FAR)

    def _apply(self, now: Ns) -> None:
        for node, waiting in self._waiting.items():
            while waiting and waiting[0].time <= now:
                self._output(node, waiting.popleft())

    def _edits_wake(self, now: Ns, edits: Mapping[tuple[str, str], Sequence[Edit]]) -> Ns:
        """When an edited value changes by itself."""
        wakes = (edit.wake(now) for several in edits.values() for edit in several) if edits else ()
        return max(now, min(wakes, default=FAR))

    def _arriving(self, now: Ns) -> dict[str, dict[str, Any]]:
        """The levels at the plants' pins: as the nodes put them out, but for what faults make of them."""
        if not self.pin_edits:
            return self._pins
        pins = dict(self._pins)
        for (machine, pin), edits in self.pin_edits.items():
            if pin == FRAMES or not edits:
                continue
            value = pins[machine].get(pin, 0)
            for edit in edits:
                value = edit(now, value)
            self._trace.value(now, f"{machine}/arriving/{pin}", value)
            pins[machine] = {**pins[machine], pin: value}
        return pins

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
        before = self.state
        self.state, events = plant.step(before, self.factory, pins, dt)
        if self.recorder is not None:
            self._sample(self.recorder, before, pins)
        for stream in self._streams.values():
            stream.played(self.state.now)
        for event in events:
            self._trace.event(self.state.now, event)
            self._clear = Ns(0)  # a Part has moved
        if self.state.now - self._shown_at >= SHOWN:
            self.show()
        if events:
            self.digest = self._trace.digest

    def _pins_over(self, start: Ns, dt: Ns) -> dict[str, dict[str, Any]]:
        pins = self._arriving(start)
        for name, stream in self._streams.items():
            if stream:
                pins = {**pins, name: {**pins[name], "frames": stream.words(start, dt)}}
        return pins

    def _sample(self, recorder: Recorder, before: plant.World, pins: Mapping[str, Mapping[str, Any]]) -> None:
        """The step from `before` to now, on the recorder's grid."""
        start, end = before.now, self.state.now
        times = recorder.times(start, end)
        if not len(times):
            return
        share = (times - start) / (end - start)
        held: dict[str, float] = {}
        moving: dict[str, Floats] = {}
        for name, machine in self.factory.machines.items():
            held.update(numbers(f"{name}/pin/", self._pins[name]))
            held.update(numbers(f"{name}/sensor/", before.sensors[name]))
            if name not in self._shown:
                continue
            told, course = f"{name}/plant/", self._courses.get(name)
            now = numbers(told, self._shown[name](self.state.states[name]))
            if course is not None:
                known = course(before.states[name], machine.params, pins[name], (times - start) / S)
                moving.update({told + signal: values for signal, values in known.items()})
            else:
                was = numbers(told, self._shown[name](before.states[name]))
                moved = {signal: value for signal, value in was.items() if now[signal] != value}
                moving.update({signal: value + (now[signal] - value) * share for signal, value in moved.items()})
            held.update({signal: value for signal, value in now.items() if signal not in moving})
        recorder.step(start, end, held, moving)

    def show(self) -> None:
        """Write the plants' signals into the trace; it happens by itself every so often."""
        self._shown_at = self.state.now
        for name, signals in self._shown.items():
            for signal, value in signals(self.state.states[name]).items():
                self._trace.value(self.state.now, f"{name}/plant/{signal}", value)


def _grid(time: Ns) -> Ns:
    return Ns(-(-time // FRAME) * FRAME)


def _wiring(machines: Sequence[Machine]) -> dict[int, tuple[str, str]]:
    return {gpio: (machine.name, pin) for machine in machines for pin, gpio in machine.pins.items()}
