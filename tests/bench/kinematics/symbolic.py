"""CasADi's generated C for a robot, compiled by gcc -O3 and called once for a whole batch.

The expressions are the textbook's: transforms multiplied along the chain, and the recursive Newton-Euler scheme in link
frames, in SX, with CasADi's own elimination of common subexpressions.
"""

import ctypes
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import casadi
import numpy as np

from twin.kernel import Floats
from twin.kinematics import JointKind, Robot

_LOOP = """
void batch(const double* given, double* found, long long count, int given_width, int found_width) {{
  const double* arg[{arg}]; double* res[{res}]; casadi_int iw[{iw} + 1]; double w[{w} + 1];
  for (long long i = 0; i < count; ++i) {{
    arg[0] = given + i * given_width; res[0] = found + i * found_width;
    {name}(arg, res, iw, w, 0);
  }}
}}
"""


def flange(robot: Robot) -> casadi.Function:
    """q (n,) to the upper three rows of the flange's transform, row by row."""
    q = casadi.SX.sym("q", robot.axes)
    rotation, origin = casadi.SX.eye(3), casadi.SX.zeros(3)
    for turn, offset in _steps(robot, q):
        rotation, origin = rotation @ turn, origin + rotation @ offset
    origin = origin + rotation @ casadi.DM(robot.flange_xyz)
    rotation = rotation @ _matrix(robot.flange_rotation)
    return _function("flange", q, casadi.vec(casadi.horzcat(rotation, origin).T))


def torques(robot: Robot) -> casadi.Function:
    """q, qd and qdd as one vector (3 n,) to the joints' torques (n,)."""
    n = robot.axes
    given = casadi.SX.sym("given", 3 * n)
    q, qd, qdd = given[:n], given[n : 2 * n], given[2 * n :]
    spin, rate, push = casadi.SX.zeros(3), casadi.SX.zeros(3), -casadi.DM(robot.gravity)
    steps, forces = _steps(robot, q), []
    for i, (turn, offset) in enumerate(steps):
        joint, link = robot.joints[i], robot.links[i]
        axis = casadi.DM(joint.axis)
        push = turn.T @ (push + casadi.cross(rate, offset) + casadi.cross(spin, casadi.cross(spin, offset)))
        spin, rate = turn.T @ spin, turn.T @ rate
        if joint.kind is JointKind.PRISMATIC:
            push = push + 2 * casadi.cross(spin, axis * qd[i]) + axis * qdd[i]
        else:
            rate = rate + casadi.cross(spin, axis * qd[i]) + axis * qdd[i]
            spin = spin + axis * qd[i]
        centre = casadi.DM(link.centre)
        ixx, ixy, ixz, iyy, iyz, izz = link.inertia
        tensor = casadi.sparsify(casadi.DM([[ixx, ixy, ixz], [ixy, iyy, iyz], [ixz, iyz, izz]]))
        force = link.mass * (push + casadi.cross(rate, centre) + casadi.cross(spin, casadi.cross(spin, centre)))
        moment = tensor @ rate + casadi.cross(spin, tensor @ spin) + casadi.cross(centre, force)
        forces.append((force, moment))
    found = []
    force, moment = casadi.SX.zeros(3), casadi.SX.zeros(3)
    for i in reversed(range(n)):
        force, moment = force + forces[i][0], moment + forces[i][1]
        slides = robot.joints[i].kind is JointKind.PRISMATIC
        found.insert(0, casadi.dot(casadi.DM(robot.joints[i].axis), force if slides else moment))
        turn, offset = steps[i]
        force, moment = turn @ force, turn @ moment + casadi.cross(offset, turn @ force)
    return _function("torques", given, casadi.vertcat(*found))


def compiled(function: casadi.Function, *flags: str) -> Callable[[Floats, Floats], None]:
    """A batch call: given (N, inputs), found (N, outputs), overwritten. Raises OSError where there is no gcc."""
    if shutil.which("gcc") is None:
        raise OSError("gcc is not there, and CasADi's C needs it")
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder) / "batch.c", Path(folder) / "batch.so"
        generator = casadi.CodeGenerator("batch.c")
        generator.add(function)
        sizes = {"arg": function.sz_arg(), "res": function.sz_res(), "iw": function.sz_iw(), "w": function.sz_w()}
        source.write_text(generator.dump() + _LOOP.format(name=function.name(), **sizes))
        subprocess.run(["gcc", "-O3", *flags, "-shared", "-fPIC", str(source), "-o", str(library), "-lm"], check=True)
        batch = ctypes.CDLL(str(library)).batch
    pointer = ctypes.POINTER(ctypes.c_double)
    batch.argtypes = [pointer, pointer, ctypes.c_longlong, ctypes.c_int, ctypes.c_int]
    batch.restype = None

    def call(given: Floats, found: Floats) -> None:
        start, end = given.ctypes.data_as(pointer), found.ctypes.data_as(pointer)
        batch(start, end, given.shape[0], given.shape[1], found.shape[1])

    return call


def _steps(robot: Robot, q: casadi.SX) -> list[tuple[casadi.SX, casadi.SX]]:
    """Rotation and origin of each link in the one before."""
    found = []
    for i, joint in enumerate(robot.joints):
        fixed, offset, axis = _matrix(joint.rotation), casadi.DM(joint.xyz), np.array(joint.axis)
        if joint.kind is JointKind.PRISMATIC:
            found.append((fixed, offset + fixed @ casadi.DM(axis) * q[i]))
            continue
        skew = casadi.sparsify(casadi.DM(np.cross(np.eye(3), axis)))
        outer = casadi.sparsify(casadi.DM(np.outer(axis, axis)))
        across = casadi.sparsify(casadi.DM(np.eye(3) - np.outer(axis, axis)))
        turn = outer + across * casadi.cos(q[i]) + skew * casadi.sin(q[i])
        found.append((fixed @ turn, casadi.SX(offset)))
    return found


def _matrix(rotation: tuple[float, ...]) -> casadi.DM:
    return casadi.sparsify(casadi.DM(np.array(rotation).reshape(3, 3)))


def _function(name: str, given: casadi.SX, found: casadi.SX) -> casadi.Function:
    dense = casadi.densify(found)
    return casadi.Function(name, [given], [casadi.cse(dense)])
