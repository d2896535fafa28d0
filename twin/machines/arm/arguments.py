"""What a recipe may say beside an arm's operations."""

from typing import Annotated as A

from twin.machine import params
from twin.units import MM, PERCENT
from twin.wire import Range


@params
class Move:
    """An operator's own program; the order's, unless the recipe names another, and where it works.

    `at` names the machine whose open space it may reach into.
    """

    program: str = ""
    at: str = ""


@params
class Carry:
    """How a Part is taken or laid down: from above, along a straight line."""

    speed: A[float, PERCENT, "of the joints' largest speed", Range(1, 100)] = 30.0
    over: A[float, MM, "the Part's way straight up or down", Range(10, 500)] = 100.0
    grip: A[float, PERCENT, "of the Part's height, where the jaws hold it", Range(10, 90)] = 50.0


ARGUMENTS = {"move": Move, "pick": Carry, "place": Carry}
