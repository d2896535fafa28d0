"""What can be called: by object and method, each with who may."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from asyncua import ua

from controller.opcua.sessions import Session

Outputs = Sequence[ua.Variant]
Result = Outputs | Awaitable[Outputs]
Function = Callable[[Session, Sequence[ua.Variant]], Result]
"""Does it. Raises ServiceError for a bad status of this one call."""


@dataclass(frozen=True, slots=True)
class Served:
    """Something that can be called."""

    function: Function
    inputs: tuple[int, ...] | None
    """Built-in type of each input, negative for an array of it; None: as the method's InputArguments declare."""


class Methods:
    """The registry."""

    def __init__(self) -> None:
        self._known: dict[tuple[bytes, bytes], Served] = {}

    def register(self, owner: bytes, method: bytes, function: Function, inputs: tuple[int, ...] | None = None) -> None:
        """Let an object's method be called. Keys are encoded NodeIds; of a method that is its type's, register both NodeIds."""
        self._known[owner, method] = Served(function, inputs)

    def find(self, owner: bytes, method: bytes) -> Served | None:
        """What is called by these two."""
        return self._known.get((owner, method))
