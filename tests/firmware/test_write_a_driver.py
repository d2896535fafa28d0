"""The page that shows how a driver is written: its firmware file and its test, taken out of it and run."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hil.targets.vm import Vm
from tests.firmware.factories import BELT, BELT_COMMAND, LAMP, node_file
from tests.hil.backtoback import Beat, Bench, Put, bench, follow, levels
from tests.mutant import ROOT, firmware_with

PAGE = (ROOT / "docs" / "how-to" / "write-a-driver.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
DRIVER = next(block for block in BLOCKS if block.startswith('"""A lamp that blinks'))
TEST = next(block for block in BLOCKS if block.startswith("def test_it_blinks"))


def blinking(folder: Path, **block: object) -> tuple[Path, str]:
    """A firmware with the new kind, and a node's file with such a block on the belt's run bit."""
    one = '    "Analog": "analog",\n'
    firmware = firmware_with(folder, "node/kinds.py", one, one + '    "Blink": "blink",\n')
    (firmware / "node" / "blink.py").write_text(DRIVER, encoding="utf-8")
    config = json.loads(node_file(folder, BELT))
    config["blocks"].append({"kind": "Blink", "pin": LAMP, "from": [BELT_COMMAND, 0], **block})
    return firmware, json.dumps(config)


@pytest.fixture
def lamp(tmp_path: Path) -> Iterator[Bench]:
    firmware, text = blinking(tmp_path, half=300)

    class Flashed(Vm):
        def __init__(self, name: str, folder: Path) -> None:
            super().__init__(name, folder)
            self.firmware = firmware

    one = bench(Flashed, tmp_path / "n", text)
    yield one
    one.close()


space: dict[str, object] = {
    "Beat": Beat, "Bench": Bench, "Put": Put, "follow": follow, "levels": levels, "np": np,
    "BELT_COMMAND": BELT_COMMAND, "LAMP": LAMP,
}  # fmt: skip
exec(TEST, space)
test_the_page_s_own_test = space["test_it_blinks_while_it_is_commanded_and_is_dark_in_the_tick_in_which_it_no_longer_is"]
