"""What breaks an invariant: each function looks through a Trace and yields a line for each violation."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from hil.faults import FaultOff, FaultOn
from hil.house import CoreTold
from hil.judging.series import Held, windows
from twin.clock import MS, Ns, S, seconds
from twin.factory import Factory, Machine
from twin.fault import Subject
from twin.machine import Drive, Heater, Never, OnLinkLoss, Output
from twin.node import LEASE_MS, TICK_MS
from twin.plant import PartArrived, PartHandedOver, PartMade
from twin.trace import Event, Trace
from twin.wire import Silence, encode

TICK = Ns(TICK_MS * MS)
LATE = Ns(15 * MS)
"""How much later than on paper a healthy node may be: its tick may wait for a request, and its clock counts milliseconds."""
RAMP = Ns(520 * MS)
WATCHDOG = Ns(2500 * MS)
"""A node whose processor is broken is safe at the latest when its watchdog bites, which was fed half a second ago at most."""
LOOK = Ns(1100 * MS)
STALE_SCANS = 2.5
INTRUDERS = ("link-foreign-master", "link-replay")
QUIET = Ns(30 * S)


@dataclass(frozen=True, slots=True)
class Asked(Event):
    """An operator asks the core for something; the answer is a CoreTold of the same kind."""

    kind: str


def _at(time: Ns) -> str:
    return f"at {seconds(time):.3f} s"


# ---- I1


def silent_nodes_are_safe(factory: Factory, trace: Trace) -> Iterator[str]:
    """I1: outputs that are on though no changed heartbeat was heard for the lease and a tick."""
    for node in factory.nodes:
        heard = _heard(trace, node)
        weak = windows(trace, node, Subject.NODE)
        for machine in factory.on(node):
            for pin, extra in _falling(machine):
                series = trace.series.get(f"{machine.name}/pin/{pin}", ())
                for since, until, value in _stretches(series, trace):
                    due = _safe_by(heard, since, weak)
                    late = Ns(until - due - extra)
                    if value and late > 0:
                        yield f"{machine.name}/pin/{pin} was {value} until {seconds(until):.3f} s, {late / MS:.1f} ms too long"


def _heard(trace: Trace, node: str) -> list[tuple[Ns, Ns]]:
    """When a node heard a changed heartbeat, and the lease that it bought."""
    last: dict[tuple[int, int], int] = {}
    found = []
    for time, (owner, epoch, heartbeat, lease) in trace.series.get(f"{node}/told/heartbeat", ()):
        if owner and last.get((owner, epoch)) != heartbeat:
            last[owner, epoch] = heartbeat
            found.append((time, Ns(min(max(lease, 50), 5000) * MS)))
    for kind in INTRUDERS:  # they talk to the node past the tap, and may own it
        for low, high in windows(trace, node, Subject.LINK, kind):
            found += [(Ns(time), Ns(LEASE_MS * MS)) for time in range(low, min(high, _end(trace)), 50 * MS)]
    return sorted(found)


def _safe_by(heard: Sequence[tuple[Ns, Ns]], since: Ns, weak: Sequence[tuple[Ns, Ns]]) -> Ns:
    """Until when outputs that were on at `since` may stay on: across all heartbeats that came in time."""
    due = Ns(0)
    for time, lease in heard:
        if time > max(due, since):
            break
        due = Ns(time + lease + TICK + LATE)
        due = next((Ns(due + WATCHDOG) for low, high in weak if low <= due and time <= high + WATCHDOG), due)
    return due


def _falling(machine: Machine) -> Iterator[tuple[str, Ns]]:
    """Pins that must fall on silence, and how much later than at once."""
    if machine.type.on_link_loss is OnLinkLoss.FINISH:
        return  # a stored Job is played to its end
    command = machine.type.layouts[1]
    for block in machine.type.blocks:
        match block:
            case Heater(name, _):
                yield f"{name}_heater", Ns(0)
            case Output(signal, None) if (command[signal].on_silence or Silence.OFF) is Silence.OFF:
                yield signal, Ns(0)
            case Output(signal, job) if job is not None:
                yield signal, Ns(0)
            case Drive(run, speed, _, _):
                yield run, Ns(0)
                if command[speed].on_silence is not Silence.HOLD:
                    yield speed, RAMP if command[speed].on_silence is Silence.RAMP else Ns(0)


def _stretches(series: Iterable[tuple[Ns, Any]], trace: Trace) -> Iterator[tuple[Ns, Ns, Any]]:
    """From when to when a Signal was other than 0, and its first value: one stretch however it changed meanwhile."""
    began: tuple[Ns, Any] | None = None
    for time, value in series:
        if value and began is None:
            began = time, value
        elif not value and began is not None:
            yield began[0], time, began[1]
            began = None
    if began is not None:
        yield began[0], _end(trace), began[1]


def _end(trace: Trace) -> Ns:
    """The last moment that a Trace knows of."""
    times = [series[-1][0] for series in trace.series.values() if series]
    if trace.events:
        times.append(trace.events[-1].time)
    return max(times, default=Ns(0))


# ---- I2, I6, I7


def commands_run_once(factory: Factory, trace: Trace) -> Iterator[str]:
    """I2: commands that ran more often, and Jobs that began more often, than was asked for."""
    for node in factory.nodes:
        runs: dict[int, set[int]] = {}
        for _, (boot, _, result, _, executions, command) in trace.series.get(f"{node}/said/result", ()):
            if result == "DONE" and command:
                runs.setdefault(command, set()).add(boot)
                if executions > 1:
                    yield f"{node}: command {command} ran {executions} times"
        for command, boots in runs.items():
            if len(boots) > 1:
                yield f"{node}: command {command} ran in boots {sorted(boots)}"
        asked = {entry[4] for _, entry in trace.series.get(f"{node}/told/errand", ()) if entry[3] == "START"}
        started = _starts(trace, node)
        if len(started) > len(asked):
            yield f"{node}: {len(asked)} starts were commanded and {len(started)} Jobs began, the last {_at(started[-1])}"


def _starts(trace: Trace, node: str) -> list[Ns]:
    """When a Job was first seen to be at work."""
    found, going = [], False
    for time, state in trace.series.get(f"{node}/node/job_state", ()):
        now = state in (2, 3)  # running, holding
        if now and not going:
            found.append(time)
        going = now
    return found


def only_what_may_be_commanded_runs(factory: Factory, trace: Trace) -> Iterator[str]:
    """I6: commands that ran too late, under an old epoch, or without having been given."""
    for node in factory.nodes:
        told: dict[int, tuple[Ns, Any]] = {}
        for time, entry in trace.series.get(f"{node}/told/errand", ()):
            if entry[3] != "NONE":
                told.setdefault(entry[4], (time, entry))
        uptime, epochs = Held(trace, f"{node}/said/uptime"), Held(trace, f"{node}/node/epoch")
        for time, (_, _, result, _, _, command) in list(trace.series.get(f"{node}/said/result", ())):
            if result != "DONE" or not command:
                continue
            if command not in told:
                yield f"{node}: command {command} was carried out {_at(time)}, and nobody asked for it"
                continue
            came, (owner, epoch, _, op, _, _, not_after) = told[command]
            seen = uptime.entry(came)
            if seen is not None and came - seen[0] < S:
                late = (seen[1] + (came - seen[0]) // MS - not_after + (1 << 31)) % (1 << 32) - (1 << 31)
                if late > LATE // MS:
                    yield f"{node}: {op} {command} was carried out {late} ms after it was void"
            highest = epochs.at(came)
            if highest is not None and epoch < highest:
                yield f"{node}: {op} {command} of owner {owner} was carried out under epoch {epoch}, below {highest}"


def latches_hold(factory: Factory, trace: Trace) -> Iterator[str]:
    """I7: latches that ended by themselves, and resets that started something."""
    for node in factory.nodes:
        boots = Held(trace, f"{node}/node/boot_id")
        told = [(time, e) for time, e in trace.series.get(f"{node}/told/errand", ()) if e[3] == "RESET"]
        before: tuple[Ns, bool] | None = None
        for time, latched in trace.series.get(f"{node}/node/latched", ()):
            if before is not None and before[1] and not latched and boots.at(before[0]) == boots.at(time):
                asked = [came for came, _ in told if before[0] - LOOK <= came <= time]
                if not asked:
                    yield f"{node}: the latch was gone {_at(time)} without a reset"
                else:
                    yield from _nothing_starts(factory, trace, node, asked[-1])
            before = time, latched


def _nothing_starts(factory: Factory, trace: Trace, node: str, reset: Ns) -> Iterator[str]:
    """A reset starts nothing: a machine acts only once its Command has been seen at its default."""
    for machine in factory.on(node):
        default = tuple(encode(machine.type.command()))
        asked = trace.series.get(f"{machine.name}/told/command", ())
        given = Held(trace, f"{machine.name}/told/command").at(reset)
        if given is None or given == default:
            continue
        armed = next((time for time, words in asked if time > reset and words == default), Ns(1 << 62))
        for pin, _ in _falling(machine):
            for time, value in trace.series.get(f"{machine.name}/pin/{pin}", ()):
                if value and reset < time < armed:
                    yield f"{machine.name}/pin/{pin} came on {_at(time)}, by the reset {_at(reset)} alone"


# ---- I8


def interlocks_hold(factory: Factory, trace: Trace) -> Iterator[str]:
    """I8: outputs that were on while the sensor that forbids them was."""
    for machine in factory.machines.values():
        weak = windows(trace, machine.node, Subject.NODE)
        for rule in machine.type.interlocks:
            if not isinstance(rule, Never):
                continue
            pins = Held(trace, f"{machine.name}/pin/{rule.output}")
            for since, until, _ in _stretches(trace.series.get(f"{machine.name}/sensor/{rule.when}", ()), trace):
                due = Ns(since + TICK + LATE)
                if any(low <= due and since <= high for low, high in weak):
                    due = Ns(since + WATCHDOG)
                late = next((time for time, value in pins.between(due, until) if value), None)
                if late is not None and due < until:
                    yield f"{machine.name}: {rule.output} was on {_at(late)}, and {rule.when} since {seconds(since):.3f} s"


# ---- I5, I10, I11, I15


def orders_and_parts_add_up(factory: Factory, trace: Trace) -> Iterator[str]:
    """I5: orders that came back, and parts that were doubled or jumped."""
    states: dict[str, str] = {}
    number = Held(trace, "core/factory/order/id")
    for time, state in trace.series.get("core/factory/order/state", ()):
        order = number.at(time)
        before = states.get(order, "")
        if before in ("DONE", "CANCELLED") and state != before:
            yield f"order {order} went from {before} to {state} {_at(time)}"
        states[order] = state
    places: dict[str, str] = {}
    for entry in trace.events:
        match entry.what:
            case PartMade(machine, part, _):
                if part in places:
                    yield f"part {part} was made twice, the second time {_at(entry.time)}"
                places[part] = machine
            case PartHandedOver(machine, part, target):
                if places.get(part) != machine:
                    yield f"part {part} went from {machine} {_at(entry.time)}, but was at {places.get(part, 'none')}"
                places[part] = target
            case PartArrived(machine, part):
                if places.get(part) != machine:
                    yield f"part {part} arrived at {machine} {_at(entry.time)}, but was at {places.get(part, 'none')}"
            case _:
                pass


def old_values_are_not_good(factory: Factory, trace: Trace) -> Iterator[str]:
    """I10: values that were still Good when no reply had come for too long."""
    told = sorted(time for name, series in trace.series.items() if name.startswith("core/") for time, _ in series)
    for machine in factory.machines.values():
        # A burst may take 2.5 scans, and what came in it is believed for as long again; one scan more to see it, one to tell it.
        oldest = Ns(round((2 * STALE_SCANS + 2) * factory.nodes[machine.node].scan_ms) * MS)
        replies = [time for time, _ in trace.series.get(f"{machine.node}/said/uptime", ())]
        quality = Held(trace, f"core/{machine.name}/quality")
        for first, second in zip(replies, [*replies[1:], _end(trace)], strict=True):
            due = Ns(first + oldest)
            # Only a core that says something can say that it is good: a core that stands still says nothing.
            for time in told[bisect_left(told, due) : bisect_left(told, second)] if due < second else ():
                if quality.at(time) == "good":
                    yield f"{machine.name}: values of {seconds(first):.3f} s were still good {_at(time)}"
                    break


def memory_is_bounded(factory: Factory, trace: Trace) -> Iterator[str]:
    """I15: nodes whose heap runs out."""
    for node in factory.nodes:
        weak = windows(trace, node, Subject.NODE)
        for time, free in trace.series.get(f"{node}/node/heap_free", ()):
            if 0 < free < 8192 and not any(low <= time <= high for low, high in weak):
                yield f"{node}: {free} bytes of heap free {_at(time)}"


# ---- I17, I18


def all_is_ready_or_says_why(factory: Factory, trace: Trace) -> Iterator[str]:
    """I17: nodes that are not back, half a minute after the last fault."""
    end = _end(trace)
    over = max((entry.time for entry in trace.events if isinstance(entry.what, (FaultOn, FaultOff))), default=Ns(0))
    if end - over < QUIET - S:
        return  # nobody may ask yet
    for node in factory.nodes:
        link = trace.last(f"core/node:{node}/link")
        if link != "ours":
            yield f"{node} is {link!r} at the end"
        if trace.last(f"{node}/node/latched") and not trace.last(f"{node}/node/fault"):
            yield f"{node} is latched at the end and does not say why"


def stop_is_always_taken(factory: Factory, trace: Trace) -> Iterator[str]:
    """I18: stops that were refused, or that nobody answered."""
    end, broken = _end(trace), windows(trace, "core", Subject.CONTROLLER)
    told = [entry for entry in trace.of(CoreTold, "core") if entry.what.kind == "stop"]
    for asked in trace.of(Asked):
        time = asked.time
        if asked.what.kind != "stop" or end - time < 6 * S or any(low - 6 * S <= time <= high + S for low, high in broken):
            continue
        answer = next((entry.what.about for entry in told if entry.time >= time), "")
        if not answer:
            yield f"nobody answered the stop {_at(time)}"
        elif answer.startswith("no:") and not any(word in answer for word in _UNKNOWN):
            yield f"the stop {_at(time)} was refused: {answer}"


_UNKNOWN = ("unknown", "overtaken", "not carried out in time")
"""Words of an answer that says the node could not be reached; the wish has ended all the same."""
