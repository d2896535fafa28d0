"""The address space: nodes by number inside, by NodeId at the rim; every attribute lies encoded as it goes over the wire."""

from collections.abc import Iterable
from pathlib import Path

from controller.opcua.nodes.store import Nodes

__all__ = ["Nodes", "load"]


def load(namespaces: tuple[str, str], sources: Iterable[Path] | None = None) -> Nodes:
    """The standard's nodes that are served, and the specifications', from the cache where it holds them.

    Args:
        namespaces: URIs of this application and of our own nodes, at index 1 and 2.
        sources: the XML files, the standard's first; those that set-up has fetched, where none are named.

    Raises:
        NodesetError: the files are missing, or one does not load completely.
    """
    from controller.opcua.nodes.cache import ready  # who only wants the columns need not load what reads files

    return ready(namespaces, sources)
