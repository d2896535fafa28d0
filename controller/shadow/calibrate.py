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
from twin.residual import Parameter, of, with_values


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


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Put the command among the others."""
    parser = commands.add_parser("calibrate", help="identify a machine's plant from a recorded run of it")
    parser.add_argument("machine")
    parser.add_argument("--factory", type=Path, required=True, metavar="FILE", help="factory.toml")
    parser.add_argument("--state", type=Path, required=True, metavar="DIR", help="of the history and the calibration")
    parser.add_argument("--from", dest="since", metavar="TIME", help="of the history, where the run begins")
    parser.add_argument("--to", dest="until", metavar="TIME", help="and where it ends")
    parser.add_argument("--trace", type=Path, metavar="FILE", help="a Trace's CSV instead of the history")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="identify this parameter, and no others")
    parser.add_argument("--free", action="append", default=[], metavar="NAME", help="this one too")
    parser.add_argument("--hold", action="append", default=[], metavar="NAME", help="hold this one at what is known of it")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="hold this one at a value in its unit")
    parser.add_argument("--dry-run", action="store_true", help="keep nothing")
    parser.set_defaults(do=_calibrate)


def _calibrate(options: argparse.Namespace) -> int:
    """Identify, show, keep; the exit code."""
    try:
        return _do(options)
    except CalibrationError as refused:
        print(f"lockstep: {refused}", file=sys.stderr)
        return 1


def _do(options: argparse.Namespace) -> int:
    factory = read(options.factory)
    subject = named(factory, options.machine)
    known = tuple(_given(text, subject.parameters) for text in options.set)
    wanted = Wanted(tuple(options.only), tuple(options.free), tuple(options.hold), known)
    run = _traced(options) if options.trace is not None else _recorded(options, factory, subject)
    found, made = calibrated(subject, run, wanted, _now())
    print(report(found, {one.name: one for one in subject.residuals}))
    if options.dry_run:
        print("nothing is kept: --dry-run")
        return 0
    try:
        print(f"kept in {calibrations.keep(options.state, subject, made)}; the shadow takes it up when it is started again")
    except OSError as refused:
        raise CalibrationError(f"{options.state}: cannot be written: {refused}") from refused
    return 0


def named(factory: Factory, name: str) -> Subject:
    """A machine that can be calibrated.

    Raises:
        CalibrationError: there is none of that name, or nothing to calibrate.
    """
    able = calibrations.subjects(factory)
    if name not in able:
        raise CalibrationError(f"{name!r} cannot be calibrated; {factory.name} has {', '.join(able) or 'nothing that can'}")
    return able[name]


def calibrated(subject: Subject, run: Run, wanted: Wanted, made: str) -> tuple[Identified, Calibration]:
    """What a run tells of a machine, and the calibration to be kept.

    Args:
        made: when, as people read it.

    Raises:
        CalibrationError: see twin.calibration.identify.
    """
    names = [name for name, _ in wanted.known]
    chosen = choose(subject.face.PARAMETERS, wanted.only, wanted.free, (*wanted.held, *names))
    found = identify(subject.face, run, subject.given, with_values(subject.physics, dict(wanted.known)), chosen)
    values = {name: Value(value) for name, value in wanted.known}
    for one, error in zip(found.fitted, found.fit.errors, strict=True):
        values[one.name] = Value(of(found.physics, one.name), float(error))
    rms = {name: after for name, (_, after) in found.rms.items()}
    return found, Calibration(subject.name, subject.type, made, run.source, subject.digest, values, rms)


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
    from controller.shadow.recorded import FAR, from_history, moment

    return from_history(options.state, factory, subject, moment(options.since, 0), moment(options.until, FAR))


def _now() -> str:
    from twin.clock import utc_ns

    return datetime.datetime.fromtimestamp(utc_ns() // 1_000_000_000, datetime.UTC).isoformat()
