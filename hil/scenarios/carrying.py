"""An arm must take what a printer has made off its bed, and lay it on the belt."""

from hil.judging.journey import journey
from hil.judging.rules import Found
from hil.judging.verdict import Requirement
from hil.scenario import Stage, scenario
from hil.scenarios.programs import tower
from twin.clock import Ns, S, seconds
from twin.factory import Factory, Handover
from twin.part import PartArrived, PartHandedOver
from twin.trace import Trace

DEMO = "../../controller/demo/factory.toml"
LONGEST = Ns(600 * S)
STICKS_C = 40.0


@scenario("print-pick-place-convey", factory=DEMO, recipe="print-and-convey", program=tower, links=False)
async def carried(stage: Stage) -> tuple[Requirement, ...]:
    """A part is printed, taken off the cooled bed, laid on the belt, and conveyed."""
    await stage.until(PartArrived, within=LONGEST)
    await stage.after(Ns(2 * S))
    factory = stage.rig.factory
    ways = [handover for handover in factory.handovers if handover.by == "arm"]
    return (*journey(factory), *(requirement for way in ways for requirement in _beside(factory, way)))


def _beside(factory: Factory, way: Handover) -> tuple[Requirement, ...]:
    """What a short recorded run shows beside the part's own way."""
    nodes = [f"{factory.machines[name].node}/node/underruns" for name in (way.source, way.arm)]

    def cool(trace: Trace) -> Found:
        taken = [at.time for at in trace.of(PartHandedOver, way.source)]
        beds = [float(trace.at(f"{way.source}/plant/bed", time)) for time in taken]
        return Found(bool(beds) and max(beds) < STICKS_C, f"taken at {', '.join(f'{bed:.1f} °C' for bed in beds)}")

    def steady(trace: Trace) -> Found:
        dry = [trace.last(signal) for signal in nodes]
        lost = trace.last(f"{way.arm}/plant/lost")
        return Found(dry == [0] * len(dry) and lost == 0, f"{dry} underruns, the arm has lost {lost} steps")

    def quick(trace: Trace) -> Found:
        taken = [at.time for at in trace.of(PartHandedOver, way.source)]
        laid = [at.time for at in trace.of(PartHandedOver, way.arm)]
        took = [seconds(Ns(down - up)) for up, down in zip(taken, laid, strict=False)]
        return Found(bool(took) and max(took) < 60.0, f"in the jaws for {', '.join(f'{s:.1f} s' for s in took)}")

    return (
        Requirement(f"{way.arm} takes the part from a bed below {STICKS_C:g} °C", cool),
        Requirement("no step is lost, and no step stream runs dry", steady),
        Requirement("the part is in the jaws for less than a minute", quick),
    )
