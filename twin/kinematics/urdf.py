"""A robot read from URDF: one serial chain; links that are fixed to each other become one."""

import math
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

from twin.kinematics.robot import (
    IDENTITY,
    Inertia,
    Joint,
    JointKind,
    Link,
    Robot,
    RobotError,
    Rotation,
    Vector,
    composed,
    rotation_of,
    turned,
    turned_inertia,
)

MOST_BYTES = 10_000_000
_ORIGIN: Vector = (0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class _Body:
    mass: float
    centre: Vector
    inertia: Inertia


@dataclass(frozen=True, slots=True)
class _Mount:
    """Where something sits in a link's frame."""

    xyz: Vector = _ORIGIN
    rotation: Rotation = IDENTITY

    def then(self, other: "_Mount") -> "_Mount":
        return _Mount(_sum(self.xyz, turned(self.rotation, other.xyz)), composed(self.rotation, other.rotation))


@dataclass(frozen=True, slots=True)
class _Step:
    """A joint as it is written, between the names of two links."""

    name: str
    kind: str
    parent: str
    child: str
    mount: _Mount
    element: ElementTree.Element

    @property
    def fixed(self) -> bool:
        return self.kind == "fixed"


@dataclass(frozen=True, slots=True)
class _Tree:
    """Every link with its body, and the joints that leave it."""

    bodies: dict[str, _Body | None]
    children: dict[str, list[_Step]]
    root: str


def read(path: Path, tip: str | None = None) -> Robot:
    """The chain in a file; see `parse`. Raises RobotError, or OSError where the file cannot be read."""
    if (size := path.stat().st_size) > MOST_BYTES:
        raise RobotError(f"{path.name}: {size} bytes, at most {MOST_BYTES} are read")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RobotError(f"{path.name}: not UTF-8 at byte {error.start}") from error
    return parse(text, tip)


def parse(text: str, tip: str | None = None) -> Robot:
    """The chain from the root link to its end.

    A `continuous` joint has no ends: its limits are infinite. Damping and friction are taken over; meshes, transmissions
    and what else does not move are left aside.

    Args:
        tip: link that is the flange; needed where several links are fixed to the last one that moves.

    Raises:
        RobotError: no URDF, a tree, a loop, a mimic, planar or floating joint, a moving link without mass, limits or
            numbers that cannot be.
    """
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise RobotError("a URDF has no document type and no entities of its own")
    try:
        top = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise RobotError(f"not XML: {error}") from error
    if top.tag != "robot":
        raise RobotError(f"the outermost element is <{top.tag}>, a URDF's is <robot>")
    if any("xacro" in element.tag for element in top.iter()):
        raise RobotError("this is xacro: expand it to URDF first")
    return _chain(top.get("name") or "robot", _tree(top), tip)


def _chain(name: str, tree: _Tree, tip: str | None) -> Robot:
    joints: list[Joint] = []
    links: list[Link] = []
    rigid = _rigid(tree, tree.root)
    while moving := [(mount, step) for mount, step in _leaving(tree, rigid) if not step.fixed]:
        if len(moving) > 1:
            several = ", ".join(repr(step.name) for _, step in moving)
            raise RobotError(f"link {next(iter(rigid))!r}: a tree, {several} all move from here; a chain has one")
        if tip in rigid and len(joints) > 0:
            raise RobotError(f"tip {tip!r}: joint {moving[0][1].name!r} moves beyond it")
        mount, step = moving[0]
        rigid = _rigid(tree, step.child)
        joints.append(_joint(step, mount.then(step.mount)))
        links.append(_link(tree, rigid, step.child))
    if not joints:
        raise RobotError(f"robot {name!r}: no joint of it moves")
    flange = rigid[_flange(tree, rigid, tip)]
    return Robot(
        name=name, joints=tuple(joints), links=tuple(links), flange_xyz=flange.xyz, flange_rotation=flange.rotation
    )


def _rigid(tree: _Tree, first: str) -> dict[str, _Mount]:
    """All links fixed to the first one, itself included, and where they sit in its frame."""
    found = {first: _Mount()}
    waiting = [first]
    while waiting:
        parent = waiting.pop()
        for step in tree.children[parent]:
            if step.fixed:
                found[step.child] = found[parent].then(step.mount)
                waiting.append(step.child)
    return found


def _leaving(tree: _Tree, rigid: dict[str, _Mount]) -> list[tuple[_Mount, _Step]]:
    return [(mount, step) for link, mount in rigid.items() for step in tree.children[link]]


def _flange(tree: _Tree, rigid: dict[str, _Mount], tip: str | None) -> str:
    if tip is None:
        ends = [link for link in rigid if not tree.children[link]]
        if len(ends) > 1:
            raise RobotError(f"tip: {', '.join(map(repr, ends))} all end the chain; name one")
        return ends[0]
    if tip not in rigid:
        reason = "does not move with the last joint" if tip in tree.bodies else "is no link"
        raise RobotError(f"tip {tip!r} {reason}; allowed are {', '.join(map(repr, rigid))}")
    return tip


def _joint(step: _Step, mount: _Mount) -> Joint:
    where = f"joint {step.name!r}"
    element = step.element
    if element.find("mimic") is not None:
        raise RobotError(f"{where}: mimics another joint; each joint of a chain moves by itself")
    if step.kind not in ("revolute", "continuous", "prismatic"):
        raise RobotError(f"{where}: type {step.kind!r}; allowed are revolute, continuous, prismatic, fixed")
    axis = _numbers(where, element.find("axis"), "xyz", (1.0, 0.0, 0.0))
    length = math.hypot(*axis)
    if length < 1e-6:
        raise RobotError(f"{where}: axis {axis} has no direction")
    limit = element.find("limit")
    endless = step.kind == "continuous"
    if limit is None and not endless:
        raise RobotError(f"{where}: <limit> is missing")
    dynamics = element.find("dynamics")
    return Joint(
        name=step.name,
        kind=JointKind.PRISMATIC if step.kind == "prismatic" else JointKind.REVOLUTE,
        axis=(axis[0] / length, axis[1] / length, axis[2] / length),
        xyz=mount.xyz,
        rotation=mount.rotation,
        low=-math.inf if endless else _number(where, limit, "lower", 0.0),
        high=math.inf if endless else _number(where, limit, "upper", 0.0),
        speed=math.inf if limit is None else _number(where, limit, "velocity"),
        effort=math.inf if limit is None else _number(where, limit, "effort"),
        viscous=_number(where, dynamics, "damping", 0.0),
        coulomb=_number(where, dynamics, "friction", 0.0),
    )


def _link(tree: _Tree, rigid: dict[str, _Mount], name: str) -> Link:
    """One body made of all that is fixed to a link."""
    parts = [(mount, body) for link, mount in rigid.items() if (body := tree.bodies[link]) is not None]
    mass = sum(body.mass for _, body in parts)
    if not parts:
        raise RobotError(f"link {name!r}: it moves, but <inertial> is missing")
    placed = [(body, mount, _sum(mount.xyz, turned(mount.rotation, body.centre))) for mount, body in parts]
    if len(placed) == 1 and placed[0][1] == _Mount():
        return Link(name=name, mass=mass, centre=parts[0][1].centre, inertia=parts[0][1].inertia)
    x, y, z = (sum(body.mass * at[k] for body, _, at in placed) / mass for k in range(3))
    total = [0.0] * 6
    for body, mount, at in placed:
        dx, dy, dz = at[0] - x, at[1] - y, at[2] - z
        square = dx * dx + dy * dy + dz * dz
        steiner = (square - dx * dx, -dx * dy, -dx * dz, square - dy * dy, -dy * dz, square - dz * dz)
        for k, (own, shifted) in enumerate(zip(turned_inertia(mount.rotation, body.inertia), steiner, strict=True)):
            total[k] += own + body.mass * shifted
    return Link(
        name=name, mass=mass, centre=(x, y, z), inertia=(total[0], total[1], total[2], total[3], total[4], total[5])
    )


def _tree(top: ElementTree.Element) -> _Tree:
    bodies: dict[str, _Body | None] = {}
    for element in top.findall("link"):
        name = _named(element, bodies)
        bodies[name] = _body(name, element.find("inertial"))
    if not bodies:
        raise RobotError("a URDF without a <link>")
    children: dict[str, list[_Step]] = {name: [] for name in bodies}
    above: dict[str, str] = {}
    names: dict[str, _Step] = {}
    for element in top.findall("joint"):
        step = _step(element, _named(element, names), bodies)
        names[step.name] = step
        if step.child in above:
            raise RobotError(f"link {step.child!r}: a loop, both {above[step.child]!r} and {step.name!r} carry it")
        above[step.child] = step.name
        children[step.parent].append(step)
    roots = [name for name in bodies if name not in above]
    if len(roots) != 1:
        raise RobotError(f"{len(roots)} links are carried by no joint ({', '.join(map(repr, roots))}); a chain has one")
    tree = _Tree(bodies, children, roots[0])
    _all_reached(tree)
    return tree


def _all_reached(tree: _Tree) -> None:
    reached, waiting = {tree.root}, [tree.root]
    while waiting:
        for step in tree.children[waiting.pop()]:
            reached.add(step.child)
            waiting.append(step.child)
    if lost := [name for name in tree.bodies if name not in reached]:
        raise RobotError(f"links {', '.join(map(repr, lost))}: a loop, no joint leads there from {tree.root!r}")


def _step(element: ElementTree.Element, name: str, bodies: dict[str, _Body | None]) -> _Step:
    ends = []
    for role in ("parent", "child"):
        end = element.find(role)
        link = None if end is None else end.get("link")
        if link not in bodies:
            raise RobotError(f"joint {name!r}: its {role} is {link!r}, which is no link")
        ends.append(link)
    mount = _mount(f"joint {name!r}", element.find("origin"))
    return _Step(name, element.get("type", ""), ends[0], ends[1], mount, element)


def _body(name: str, element: ElementTree.Element | None) -> _Body | None:
    if element is None:
        return None
    where = f"link {name!r}"
    mass = _number(where, element.find("mass"), "value")
    if not mass > 0.0:
        raise RobotError(f"{where}: mass {mass} kg is not above 0")
    tensor = element.find("inertia")
    ixx, ixy, ixz, iyy, iyz, izz = (_number(where, tensor, key) for key in ("ixx", "ixy", "ixz", "iyy", "iyz", "izz"))
    mount = _mount(where, element.find("origin"))
    return _Body(mass, mount.xyz, turned_inertia(mount.rotation, (ixx, ixy, ixz, iyy, iyz, izz)))


def _mount(where: str, element: ElementTree.Element | None) -> _Mount:
    roll, pitch, yaw = _numbers(where, element, "rpy", _ORIGIN)
    return _Mount(_numbers(where, element, "xyz", _ORIGIN), rotation_of(roll, pitch, yaw))


def _named(element: ElementTree.Element, known: dict[str, _Body | None] | dict[str, _Step]) -> str:
    name = element.get("name", "")
    if not name or name in known:
        raise RobotError(f"<{element.tag}>: {'two are called ' + repr(name) if name else 'one has no name'}")
    return name


def _numbers(where: str, element: ElementTree.Element | None, key: str, default: Vector) -> Vector:
    text = None if element is None else element.get(key)
    if text is None:
        return default
    values = [_finite(where, key, word) for word in text.split()]
    if len(values) != 3:
        raise RobotError(f"{where}: {key}={text!r} has {len(values)} numbers, it needs 3")
    return values[0], values[1], values[2]


def _number(where: str, element: ElementTree.Element | None, key: str, default: float | None = None) -> float:
    text = None if element is None else element.get(key)
    if text is not None:
        return _finite(where, key, text)
    if default is None:
        raise RobotError(f"{where}: {key} is missing")
    return default


def _finite(where: str, key: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError as error:
        raise RobotError(f"{where}: {key}={text!r} is no number") from error
    if not math.isfinite(value):
        raise RobotError(f"{where}: {key}={text!r} is not finite")
    return value


def _sum(first: Vector, second: Vector) -> Vector:
    return first[0] + second[0], first[1] + second[1], first[2] + second[2]
