"""What scan and lint find out about pymodbus's devices, with mistakes planted in the device or in the Map."""

import asyncio
import json
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymodbus import ModbusDeviceIdentification
from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from controller.__main__ import main as lockstep
from controller.modbus import lint, looking, scan
from controller.modbus.burst import Reply, UnitLink
from controller.modbus.client import UnitsLink
from controller.modbus.inquiry import How, Inquiry
from controller.modbus.pdu import NoReply, Read, ReadBits, Refused, Request
from hil.devices.device import Nobody
from hil.ports import free_port
from tests.controller.virtual import run
from twin.clock import MS, Clock, Ns
from twin.maps import Table
from twin.maps.table import parse

T = TypeVar("T")
QUICK = How(Ns(50 * MS))


def silent(line: str) -> None:
    """Nobody wants to hear it."""


def device(
    unit: int, holding: Sequence[tuple[int, int]] = ((0, 10),), input: Sequence[tuple[int, int]] = ((0, 1),), **rest: Any
) -> SimDevice:
    """A unit with ranges (first, count) of registers that hold their own addresses, and 32 coils."""

    def words(spans: Sequence[tuple[int, int]]) -> list[SimData]:
        return [SimData(at, values=[(at + k) & 0xFFFF for k in range(n)], datatype=DataType.REGISTERS) for at, n in spans]

    bits = [SimData(0, values=[True] * 32, datatype=DataType.BITS)]
    return SimDevice(unit, (bits, list(bits), words(holding), words(input)), **rest)


def asked(
    devices: Sequence[SimDevice],
    work: Callable[[UnitLink, Clock], Awaitable[T]],
    identity: dict[str, str] | None = None,
    stranger: bool = True,
) -> T:
    """What `work` makes of a link to pymodbus's server of these devices; for unknown units it answers as a gateway."""

    async def main(clock: Clock) -> T:
        port = free_port()
        named = ModbusDeviceIdentification(info_name=identity) if identity else None
        server = ModbusTcpServer(list(devices), address=("127.0.0.1", port), identity=named)
        context: Any = server.context
        if stranger:
            context.devices[0] = Nobody()
        await server.serve_forever(background=True)
        link = UnitsLink("device", "127.0.0.1", port, clock)
        running = asyncio.ensure_future(link.run())
        try:
            while not link.up:
                await clock.until(Ns(clock.now() + MS))
            return await work(link, clock)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await server.shutdown()

    return run(main)


def surveyed(made: SimDevice, unit: int = 1, identity: dict[str, str] | None = None, how: How = QUICK) -> scan.Unit:
    return asked([made], lambda link, clock: scan.survey(link, unit, clock, how, silent), identity)


def spans(unit: scan.Unit, table: Table) -> list[tuple[int, int]]:
    return [(one.first, one.last) for one in unit.tables[table].ranges]


def test_units_behind_a_gateway_are_found_and_the_others_are_not() -> None:
    devices = [device(1), device(7), device(40)]
    found = asked(devices, lambda link, clock: scan.units(link, range(1, 50), clock, QUICK, silent))
    assert found == ([1, 7, 40], False)


def test_a_device_that_answers_for_every_unit_is_one_device() -> None:
    found = asked([device(0)], lambda link, clock: scan.units(link, range(1, 248), clock, QUICK, silent), stranger=False)
    assert found == ([1], True)


def test_identification_ranges_and_limits_are_found_with_few_requests() -> None:
    made = device(1, holding=[(0, 300), (330, 7), (4000, 2), (40_000, 130)], input=[(100, 51)])
    unit = surveyed(made, identity={"VendorName": "Acme", "ProductCode": "M-1", "MajorMinorRevision": "1.2"})
    assert unit.identity[0] == "Acme" and unit.identity[2] == "1.2"
    assert spans(unit, Table.HOLDING) == [(0, 299), (330, 336), (4000, 4001), (40_000, 40_129)]
    assert spans(unit, Table.INPUT) == [(100, 150)] and spans(unit, Table.COILS)[0][0] == 0
    assert unit.tables[Table.HOLDING].most == 125 and unit.asked < 600 and not unit.base


def test_a_limit_of_a_request_is_no_hole() -> None:
    async def action(function: int, start: int, address: int, count: int, registers: list[int], values: Any) -> ExcCodes | None:
        return ExcCodes.ILLEGAL_ADDRESS if count > 37 and function in (3, 4) else None

    unit = surveyed(device(1, holding=[(0, 200)], action=action))
    assert spans(unit, Table.HOLDING) == [(0, 199)] and unit.tables[Table.HOLDING].most == 37


def test_an_endless_table_is_sampled() -> None:
    unit = surveyed(device(1, holding=[(0, 20_000)]))
    (one,) = unit.tables[Table.HOLDING].ranges
    assert (one.first, one.last, one.sampled) == (0, 19_999, True) and unit.asked < 400


def test_a_sunspec_chain_is_named() -> None:
    words = [0x5375, 0x6E53, 1, 65, *[0] * 65, 103, 50, *[0] * 50, 0xFFFF, 0]
    made = device(1)
    made.simdata[2].append(SimData(40_000, values=words, datatype=DataType.REGISTERS))  # type: ignore[index]
    unit = surveyed(made)
    told = looking.as_json(unit)
    assert told["sunspec"]["base"] == 40_000
    assert [(m["id"], m["address"], m["name"]) for m in told["sunspec"]["models"]] == [
        (1, 40_002, "common"),
        (103, 40_069, "inverter, three phases"),
    ]
    assert json.loads(json.dumps(told))["tables"]["hr"]["ranges"][-1] == {"first": 40_000, "last": 40_122, "sampled": False}


def test_no_more_is_asked_than_may_be_and_that_is_said() -> None:
    unit = surveyed(device(1), how=How(Ns(50 * MS), most=20))
    assert unit.asked == 20 and "not everything was tried: 20 requests" in unit.notes[0]


class Scripted:
    """A link whose unit is a function; every request is at once answered by it."""

    name, up, cause = "scripted", True, ""

    def __init__(self, answer: Callable[[Request], Reply]) -> None:
        self._answer = answer

    async def ask(self, unit: int, requests: Sequence[Request], deadline: Ns, urgent: bool = True) -> list[Reply]:
        return [self._answer(request) for request in requests]

    def drop(self, cause: str) -> None: ...

    async def run(self) -> None: ...


def served(holding: Callable[[int], bool], most: int = 125, refuse: Reply | None = None) -> Scripted:
    """A unit whose holding registers are those for which that is true."""

    def answer(request: Request) -> Reply:
        if not isinstance(request, Read) or request.function != 3:
            return Refused(request.function, 1)
        wanted = range(request.address, request.address + request.count)
        if request.count > most or not all(map(holding, wanted)):
            return refuse or Refused(3, 2)
        return tuple(at & 0xFF for at in wanted)

    return Scripted(answer)


def scripted(link: Scripted) -> scan.Unit:
    return run(lambda clock: scan.survey(link, 1, clock, QUICK, silent))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 200), st.integers(0, 60)), min_size=1, max_size=5), st.integers(2, 125), st.integers(0, 400)
)
def test_ranges_that_lie_close_behind_each_other_are_found_exactly(pairs: list[tuple[int, int]], most: int, start: int) -> None:
    """Ranges of any lengths with holes of up to 64, from a beginning that is tried."""
    there, at = [], min(start, 400) // 100 * 100
    for length, hole in pairs:
        if there and there[-1][1] + 1 == at:
            there[-1] = (there[-1][0], at + length - 1)
        else:
            there.append((at, at + length - 1))
        at += length + hole
    unit = scripted(served(lambda a: any(first <= a <= last for first, last in there), most))
    found = spans(unit, Table.HOLDING)
    covered = {a for first, last in found for a in range(first, last + 1)}
    true = {a for first, last in there for a in range(first, last + 1)}
    assert covered <= true, "nothing is claimed that cannot be read"
    assert set(range(there[0][0], there[0][1] + 1)) <= covered
    assert all(first - 1 not in true and last + 1 not in true for first, last in found), "what is found is whole"


def test_a_device_that_does_not_answer_what_it_does_not_have_is_searched_all_the_same() -> None:
    unit = scripted(served(lambda a: a < 70, refuse=NoReply("silence")))
    assert spans(unit, Table.HOLDING) == [(0, 69)] and not unit.notes


def test_a_device_that_falls_silent_is_left_alone() -> None:
    left = [40]

    def answer(request: Request) -> Reply:
        left[0] -= 1
        if left[0] < 0:
            return NoReply("silence")
        return Refused(request.function, 2) if request.function != 3 or request.address > 20 else tuple([0] * request.count)  # type: ignore[attr-defined]

    unit = scripted(Scripted(answer))
    assert "has fallen silent" in unit.notes[0] and -8 < left[0] < 0


# ---- lint

HEAD = "name,table,address,type,order,unit,min,max,invalid,description\n"


def linted(text: str, made: SimDevice, unit: int = 1) -> lint.Report:
    map = parse(HEAD + text if not text.startswith("#") else text.replace("HEAD\n", HEAD), "planted.csv")
    return asked([made], lambda link, clock: lint.lint(map, unit, {unit: Inquiry(link, unit, clock, QUICK)}))


def kinds(report: lint.Report) -> list[tuple[str, str]]:
    return [(one.signal, str(one.kind)) for one in report.findings]


def holding(words: Sequence[int], **rest: Any) -> SimDevice:
    made = device(1, **rest)
    made.simdata[2][:] = [SimData(0, values=list(words), datatype=DataType.REGISTERS)]  # type: ignore[index]
    return made


def floats(*values: float, order: str = "ABCD") -> list[int]:
    words = [struct.unpack(">HH", struct.pack(">f", value)) for value in values]
    return [word for pair in words for word in (pair if order == "ABCD" else pair[::-1])]


VOLTS = floats(230.12, 231.45, 229.87, 228.31)


def test_a_map_that_fits_has_no_findings() -> None:
    rows = "".join(f"v{k},hr,{2 * k},float32,,V,0,300,,\n" for k in range(4))
    report = linted(rows, holding(VOLTS))
    assert not report.findings and report.read == report.signals == 4 and report.asked == lint.READS


def test_a_signal_that_the_device_does_not_have_is_named_with_its_line() -> None:
    report = linted("a,hr,0,uint16,,,,,,\nb,hr,90,uint16,,,,,,\n", holding(range(1, 9)))
    assert kinds(report) == [("b", "refused")] and report.findings[0].line == 3 and "illegal address" in report.findings[0].text


def test_the_other_word_order_is_seen() -> None:
    rows = "".join(f"v{k},hr,{2 * k},float32,,V,,,,\n" for k in range(3))
    report = linted(rows, holding(floats(230.12, 231.45, 229.87, order="CDAB")))
    swapped = [one for one in report.findings if one.kind is lint.Kind.ORDER and "fits CDAB, not ABCD" in one.text]
    assert {one.signal for one in swapped} == {"v0", "v1", "v2"}


def test_a_map_that_counts_from_one_is_seen_and_not_taken_for_another_word_order() -> None:
    report = linted("".join(f"v{k},hr,{2 * k + 1},float32,,V,,,,\n" for k in range(3)), holding(VOLTS))
    found = kinds(report)
    assert all((f"v{k}", "off by one") in found for k in range(3)) and ("", "off by one") in found
    assert not any(kind == "word order" for _, kind in found)


def test_a_value_beyond_its_range_and_a_code_for_no_value_are_seen() -> None:
    rows = "a,hr,0,uint16,,°C,0,90,,\nb,hr,1,int16,,°C,,,,\nc,hr,2,int16,,°C,,,0x8000,\n"
    report = linted(rows, holding([250, 0x8000, 0x8000, 250]))
    assert ("a", "out of range") in kinds(report) and ("b", "implausible") in kinds(report)
    assert not any(signal == "c" for signal, _ in kinds(report)) and report.absent == {"no value": ["c"]}


def test_a_block_that_must_be_split_is_named() -> None:
    async def action(function: int, start: int, address: int, count: int, registers: list[int], values: Any) -> ExcCodes | None:
        return ExcCodes.ILLEGAL_ADDRESS if address <= 20 < address + count else None

    report = linted("a,hr,18,uint16,,,,,,\nb,hr,22,uint16,,,,,,\n", holding(range(40), action=action))
    assert kinds(report) == [("", "block")] and report.findings[0].place == "hr 18 to 22" and report.read == 2


def test_a_counter_whose_words_are_not_changed_together_is_seen() -> None:
    raw = iter([0x0001_FFF0, 0x0001_0002, 0x0002_0005])

    async def action(function: int, start: int, address: int, count: int, registers: list[int], values: Any) -> ExcCodes | None:
        value = next(raw)
        registers[0:2] = [value >> 16, value & 0xFFFF]
        return None

    report = linted("a,hr,0,uint32,,,,,,\n", holding([0, 0], action=action))
    assert kinds(report) == [("a", "torn")]


# ---- the command line


@asynccontextmanager
async def listening(port: int) -> AsyncIterator[None]:
    server = ModbusTcpServer([device(5)], address=("127.0.0.1", port))
    context: Any = server.context
    context.devices[0] = Nobody()
    await server.serve_forever(background=True)
    try:
        yield
    finally:
        await server.shutdown()


def command(port: int, *words: str) -> int:
    async def main() -> int:
        async with listening(port):
            return await asyncio.to_thread(lockstep, list(words))

    return asyncio.run(main())


def test_the_command_line_scans_and_lints(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    port = free_port()
    assert command(port, "modbus", "scan", f"127.0.0.1:{port}", "--units", "4-6", "--json") == 0
    (unit,) = json.loads(capsys.readouterr().out)["units"]
    assert unit["unit"] == 5 and unit["tables"]["hr"]["ranges"] == [{"first": 0, "last": 9, "sampled": False}]
    path = tmp_path / "own.csv"
    path.write_text(HEAD + "a,hr,3,uint16,,,,,,\nb,hr,11,uint16,,,,,,\n")
    assert command(port, "modbus", "lint", str(path), "--against", f"127.0.0.1:{port}", "--unit", "5") == 1
    said = capsys.readouterr().out
    assert "refused" in said and "1 of 2 Signals were read" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["scan"], "name either HOST[:PORT] or --serial PORT"),
        (["scan", "127.0.0.1:0"], "127.0.0.1:0: must be HOST or HOST:PORT"),
        (["scan", "127.0.0.1", "--units", "1-300"], "--units 1-300: 1-300 is outside 0 to 255"),
        (["scan", "--serial", "/dev/null", "--units", "0"], "--units 0: 0 is outside 1 to 247"),
        (["scan", "127.0.0.1", "--units", "x"], "--units x: must be like 1-10,17"),
        (["lint", "nothing", "--against", "127.0.0.1"], "nothing: no such Map"),
        (["scan", "127.0.0.1", "--timeout-ms", "0"], "--timeout-ms and --most must be above 0"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(capsys: pytest.CaptureFixture[str], words: list[str], said: str) -> None:
    assert lockstep(["modbus", *words]) == 1
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "found"),
    [("host", ("host", 502)), ("host:1502", ("host", 1502)), ("[::1]:7", ("::1", 7)), ("fe80::1", ("fe80::1", 502))],
)
def test_a_place_is_a_host_with_a_port_or_without(text: str, found: tuple[str, int]) -> None:
    assert looking.place(text, 502) == found


def test_bits_are_looked_for_too() -> None:
    def answer(request: Request) -> Reply:
        if not isinstance(request, ReadBits) or request.function != 2:
            return Refused(request.function, 1)
        return (True,) * request.count if request.address + request.count <= 3001 else Refused(2, 2)

    unit = scripted(Scripted(answer))
    assert spans(unit, Table.DISCRETE) == [(0, 3000)] and not unit.tables[Table.COILS].served
