"""Nodes of the factory that do not run our firmware: what can be told of them is told, and nothing is sent to them."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pytest

from controller.__main__ import main
from controller.modbus.burst import Reply
from controller.modbus.pdu import Refused, Request
from controller.nodes import commands, status
from controller.nodes.reach import STATUS, NodeError, Reached
from tests.controller.fakemoonraker import KEY, FakeMoonraker
from tests.controller.nodes.conftest import FACTORY
from twin.clock import LoopClock
from twin.export import map_hash
from twin.factory import Factory, parse
from twin.node import MAGIC, VERSION, NodeStatus
from twin.wire import decode, encode, layout

PRINTER = """
[machines.voron]
type = "gcode_printer"
cell = "c"
node = "foreign"
base = 256
"""


@pytest.mark.parametrize("action", ["log", "update", "configure"])
@pytest.mark.parametrize(("node", "why"), [("foreign", "does not run our firmware"), ("own", "runs firmware of its own (own)")])
def test_what_is_for_our_firmware_alone_is_refused_in_a_line(
    factory: Factory, tmp_path: Path, capsys: pytest.CaptureFixture[str], action: str, node: str, why: str
) -> None:
    assert main(["node", action, node, "--factory", str(tmp_path / "factory.toml"), "--state", str(tmp_path / "state")]) == 1
    assert capsys.readouterr().err == f"lockstep: {node} {why}: there is nothing to {action} from here\n"


def test_the_status_of_a_foreign_printer_is_told(tmp_path: Path) -> None:
    async def looked() -> dict[str, Any]:
        printer = FakeMoonraker()
        port = await printer.start()
        text = FACTORY.format(port=502).replace('firmware = "own"', "").replace("7125", str(port)) + PRINTER
        factory = parse(text.replace('kind = "moonraker"', 'kind = "moonraker"\ntoken_file = "key"'), tmp_path)
        (tmp_path / "key").write_text(KEY)
        (tmp_path / "key").chmod(0o600)
        try:
            return await commands._looked(factory, ("foreign",), tmp_path)
        finally:
            await printer.stop()

    found = asyncio.run(looked())
    told = found["foreign"]
    assert (told["runs"], told["release"], told["unfit"], told["uid"]) == ("moonraker", "", "", 4715)
    assert (told["fault"], told["latched"]) == ("none", False)
    shown = "\n".join(status.lines("foreign", told))
    assert "moonraker, not our firmware" in shown and "heap" not in shown and "slots" not in shown


@dataclass
class Own:
    """A node whose own firmware has our registers and no more."""

    words: tuple[int, ...]
    asked: int = 0
    up: bool = True

    async def ask(self, requests: Sequence[Request], deadline: int, urgent: bool = True) -> list[Reply]:
        self.asked += 1
        return [self.words if request == STATUS else Refused(0x2B, 1) for request in requests]


def test_firmware_of_its_own_that_tells_no_release_is_looked_at_all_the_same(factory: Factory) -> None:
    silent = decode(NodeStatus, [0] * layout(NodeStatus).size)
    known = replace(silent, magic=MAGIC, version=VERSION, uid=4713, map_hash=map_hash(factory, "own"))
    link = Own(tuple(encode(known)))

    async def looked() -> dict[str, Any]:
        node = Reached(factory.nodes["own"], cast(Any, link), LoopClock(asyncio.get_running_loop()))
        found = await status.look(factory, node)
        with pytest.raises(NodeError, match="own: function 2B refused"):
            await node.release()
        return found

    found = asyncio.run(looked())
    assert (found["runs"], found["release"], found["unfit"]) == ("own", "", "")
    assert link.asked == 3, "what a node refuses for good is not asked again and again"
