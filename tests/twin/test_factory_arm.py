"""What factory.toml says for arms: handovers by arm, recipes with arguments, and what stands around."""

import math
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from twin.factory import Factory, FactoryError, parse, read
from twin.kinematics.shapes import Box, Plane
from twin.machine import MachineTypeError
from twin.obstacles import Obstacle, Space, surroundings
from twin.recipes import Step, arguments_of

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "controller" / "demo" / "factory.toml"
TEXT = DEMO.read_text(encoding="utf-8")
OFFERED = "print, convey, move, pick, place"
RECIPE = 'operations = ["print", { do = "pick", over = 120 }, "place", "convey"]'


def mistakes(old: str, new: str) -> tuple[str, ...]:
    assert old in TEXT
    with pytest.raises(FactoryError) as caught:
        parse(TEXT.replace(old, new, 1), DEMO.parent)
    return caught.value.mistakes


@pytest.fixture(scope="module")
def demo() -> Factory:
    return read(DEMO)


def test_the_demo_s_arm_carries_from_the_printer_to_the_belt(demo: Factory) -> None:
    (handover,) = demo.handovers
    assert (handover.source, handover.target, handover.by, handover.arm) == ("printer-1", "belt-1", "arm", "arm-1")
    steps = demo.recipes["print-and-convey"].operations
    assert [step.capability for step in steps] == ["print", "pick", "place", "convey"]
    assert steps[1] == Step("pick", "", (("over", 120),))


@pytest.mark.parametrize(
    ("new", "told"),
    [
        ("{ pick = true }", f"recipes.print-and-convey.operations[1].do: missing; it must be one of {OFFERED}"),
        ('{ do = "weld" }', f"recipes.print-and-convey.operations[1].do: must be one of {OFFERED}, not 'weld'"),
        ('{ do = "pick", on = "belt-1" }', "recipes.print-and-convey.operations[1].on: must be one of arm-1, not 'belt-1'"),
        (
            '{ do = "pick", hight = 1 }',
            "recipes.print-and-convey.operations[1]: pick of type arm: hight: unknown; allowed are speed, over, grip",
        ),
        ('{ do = "pick", over = 5 }', "recipes.print-and-convey.operations[1]: pick of type arm: over: 5 is outside 10 to 500 mm"),
        (
            '{ do = "print", over = 50 }',
            "recipes.print-and-convey.operations[1]: print of type printer: over: unknown; print takes no arguments",
        ),
    ],
)
def test_a_mistake_in_a_recipe_is_named_with_what_is_allowed(new: str, told: str) -> None:
    assert mistakes(RECIPE, RECIPE.replace("{ do = \"pick\", over = 120 }", new)) == (told,)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('arm = "arm-1"', "", "handovers[0].arm: must be one of arm-1, not None"),
        ('arm = "arm-1"', 'arm = "belt-1"', "handovers[0].arm: must be one of arm-1, not 'belt-1'"),
        ('by = "arm"', 'by = "hand"', "handovers[0].arm: nobody is asked where a part goes by hand"),
        ('arm = "arm-1"', 'arm = "arm-1"\nduration_s = 5', "handovers[0].duration_s: an arm takes as long as its Jobs do"),
        ("size = [2.4, 1.4,", "size = [2.4, 0,", "obstacles.table.size[1]: must be a number from 1e-06 to 10000, not 0"),
        ("size = [2.4, 1.4, 0.78]", "size = [2.4]", "obstacles.table.size: must be a list of x, y, z, not [2.4]"),
        ("size = [2.4, 1.4, 0.78]", "", "obstacles.table.size: must be a list of x, y, z, not None"),
        ("floor = 0.0", "floor = 0.0\nsize = [1, 1, 1]", "obstacles.floor.size: a floor has none"),
        ("floor = 0.0", "flor = 0.0", "obstacles.floor.flor: unknown key; allowed are pose, size, floor"),
        (
            "to = [1.0, 0.12, -0.005]",
            "to = [1.0, -0.2, -0.005]",
            "machines.belt-1.space[0].to: y=-0.2 must be above -0.12, where the box begins",
        ),
        ('name = "portal"', 'name = "base"', "machines.printer-1.space: 'base' occurs 2 times"),
        ("open = true", "open = 1", "machines.printer-1.space[2].open: must be true or false, not 1"),
    ],
)
def test_a_mistake_about_what_stands_around_is_named_with_its_key(old: str, new: str, told: str) -> None:
    assert told in mistakes(old, new)


def test_arguments_are_given_in_declared_units_and_come_out_in_si(demo: Factory) -> None:
    arm = demo.machines["arm-1"].type
    found = arguments_of(arm, "pick", (("over", 120), ("speed", 50)))
    assert (found.over, found.speed, found.grip) == pytest.approx((0.12, 0.5, 0.5))
    assert arguments_of(demo.machines["belt-1"].type, "convey", ()) is None
    with pytest.raises(MachineTypeError, match="convey takes no arguments"):
        arguments_of(demo.machines["belt-1"].type, "convey", (("far", 1),))


BASE = (1.0, -2.0, 0.5, 0.1, -0.4, 2.0)


def in_base(point: tuple[float, ...]) -> np.ndarray:
    turn = Rotation.from_euler("xyz", BASE[3:])
    return turn.inv().apply(np.array(point) - BASE[:3])


def test_boxes_and_floors_are_seen_from_the_arm_s_base() -> None:
    where = (0.3, 0.2, 0.9, 0.0, 0.0, math.pi / 2)
    found = surroundings(
        BASE,
        (Obstacle("post", (2.0, 1.0, 0.4, 0.3, 0.2, 0.1), (0.2, 0.4, 0.6)), Obstacle("floor", height=0.25)),
        (("oven", where, (Space("body", (0.0, -0.1, 0.0), (0.4, 0.1, 0.2)),)),),
    )
    post, body = found.boxes
    (floor,) = found.planes
    assert isinstance(post, Box) and post.centre == pytest.approx(in_base((2.0, 1.0, 0.4))) and post.half == (0.1, 0.2, 0.3)
    turn = Rotation.from_euler("xyz", BASE[3:]).inv() * Rotation.from_euler("xyz", (0.3, 0.2, 0.1))
    assert np.reshape(post.rotation, (3, 3)) == pytest.approx(turn.as_matrix())
    assert body.name == "oven/body" and body.centre == pytest.approx(in_base((0.3, 0.2 + 0.2, 0.9 + 0.1)))
    assert body.half == pytest.approx((0.2, 0.1, 0.1))
    assert isinstance(floor, Plane) and floor.normal == pytest.approx(in_base((1.0, -2.0, 1.5)))
    for height, free in ((0.2, False), (0.3, True)):
        assert (float(np.dot(floor.normal, in_base((5.0, 7.0, height)))) >= floor.offset) is free


def test_open_space_is_left_out_only_for_the_machine_that_is_worked_at(demo: Factory) -> None:
    taken = [(m.name, m.pose, m.space) for m in demo.machines.values()]

    def names(at: str) -> set[str]:
        return set(surroundings(demo.machines["arm-1"].pose, demo.obstacles, taken, at).names)

    closed = {"table", "floor", "printer-1/base", "printer-1/portal", "belt-1/frame"}
    assert names("") == names("belt-1") == closed | {"printer-1/travel"}
    assert names("printer-1") == closed
