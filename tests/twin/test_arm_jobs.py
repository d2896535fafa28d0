"""Jobs of an arm that carries parts: where they really lead, and what never becomes one. The demo is the factory."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from twin.factory import Factory, Machine, read
from twin.kernel import Floats
from twin.kinematics.shapes import Capsule
from twin.machine import make_params
from twin.machines.arm import carry
from twin.machines.arm.arguments import Carry
from twin.machines.arm.job import make
from twin.making import Asked, making, preparations
from twin.motion.arm.job import MAGIC, JointOp, decode
from twin.motion.deposit import Deposit
from twin.motion.job import header
from twin.motion.limits import JobError
from twin.obstacles import Obstacle, Space
from twin.recipes import arguments_of

ROOT = Path(__file__).resolve().parents[2]
# The UR5e's published Denavit-Hartenberg rows: length, offset, twist.
ROWS = (
    *((0.0, 0.1625, math.pi / 2), (-0.425, 0.0, 0.0), (-0.3922, 0.0, 0.0)),
    *((0.0, 0.1333, math.pi / 2), (0.0, 0.0997, -math.pi / 2), (0.0, 0.0996, 0.0)),
)
TOOL = 0.15


@pytest.fixture(scope="module")
def demo() -> Factory:
    return read(ROOT / "controller" / "demo" / "factory.toml")


def block(x: float = 0.11, y: float = 0.11, wide: float = 0.014, deep: float = 0.014, high: float = 0.016) -> Deposit:
    """A hollow block of layers on the bed, its middle at x and y [m]."""
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * (wide / 2, deep / 2) + (x, y)
    layers = np.arange(1, round(high / 0.001) + 1) * 0.001
    start = np.array([(*corners[i], z) for z in layers for i in range(4)])
    end = np.array([(*corners[(i + 1) % 4], z) for z in layers for i in range(4)])
    return Deposit(start, end)


def stacked(*blocks: tuple[float, float, float, float, float, float]) -> Deposit:
    """Blocks on each other: x, y of the middle, width, depth, from which height to which [m]."""
    made = [(block(x, y, wide, deep, top), low) for x, y, wide, deep, low, top in blocks]
    kept = [(one.start[one.end[:, 2] > low], one.end[one.end[:, 2] > low]) for one, low in made]
    return Deposit(np.concatenate([start for start, _ in kept]), np.concatenate([end for _, end in kept]))


BRACKET = stacked((0.12, 0.11, 0.06, 0.02, 0.0, 0.01), (0.1, 0.11, 0.02, 0.02, 0.01, 0.04))
"""A tower at one end of its foot, 30 mm longer than it is."""


def asked(factory: Factory, capability: str, part: Deposit | None, start: tuple[float, ...] | None = None) -> Asked:
    arm = factory.machines["arm-1"]
    stands = arm.params.home if start is None else start
    source, target = factory.machines["printer-1"], factory.machines["belt-1"]
    arguments = arguments_of(arm.type, capability, ())
    return Asked(factory, arm, capability, arguments, "", stands, source, target if capability == "place" else None, part)


def moved(factory: Factory, program: str, at: str = "") -> Asked:
    arm = factory.machines["arm-1"]
    return Asked(factory, arm, "move", arguments_of(arm.type, "move", (("at", at),)), program, arm.params.home)


def tool_in_factory(arm: Machine, angles: Floats) -> Floats:
    """(4, 4) pose of the tool point by the published table, in the factory's frame: the demo's arm is not turned."""
    frame = np.eye(4)
    frame[:3, 3] = arm.pose[:3]
    for (a, d, twist), q in zip(ROWS, angles, strict=True):
        (cq, sq), (ct, st) = ((math.cos(v), math.sin(v)) for v in (q, twist))
        frame = frame @ [[cq, -sq * ct, sq * st, a * cq], [sq, cq * ct, -cq * st, a * sq], [0, st, ct, d], [0, 0, 0, 1]]
    frame[:3, 3] += frame[:3, 2] * TOOL
    return frame


def where_the_jaws_switch(arm: Machine, job: bytes, which: int) -> Floats:
    """The tool's pose when the Job switches the jaws for the `which`-th time, by the steps that it makes."""
    records = decode(job)
    at = np.array([int(v) for v, c in zip(records.value, records.code, strict=True) if c == JointOp.AT], float)
    turned = at + np.cumsum(records.steps, axis=0)
    switched = np.flatnonzero(records.code == JointOp.SET)[which]
    return tool_in_factory(arm, turned[switched] * math.tau / arm.params.steps_per_turn)


@pytest.mark.parametrize("where", [(0.11, 0.11, 0.014, 0.014), (0.05, 0.06, 0.04, 0.01), (0.16, 0.13, 0.012, 0.05)])
def test_the_jaws_close_on_the_part_s_middle_across_its_narrower_side(demo: Factory, where: tuple[float, ...]) -> None:
    x, y, wide, deep = where
    job = make(asked(demo, "pick", block(x, y, wide, deep)))
    assert header(job.data, MAGIC).chunks == job.chunks and 2 < job.duration < 30
    frame = where_the_jaws_switch(demo.machines["arm-1"], job.data, 1)
    assert frame[:3, 3] == pytest.approx((x, y, 0.9 + 0.008), abs=2e-4), "the middle of the part, in the factory's frame"
    assert frame[:3, 2] == pytest.approx((0, 0, -1), abs=1e-3)
    closing = (1, 0, 0) if wide <= deep else (0, 1, 0)
    assert abs(frame[:3, 0] @ closing) == pytest.approx(1, abs=1e-3)


def test_a_part_is_let_go_a_millimetre_above_the_belt_s_entry(demo: Factory) -> None:
    job = make(asked(demo, "place", block(0.07, 0.15)))
    frame = where_the_jaws_switch(demo.machines["arm-1"], job.data, 1)
    assert frame[:3, 3] == pytest.approx((0.5 + 0.03, -0.55, 0.85 + 0.008 + 0.001), abs=2e-4)


def test_the_arm_ends_where_it_rests(demo: Factory) -> None:
    arm = demo.machines["arm-1"]
    for capability in ("pick", "place"):
        records = decode(make(asked(demo, capability, block())).data)
        at = np.array([int(v) for v, c in zip(records.value, records.code, strict=True) if c == JointOp.AT])
        last = (at + records.steps.sum(axis=0)) * math.tau / arm.params.steps_per_turn
        assert last == pytest.approx(arm.params.home, abs=2 * math.tau / arm.params.steps_per_turn)


def test_an_arm_that_is_not_homed_homes_before_it_picks_and_never_with_a_part(demo: Factory) -> None:
    records = decode(make(asked(demo, "pick", block(), start=())).data)
    told = [(code, value) for code, value in zip(records.code, records.value, strict=True) if code != JointOp.LINE]
    assert told[:2] == [(JointOp.EXPECT, 0), (JointOp.HOME, 0)], "and only with empty jaws"
    with pytest.raises(JobError, match="arm-1 is not homed, and holds a part"):
        make(asked(demo, "place", block(), start=()))


@pytest.mark.parametrize(
    ("part", "told"),
    [
        (None, "no program tells how large the part is"),
        (block(high=0.008), r"the part is 8\.0 mm high: the fingers would touch"),
        (block(wide=0.07, deep=0.06), r"the part is 60\.\d mm wide, the jaws take 56\.0 mm"),
    ],
)
def test_a_part_that_the_gripper_cannot_hold_is_refused_with_its_size(demo: Factory, part: Deposit | None, told: str) -> None:
    with pytest.raises(JobError, match=told):
        make(asked(demo, "pick", part))


def test_what_stands_in_the_way_is_refused_with_the_line_both_bodies_distance_and_limit(demo: Factory) -> None:
    lamp = Obstacle("lamp", (0.11, 0.11, 1.08, 0.0, 0.0, 0.0), (0.1, 0.1, 0.1))
    told = r"pick, line 6: \S+ and lamp overlap by 0\.\d+ m, at least 0\.002 m is kept \(`to "
    with pytest.raises(JobError, match=told):
        make(asked(replace(demo, obstacles=(*demo.obstacles, lamp)), "pick", block()))


def test_a_part_that_would_be_dragged_through_something_is_refused_though_the_empty_jaws_pass(demo: Factory) -> None:
    """Beside the place where the part is laid down stands a wall, so low that only the part's foot meets it."""
    long = block(wide=0.05, deep=0.012, high=0.03)
    assert make(asked(demo, "place", long))
    belt = demo.machines["belt-1"]
    rail = (Space("rail", (-0.2, -0.12, -0.005), (0.3, 0.12, 0.006)),)
    walled = replace(demo, machines={**demo.machines, "belt-1": replace(belt, space=(*belt.space, *rail))})
    with pytest.raises(JobError, match=r"place, line \d: part.* and belt-1/rail"):
        make(asked(walled, "place", long))


def test_a_machine_s_open_space_is_free_for_who_works_at_it_and_for_nobody_else(demo: Factory) -> None:
    into = "speed 0.5\njoints -120 -90 90 -90 -90 0\n"
    with pytest.raises(JobError, match=r"line 2: .* and printer-1/travel overlap by"):
        make(moved(demo, into))
    with pytest.raises(JobError, match=r"line 2: the program ends inside printer-1: .* and printer-1/travel overlap by"):
        make(moved(demo, into, at="printer-1"))
    assert make(moved(demo, into + "joints -150 -90 90 -90 -90 0\n", at="printer-1")).chunks > 0
    with pytest.raises(JobError, match="printer-1/travel"):
        make(moved(demo, into, at="belt-1"))
    with pytest.raises(JobError, match="at='oven' is no machine"):
        make(moved(demo, into, at="oven"))


def test_a_program_that_moves_before_the_arm_is_homed_is_refused_with_its_line(demo: Factory) -> None:
    program = replace(moved(demo, "; wave\njoints -170 -90 90 -90 -90 0\nhome\n"), start=())
    with pytest.raises(JobError, match="line 2: arm-1 is not homed: the program must begin with `home`"):
        make(program)
    assert make(replace(program, program="home\njoints -170 -90 90 -90 -90 0\n")).waiting > 0


def test_the_shape_of_a_part_lies_within_the_part_and_reaches_all_its_faces(demo: Factory) -> None:
    params, how = demo.machines["arm-1"].params, make_params(Carry, {})
    for size in ((0.014, 0.014, 0.016), (0.05, 0.012, 0.03), (0.012, 0.05, 0.011), (0.01, 0.01, 0.08)):
        held = carry.grasp(block(wide=size[0], deep=size[1], high=size[2]), params, how)
        low, high = np.full(3, np.inf), np.full(3, -np.inf)
        for rod in carry.shape(held, params):
            ends = np.array((rod.start, rod.end))
            low, high = np.minimum(low, ends.min(axis=0) - rod.radius), np.maximum(high, ends.max(axis=0) + rod.radius)
        across, along = (held.size[0], held.size[1]) if not held.turn else (held.size[1], held.size[0])
        want = np.array((across, along, held.size[2]))
        assert high - low == pytest.approx(want, abs=1e-9)
        assert high[2] == pytest.approx(TOOL + held.foot) and low[2] == pytest.approx(TOOL + held.foot - held.size[2])


def held_points(held: carry.Grasp, part: Deposit) -> Floats:
    """(n, 3) the part's corners in the flange's frame, by the frame that the flange has over the part: z down, x along `turn`."""
    c, s = math.cos(math.radians(held.turn)), math.sin(math.radians(held.turn))
    axes = np.array(((c, s, 0.0), (s, -c, 0.0), (0.0, 0.0, -1.0)))
    low, high = part.extents(0.0005, math.inf) or ((), ())
    low = (*low[:2], 0.0)
    corners = np.array([[(low, high)[i >> k & 1][k] for k in range(3)] for i in range(8)])
    return np.array((corners - held.middle) @ axes.T + (0.0, 0.0, TOOL))


@pytest.mark.parametrize("part", [block(), block(wide=0.05, deep=0.012), BRACKET])
def test_no_corner_of_a_held_part_reaches_further_out_of_its_shape_than_bodies_keep_apart(demo: Factory, part: Deposit) -> None:
    params = demo.machines["arm-1"].params
    held = carry.grasp(part, params, make_params(Carry, {}))
    rods = carry.shape(held, params)
    corners = held_points(held, part)
    edges = [(a + b) / 2 for a in corners for b in corners if np.count_nonzero(np.abs(a - b) > 1e-9) == 1]
    for point in (*corners, *edges):
        assert min(away(point, rod) for rod in rods) < 0.001


def away(point: Floats, rod: Capsule) -> float:
    start, way = np.array(rod.start), np.subtract(rod.end, rod.start)
    share = np.clip((point - start) @ way / max(way @ way, 1e-12), 0.0, 1.0)
    return float(np.linalg.norm(point - start - share * way)) - rod.radius


def test_a_foot_wider_than_the_grip_counts_in_shape_and_weight_but_a_skirt_does_not(demo: Factory) -> None:
    params, how = demo.machines["arm-1"].params, make_params(Carry, {})
    skirted = block(wide=0.1, deep=0.1, high=0.001)
    skirted = Deposit(skirted.start * (1, 1, 0.3), skirted.end * (1, 1, 0.3))
    whole = Deposit(np.concatenate((skirted.start, BRACKET.start)), np.concatenate((skirted.end, BRACKET.end)))
    for part in (BRACKET, whole):
        held = carry.grasp(part, params, how)
        assert held.size == pytest.approx((0.06045, 0.02045, 0.04)) and held.middle == pytest.approx((0.1, 0.11, 0.02))
        empty, full = carry.loads(params, held)
        weight = carry.PLA * 0.06045 * 0.02045 * 0.04
        assert full is not None and full.mass - empty.mass == pytest.approx(weight)
        beside = held_points(held, part).mean(axis=0)
        assert np.multiply(full.centre[:2], full.mass) == pytest.approx(beside[:2] * weight, abs=1e-9)


def test_a_part_is_laid_down_with_its_foot_over_the_entry_though_the_jaws_hold_it_beside(demo: Factory) -> None:
    taken = where_the_jaws_switch(demo.machines["arm-1"], make(asked(demo, "pick", BRACKET)).data, 1)
    laid = where_the_jaws_switch(demo.machines["arm-1"], make(asked(demo, "place", BRACKET)).data, 1)
    foot = laid @ np.linalg.inv(taken) @ (0.12, 0.11, 0.9, 1.0)
    assert foot[:3] == pytest.approx((0.5 + 0.03, -0.55, 0.85 + 0.001), abs=4e-4)


def test_a_skirt_does_not_keep_the_fingers_from_a_low_part(demo: Factory) -> None:
    low = block(high=0.011)
    flat = block(wide=0.1, deep=0.1, high=0.001)
    skirted = Deposit(np.concatenate((low.start, flat.start * (1, 1, 0.3))), np.concatenate((low.end, flat.end * (1, 1, 0.3))))
    assert make(asked(demo, "pick", skirted)).data == make(asked(demo, "pick", low)).data


def test_only_a_part_held_in_its_middle_is_taken_either_way_round(demo: Factory) -> None:
    arm, printer, how = demo.machines["arm-1"], demo.machines["printer-1"], make_params(Carry, {})
    for part, ways in ((block(), 2), (BRACKET, 1)):
        held = carry.grasp(part, arm.params, how)
        programs = tuple(carry.pick_programs(arm.pose, printer.pose, held, arm.params, how, True))
        assert len(set(programs)) == len(programs) == ways


def test_jaws_cannot_pass_what_is_wider_above_the_grip_or_higher_than_their_fingers(demo: Factory) -> None:
    mushroom = stacked((0.1, 0.1, 0.02, 0.02, 0.0, 0.03), (0.1, 0.1, 0.12, 0.12, 0.03, 0.04))
    with pytest.raises(JobError, match=r"as wide as 120\.5 mm about the jaws on their way down, they take 56\.0 mm"):
        make(asked(demo, "pick", mushroom))
    with pytest.raises(JobError, match=r"rises 65\.0 mm above the grip, the fingers are 60\.0 mm long"):
        make(asked(demo, "pick", block(high=0.13)))


def test_the_parked_head_is_in_the_arm_s_way_and_nothing_else_of_the_open_space(demo: Factory) -> None:
    assert make(asked(demo, "pick", block(0.11, 0.06)))
    printer = demo.machines["printer-1"]
    front = replace(printer, params=make_params(type(printer.params), {"park": [50.0, 0.0]}))
    with pytest.raises(JobError, match="and printer-1/head"):
        make(asked(replace(demo, machines={**demo.machines, "printer-1": front}), "pick", block(0.11, 0.06)))


def test_a_program_of_an_operator_s_does_not_grip_for_nobody_knows_what(demo: Factory) -> None:
    with pytest.raises(JobError, match="line 2: move can't grip"):
        make(moved(demo, "wait 1\ngrip\njoints -170 -90 90 -90 -90 0\n"))
    assert make(moved(demo, "release\njoints -170 -90 90 -90 -90 0\n"))


def test_a_pick_does_not_open_jaws_that_hold_something(demo: Factory) -> None:
    records = decode(make(asked(demo, "pick", block())).data)
    told = [(JointOp(c), int(v)) for c, v in zip(records.code, records.value, strict=True) if c in (JointOp.EXPECT, JointOp.SET)]
    assert told[:2] == [(JointOp.EXPECT, 0), (JointOp.SET, 1)]


def test_what_a_printer_leaves_is_told_by_its_own_job_making(demo: Factory) -> None:
    printer = demo.machines["printer-1"]
    leaves = making(printer.type).leaves
    assert leaves is not None
    text = "M104 S200\nG28\nM109 S200\nM83\nG1 F3000 X50 Y50 Z1\nG1 X60 E1\n"
    low, high = leaves(text, printer.params).extents(0, 1) or ((), ())
    assert low == pytest.approx((0.049775, 0.049775, 0.001)) and high == pytest.approx((0.060225, 0.050225, 0.001))
    assert making(demo.machines["arm-1"].type).leaves is None


def test_a_type_that_plans_jobs_and_has_no_way_of_its_own_prints_g_code(demo: Factory) -> None:
    printer = demo.machines["printer-1"]
    plain = replace(printer, type=replace(printer.type, package="twin.machines.conveyor"))
    ours, theirs = making(printer.type), making(plain.type)
    assert theirs.make is ours.make and theirs.prepare is None and theirs.early == ()
    job = theirs.make(Asked(demo, plain, "print", program="G28\nG1 X50 F3000\n"))
    assert job.data[:4] == b"LSJ1" and job.duration == pytest.approx(1.0, rel=0.1)
    with pytest.raises(JobError, match="line 2: X=500 mm is outside the travel range 0 to 220 mm"):
        theirs.make(Asked(demo, plain, "print", program="G28\nG1 X500 F3000\n"))


def test_only_machines_that_need_it_are_got_ready(demo: Factory) -> None:
    assert list(preparations(demo)) == ["arm"]
    assert preparations(replace(demo, machines={"printer-1": demo.machines["printer-1"]})) == {}


def test_homing_from_where_the_arm_stands_is_swept_one_joint_after_the_other(demo: Factory) -> None:
    beside = tuple(math.radians(angle) for angle in (170, -90, 90, -90, -90, 0))
    with pytest.raises(JobError, match="line 1: forearm and printer-1/travel come within"):
        make(replace(moved(demo, "home\n"), start=beside))
    assert make(replace(moved(demo, "home\n"), start=(beside[0] - math.tau, *beside[1:]))).data


def test_motors_count_in_what_an_arm_can_lift_and_speed_up(demo: Factory, monkeypatch: pytest.MonkeyPatch) -> None:
    swing = "joints -150 -90 90 -90 -90 90\n"
    assert make(moved(demo, swing)).data
    monkeypatch.setattr("twin.machines.arm.job.ROTORS", (0.6, 0.6, 0.6, 0.15, 0.15, 3.0))
    with pytest.raises(JobError, match=r"line 1: wrist_3_joint needs effort .* at most 28 is allowed"):
        make(moved(demo, swing))


def test_a_print_keeps_its_whole_head_out_of_a_clip_and_not_only_the_nozzle_s_tip(demo: Factory) -> None:
    printer = demo.machines["printer-1"]
    clip = Obstacle("clip", (0.2, 0.1, 0.93, 0.0, 0.0, 0.0), (0.01, 0.01, 0.02))
    program = "G28\nG1 X170 Y10 Z5 F3000\nG1 X180\nG1 Y100\n"
    for head, refused in (([40.0, 40.0, 60.0], True), ([20.0, 40.0, 60.0], False), ([40.0, 40.0, 10.0], False)):
        narrow = replace(printer, params=make_params(type(printer.params), {"head": head}))
        given = Asked(replace(demo, obstacles=(*demo.obstacles, clip)), narrow, "print", program=program)
        if not refused:
            assert making(printer.type).make(given).data
            continue
        with pytest.raises(JobError, match="line 4: the head enters clip along Y"):
            making(printer.type).make(given)


def test_a_print_that_meets_a_clip_on_its_bed_is_refused_with_its_line(demo: Factory) -> None:
    printer = demo.machines["printer-1"]
    clip = Obstacle("clip", (0.2, 0.1, 0.91, 0.0, 0.0, 0.0), (0.01, 0.01, 0.02))
    clipped = replace(demo, obstacles=(*demo.obstacles, clip))
    program = "G28\nG1 X10 Y100 Z5 F3000\nG1 X150 F3000\nG1 X210 F3000\n"
    assert making(printer.type).make(Asked(demo, printer, "print", program=program)).data
    with pytest.raises(JobError, match="line 4: the head enters clip along X"):
        making(printer.type).make(Asked(clipped, printer, "print", program=program))
