"""Starts the node that node.json describes."""

import asyncio

from node import app

try:
    asyncio.run(app.run(app.read("node.json")))
except app.NodeError as unusable:
    print("lockstep:", unusable)
