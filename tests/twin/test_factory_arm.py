"""What factory.toml says for arms: handovers by arm, recipes with arguments, and what stands around."""

import math
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from twin.factory import Factory, FactoryError, parse, read
from twin.kinematics.shapes import Box, Plane
from twin.machine import MachineTypeError
from twin.obstacles import Obstacle, Space
from twin.recipes import Step, arguments_of
from twin.surroundings import surroundings

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
        ('to = "belt-1"', 'to = "printer-1"', "handovers[0].to: must be another machine than printer-1, where the part comes from"),
        (
            'from = "printer-1"\nto = "belt-1"',
            'from = "belt-1"\nto = "printer-1"',
            "handovers[0].from: no program tells how large a part of type conveyor is, so no arm can take it",
        ),
        (
            'from = "printer-1"\nto = "belt-1"',
            'from = "belt-1"\nto = "printer-1"',
            "handovers[0].to: type printer does not say where its parts are put: its spec has no entry()",
        ),
        (
            'from = "printer-1"\n',
            'from = "arm-1"\n',
            "handovers[0].from: no program tells how large a part of type arm is, so no arm can take it",
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


@pytest.mark.parametrize(
    ("operations", "told"),
    [
        ('["print", "pick", "move", "place"]', "operations[2]: move after pick"),
        ('["print", "pick", "convey"]', "operations[2]: convey after pick"),
        ('["place", "convey"]', "operations[0]: place after nothing"),
        ('["print", "place"]', "operations[1]: place after print"),
    ],
)
def test_a_recipe_that_leaves_a_part_in_the_jaws_for_something_else_is_refused(operations: str, told: str) -> None:
    told = f"recipes.print-and-convey.{told}: place must come right after pick, nothing between"
    assert mistakes(RECIPE, f"operations = {operations}") == (told,)


@pytest.mark.parametrize("operations", ['["pick"]', '["move", "print", "move", "pick", "place", "move", "convey", "move"]'])
def test_a_recipe_may_move_the_arm_whenever_its_jaws_are_empty(operations: str) -> None:
    parse(TEXT.replace(RECIPE, f"operations = {operations}", 1), DEMO.parent)


def test_a_program_works_at_a_machine_that_there_is() -> None:
    (told,) = mistakes(RECIPE, 'operations = [{ do = "move", program = "wave.arm", at = "lathe-1" }]')
    assert told == "recipes.print-and-convey.operations[0].at: must be one of printer-1, belt-1, arm-1, extractor-1, not 'lathe-1'"


def test_params_that_contradict_each_other_are_named_with_their_machine() -> None:
    (told,) = mistakes("home = [-150, -90, 90,", "home = [-150, -90, 300,")
    assert told.startswith("machines.arm-1.params: home elbow_joint=5.2")


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
