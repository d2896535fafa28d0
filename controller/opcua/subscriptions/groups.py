"""Items that are sampled together."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from controller.opcua.subscriptions.beat import Beat

if TYPE_CHECKING:
    from controller.opcua.subscriptions.subscription import Subscription


@dataclass(slots=True, eq=False)
class Group:
    """Items that are sampled together, on the grid of one interval.

    Attributes:
        owner: whose items they are.
        number: which of the items' `group` it is.
        polled: those whose values nobody tells.
        touched: whether something was put since they were sampled.
        scheduled: when the timer looks at it next, -1 for not at all.
    """

    owner: "Subscription"
    number: int
    beat: Beat
    polled: set[int] = field(default_factory=set)
    touched: bool = False
    scheduled: int = -1
