"""How sensors lie: the kinds, and the edit of each."""

from collections.abc import Callable, Mapping

from twin.clock import ns
from twin.fault import Carrier, Kind, Parameter, Subject
from twin.faults import edits
from twin.faults.edits import FULL, Change

Make = Callable[[Mapping[str, float], int], Change]
LEVEL, VOLTAGE = Carrier.LEVEL, Carrier.VOLTAGE
NO_READING = "The node reports the reading as bad, switches the heater off and latches its outputs."
NO_EFFECT = "The heater stops at the watch's limits and the node latches, or the temperature keeps within what the reading says."
MISSED = "The machine moves no further than its way allows, stops, and the node latches or the order does not count as done."
STATUS = "Status of the machine; fault and latched of the node; the heater's or the drive's pin"


def _kind(name: str, text: str, expected: str, carriers: tuple[Carrier, ...], reference: str, **parameters: Parameter) -> Kind:
    return Kind(
        name=f"sensor-{name}", subject=Subject.SENSOR, text=text, expected=expected, observable=STATUS,
        parameters=parameters, reference=reference, carriers=carriers,
    )  # fmt: skip


_COUNTS = Parameter(default=2000, low=-FULL, high=FULL, text="counts of the ADC")
_SHARE = Parameter(default=0.3, low=0.0, high=1.0, text="of the time")
_SLOT = Parameter(default=0.01, low=1e-4, high=10.0, text="s for which the contact is open or closed at a time")
_DELAY = Parameter(default=2.0, low=1e-4, high=60.0, text="s")
_PERIOD = Parameter(default=2.0, low=1e-3, high=3600.0, text="s from one to the next")

TABLE: tuple[tuple[Kind, Make], ...] = (
    (
        _kind("stuck", "The reading is one value for good.", NO_EFFECT, (VOLTAGE,), "S1",
              value=Parameter(default=60_000, low=0, high=FULL, text="counts of the ADC")),
        lambda p, _: edits.constant(round(p["value"])),
    ),
    (
        _kind("frozen", "The reading stays what it was at the onset.", NO_EFFECT, (LEVEL, VOLTAGE), "S6"),
        lambda _, __: edits.frozen(),
    ),
    (
        _kind("open", "A wire has come off: the pull-up alone is read.", NO_READING, (VOLTAGE,), "S2"),
        lambda _, __: edits.constant(FULL),
    ),
    (
        _kind("short", "The wires touch: nothing is left of the voltage.", NO_READING, (VOLTAGE,), "S2"),
        lambda _, __: edits.constant(0),
    ),
    (
        _kind("bias", "The reading is off by a constant.", NO_EFFECT, (VOLTAGE,), "S1", counts=_COUNTS),
        lambda p, _: edits.of_value(lambda value: value + p["counts"]),
    ),
    (
        _kind("gain", "The reading is off by a factor.", NO_EFFECT, (VOLTAGE,), "S1",
              factor=Parameter(default=0.8, low=0.0, high=10.0, text="of the true reading")),
        lambda p, _: edits.of_value(lambda value: value * p["factor"]),
    ),
    (
        _kind("drift", "The reading goes further and further away.", NO_EFFECT, (VOLTAGE,), "S4",
              rate=Parameter(default=-200, low=-FULL, high=FULL, text="counts of the ADC per second")),
        lambda p, _: edits.drift(p["rate"]),
    ),
    (
        _kind("noise", "The reading jumps about.", NO_EFFECT, (VOLTAGE,), "S3", counts=_COUNTS),
        lambda p, seed: edits.noise(seed, p["counts"]),
    ),
    (
        _kind("spike", "Now and then the reading is far off, for a moment.",
              "A reading that no temperature gives is passed over; only the third in a row makes the node latch.", (VOLTAGE,), "S5",
              counts=_COUNTS, period=_PERIOD, width=Parameter(default=0.05, low=1e-3, high=60.0, text="s that one lasts")),
        lambda p, _: edits.pulses(ns(p["period"]), ns(p["width"]), lambda value: value + p["counts"]),
    ),
    (
        _kind("dropout", "Now and then there is no reading at all.", NO_READING, (VOLTAGE,), "S2", period=_PERIOD, share=_SHARE),
        lambda p, _: edits.pulses(ns(p["period"]), ns(p["period"] * p["share"]), lambda _value: 0.0),
    ),
    (
        _kind("loose-contact", "A plug makes and breaks contact.", NO_READING, (VOLTAGE,), "S2", share=_SHARE, slot=_SLOT),
        lambda p, seed: edits.flicker(seed, ns(p["slot"]), p["share"], FULL),
    ),
    (
        _kind("delay", "The reading comes late.", NO_EFFECT, (LEVEL, VOLTAGE), "S6", delay=_DELAY),
        lambda p, _: edits.delayed(ns(p["delay"])),
    ),
    (
        _kind("quantise", "The lower bits of the reading are lost.", NO_EFFECT, (VOLTAGE,), "S3",
              counts=Parameter(default=512, low=1, high=FULL, text="counts of the ADC that one step has")),
        lambda p, _: edits.of_value(lambda value: value // p["counts"] * p["counts"]),
    ),
    (
        _kind("stuck-on", "A switch or a light barrier says yes for good.", MISSED, (LEVEL,), "S1"),
        lambda _, __: edits.constant(1),
    ),
    (
        _kind("stuck-off", "A switch or a light barrier says no for good.", MISSED, (LEVEL,), "S8"),
        lambda _, __: edits.constant(0),
    ),
    (
        _kind("inverted", "A switch says the opposite.", MISSED, (LEVEL,), "S7"),
        lambda _, __: Change(lambda _, value: 1 - value),
    ),
    (
        _kind("chatter", "A contact bounces after each change.", "One part is counted once.", (LEVEL,), "A7",
              lasts=Parameter(default=0.004, low=1e-4, high=1.0, text="s that it bounces"),
              interval=Parameter(default=0.001, low=1e-5, high=0.1, text="s between two changes")),
        lambda p, _: edits.chatter(ns(p["lasts"]), ns(p["interval"])),
    ),
    (
        _kind("flicker", "A closed contact opens for moments.", MISSED, (LEVEL,), "S3", share=_SHARE, slot=_SLOT),
        lambda p, seed: edits.flicker(seed, ns(p["slot"]), p["share"], 0),
    ),
)  # fmt: skip

SWAPPED = _kind(
    "swapped", "Two plugs are in each other's place.", NO_EFFECT, (LEVEL, VOLTAGE), "N12",
    gpio=Parameter(default=-1, low=-1, high=39, text="whose sensor is read instead; -1 for the machine's next of its sort"),
)  # fmt: skip
