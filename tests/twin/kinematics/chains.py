"""Robots for the tests: random ones of any shape, three fixed ones, and Pinocchio's answers for many configurations."""

from dataclasses import dataclass

import numpy as np
import pinocchio as pin
from hypothesis import strategies as st

from tests.twin.kinematics.peers import pin_model
from twin.kernel import Floats
from twin.kinematics import Joint, JointKind, Link, Robot

AXES = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (0.0, 0.0, -1.0), (-1.0, 0.0, 0.0))


@dataclass(frozen=True)
class Truth:
    """What Pinocchio says: flange (N, 4, 4), links (N, n + 1, 4, 4), Jacobian (N, 6, n), and (N, n) each."""

    flange: Floats
    links: Floats
    jacobian: Floats
    torques: Floats
    accelerations: Floats
    gravity: Floats
    energy: Floats


def chain(kinds: str, straight: str, seed: int, name: str = "chain") -> Robot:
    """A robot with a joint for each letter.

    Args:
        kinds: R turns, P slides.
        straight: y where a joint's axis is a coordinate axis and its frame a quarter turn, else anything.
    """
    rng = np.random.default_rng(seed)
    joints = [_joint(rng, i, kind, plain == "y") for i, (kind, plain) in enumerate(zip(kinds, straight, strict=True))]
    links = [_link(rng, i) for i in range(len(kinds))]
    return Robot(
        name=name,
        joints=tuple(joints),
        links=tuple(links),
        flange_xyz=_three(rng.uniform(-0.2, 0.2, 3)),
        flange_rotation=_turn(rng),
        gravity=_three(rng.uniform(-10, 10, 3)),
    )


@st.composite
def chains(draw: st.DrawFn) -> Robot:
    """One to eight joints, any axes, offsets and inertials."""
    count = draw(st.integers(1, 8))
    kinds = "".join(draw(st.lists(st.sampled_from("RRRP"), min_size=count, max_size=count)))
    straight = "".join(draw(st.lists(st.sampled_from("yn"), min_size=count, max_size=count)))
    return chain(kinds, straight, draw(st.integers(0, 2**32 - 1)))


def configurations(robot: Robot, count: int, seed: int = 5) -> tuple[Floats, Floats, Floats]:
    """Positions, speeds and a third set for accelerations or torques, each (count, n)."""
    rng = np.random.default_rng(seed)
    reach = [1.0 if joint.kind is JointKind.PRISMATIC else 6.3 for joint in robot.joints]
    shape = (count, robot.axes)
    return rng.uniform(-1, 1, shape) * reach, rng.uniform(-3, 3, shape), rng.uniform(-10, 10, shape)


def truth(robot: Robot, q: Floats, qd: Floats, third: Floats) -> Truth:
    model = pin_model(robot)
    data = model.createData()
    count, n = q.shape
    found = Truth(
        *(np.empty((count, *shape)) for shape in ((4, 4), (n + 1, 4, 4), (6, n), (n,), (n,), (n,), (2,)))
    )
    for i in range(count):
        pin.framesForwardKinematics(model, data, q[i])
        found.flange[i] = data.oMf[-1].homogeneous
        found.links[i] = [*(data.oMi[k + 1].homogeneous for k in range(n)), found.flange[i]]
        frame = model.nframes - 1
        # Pinocchio returns a flat array for a single joint.
        found.jacobian[i] = pin.computeFrameJacobian(model, data, q[i], frame, pin.LOCAL_WORLD_ALIGNED).reshape(6, n)
        found.torques[i] = pin.rnea(model, data, q[i], qd[i], third[i])
        found.accelerations[i] = pin.aba(model, data, q[i], qd[i], third[i])
        found.gravity[i] = pin.computeGeneralizedGravity(model, data, q[i])
        found.energy[i] = (
            pin.computeKineticEnergy(model, data, q[i], qd[i]),
            pin.computePotentialEnergy(model, data, q[i]),
        )
    return found


def off(ours: Floats, truth: Floats) -> float:
    """Largest difference, relative to the largest value of the same configuration."""
    scale = np.abs(truth).reshape(len(truth), -1).max(axis=1)
    return float((np.abs(ours - truth).reshape(len(truth), -1).max(axis=1) / np.maximum(scale, 1e-6)).max())


def _joint(rng: np.random.Generator, i: int, kind: str, plain: bool) -> Joint:
    axis = rng.normal(size=3)
    return Joint(
        name=f"joint {i + 1}",
        kind=JointKind.PRISMATIC if kind == "P" else JointKind.REVOLUTE,
        axis=AXES[rng.integers(len(AXES))] if plain else _three(axis / np.linalg.norm(axis)),
        xyz=_three(rng.uniform(-0.5, 0.5, 3) * (rng.random(3) < 0.7)),
        rotation=_quarter(rng) if plain else _turn(rng),
        low=-3.0,
        high=3.0,
        speed=3.0,
        effort=100.0,
        viscous=float(rng.uniform(0, 2)),
        coulomb=float(rng.uniform(0, 2)),
    )


def _link(rng: np.random.Generator, i: int) -> Link:
    """A few lumps of mass somewhere: their tensor is one that a body can have."""
    mass = float(rng.uniform(0.5, 5.0))
    spread = rng.normal(size=(6, 3)) * rng.uniform(0.05, 0.3)
    spread -= spread.mean(axis=0)
    second = mass / 6 * spread.T @ spread
    tensor = np.trace(second) * np.eye(3) - second
    return Link(
        name=f"link {i + 1}",
        mass=mass,
        centre=_three(rng.uniform(-0.3, 0.3, 3)),
        inertia=tuple(float(tensor[a, b]) for a, b in ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))),
    )


def _turn(rng: np.random.Generator) -> tuple[float, ...]:
    return tuple(pin.Quaternion(*_unit(rng.normal(size=4))).toRotationMatrix().ravel().tolist())


def _quarter(rng: np.random.Generator) -> tuple[float, ...]:
    rows = np.eye(3)[rng.permutation(3)] * rng.choice([-1.0, 1.0], 3)[:, None]
    rows[0] *= round(float(np.linalg.det(rows)))
    return tuple(rows.ravel().tolist())


def _unit(values: Floats) -> Floats:
    return values / np.linalg.norm(values)


def _three(values: Floats) -> tuple[float, float, float]:
    x, y, z = values.tolist()
    return x, y, z


FIXED = (
    chain("R", "n", 1, "pendulum"),
    chain("RPR", "nyn", 2, "three"),
    chain("RRRRRRP", "yyyyyyy", 3, "seven"),
)
