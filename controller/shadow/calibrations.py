"""The calibrations that lie in a state folder: `calibration/MACHINE.toml`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controller.nodes.epochs import write_durably
from twin import reached
from twin.calibration import Calibration, CalibrationError, digest_of, read, write
from twin.factory import Factory, Machine
from twin.followed import REACH, compared
from twin.residual import Parameter, Residual, beside_of, physics_of

FOLDER = "calibration"


@dataclass(frozen=True, slots=True)
class Subject:
    """A machine that can be calibrated, ours or not.

    Attributes:
        type: of machine, for people.
        face: what has PARAMETERS and misfits.
        given: what its misfits are reckoned with: Params, or the machine itself.
        physics: what is assumed of it without a calibration.
        digest: what a calibration of it is made for.
    """

    name: str
    type: str
    face: Any
    given: Any
    physics: Any
    digest: str
    residuals: tuple[Residual, ...]

    @property
    def parameters(self) -> dict[str, Parameter]:
        """By name."""
        return {one.name: one for one in self.face.PARAMETERS}


def subjects(factory: Factory) -> dict[str, Subject]:
    """All machines whose twin can be stepped beside them, by name."""
    found = {}
    for machine in factory.machines.values():
        if machine.type.residuals is not None and beside_of(machine.type.package) is not None:
            found[machine.name] = _ours(machine)
    for arm in factory.mirrored.values():
        if compared(arm):
            digest = digest_of(arm.robot, (arm.map.name, arm.joints))
            found[arm.name] = Subject(arm.name, arm.robot, reached, arm, reached.NO_ZERO, digest, (REACH,))
    return found


def _ours(machine: Machine) -> Subject:
    kind, params = machine.type, machine.params
    assert kind.residuals is not None, f"{machine.name} has no twin"
    digest = digest_of(kind.package, params)
    return Subject(
        machine.name, kind.name, beside_of(kind.package), params, physics_of(kind.package), digest, kind.residuals(params)
    )


def place(state: Path, machine: str) -> Path:
    """The file of a machine's calibration."""
    return state / FOLDER / f"{machine}.toml"


def kept(state: Path, subject: Subject) -> Calibration | None:
    """A machine's calibration; None where there is none.

    Raises:
        CalibrationError: it cannot be read, is none, or was made of another machine, for another type or for other Params.
    """
    path = place(state, subject.name)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as broken:
        raise CalibrationError(f"{path}: cannot be read: {broken}") from broken
    found = read(text, str(path), subject.parameters)
    if found.machine != subject.name:
        raise CalibrationError(f"{path}: it was made of {found.machine!r}, not of {subject.name!r}: calibrate this machine itself")
    if why := found.stale(subject.digest):
        raise CalibrationError(f"{path}: {why}")
    return found


def keep(state: Path, subject: Subject, made: Calibration) -> Path:
    """Write a machine's calibration: whatever happens the file is whole or as it was before, and stays. Returns where it is.

    Raises:
        OSError: it cannot be written.
    """
    path = place(state, subject.name)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_durably(path, write(made, subject.parameters))
    return path


def physics(state: Path, subject: Subject) -> tuple[Any, str]:
    """What a machine's twin is stepped with, and a line about where it is from."""
    name = subject.name
    try:
        found = kept(state, subject)
    except CalibrationError as unusable:
        return subject.physics, f"{name}: not calibrated: {unusable}"
    if found is None:
        return subject.physics, f"{name}: not calibrated: its residuals are those of any {subject.type}"
    return found.physics(subject.physics), f"{name}: calibrated {found.made} from {found.source}"


class Known:
    """What is known of all machines of a factory, as its calibrations say it now.

    Attributes:
        physics, lines: of each machine by name, as of the last look; see `physics`.
    """

    def __init__(self, factory: Factory, state: Path) -> None:
        self._subjects, self._state = subjects(factory), state
        self._stamp = _stamp(state)
        told = {name: physics(state, subject) for name, subject in self._subjects.items()}
        self.physics = {name: known for name, (known, _) in told.items()}
        self.lines = {name: line for name, (_, line) in told.items()}

    def look(self) -> tuple[str, ...]:
        """The machines of which something else is known than at the last look."""
        seen = _stamp(self._state)
        if seen == self._stamp:
            return ()
        self._stamp, changed = seen, []
        for name, subject in self._subjects.items():
            known, line = physics(self._state, subject)
            if (known, line) != (self.physics[name], self.lines[name]):
                self.physics[name], self.lines[name] = known, line
                changed.append(name)
        return tuple(changed)


def _stamp(state: Path) -> frozenset[tuple[str, int, int]]:
    """Another one once a calibration has been kept, changed or removed."""
    try:
        found = [(path.name, path.stat()) for path in (state / FOLDER).glob("*.toml")]
    except OSError:
        return frozenset()
    return frozenset((name, told.st_ino, told.st_mtime_ns) for name, told in found)
