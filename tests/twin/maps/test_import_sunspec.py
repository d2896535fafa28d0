"""SunSpec models, on small examples of our own that follow the published ones; each says which."""

import json
from typing import Any

import pytest

from tests.twin.maps.devices import sunspec_inverter
from tests.twin.maps.importing import made, mistakes, place
from twin.maps import Access, Form, Place, Table
from twin.maps.importers import imported
from twin.maps.sunspec import models


def point(name: str, kind: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, **more}


def model_160() -> dict[str, Any]:
    """After json/model_160.json of github.com/sunspec/models: factors first, then a group of N modules."""
    fixed = [point(p.name, p.type, size=p.size) for p in sunspec_inverter.MPPT]
    module = [
        point(p.name, p.type, size=p.size, **({"sf": p.scale} if p.scale else {}), **({"units": p.unit} if p.unit else {}))
        for p in sunspec_inverter.MODULE
    ]
    state = next(p for p in module if p["name"] == "DCSt")
    state["symbols"] = [{"name": "OFF", "value": 1}, {"name": "MPPT", "value": 4}, {"name": "RESERVED_10", "value": 10}]
    event = next(p for p in module if p["name"] == "DCEvt")
    event["symbols"] = [{"name": "GROUND_FAULT", "value": 0}, {"name": "INPUT_OVER_CURRENT", "value": 22}]
    head = [point("ID", "uint16", value=160, mandatory="M", static="S"), point("L", "uint16", static="S")]
    group = {"name": "module", "type": "group", "count": "N", "points": module}
    return {"id": 160, "group": {"name": "mppt", "label": "MPPT", "type": "group", "points": head + fixed, "groups": [group]}}


def test_a_sunspec_model_becomes_a_map_of_that_model() -> None:
    found = made("sunspec", model_160(), repeat=2)
    of = found.map
    assert (of.name, of.sunspec) == ("sunspec-160", (40_000, 50_000, 0))
    for row in of.signals:
        assert models(row.place.together) == (160,)
    listed = [(p.offset, p.size) for p in sunspec_inverter.MPPT]
    listed += [(10 + 20 * i + p.offset, p.size) for i in range(2) for p in sunspec_inverter.MODULE]
    assert [(row.place.address, row.place.registers) for row in of.signals] == listed
    power = of["module_2_dcw"]
    assert (power.place.scale_from, power.place.invalid, power.signal.unit.symbol) == ("dcw_sf", (0xFFFF,), "W")
    assert of["module_1_dcwh"].place.invalid == (0,)
    state, event = of["module_1_dcst"].signal.type, of["module_1_dcevt"].signal.type
    assert (state(4).name, event(1 << 22).name) == ("MPPT", "INPUT_OVER_CURRENT")
    assert any("as many as N; 2 of them" in said for said in found.remarks)


def test_a_sunspec_point_has_what_its_keys_say() -> None:
    points = [
        point("ID", "uint16"),
        point("L", "uint16"),
        point("Mn", "string", size=16, static="S", label="Manufacturer"),
        point("Pad", "pad", size=1),
        point("WMax", "uint16", sf="W_SF", units="W", access="RW", desc="Most\n power"),
        point("V", "int16", sf=-1, units="V", standards=["unknown key"]),
        point("W_SF", "sunssf"),
        point("IP", "ipaddr"),
        point("MAC", "eui48"),
        point("Rmp", "uint16", units="% WGra"),
        point("Hz", "float32", units="Hz"),
    ]
    found = made("sunspec", {"id": 64_001, "group": {"name": "ours", "type": "sync", "points": points}})
    of = found.map
    assert place(found, "mn") == Place(Table.HOLDING, 2, Form.STRING, 16, together="model:64001")
    assert (of["mn"].scan, of["mn"].signal.text) == ("once", "Manufacturer")
    assert (of["wmax"].access, of["wmax"].place.scale_from, of["wmax"].signal.text) == (Access.RW, "w_sf", "Most power")
    assert (of["v"].place.address, of["v"].place.scale, of["v"].place.invalid) == (20, 0.1, (-32_768,))
    assert [row.name for row in of.signals] == ["mn", "wmax", "v", "w_sf", "ip", "rmp", "hz"]
    assert of["hz"].place.address == 29
    assert [said.partition(": ")[2] for said in found.remarks] == [
        "point MAC: type eui48 is left out",
        "Rmp: unit '% WGra' is unknown, so its value has none",
    ]


def test_groups_in_groups_are_mapped_as_far_as_their_place_is_known() -> None:
    """After the shape of the 700 models: curves of NCrv, each with NPt points."""
    inner = {"name": "Pt", "type": "group", "count": "NPt", "points": [point("V", "uint16", sf="V_SF")]}
    curve = {"name": "Crv", "type": "group", "count": "NCrv", "points": [point("ActPt", "uint16")], "groups": [inner]}
    fixed = {"name": "Lim", "type": "group", "count": 2, "points": [point("A", "uint16"), point("B", "uint32")]}
    top = [point("ID", "uint16"), point("L", "uint16"), point("NPt", "uint16"), point("NCrv", "uint16"), point("V_SF", "sunssf")]
    found = made(
        "sunspec",
        {"id": 705, "group": {"name": "DERVoltVar", "type": "group", "points": top, "groups": [fixed, curve, fixed]}},
        repeat=3,
    )
    where = {row.name: row.place.address for row in found.map.signals}
    assert {name: at for name, at in where.items() if name.startswith("lim")} == {
        "lim_1_a": 5,
        "lim_1_b": 6,
        "lim_2_a": 8,
        "lim_2_b": 9,
    }
    assert {name: at for name, at in where.items() if "crv" in name and name != "ncrv"} == {
        "crv_1_act_pt": 11,
        "crv_1_pt_1_v": 12,
        "crv_1_pt_2_v": 13,
        "crv_1_pt_3_v": 14,
    }
    assert sum("only the first" in said or "left out" in said for said in found.remarks) == 2


def test_several_models_become_one_map_with_names_of_their_own() -> None:
    def one(number: int, name: str) -> str:
        return json.dumps(
            {
                "id": number,
                "group": {
                    "name": name,
                    "type": "group",
                    "points": [point("ID", "uint16"), point("L", "uint16"), point("A", "int16")],
                },
            }
        )

    of = imported("sunspec", [("a.json", one(1, "common")), ("b.json", one(103, "inverter"))]).map
    assert [(row.name, row.place.together) for row in of.signals] == [("common_a", "model:1"), ("inverter_a", "model:103")]


HEAD = '{"id": 1, "group": {"points": [{"name": "ID", "type": "uint16"}, {"name": "L", "type": "uint16"},\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"id": 1,\n "group": }', "f:2: not JSON: Expecting value"),
        ('{"id": 70000,\n "group": {"name": "a", "points": []}}', "f:1: id: must be a whole number from 1 to 65534, not 70000"),
        ('{"id": 1}', "f:1: the model has no group"),
        (
            '{"id": 1, "group": {"points": [\n{"name": "ID", "type": "uint16"},\n{"name": "L", "type": "word"}]}}',
            "f:3: point L: type must be one of int16",
        ),
        (
            HEAD + '{"name": "A",\n "type": "int16", "sf": "B_SF"}]}}',
            "f:3: point A: sf: there is no point 'B_SF' of type sunssf",
        ),
        (
            HEAD + '{"name": "A", "type": "string"}]}}',
            "f:2: point A: size: must be a whole number from 1 to 125, not None",
        ),
        ("[]", "f:1: the model: must be a table, not []"),
    ],
)
def test_a_malformed_model_is_refused_with_its_line(text: str, said: str) -> None:
    assert mistakes("sunspec", text)[0].startswith(said)
