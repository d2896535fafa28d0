"""A robot and what stands around it, as Pinocchio and Coal know them: witnesses that share no code with the package."""

import coal
import numpy as np
import pinocchio as pin

from tests.twin.kinematics.peers import pin_model
from twin.kinematics.robot import Joint, JointKind, Link, Robot, rotation_of
from twin.kinematics.shapes import Capsule, Surroundings

FAR = 10.0
"""Half the size of the box that stands for a plane's solid side [m]."""


def odd_chain() -> Robot:
    """Five joints about and along anything, two of them prismatic, with friction, and a capsule on each link and the flange."""
    dice = np.random.default_rng(8)
    joints, links = [], []
    for i in range(5):
        axis = dice.normal(size=3)
        kind = JointKind.PRISMATIC if i in (1, 4) else JointKind.REVOLUTE
        x, y, z = axis / np.linalg.norm(axis)
        place, turn = dice.uniform(-0.4, 0.4, 3).tolist(), rotation_of(*dice.uniform(-3, 3, 3))
        joints.append(
            Joint(name=f"j{i}", kind=kind, axis=(x, y, z), xyz=tuple(place), rotation=turn, low=-2, high=2, speed=2, effort=90,
                  viscous=0.3 * i, coulomb=0.5)
        )  # fmt: skip
        links.append(Link(name=f"l{i}", mass=1.0 + i, centre=(0.1, -0.05, 0.02), inertia=(0.03, 0.001, 0.0, 0.04, 0.002, 0.05)))
    capsules = tuple(
        Capsule(f"c{i}", i, tuple(dice.uniform(-0.3, 0.3, 3).tolist()), tuple(dice.uniform(-0.3, 0.3, 3).tolist()), 0.02)
        for i in range(7)
    )
    turn = rotation_of(0.4, -0.8, 1.9)
    return Robot(name="odd", joints=tuple(joints), links=tuple(links), flange_xyz=(0.1, 0.2, -0.1), flange_rotation=turn,
                 gravity=(0.5, -1.0, -9.6), capsules=capsules)  # fmt: skip


def loaded(robot: Robot, mass: float, centre: np.ndarray, tensor: np.ndarray) -> pin.Model:
    """The robot with a load at its flange: mass [kg], centre of mass [m], tensor about it (3, 3) [kg m²]."""
    model = pin_model(robot)
    model.appendBodyToJoint(robot.axes, pin.Inertia(mass, centre, tensor), flange_of(robot))
    return model


def flange_of(robot: Robot) -> pin.SE3:
    """The flange in the last joint's frame."""
    return pin.SE3(np.array(robot.flange_rotation).reshape(3, 3), np.array(robot.flange_xyz))


class Scene:
    """Every pair of bodies that could meet: links with one between them at least, and moving links with what stands still."""

    def __init__(self, robot: Robot, around: Surroundings | None = None, tool: tuple[Capsule, ...] = ()) -> None:
        self.model, self.geometry = pin_model(robot), pin.GeometryModel()
        arm = [self._capsule(robot, capsule) for capsule in (*robot.capsules, *tool)]
        still = [self._capsule(robot, capsule) for capsule in (around.capsules if around else ())]
        for box in around.boxes if around else ():
            placed = pin.SE3(np.array(box.rotation).reshape(3, 3), np.array(box.centre))
            still.append((self._add(box.name, 0, placed, coal.Box(*(2 * np.array(box.half)))), 0))
        for plane in around.planes if around else ():
            normal = np.array(plane.normal)
            turn = pin.Quaternion.FromTwoVectors(np.array([0.0, 0.0, 1.0]), normal).toRotationMatrix()
            placed = pin.SE3(turn, normal * (plane.offset - FAR))
            still.append((self._add(plane.name, 0, placed, coal.Box(*[2 * FAR] * 3)), 0))
        pairs = [(a, b) for i, a in enumerate(arm) for b in arm[i + 1 :] if abs(a[1] - b[1]) > 1]
        pairs += [(a, b) for a in arm if a[1] > 0 for b in still]
        for (a, _), (b, _) in pairs:
            self.geometry.addCollisionPair(pin.CollisionPair(a, b))
        objects = self.geometry.geometryObjects
        self.names = [frozenset((objects[a].name, objects[b].name)) for (a, _), (b, _) in pairs]
        self.data, self.found = self.model.createData(), self.geometry.createData()

    def _capsule(self, robot: Robot, capsule: Capsule) -> tuple[int, int]:
        start, end = np.array(capsule.start), np.array(capsule.end)
        turn, length = np.eye(3), float(np.linalg.norm(end - start))
        if length:
            turn = pin.Quaternion.FromTwoVectors(np.array([0.0, 0.0, 1.0]), end - start).toRotationMatrix()
        link, placed = capsule.link, pin.SE3(turn, (start + end) / 2)
        if link > robot.axes:
            link, placed = robot.axes, flange_of(robot) * placed
        shape = coal.Capsule(capsule.radius, length) if length else coal.Sphere(capsule.radius)
        return self._add(capsule.name, link, placed, shape), link

    def _add(self, name: str, joint: int, placed: pin.SE3, shape: coal.CollisionGeometry) -> int:
        return self.geometry.addGeometryObject(pin.GeometryObject(name, joint, placed, shape))

    def distances(self, q: np.ndarray) -> np.ndarray:
        """(m,) of all pairs at one configuration."""
        pin.computeDistances(self.model, self.data, self.geometry, self.found, q)
        return np.array([result.min_distance for result in self.found.distanceResults])

    def nearest(self, q: np.ndarray) -> tuple[float, frozenset[str]]:
        """The smallest distance at one configuration, and whose it is."""
        which = pin.computeDistances(self.model, self.data, self.geometry, self.found, q)
        return self.found.distanceResults[which].min_distance, self.names[which]
