"""What must hold of every Part that an arm carries, from the machine that made it to the exit of the one that takes it."""

from collections.abc import Iterator

from hil.judging.verdict import Requirement
from twin.clock import Ns, S, seconds
from twin.factory import Factory, Handover
from twin.part import PartArrived, PartDropped, PartHandedOver, PartMade, PartSlipped
from twin.trace import Event, Trace

STILL = Ns(5 * S)
"""Before and after a Part is taken, for which the machine that it is taken from must not move."""


def journey(factory: Factory) -> tuple[Requirement, ...]:
    """The requirements of a factory's handovers by arm; none where it has none."""
    return tuple(requirement for handover in factory.handovers if handover.by == "arm" for requirement in _of(handover))


def _of(way: Handover) -> Iterator[Requirement]:
    yield Requirement(f"what {way.source} makes goes by {way.arm} to {way.target}, and arrives", lambda trace: _goes(trace, way))
    yield Requirement(f"{way.arm} drops nothing and tears nothing off", lambda trace: _keeps(trace, way))
    yield Requirement(f"{way.source} stands still while {way.arm} takes its part", lambda trace: _stands(trace, way))


def _goes(trace: Trace, way: Handover) -> tuple[bool, str]:
    made = [(at.time, at.what.part) for at in trace.of(PartMade, way.source)]
    told = []
    for begun, part in made:
        stations: tuple[Event, ...] = (
            PartHandedOver(way.source, part, way.arm),
            PartHandedOver(way.arm, part, way.target),
            PartArrived(way.target, part),
        )
        time = begun
        for station in stations:
            then = next((at.time for at in trace.events if at.time >= time and at.what == station), None)
            if then is None:
                return False, f"{part}, made at {seconds(begun):.1f} s, never came to: {station.line()}"
            time = then
        told.append(f"{part} in {seconds(Ns(time - begun)):.1f} s")
    return bool(made), ", ".join(told) or f"{way.source} made nothing"


def _keeps(trace: Trace, way: Handover) -> tuple[bool, str]:
    lost = [at for at in trace.events if isinstance(at.what, (PartDropped, PartSlipped)) and at.what.subject == way.arm]
    return not lost, f"{lost[0].what.line()} at {seconds(lost[0].time):.1f} s" if lost else "nothing was lost"


def _stands(trace: Trace, way: Handover) -> tuple[bool, str]:
    """By the plant's own position, where it has one."""
    taken = [at for at in trace.of(PartHandedOver, way.source) if at.what.target == way.arm]
    series = trace.series.get(f"{way.source}/plant/position_mm", ())
    for at in taken:
        moved = next((time for time, _ in series if abs(time - at.time) <= STILL), None)
        if moved is not None:
            return False, f"it moved at {seconds(moved):.2f} s, {at.what.part} was taken at {seconds(at.time):.2f} s"
    return bool(taken), f"{len(taken)} taken" if taken else "nothing was taken"
