"""`lockstep calibrate`: a machine's parameters from a recorded run, shown before and after, kept with the machine."""

import argparse
import datetime
import sys
from dataclasses import dataclass
from pathlib import Path

from controller.shadow import calibrations
from controller.shadow.calibrations import Subject
from twin.calibration import Calibration, CalibrationError, Run, Value, identify
from twin.calibration.identify import Identified, choose, report
from twin.calibration.run import of_trace
from twin.factory import Factory, read
from twin.residual import Parameter, Residual, of, with_values


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be identified.

    Attributes:
        only, free, held: parameters by name, see twin.calibration.identify.choose.
        known: values that are given [SI], and held.
    """

    only: tuple[str, ...] = ()
    free: tuple[str, ...] = ()
    held: tuple[str, ...] = ()
    known: tuple[tuple[str, float], ...] = ()


def calibrate(options: argparse.Namespace) -> int:
    """Identify, show, keep; the exit code."""
    try:
        return _do(options)
    except CalibrationError as refused:
        print(f"lockstep: {refused}", file=sys.stderr)
        return 1


def _do(options: argparse.Namespace) -> int:
    factory = read(options.factory)
    if options.list:
        for subject in calibrations.subjects(factory).values():
            print(calibrations.physics(options.state, subject)[1])
        return 0
    subject = named(factory, options.machine)
    known = tuple(_given(text, subject.parameters) for text in options.set)
    wanted = Wanted(tuple(options.only), tuple(options.free), tuple(options.hold), known)
    run = _traced(options) if options.trace is not None else _recorded(options, factory, subject)
    found, made = calibrated(subject, run, wanted, _now(), None if options.anew else _earlier(options.state, subject))
    bounds = {one.name: one for one in subject.residuals}
    print(f"of {run.source}\n\n{report(found, bounds)}")
    if options.dry_run:
        print("nothing is kept: --dry-run")
        return 0
    if (beyond := found.beyond(bounds)) and not options.keep_anyway:
        told = ", ".join(f"{name}: {_beyond(bounds[name], found.usual[name])}" for name in beyond)
        raise CalibrationError(
            f"nothing is kept: more than one in a hundred residuals stay beyond their bound ({told}), so something else differs "
            "from the model; --keep-anyway keeps it"
        )
    try:
        print(f"kept in {calibrations.keep(options.state, subject, made)}; a shadow that runs takes it up within seconds")
    except OSError as refused:
        raise CalibrationError(f"{options.state}: cannot be written: {refused}") from refused
    return 0


def _earlier(state: Path, subject: Subject) -> Calibration | None:
    """What was identified of a machine before, said in a line where it cannot be used."""
    try:
        return calibrations.kept(state, subject)
    except CalibrationError as unusable:
        print(f"not begun with: {unusable}")
        return None


def named(factory: Factory, name: str | None) -> Subject:
    """A machine that can be calibrated.

    Raises:
        CalibrationError: there is none of that name, or nothing to calibrate.
    """
    able = calibrations.subjects(factory)
    if name is None or name not in able:
        there = ", ".join(able) or "nothing that can"
        raise CalibrationError(f"{name!r} cannot be calibrated; {factory.name} has {there}" if name else f"say which: {there}")
    return able[name]


def calibrated(
    subject: Subject, run: Run, wanted: Wanted, made: str, earlier: Calibration | None = None
) -> tuple[Identified, Calibration]:
    """What a run tells of a machine, and the calibration to be kept: with all that an earlier one has and this does not tell anew.

    Args:
        made: when, as people read it.

    Raises:
        CalibrationError: see twin.calibration.identify.
    """
    names = [name for name, _ in wanted.known]
    chosen = choose(subject.face.PARAMETERS, wanted.only, wanted.free, (*wanted.held, *names))
    assumed = subject.physics if earlier is None else earlier.physics(subject.physics)
    found = identify(subject.face, run, subject.given, with_values(assumed, dict(wanted.known)), chosen)
    values = {} if earlier is None else dict(earlier.values)
    values |= {name: Value(value) for name, value in wanted.known}
    for one, error in zip(found.fitted, found.fit.errors, strict=True):
        values[one.name] = Value(of(found.physics, one.name), float(error))
    rms = {name: after for name, (_, after) in found.rms.items()}
    told = {*(name for name, _ in wanted.known), *(one.name for one in found.fitted)}
    before = ", ".join(name for name in values if name not in told)
    source = f"{run.source}; {before} as of {earlier.made}" if earlier is not None and before else run.source
    return found, Calibration(subject.name, subject.type, made, source, subject.digest, values, rms)


def _given(text: str, parameters: dict[str, Parameter]) -> tuple[str, float]:
    name, _, value = text.partition("=")
    one = parameters.get(name)
    if one is None:
        raise CalibrationError(f"--set {text}: {name!r} is no parameter; there are {', '.join(parameters)}")
    try:
        return name, one.unit.si(float(value))
    except ValueError as wrong:
        raise CalibrationError(f"--set {text}: {value!r} is no number in {one.unit.symbol or 'units of one'}") from wrong


def _traced(options: argparse.Namespace) -> Run:
    try:
        text = options.trace.read_text(encoding="utf-8")
        since, until = float(options.since or 0.0), float(options.until or 1e9)
    except (OSError, UnicodeDecodeError) as broken:
        raise CalibrationError(f"{options.trace}: cannot be read: {broken}") from broken
    except ValueError as wrong:
        raise CalibrationError(f"--from and --to of a Trace are seconds of its own time: {wrong}") from wrong
    return of_trace(options.machine, text, since, until, source=options.trace.name)


def _recorded(options: argparse.Namespace, factory: Factory, subject: Subject) -> Run:
    from controller.history.commands import AskedWrong, moment
    from controller.history.door import FAR
    from controller.shadow.recorded import from_history
    from twin.clock import utc_ns

    try:
        since, until = (
            moment(text, utc_ns()) if text else otherwise for text, otherwise in ((options.since, 0), (options.until, FAR))
        )
    except AskedWrong as wrong:
        raise CalibrationError(str(wrong)) from wrong
    return from_history(options.state, factory, subject, since, until)


def _beyond(residual: Residual, size: float) -> str:
    """A residual and its bound in the Signal's own unit."""
    unit = residual.unit
    return f"{unit.of(size):.4g} of at most {unit.of(residual.bound):.4g} {unit.symbol}".strip()


def _now() -> str:
    from twin.clock import utc_ns

    return datetime.datetime.fromtimestamp(utc_ns() // 1_000_000_000, datetime.UTC).isoformat()
