"""Subscriptions and monitored items (Part 4 §5.13, §5.14): from the plane's rows into messages, no object for a value."""

from controller.opcua.subscriptions.engine import Engine
from controller.opcua.subscriptions.service import Subscriptions

__all__ = ["Engine", "Subscriptions"]
