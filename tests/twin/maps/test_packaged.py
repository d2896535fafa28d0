"""The packaged Maps against the devices' register lists: a second reading.

A device is built with pymodbus from the list, each address with a value of its own; it is read with pymodbus through the Map's
places by a decoder of this file's own; and every value must be the physical one that was put in, in SI.
"""

import enum
import itertools
import math
import random
import struct
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from controller.fieldbus.decode import Decoder, Recipe
from controller.fieldbus.plan import plan
from controller.fieldbus.sunspec import placed, walk
from tests.twin.maps.devices import SIZES, Point, Row, sdm630, sunspec_inverter, ur_e_series
from tests.twin.maps.devices.reading import SI, Words, laid, through_pymodbus, value
from twin.factory import PACKAGED_MAPS
from twin.maps import Access, Form, Map, Place, Table
from twin.maps.sunspec import models
from twin.maps.table import parse


def packaged(name: str) -> Map:
    path = PACKAGED_MAPS / f"{name}.csv"
    return parse(path.read_text(encoding="utf-8"), path.name)


def filled(rows: Iterable[Row], seed: int) -> tuple[dict[int, float], Words]:
    """Values of every address, in its unit, and the registers that they make."""
    chance, values, words = random.Random(seed), {}, {}
    limits = {"uint16": (0, 65_535), "int16": (-32_768, 32_767), "uint32": (0, 2**32 - 1)}
    for row in rows:
        if row.form == "float32":
            put = struct.unpack(">f", struct.pack(">f", chance.uniform(-1e5, 1e5)))[0]
        else:
            put = chance.randint(*limits[row.form])
        values[row.address] = put
        words.update(zip(itertools.count(row.address), laid(row.form, put)))
    return values, words


def by_place(of: Map, *tables: Table) -> dict[int, str]:
    """The names of a Map's Signals by their address; a Map has each address once."""
    found = {row.place.address: row.name for row in of.signals if row.place.table in tables}
    assert len(found) == sum(row.place.table in tables for row in of.signals)
    return found


def listed(rows: Iterable[Row], left_out: Callable[[Row], bool]) -> dict[int, Row]:
    return {row.address: row for row in rows if row.form and not left_out(row)}


def check(of: Map, names: Mapping[int, str], rows: Mapping[int, Row], values: Mapping[int, float], words: Words) -> None:
    """The Map has what the list has, nothing else, in the same form; and reads what was put in."""
    assert set(names) == set(rows)
    for address, row in rows.items():
        place: Place = of[names[address]].place
        assert (place.registers, place.address) == (SIZES[row.form], address), row.text
        got = value(of, names[address], words)
        assert got == pytest.approx(values[address] * SI[row.unit], rel=1e-12), row.text


# ------------------------------------------------------------------------------------------------------------ SDM630


def test_every_measurement_of_the_sdm630_is_what_its_list_says() -> None:
    of = packaged("sdm630")
    rows = listed(sdm630.INPUT, lambda row: "family" in row.text)
    values, words = filled(rows.values(), 1)
    assert {of[name].place.form for name in by_place(of, Table.INPUT).values()} == {Form.FLOAT32}
    check(of, by_place(of, Table.INPUT), rows, values, through_pymodbus(words, of.most_registers))


SECRET = (0x0E, 0x18)
"""The lock and the password: never read, never written."""


def test_every_setting_of_the_sdm630_is_what_its_list_says_and_can_only_be_read() -> None:
    of = packaged("sdm630")
    rows = listed(sdm630.HOLDING, lambda row: "edition" in row.text or row.address in (*SECRET, 0x56, 0xF010, 0xF920, 0xF930))
    values, words = filled(rows.values(), 2)
    check(of, by_place(of, Table.HOLDING), rows, values, through_pymodbus(words, of.most_registers))
    assert all(row.access is Access.R for row in of.signals)
    for address in SECRET:
        assert any(places.table is Table.HOLDING and places.first <= address < places.last for places in of.forbidden)


def test_the_sdm630_is_asked_at_even_addresses_for_at_most_50_registers() -> None:
    of = packaged("sdm630")
    assert of.most_registers == 50
    assert all(row.place.address % 2 == 0 for row in of.signals)


@pytest.mark.parametrize(("address", "words", "volts"), [(0, (0x4367, 0xAF55), 231.68), (8, (0x4088, 0xFA31), 4.28)])
def test_the_sdm630_s_published_bus_log_reads_as_it_says(address: int, words: tuple[int, int], volts: float) -> None:
    of = packaged("sdm630")
    name = by_place(of, Table.INPUT)[address]
    assert value(of, name, {address: words[0], address + 1: words[1]}) == pytest.approx(volts, abs=0.01)


# ----------------------------------------------------------------------------------------------- Universal Robots

ANGLES, TURNS = range(270, 276), range(320, 326)


def test_every_register_of_the_robot_is_what_its_list_says() -> None:
    of = packaged("ur_e_series")
    rows = listed(ur_e_series.HOLDING, lambda row: 160 <= row.address < 256)
    names = by_place(of, Table.HOLDING)
    values, words = filled(rows.values(), 3)
    got = through_pymodbus(words)
    flags = range(260, 266)
    plain = {at: row for at, row in rows.items() if at not in ANGLES and at not in flags}
    check(of, {at: name for at, name in names.items() if at in plain}, plain, values, got)
    assert set(names) == set(rows)
    for at in flags:
        assert value(of, names[at], got) is bool(int(values[at]) & 1)
    assert [names[at] for at in flags][:3] == ["power_on", "protective_stopped", "emergency_stopped"]


def test_a_joint_s_angle_is_its_mrad_and_its_whole_turns() -> None:
    of = packaged("ur_e_series")
    joints = ("base", "shoulder", "elbow", "wrist_1", "wrist_2", "wrist_3")
    chance = random.Random(4)
    for at, joint in enumerate(joints):
        angle = chance.uniform(-2 * math.pi, 2 * math.pi)
        turns = math.floor(angle / (2 * math.pi))
        words = {270 + at: round(1000 * (angle - 2 * math.pi * turns)), 320 + at: turns & 0xFFFF}
        assert value(of, f"{joint}_angle", words) == pytest.approx(angle, abs=0.0006)
    assert value(of, "base_angle", {270: 4712, 320: 0xFFFF}) == pytest.approx(-math.pi / 2, abs=0.001)  # the forum's example


def test_the_tool_s_published_position_reads_as_it_says() -> None:
    assert value(packaged("ur_e_series"), "tcp_x", {400: 0xFB2E}) == pytest.approx(-0.1234)


ROBOT_MODES = {
    0: "disconnected",
    1: "confirm safety",
    2: "booting",
    3: "power off",
    4: "power on",
    5: "idle",
    6: "backdrive",
    7: "running",
    8: "updating firmware",
}
JOINT_MODES = {
    236: "shutting down",
    237: "part D calibration",
    238: "backdrive",
    239: "power off",
    245: "not responding",
    246: "motor initialisation",
    247: "booting",
    248: "part D calibration error",
    249: "bootloader",
    250: "calibration",
    252: "fault",
    253: "running",
    255: "idle",
}
SAFETY_MODES = {
    1: "normal",
    2: "reduced",
    3: "protective stop",
    4: "recovery",
    5: "safeguard stop",
    6: "system emergency stop",
    7: "robot emergency stop",
    8: "violation",
    9: "fault",
    10: "validate joint id",
    11: "undefined",
    12: "automatic-mode safeguard stop",
    13: "three-position enabling stop",
}


@pytest.mark.parametrize(
    ("name", "codes"),
    [("robot_mode", ROBOT_MODES), ("safety_mode", SAFETY_MODES), *((f"{j}_mode", JOINT_MODES) for j in ("base", "wrist_3"))],
)
def test_the_robot_s_modes_are_called_as_its_lists_call_them(name: str, codes: dict[int, str]) -> None:
    kind = packaged("ur_e_series")[name].signal.type
    assert {int(mode): mode.name for mode in kind} == {
        n: text.upper().replace(" ", "_").replace("-", "_") for n, text in codes.items()
    }


def test_the_robot_is_only_written_to_where_its_list_allows_it() -> None:
    of = packaged("ur_e_series")
    allowed = {row.address for row in ur_e_series.HOLDING if "| RW |" in row.text or "| W " in row.text}
    written = {row.place.address for row in of.written}
    assert written <= allowed
    assert {2, 3, 5, 7, 9, 11, 17, 19, 20, 32, 33} <= written
    assert not {1, 31} & written  # outputs change by masks, so that nobody undoes what another does


# -------------------------------------------------------------------------------------------------------- SunSpec

FORMS = {"enum16": "uint16", "bitfield32": "uint32", "acc32": "uint32", "sunssf": "int16", "pad": "int16"}
NOT = {
    "int16": 0x8000,
    "uint16": 0xFFFF,
    "enum16": 0xFFFF,
    "sunssf": 0x8000,
    "bitfield32": 0xFFFFFFFF,
    "acc32": 0,
    "uint32": 0xFFFFFFFF,
}
MODELS = {
    1: sunspec_inverter.COMMON,
    103: sunspec_inverter.THREE_PHASE,
    113: sunspec_inverter.THREE_PHASE_FLOAT,
    120: sunspec_inverter.NAMEPLATE,
}
LENGTHS = {1: 66, 103: 50, 113: 60, 120: 26, 160: 48}
MODULES = 2


def points(model: int) -> list[Point]:
    """Of a model with its modules."""
    if model in MODELS:
        return list(MODELS[model])
    module = [
        Point(10 + 20 * i + p.offset, f"{i + 1}/{p.name}", p.type, p.size, p.scale, p.unit, p.text)
        for i in range(MODULES)
        for p in sunspec_inverter.MODULE
    ]
    return [*sunspec_inverter.MPPT, *module]


def chain(seed: int) -> tuple[Words, dict[tuple[int, int], Any]]:
    """An inverter's registers from 40000 on, and the SI value of each (model, offset)."""
    chance, words, values, at = random.Random(seed), {40_000: 0x5375, 40_001: 0x6E53}, {}, 40_002
    for model, length in LENGTHS.items():
        words.update({at: model, at + 1: length})
        scales = {p.name: chance.randint(-3, 3) for p in points(model) if p.type == "sunssf"}
        for p in points(model):
            cells, values[model, p.offset] = _put(p, scales, chance)
            words.update(zip(itertools.count(at + p.offset), cells))
        at += 2 + length
    return {**words, at: 0xFFFF, at + 1: 0}, values


def _put(point: Point, scales: Mapping[str, int], chance: random.Random) -> tuple[tuple[int, ...], Any]:
    if point.type == "string":
        text = "".join(chance.choice("ABCxyz 019") for _ in range(chance.randint(1, 2 * point.size))).strip() or "A"
        return struct.unpack(f">{point.size}H", text.encode().ljust(2 * point.size, b"\0")), text
    if point.type == "float32":
        number = struct.unpack(">f", struct.pack(">f", chance.uniform(-1e4, 1e4)))[0]
        return laid("float32", number), number * SI[point.unit]
    if point.type == "sunssf":
        return laid("int16", scales[point.name]), scales[point.name]
    form = FORMS.get(point.type, point.type)
    raw = chance.randint(1, 20_000)
    return laid(form, raw), raw * 10.0 ** scales.get(point.scale, 0) * SI[point.unit]


def found(words: Words) -> dict[int, int]:
    """Where each model of a chain begins, by walking it."""
    at, starts = 40_002, {}
    while words[at] != 0xFFFF:
        starts[words[at]] = at
        at += 2 + words[at + 1]
    return starts


def relative(words: Words, start: int) -> Words:
    return {address - start: word for address, word in words.items()}


def test_every_point_of_the_inverter_is_what_its_models_say() -> None:
    of = packaged("sunspec_inverter")
    words, values = chain(5)
    got = through_pymodbus(words)
    starts, seen = found(got), set()
    for row in of.signals:
        model = next((m for m in models(row.place.together) if m in starts), None)
        assert model is not None, row.name
        if row.place.address >= 2 + LENGTHS[model]:
            continue  # a module that this device has not got
        point = next(p for p in points(model) if p.offset == row.place.address)
        assert row.place.registers == point.size, point.text
        put, read_back = values[model, point.offset], value(of, row.name, relative(got, starts[model]))
        assert read_back == (put if isinstance(put, str) else pytest.approx(put, rel=1e-12)), point.text
        seen.add((model, point.offset))
    assert seen == set(values) - {(1, 67), (120, 27)}  # all but the pads


def test_a_point_that_is_not_implemented_has_no_value() -> None:
    of = packaged("sunspec_inverter")
    for row in of.signals:
        place: Place = row.place
        point = next((p for m in models(place.together) if m != 101 for p in points(m) if p.offset == place.address), None)
        if point is None or point.type in ("string", "float32"):
            assert point is None or place.invalid == ()
            continue
        number = struct.pack(">H" if point.size == 1 else ">I", NOT[point.type])
        code = struct.unpack(f">{point.size}H", number)
        assert value(of, row.name, dict(zip(itertools.count(place.address), code))) is None, row.name


def test_the_inverter_s_states_and_events_are_called_as_the_models_call_them() -> None:
    of = packaged("sunspec_inverter")
    states = "OFF SLEEPING STARTING MPPT THROTTLED SHUTTING_DOWN FAULT STANDBY".split()
    for name in ("state", "float_state"):
        assert [(int(member), member.name) for member in of[name].signal.type] == list(enumerate(states, 1))
    events = (
        "GROUND_FAULT DC_OVER_VOLT AC_DISCONNECT DC_DISCONNECT GRID_DISCONNECT CABINET_OPEN MANUAL_SHUTDOWN OVER_TEMP "
        "OVER_FREQUENCY UNDER_FREQUENCY AC_OVER_VOLT AC_UNDER_VOLT BLOWN_STRING_FUSE UNDER_TEMP MEMORY_LOSS HW_TEST_FAILURE"
    ).split()
    for name in ("event", "float_event"):
        assert [(int(member).bit_length() - 1, member.name) for member in of[name].signal.type] == list(enumerate(events))
    inputs = {
        0: "GROUND_FAULT",
        1: "INPUT_OVER_VOLTAGE",
        3: "DC_DISCONNECT",
        5: "CABINET_OPEN",
        6: "MANUAL_SHUTDOWN",
        7: "OVER_TEMP",
        12: "BLOWN_FUSE",
        13: "UNDER_TEMP",
        14: "MEMORY_LOSS",
        15: "ARC_DETECTION",
        20: "TEST_FAILED",
        21: "INPUT_UNDER_VOLTAGE",
        22: "INPUT_OVER_CURRENT",
    }
    for name in ("mppt_event", "mppt_1_event"):
        assert {int(member).bit_length() - 1: member.name for member in of[name].signal.type} == inputs


def test_all_packaged_maps_can_be_read_and_have_a_text() -> None:
    files = sorted(Path(PACKAGED_MAPS).iterdir())
    assert [path.stem for path in files] == ["sdm630", "sunspec_inverter", "ur_e_series"]
    assert all(parse(path.read_text(encoding="utf-8"), path.name).text for path in files)


@pytest.mark.parametrize(("name", "lists"), [("sdm630", (sdm630.INPUT, sdm630.HOLDING)), ("ur_e_series", (ur_e_series.HOLDING,))])
def test_the_engine_s_decoder_reads_the_same(name: str, lists: tuple[tuple[Row, ...], ...]) -> None:
    of, seen = packaged(name), 0
    for table, rows in zip((Table.INPUT, Table.HOLDING) if len(lists) == 2 else (Table.HOLDING,), lists, strict=True):
        words = filled([row for row in rows if row.form], 6)[1]
        by_name = {row.name: row for row in of.signals}
        for blocks in plan(of).values():
            for block in (block for block in blocks if block.table is table):
                decoder = Decoder(Recipe(block, of.read, by_name))
                decoder.feed(b"".join(struct.pack(">H", words.get(at, 0)) for at in range(block.first, block.end)))
                for index, got in zip(decoder.rows, decoder.values, strict=True):
                    row = of.read[index]
                    mine = value(of, row.name, words)
                    if isinstance(mine, int) and not isinstance(mine, bool) and issubclass(row.signal.type, enum.IntEnum):
                        mine = mine if mine in list(map(int, row.signal.type)) else None
                    assert got == (mine if mine is None else pytest.approx(mine, rel=1e-9)), row.name
                    seen += 1
    assert seen == len(of.read)


def test_the_engine_finds_and_reads_the_inverter_s_models() -> None:
    of, (words, values) = packaged("sunspec_inverter"), chain(7)
    asking = walk(of.sunspec)
    try:
        first, count = next(asking)
        while True:
            first, count = asking.send(tuple(words.get(first + i, 0) for i in range(count)))
    except StopIteration as told:
        rows, lost = placed(of.read, told.value)
    assert set(lost) == {row.name for row in of.signals if row.name.startswith(("mppt_3", "mppt_4"))}
    there = [row for row in rows if row.name not in lost]
    for blocks in plan(of, rows=there).values():
        for block in blocks:
            decoder = Decoder(Recipe(block, there, {row.name: row for row in there}))
            decoder.feed(b"".join(struct.pack(">H", words[at]) for at in range(block.first, block.end)))
            for index, got in zip(decoder.rows, decoder.values, strict=True):
                row = of[there[index].name]
                put = next(values[model, row.place.address] for model in models(row.place.together) if model in LENGTHS)
                codes = [int(member) for member in row.signal.type] if issubclass(row.signal.type, enum.IntEnum) else [put]
                assert got == (put if isinstance(put, str) else pytest.approx(put, rel=1e-9) if put in codes else None), row.name
