"""A machine's parameters from a run of it: what is identified, what is held, and when the answer is refused."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from twin.arrays import Floats
from twin.calibration.errors import CalibrationError
from twin.calibration.fit import Fit, Unexcited, fit
from twin.calibration.run import Misfits, Run
from twin.residual import Parameter, Residual, of, with_values

USUAL = 0.99
"""Share of the residuals that must be within the bound."""


@dataclass(frozen=True, slots=True)
class Identified:
    """What a run tells of a plant.

    Attributes:
        physics: with what was identified; `started`: with what was assumed before.
        fitted: the parameters that were identified, in the order of `fit`.
        rms: by Signal, root of the mean square of the residual before and after [SI].
        worst: by Signal, the largest residual before and after [SI].
        usual: by Signal, what 99 of 100 residuals after do not exceed [SI]: more than that tells of the model, less of one reading.
    """

    physics: Any
    started: Any
    fitted: tuple[Parameter, ...]
    fit: Fit
    rms: Mapping[str, tuple[float, float]]
    worst: Mapping[str, tuple[float, float]]
    usual: Mapping[str, float]

    def beyond(self, bounds: Mapping[str, Residual]) -> tuple[str, ...]:
        """The Signals whose residual stays beyond its bound, by `usual`: what was identified does not explain them."""
        return tuple(name for name, size in self.usual.items() if name in bounds and size > bounds[name].bound)


def choose(
    parameters: tuple[Parameter, ...], only: Collection[str] = (), free: Collection[str] = (), held: Collection[str] = ()
) -> tuple[Parameter, ...]:
    """The parameters to identify: those that are free by themselves, or `only` those; more `free`, some `held`.

    Raises:
        CalibrationError: one that there is not, or none is left.
    """
    known = {one.name: one for one in parameters}
    for name in (*only, *free, *held):
        if name not in known:
            raise CalibrationError(f"{name!r} is no parameter of this machine type; there are {', '.join(known) or 'none'}")
    chosen = [one for one in parameters if (one.name in only if only else one.free) or one.name in free]
    left = tuple(one for one in chosen if one.name not in held)
    if not left:
        raise CalibrationError("no parameter is left to identify")
    return left


def identify(beside: Any, run: Run, params: Any, physics: Any, chosen: tuple[Parameter, ...]) -> Identified:
    """The chosen parameters of a run.

    Args:
        beside: the machine type's `beside` module.
        physics: where to begin, and what is held.

    Raises:
        CalibrationError: the run does not tell some of them (which, and the condition number or the error), a parameter ends at a
            limit, or the model has no finite numbers for the run.
    """
    if len(run) < 3:
        raise CalibrationError(f"{len(run)} reports are no run")

    def physics_at(values: Floats) -> Any:
        return with_values(physics, {one.name: float(value) for one, value in zip(chosen, values, strict=True)})

    was = _finite(run, beside.misfits(run, params, physics))
    start = [of(physics, one.name) for one in chosen]
    scale = [one.scale or abs(value) or 1.0 for one, value in zip(chosen, start, strict=True)]
    try:
        found = fit(
            lambda values: beside.misfits(run, params, physics_at(values)).all,
            start, scale, [one.low for one in chosen], [one.high for one in chosen],
        )  # fmt: skip
    except Unexcited as dark:
        raise CalibrationError(_dark(chosen, dark)) from dark
    _check(chosen, found)
    after = physics_at(found.values)
    is_ = beside.misfits(run, params, after)
    rms = {name: (was.rms()[name], is_.rms()[name]) for name in was.of}
    worst = {name: (_most(was, name), _most(is_, name)) for name in was.of}
    return Identified(after, physics, chosen, found, rms, worst, {name: _most(is_, name, USUAL) for name in was.of})


def _finite(run: Run, misfits: Misfits) -> Misfits:
    """The misfits that a fit begins with.

    Raises:
        CalibrationError: some are no numbers.
    """
    for name, values in misfits.of.items():
        wrong = int(np.count_nonzero(~np.isfinite(values)))
        if wrong:
            raise CalibrationError(
                f"{run.machine}/status/{name}: {wrong} of {len(values)} misfits are no finite numbers to begin with: the run, or "
                "what is known of the machine, is beyond its model"
            )
    return misfits


def _most(misfits: Misfits, name: str, share: float = 1.0) -> float:
    """What a share of a Signal's residuals do not exceed [SI]."""
    size = misfits.scatter if isinstance(misfits.scatter, float) else misfits.scatter[name]
    values = misfits.of[name]
    return float(np.quantile(np.abs(values), share, method="higher")) * size if len(values) else 0.0


def _dark(chosen: tuple[Parameter, ...], dark: Unexcited) -> str:
    names = [chosen[k].name for k in dark.which]
    if np.isnan(dark.condition):
        return f"a small change of {', '.join(names)} makes misfits that are no finite numbers: the run is beyond the model"
    told = f"condition number {dark.condition:.3g}" if np.isfinite(dark.condition) else "no change of theirs changes anything"
    if len(names) == 1:
        return f"the run does not excite {names[0]} ({told}): make one that does, or hold it"
    return f"the run cannot tell {', '.join(names)} apart ({told}): make one that does, or hold some of them"


def _check(chosen: tuple[Parameter, ...], found: Fit) -> None:
    for one, value, error in zip(chosen, found.values, found.errors, strict=True):
        size = one.scale or abs(float(value)) or 1.0
        if not one.low < value < one.high:
            raise CalibrationError(
                f"{one.name} ends at its limit {shown(one, value)}, between {shown(one, one.low)} and {shown(one, one.high)} it "
                "makes sense: something else differs from the model"
            )
        if error > one.within * size:
            raise CalibrationError(
                f"the run does not excite {one.name} enough: {shown(one, value)} ± {shown(one, error)}, at most "
                f"{shown(one, one.within * size)} is taken (condition number {found.condition:.3g})"
            )


def shown(parameter: Parameter, value: float) -> str:
    """A value in the parameter's own unit."""
    return f"{parameter.unit.of(float(value)):.4g} {parameter.unit.symbol}".strip()


def report(found: Identified, bounds: Mapping[str, Residual]) -> str:
    """Before and after, for people."""
    lines = [f"{'parameter':24} {'before':>12} {'after':>12} {'±':>10}  unit"]
    for one, value, error in zip(found.fitted, found.fit.values, found.fit.errors, strict=True):
        was, now, off = (one.unit.of(x) for x in (of(found.started, one.name), float(value), float(error)))
        lines.append(f"{one.name:24} {was:12.5g} {now:12.5g} {off:10.2g}  {one.unit.symbol}")
    lines.append("")
    lines.append(f"{'residual':24} {'rms before':>12} {'rms after':>12} {'worst after':>12} {'bound':>10}  unit")
    for name, (was, now) in found.rms.items():
        bound = bounds.get(name)
        unit = bound.unit if bound is not None else None
        size = (lambda x: unit.of(x)) if unit is not None else (lambda x: x)  # noqa: B023
        limit = f"{size(bound.bound):10.4g}" if bound is not None else f"{'':10}"
        symbol = unit.symbol if unit is not None else ""
        lines.append(f"{name:24} {size(was):12.4g} {size(now):12.4g} {size(found.worst[name][1]):12.4g} {limit}  {symbol}")
    lines.append("")
    lines.append(f"condition number {found.fit.condition:.3g}, {found.fit.rounds} rounds")
    return "\n".join(lines)
