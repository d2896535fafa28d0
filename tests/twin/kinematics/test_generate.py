"""The generated source itself, run uncompiled on arrays, one configuration a column."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.twin.kinematics.chains import chains, configurations, off, truth
from twin.kinematics import Robot, ur5e
from twin.kinematics.generate.file import CORES, text
from twin.kinematics.generate.graph import Graph
from twin.kinematics.generate.writer import Writer

IMPORT = "from twin.kernel import Floats, Ints, Words, inlined, kernel"


def uncompiled(robot: Robot) -> dict[str, object]:
    """The names of a robot's generated file, as plain functions."""
    source = text(robot, "arrays", [f"{name}_of" for name in CORES], "")
    assert IMPORT in source
    names: dict[str, object] = {"kernel": lambda f: f, "inlined": lambda f: f, "Floats": np.ndarray}
    exec(compile(source.replace(IMPORT, ""), "generated", "exec"), names)
    return names


@settings(max_examples=50, deadline=None)
@given(chains())
def test_generated_code_of_any_chain_agrees_with_pinocchio(robot):
    n, count = robot.axes, 8
    q, qd, third = configurations(robot, count)
    expected = truth(robot, q, qd, third)
    names = uncompiled(robot)

    def run(name, shape, *given):
        out = np.empty((*shape, count))
        names[f"{name}_of"](*(rows.T for rows in given), out)
        return np.moveaxis(out, -1, 0)

    assert off(run("flange", (12,), q).reshape(count, 3, 4), expected.flange[:, :3]) < 1e-9
    assert off(run("frames", (n + 1, 12), q).reshape(count, n + 1, 3, 4), expected.links[:, :, :3]) < 1e-9
    assert off(run("jacobian", (6, n), q), expected.jacobian) < 1e-9
    assert off(run("torques", (n,), q, qd, third), expected.torques) < 1e-9
    assert off(run("accelerations", (n,), q, qd, third), expected.accelerations) < 1e-9
    assert off(run("gravity", (n,), q), expected.gravity) < 1e-9
    assert off(run("energy", (2,), q, qd), expected.energy) < 1e-9
    inertia = run("inertia", (n, n), q)
    assert np.abs(inertia - inertia.swapaxes(1, 2)).max() == 0.0
    at_rest = run("torques", (n,), q, 0 * qd, third) - run("gravity", (n,), q)
    assert off(np.einsum("kij,kj->ki", inertia, third), at_rest) < 1e-9


SINCOS = uncompiled(ur5e())["sincos"]


def sines(angles):
    return SINCOS(np.asarray(angles, dtype=float))


def test_sine_and_cosine_are_right_within_4e_16_over_every_turn_that_joints_make():
    angles = np.concatenate([np.linspace(-20, 20, 200_001), np.arange(-2000, 2000) * (math.pi / 4)])
    s, c = sines(angles)
    assert np.abs(s - np.sin(angles)).max() < 4e-16
    assert np.abs(c - np.cos(angles)).max() < 4e-16


def test_the_sine_of_a_small_angle_keeps_all_its_digits():
    angles = np.logspace(-300, -1, 10_000)
    assert (np.abs(sines(angles)[0] - np.sin(angles)) / np.sin(angles)).max() < 4e-16
    assert sines([0.0, -0.0])[0].tolist() == [0.0, 0.0]


@given(st.floats(-1.6e9, 1.6e9))
def test_large_angles_are_reduced_without_loss_up_to_the_documented_bound(angle):
    s, c = sines([angle])
    assert abs(s[0] - math.sin(angle)) < 4e-16
    assert abs(c[0] - math.cos(angle)) < 4e-16


@given(st.floats(min_value=1.6e9, max_value=1e15) | st.floats(min_value=-1e15, max_value=-1.6e9))
def test_beyond_the_bound_the_error_is_no_more_than_the_last_digit_of_the_angle(angle):
    assert abs(sines([angle])[0][0] - math.sin(angle)) < 4e-16 + 2 * math.ulp(angle)


OPERATIONS = st.recursive(
    st.sampled_from(["a1", "a2", "a3"]) | st.sampled_from([0.0, 1.0, -1.0, 2.0, -0.5]),
    lambda inner: st.tuples(st.sampled_from("+-*n"), inner, inner),
    max_leaves=25,
)


@given(OPERATIONS)
def test_folding_and_sharing_change_no_value(tree):
    """In fractions, so that not even a rounding may hide a mistake."""
    graph = Graph()
    values = {"a1": Fraction(3), "a2": Fraction(-5, 2), "a3": Fraction(7, 4)}

    def both(node):
        if isinstance(node, str):
            return graph.input(node), values[node]
        if isinstance(node, float):
            return graph.number(node), Fraction(node)
        operator, left, right = node
        (term, value), (other, number) = both(left), both(right)
        if operator == "n":
            return -term, -value
        if operator == "*":
            return term * other, value * number
        return (term + other, value + number) if operator == "+" else (term - other, value - number)

    term, value = both(tree)
    writer = Writer(graph, [term])
    names = dict(values)
    exec("\n".join(writer.lines), {}, names)
    assert eval(writer.text(term), {}, names) == value


def test_the_generated_file_is_readable():
    lines = text(ur5e(), "single", [f"{name}_of" for name in CORES], "").splitlines()
    assert max(map(len, lines)) <= 132
    assert any("s1, c1 = sincos(q1)" in line for line in lines)


@pytest.mark.parametrize("name", ['"""\nimport os\n"""', "a\nb", "\\", "é{}"])
def test_a_robots_name_cannot_become_code(name):
    source = text(Robot(name=name, joints=ur5e().joints, links=ur5e().links), "single", ["flange_of"], "")
    assert "os" not in compile(source, "generated", "exec").co_names
