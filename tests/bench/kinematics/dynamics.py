"""Kernels of the UR5e against Pinocchio, MuJoCo and CasADi's C, one thread each, nanoseconds a configuration.

"cache" is four tiles, 256 configurations, which stay in L2; "memory" is a million. Ours are the tile kernels on packed
configurations; every peer gets its own layout, and nothing is packed, allocated or written for the first time on the
clock. Pinocchio's Jacobian and MuJoCo's kinematics are called from Python, configuration by configuration.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial

import mujoco
import numpy as np
import pinocchio as pin

from tests.bench.kinematics import symbolic
from tests.bench.pairs import Row, alone, paired
from tests.twin.kinematics.peers import mjcf, pin_model
from twin.kernel import Floats
from twin.kinematics import ur5e
from twin.kinematics.kernels import LANES, kernels, pack, tiles, unpack

CACHE, MEMORY, CALLED = 4 * LANES, 1_000_000, 2_000
ROBOT = ur5e()
AXES = ROBOT.axes


@cache
def _rows(count: int) -> tuple[Floats, Floats, Floats]:
    """Positions within the limits, speeds and a third set, (count, n) each."""
    rng = np.random.default_rng(4)
    low, high = ([getattr(joint, end) for joint in ROBOT.joints] for end in ("low", "high"))
    return rng.uniform(low, high, (count, AXES)), rng.uniform(-3, 3, (count, AXES)), rng.uniform(-10, 10, (count, AXES))


@cache
def _tiles(count: int) -> tuple[Floats, Floats, Floats]:
    q, qd, third = _rows(count)
    return pack(q), pack(qd), pack(third)


@cache
def _pin() -> tuple[pin.Model, pin.Data]:
    model = pin_model(ROBOT)
    return model, model.createData()


def _row(ours: Callable[[], object], count: int, peer: Callable[[], object], each: int, **known: object) -> Row:
    """Both per configuration: ours does `count` in a call, the peer `each`."""
    pair = paired(ours, peer)
    return Row(pair.ours / count * 1e9, pair.peer / each * 1e9, ratio=pair.ratio * count / each, **known)


def _relative(ours: Floats, truth: Floats) -> float:
    """Largest difference, relative to the largest value of the same configuration."""
    scale = np.maximum(1e-300, np.abs(truth).max(axis=tuple(range(1, truth.ndim)), keepdims=True))
    return float((np.abs(ours - truth) / scale).max())


def _link_poses(count: int) -> tuple[Callable[[], None], Floats]:
    q, out = _tiles(count)[0], tiles(-(-count // LANES), 12 * (AXES + 1))
    return partial(kernels(ROBOT).link_pose_tiles, q, out), out


def _all_frames() -> Floats:
    """(CALLED, n + 1, 3, 4) from Pinocchio."""
    model, data = _pin()
    found = np.empty((CALLED, AXES + 1, 3, 4))
    for i, q in enumerate(_rows(MEMORY)[0][:CALLED]):
        pin.framesForwardKinematics(model, data, q)
        for link in range(AXES):
            found[i, link] = data.oMi[link + 1].homogeneous[:3]
        found[i, AXES] = data.oMf[-1].homogeneous[:3]
    return found


def _fk_error() -> float:
    run, out = _link_poses(MEMORY)
    run()
    blocks = -(-CALLED // LANES)
    return _relative(unpack(out[:blocks], CALLED).reshape(CALLED, AXES + 1, 3, 4), _all_frames())


def fk_cache_mujoco() -> Row:
    """Each link's pose; MuJoCo's also holds quaternions, and frames of the centres of mass."""
    ours, _ = _link_poses(CACHE)
    model = mujoco.MjModel.from_xml_string(mjcf(ROBOT))
    data = mujoco.MjData(model)
    data.qpos[:] = _rows(CACHE)[0][0]

    def peer() -> None:
        for _ in range(CALLED):
            mujoco.mj_kinematics(model, data)

    return _row(ours, CACHE, peer, CALLED, peer_name="mujoco mj_kinematics", error=_fk_error(), least=20, aim=60)


def fk_cache_pin() -> Row:
    ours, _ = _link_poses(CACHE)
    model, data = _pin()
    rows = list(_rows(MEMORY)[0][:CALLED])

    def peer() -> None:
        for q in rows:
            pin.framesForwardKinematics(model, data, q)

    return _row(ours, CACHE, peer, CALLED, peer_name="pin framesForwardKinematics", error=_fk_error(), least=20, aim=60)


def fk_memory() -> Row:
    q, out = _tiles(MEMORY)[0], tiles(-(-MEMORY // LANES), 12)
    given, found = _rows(MEMORY)[0], np.zeros((MEMORY, 12))
    ours = partial(kernels(ROBOT).pose_tiles, q, out)
    peer = partial(symbolic.compiled(symbolic.flange(ROBOT)), given, found)
    ours(), peer()
    error = _relative(unpack(out, MEMORY), found)
    return _row(ours, MEMORY, peer, MEMORY, peer_name="casadi C, gcc -O3", error=error, least=5, aim=8)


def jacobian_memory() -> Row:
    q, out = _tiles(MEMORY)[0], tiles(-(-MEMORY // LANES), 6 * AXES)
    ours = partial(kernels(ROBOT).jacobian_tiles, q, out)
    model, data = _pin()
    frame, found = model.nframes - 1, np.zeros((CALLED, 6, AXES))
    rows = list(_rows(MEMORY)[0][:CALLED])

    def peer() -> None:
        for i, configuration in enumerate(rows):
            found[i] = pin.computeFrameJacobian(model, data, configuration, frame, pin.LOCAL_WORLD_ALIGNED)

    ours(), peer()
    error = _relative(unpack(out[: -(-CALLED // LANES)], CALLED).reshape(found.shape), found)
    return _row(ours, MEMORY, peer, CALLED, peer_name="pin computeFrameJacobian", error=error, least=12, aim=20)


def rnea_memory_pin() -> Row:
    peer, found = _in_parallel(pin.rneaInParallel, *_rows(MEMORY))
    return _dynamics("inverse_dynamics_tiles", _tiles(MEMORY), peer, found, "pin rneaInParallel, 1 thread", 30, 80)


def rnea_memory_casadi() -> Row:
    given, found = np.hstack(_rows(MEMORY)), np.zeros((MEMORY, AXES))
    peer = partial(symbolic.compiled(symbolic.torques(ROBOT)), given, found)
    return _dynamics("inverse_dynamics_tiles", _tiles(MEMORY), peer, found, "casadi C, gcc -O3", 5, 10)


def aba_memory_pin() -> Row:
    """Both solve for the same accelerations; ours from the joint-space inertia, see twin.kinematics.generate.dynamics."""
    peer, found = _in_parallel(pin.abaInParallel, *_rows(MEMORY))
    return _dynamics("forward_dynamics_tiles", _tiles(MEMORY), peer, found, "pin abaInParallel, 1 thread", 20, 60)


def _in_parallel(function: Callable[..., None], *rows: Floats) -> tuple[Callable[[], None], Floats]:
    """A call of one of Pinocchio's batch functions on one thread, and its results as rows."""
    pool = pin.ModelPool(_pin()[0], 1)
    columns = [np.asfortranarray(row.T) for row in rows]
    found = np.zeros(columns[0].shape, order="F")
    return partial(function, 1, pool, *columns, found), found.T


def _dynamics(
    name: str, given: tuple[Floats, ...], peer: Callable[[], object], found: Floats, about: str, least: float, aim: float
) -> Row:
    out = tiles(-(-MEMORY // LANES), AXES)
    ours = partial(getattr(kernels(ROBOT), name), *given, out)
    ours(), peer()
    error = _relative(unpack(out, MEMORY), found)
    return _row(ours, MEMORY, peer, MEMORY, peer_name=about, error=error, least=least, aim=aim)


# Cost as work grows: single kernels for one configuration, the kernels over rows for more.
BATCHES = (1, 100, 10_000, 1_000_000)
GROWING = {"FK": ("pose", "poses", 1, (4, 4)), "RNEA": ("inverse_dynamics", "inverse_dynamics_all", 3, (AXES,))}
GROWING["ABA"] = ("forward_dynamics", "forward_dynamics_all", 3, (AXES,))


def _over(topic: str, count: int, threads: int = 1) -> Callable[[], None]:
    """A call that does `count` configurations, in equal shares on threads of our own."""
    single, many, inputs, shape = GROWING[topic]
    if count == 1:
        row = [values[0] for values in _rows(count)[:inputs]]
        return partial(getattr(kernels(ROBOT), single), *row, np.zeros(shape))
    share = count // threads
    calls = []
    for k in range(threads):
        rows = [values[k * share : (k + 1) * share] for values in _rows(count)[:inputs]]
        calls.append(partial(getattr(kernels(ROBOT), many), *rows, np.zeros((share, *shape))))
    if threads == 1:
        return calls[0]
    pool = ThreadPoolExecutor(threads)
    return lambda: [done.result() for done in [pool.submit(call) for call in calls]] and None


def _grown(topic: str, count: int) -> Row:
    """Nanoseconds a configuration; the ratio is to one configuration at a time."""
    pair = paired(_over(topic, count), _over(topic, 1))
    return Row(pair.ours / count * 1e9, pair.peer * 1e9, "one at a time", pair.ratio * count, 0.0)


def _threaded(topic: str) -> Row:
    """Nanoseconds a configuration of a million on two threads; the ratio is to one thread."""
    pair = paired(_over(topic, MEMORY, 2), _over(topic, MEMORY))
    return Row(pair.ours / MEMORY * 1e9, pair.peer / MEMORY * 1e9, "one thread", pair.ratio, 0.0)


def _single(topic: str) -> Row:
    seconds = alone(_over(topic, 1))
    return Row(seconds * 1e9, None, "", 1.0, 0.0, about="with the call from Python")


METRICS: tuple[tuple[str, Callable[[], Row]], ...] = (
    ("FK cache", fk_cache_mujoco),
    ("FK cache: pin", fk_cache_pin),
    ("FK memory", fk_memory),
    ("Jacobian memory", jacobian_memory),
    ("RNEA memory", rnea_memory_pin),
    ("RNEA memory: casadi", rnea_memory_casadi),
    ("ABA memory", aba_memory_pin),
    *((f"cost of {topic}: batch of 1", partial(_single, topic)) for topic in GROWING),
    *(
        (f"cost of {topic}: batch of {count}", partial(_grown, topic, count))
        for topic in GROWING
        for count in BATCHES[1:]
    ),
    *((f"cost of {topic}: 2 threads", partial(_threaded, topic)) for topic in GROWING),
)
