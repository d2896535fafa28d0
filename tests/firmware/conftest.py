"""Nodes for the firmware's tests."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.firmware.conformance import WIDE
from tests.firmware.factories import BELT, LAMPS, node_file
from tests.firmware.rig import Client, Node
from tests.firmware.serial_rig import Line

Make = Callable[..., Node]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node with a belt and lamps, shared by tests that leave nothing behind."""
    folder = tmp_path_factory.mktemp("bench")
    node = Node(folder / "node", node_file(folder, BELT + LAMPS)).start()
    yield node
    node.stop()


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Starts nodes of the test's own."""
    nodes: list[Node] = []

    def started(text: str | None = None, **how: Any) -> Node:
        folder = tmp_path / f"node-{len(nodes)}"
        node = Node(folder, text or node_file(tmp_path, BELT + LAMPS), **how)
        nodes.append(node)
        return node.start()

    yield started
    for node in nodes:
        node.stop()


@pytest.fixture
def client(bench: Node) -> Iterator[Client]:
    """A connection to the shared node."""
    made = bench.client()
    yield made
    made.close()


def wide(folder: Path) -> str:
    """A node's file with a machine's Command of 125 registers at WIDE."""
    config = json.loads(node_file(folder, BELT + LAMPS))
    config["commands"].append([WIDE, [0] * 125])
    return json.dumps(config)


@pytest.fixture(scope="module")
def tcp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node with registers to write, on the network."""
    folder = tmp_path_factory.mktemp("tcp")
    node = Node(folder / "node", wide(folder)).start()
    yield node
    node.stop()


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    """The same on a serial line."""
    folder = tmp_path_factory.mktemp("rtu")
    (folder / "node").mkdir()
    made = Line(folder / "node", wide(folder))
    yield made
    made.stop()
