"""The same press by another stack: python-opcua serves it."""

import asyncio
import os
from pathlib import Path

import pytest

from controller.opcua.certificate import own
from tests.controller.mirror.rig import ROOT, factory_of, mirroring, pressing


def test_a_press_by_python_opcua_is_mirrored_written_called_lost_and_found_again(tmp_path: Path) -> None:
    python = os.environ.get("LOCKSTEP_OPCUA_PYTHON") or str(ROOT / ".venv-opcua/bin/python")
    assert Path(python).exists(), "python-opcua is missing: run `make setup-test`"
    own(tmp_path / "press", "press", "urn:press:server")

    async def main() -> None:
        async with mirroring(factory_of(press, tmp_path / "f"), tmp_path / "state") as found:
            await found.value("press-1/status/speed", pytest.approx(0.1255))
            await found.value("press-1/status/serial", "P-4711")
            press.tell("set Press.Speed 100")
            await found.value("press-1/status/speed", pytest.approx(0.1))
            came = await found.device.want("press-1", "write", {"signal": "speed", "value": 0.2})
            assert (came.state, press.tell("get Press.Speed")) == ("confirmed", pytest.approx(200))
            came = await found.device.want("press-1", "call", {"method": "stroke", "arguments": {"count": 2, "depth": 0.5}})
            assert (came.state, came.text, press.tell("calls")) == ("confirmed", "1.0", [[2, 0.5]])
            await found.value("press-1/status/speed", pytest.approx(0.2))
            press.kill()
            await found.until(lambda: bool(found.link))
            row = found.row("press-1/status/speed")
            assert (row.quality, row.value) == (1, pytest.approx(0.2)) and row.cause
            refused = await found.device.want("press-1", "write", {"signal": "speed", "value": 0.1})
            assert refused.state == "refused" and refused.text.startswith("press: ")
            press.start()
            await found.value("press-1/status/speed", pytest.approx(0.1255))
            assert not found.link and found.said[0] == found.said[-1] == "press: connected"

    with pressing(tmp_path / "press", "press_python_opcua.py", python) as press:
        asyncio.run(main())
