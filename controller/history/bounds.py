"""How exactly each Signal of a Feed is kept: as factory.toml says, else by half of the step that it comes in."""

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

from controller.feed import FeedSignal
from controller.history.kept import HistoryError, Kept
from twin.factory import Factory
from twin.maps import Form, Mapped, Place
from twin.node import NodeStatus
from twin.units import Unit
from twin.wire import Number, Range, Signal, layout

SHARE_OF_RANGE = 1e-4
SHARE_OF_UNIT = 1e-2


def kept(factory: Factory, signals: Sequence[FeedSignal]) -> dict[int, Kept]:
    """What is kept of each Signal that is kept at all, by its index in the Feed; bounds in SI.

    Raises:
        HistoryError: a pattern in the factory file fits no Signal, or a bound has no meaning for the one it names.
    """
    settings = factory.history
    _check(factory, signals)
    steps = dict(_steps(factory))
    found = {}
    for index, signal in enumerate(signals):
        if settings.keeps(signal.path):
            bound = 0.0
            if signal.type is float:
                declared = settings.bound(signal.path)
                usual = steps.get(signal.path) or _by_range(signal.range, signal.unit)
                bound = usual if declared is None else declared * signal.unit.size
            found[index] = Kept(signal.path, _plain(signal.type), signal.unit.code, bound, text=signal.text)
    return found


def _check(factory: Factory, signals: Sequence[FeedSignal]) -> None:
    settings = factory.history
    for pattern in (*settings.leave_out, *(pattern for pattern, _ in settings.bounds)):
        if not any(fnmatchcase(signal.path, pattern) for signal in signals):
            raise HistoryError(f"history: {pattern!r} fits no Signal of {factory.name}")
    types = {signal.path: signal.type for signal in signals}
    for pattern, bound in settings.bounds:
        if bound and types.get(pattern, float) is not float:
            raise HistoryError(f"history.bounds: {pattern} is kept exactly; a bound of {bound:g} has no meaning")


def _plain(kind: type) -> type:
    """An enumeration's values are kept as the whole numbers they are."""
    return int if issubclass(kind, int) and kind is not bool else kind


def _by_range(range: Range | None, unit: Unit) -> float:
    if range is not None and range.high > range.low:
        return (range.high - range.low) * SHARE_OF_RANGE
    return SHARE_OF_UNIT * unit.size


def _steps(factory: Factory) -> Iterator[tuple[str, float]]:
    """Half a step of each Signal whose values come in steps, or the deadband that its Map gives it, in SI."""
    for machine in factory.machines.values():
        for group, shape in zip(("status", "command"), machine.type.layouts, strict=True):
            yield from ((f"{machine.name}/{group}/{s.name}", step) for s in shape.signals if (step := _of_wire(s)))
    for node in factory.nodes:
        yield from ((f"node:{node}/status/{s.name}", step) for s in layout(NodeStatus).signals if (step := _of_wire(s)))
    for mirrored in factory.mirrored.values():
        for row in mirrored.map.signals:
            step = _of_map(row)
            yield from ((f"{mirrored.name}/{group}/{row.name}", step) for group in ("status", "command") if step)


def _of_wire(signal: Signal) -> float:
    binding = signal.binding
    return 0.0 if not isinstance(binding, Number) or binding.format == "f" else binding.step * signal.size / 2


def _of_map(row: Mapped) -> float:
    signal, place = row.signal, row.place
    if row.deadband.absolute or (row.deadband.share and signal.range):
        width = signal.range.high - signal.range.low if signal.range else 0.0
        return max(row.deadband.absolute, row.deadband.share * width)
    if not isinstance(place, Place) or place.form in (Form.FLOAT32, Form.FLOAT64) or place.scale_from or place.plus_from:
        return 0.0
    return abs(place.scale) * signal.size / 2
