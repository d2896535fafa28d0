"""Starts the node, and gives back what is needed only for that."""

import asyncio
import sys

import node
from node import app, slots
from node.store import read_counter, write_counter

NEVER_AGAIN = 99


def run():
    """Run the node for ever; what it says when it cannot."""
    told = "it has ended"
    try:
        asyncio.run(app.run(_settings()))
    except app.NodeError as unusable:
        told = unusable
    except Exception:
        _give_up()
        raise
    _give_up()
    return told


def _settings():
    from node import settings

    try:
        config = settings.load()
        if slots.slotted():
            settings.check()
        return config
    finally:
        del node.settings  # pyright: ignore[reportAttributeAccessIssue]
        del sys.modules["node.settings"]


def _give_up():
    """A configuration on trial that does not run is not tried again."""
    if read_counter(slots.TRIAL):
        write_counter(slots.TRIAL, NEVER_AGAIN)
