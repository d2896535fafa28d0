"""NodeIds and status codes as we write them: asyncua's annotations want its own integer classes, which nobody has."""

from typing import Any

from asyncua import ua

OURS = 2
"""Index of our namespace: first after the standard's own two, so that it never moves."""


def in_namespace(index: int, identifier: Any) -> ua.NodeId:
    """A NodeId by its namespace's index: a number, a text or bytes."""
    made: Any = ua.NodeId
    return made(identifier, index)  # type: ignore[no-any-return]


def node_id(path: str) -> ua.NodeId:
    """The NodeId of one of our paths."""
    return in_namespace(OURS, path)


def standard(number: int) -> ua.NodeId:
    """A NodeId of the standard."""
    return in_namespace(0, number)


def named(name: str) -> ua.QualifiedName:
    """A browse name of ours."""
    return ua.QualifiedName(name, OURS)


def status(code: int) -> ua.StatusCode:
    """A status by its code."""
    made: Any = ua.StatusCode
    return made(code)  # type: ignore[no-any-return]
