"""`lockstep write` and `call`, as somebody types them, against a running core and a device built with pymodbus."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from controller.__main__ import main
from controller.asking import value_of
from controller.folder import held
from controller.orders.book import Book
from controller.orders.intents import FIRST_OF_DEVICES, Intent
from hil.ports import free_port
from tests.controller.test_core_process import Process
from twin.factory import parse

MAP = """name,table,address,type,scale,unit,access,min,max
speed,hr,10,uint16,0.1,mm/s,rw,0,500
on,co,3,bool,,,rw,,
"""
FACTORY = """
[factory]
name = "drives"
[cells.hall]
[nodes.drive-1]
kind = "modbus"
port = {port}
[machines.drive-1]
type = "registers"
cell = "hall"
node = "drive-1"
map = "drive.csv"
"""


async def lockstep(told: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    """What the command line does and says."""
    told.readouterr()
    code = await asyncio.to_thread(main, words)
    said = told.readouterr()
    return code, (said.out + said.err).strip()


def test_a_value_is_written_read_back_and_shown_and_what_cannot_be_is_refused_with_its_limit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def drive() -> None:
        port = free_port()
        coils, bits = (SimData(0, values=[False] * 64, datatype=DataType.BITS) for _ in range(2))
        holding, inputs = (SimData(0, values=[0] * 64, datatype=DataType.REGISTERS) for _ in range(2))
        server = ModbusTcpServer(SimDevice(id=0, simdata=([coils], [bits], [holding], [inputs])), address=("127.0.0.1", port))
        await server.serve_forever(background=True)
        (tmp_path / "drive.csv").write_text(MAP)
        (tmp_path / "factory.toml").write_text(FACTORY.format(port=port))
        (tmp_path / "state").mkdir()
        with Book(tmp_path / "state" / "book.sqlite", 1) as book:  # as a kill has left it
            left = Intent(FIRST_OF_DEVICES, "drive-1", "write speed", "0.0", "ada")
            book.save((), book.load(), [left, Intent(FIRST_OF_DEVICES + 1, "drive-1", "call reset", "{}", "ada")])
        core = Process(tmp_path, parse(FACTORY.format(port=port), tmp_path))
        state = str(tmp_path / "state")
        try:
            await core.start()
            await core.until("node:drive-1/link", "up")
            assert await lockstep(capsys, "write", "--state", state, "drive-1", "speed", "123.4") == (0, "confirmed")
            assert await lockstep(capsys, "write", "--state", state, "drive-1", "on", "true") == (0, "confirmed")
            code, said = await lockstep(capsys, "write", "--state", state, "drive-1", "speed", "500.5")
            assert code == 1 and "drive-1/speed=500.5 is outside 0 to 500 mm/s" in said
            code, said = await lockstep(capsys, "call", "--state", state, "drive-1", "reset")
            assert code == 1 and "no method 'reset'; there are: none" in said
            await core.until("drive-1/command/speed", pytest.approx(0.1234))
            assert (await server.async_getValues(0, 3, 10, 1), await server.async_getValues(0, 1, 3, 1)) == ([1234], [True])
        finally:
            core.process.terminate()
            await core.process.wait()
            await server.shutdown()
        with held(tmp_path / "state"):
            code, said = await lockstep(capsys, "write", "--state", state, "drive-1", "speed", "1")
            assert code == 2 and "no core at" in said
        with closing(sqlite3.connect(tmp_path / "state" / "book.sqlite")) as raw:
            found = raw.execute("SELECT what, state FROM commands ORDER BY id").fetchall()
        assert found == [("write speed", "done"), ("call reset", "unknown"), ("write speed", "done"), ("write on", "done")]

    asyncio.run(drive())


@pytest.mark.parametrize(
    ("text", "value"), [("true", True), ("false", False), ("3", 3), ("-0.5", -0.5), ("1e3", 1000.0), ("idle", "idle"),
     ("inf", "inf"), ("nan", "nan"), ("1_000", "1_000"), ("1e999", "1e999"), ("\u0663", "\u0663"), ("9" * 30, 1e30)]
)
def test_what_somebody_types_is_a_bit_a_number_or_a_text(text: str, value: object) -> None:
    assert value_of(text) == value and type(value_of(text)) is type(value)
