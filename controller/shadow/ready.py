"""What the twins need compiled, once on a machine, so that neither the shadow nor a calibration waits for it."""

from collections.abc import Callable

from twin import reached
from twin.clock import MS, Ns
from twin.factory import Factory
from twin.followed import followed
from twin.residual import Seen, beside_of, physics_of
from twin.wire import layout


def prepare(factory: Factory, say: Callable[[str], None]) -> None:
    """Make one step of each twin that a factory has; `say` is told what takes long.

    Raises:
        OSError: the kernels' cache folder cannot be used.
    """
    for kind, params in {machine.type.package: (machine.type, machine.params) for machine in factory.machines.values()}.values():
        face = beside_of(kind.package) if kind.residuals is not None else None
        if face is not None:
            seen = Seen(kind.status(**{signal.name: signal.type(0) for signal in layout(kind.status).signals}))
            face.step(face.start(params, physics_of(kind.package), seen), params, seen, Ns(100 * MS))
    for robot in sorted({machine.robot for machine in factory.mirrored.values() if followed(machine)}):
        reached.prepare(robot, say)
