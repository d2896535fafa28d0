"""Starts the node that node.json describes."""

import gc

gc.threshold(4096)  # what compiling leaves behind is cleared away at once, or it would lie between what stays

import asyncio  # noqa: E402

from node import app  # noqa: E402

try:
    asyncio.run(app.run(app.read("node.json")))
except app.NodeError as unusable:
    print("lockstep:", unusable)
