"""The address space: nodes by number inside, by NodeId at the rim; every attribute lies encoded as it goes over the wire."""

from controller.opcua.nodes.cache import ready as load
from controller.opcua.nodes.sources import NodesetError
from controller.opcua.nodes.store import Nodes

__all__ = ["Nodes", "NodesetError", "load"]
