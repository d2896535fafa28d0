"""Thing Descriptions, on small examples of our own that follow the Modbus binding template; each says which."""

import json
from typing import Any

import pytest

from tests.twin.maps.importing import made, mistakes, place
from twin.maps import Access, Form, Order, Place, Table


def thing(properties: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "@context": ["https://www.w3.org/2019/wot/td/v1"],
        "title": "ModbusPLC",
        "base": "modbus+tcp://10.1.2.3:502/1/",
        "properties": properties,
        **more,
    }


def form(href: str, **terms: Any) -> dict[str, Any]:
    return {"href": href, **{f"modv:{key}" if key != "op" else key: value for key, value in terms.items()}}


def test_a_thing_description_becomes_a_map() -> None:
    """After "A complete TD example" of the Modbus binding template: printed numbers, entities, functions, several operations."""
    all_ops = ["writeproperty", "observeproperty", "readproperty"]
    found = made(
        "wot",
        thing(
            {
                "limitSwitch1": {"type": "boolean", "forms": [form("10003", op="readproperty", function="readDiscreteInput")]},
                "moveDown": {"type": "boolean", "title": "down", "forms": [form("6", op=all_ops, entity="Coil", pollingTime=100)]},
                "moveForward": {"type": "boolean", "forms": [form("3", op=all_ops, entity="Coil", pollingTime=250)]},
            }
        ),
    )
    of = found.map
    assert of.name == "modbus-plc"
    assert (place(found, "limit_switch1"), of["limit_switch1"].access) == (Place(Table.DISCRETE, 2, Form.BOOL), Access.R)
    assert (place(found, "move_down"), of["move_down"].access, of["move_down"].scan) == (
        Place(Table.COILS, 5, Form.BOOL),
        Access.RW,
        "fast",
    )
    assert (of["move_forward"].scan, of.classes["every-250"]) == ("every-250", 250)
    assert any('host = "10.1.2.3", port = 502' in said for said in found.remarks)
    assert any("its unit = 1 belongs" in said for said in found.remarks)


def test_the_binding_s_forms_become_places() -> None:
    """After its examples of one coil, of 8 holding registers at 40001, of 8 coils, and the older spelling with its own address."""
    found = made(
        "wot",
        thing(
            {
                "old": {
                    "type": "boolean",
                    "forms": [
                        {
                            "href": "modbus+tcp://127.0.0.1:60000/1",
                            "op": ["readproperty"],
                            "modbus:function": "readCoil",
                            "modbus:address": 1,
                        }
                    ],
                },
                "block": {
                    "type": "string",
                    "forms": [form("modbus+tcp://127.0.0.1:60000/1/40001?quantity=8", entity="HoldingRegister")],
                },
                "lamps": {"type": "array", "forms": [form("modbus+tcp://127.0.0.1:60000/1/11?quantity=3", entity="Coil")]},
                "untyped": {"forms": [form("40001?quantity=8", entity="HoldingRegister")]},
                "elsewhere": {"type": "number", "forms": [{"href": "http://10.0.0.1/x"}]},
            },
            actions={"go": {}},
        ),
    )
    assert place(found, "old") == Place(Table.COILS, 0, Form.BOOL)
    assert place(found, "block") == Place(Table.HOLDING, 0, Form.STRING, 8)
    assert [place(found, f"lamps_{i}").address for i in range(3)] == [10, 11, 12]
    assert sum("left out" in said for said in found.remarks) == 3


@pytest.mark.parametrize(
    ("terms", "place_"),
    [
        ({"type": "xsd:float"}, Place(Table.HOLDING, 99, Form.FLOAT32, 2)),
        ({"type": "xsd:float", "zeroBasedAddressing": True}, Place(Table.HOLDING, 100, Form.FLOAT32, 2)),
        ({"type": "xsd:unsignedInt", "mostSignificantWord": False}, Place(Table.HOLDING, 99, Form.UINT32, 2, Order.CDAB)),
        ({"type": "xsd:int", "mostSignificantByte": False}, Place(Table.HOLDING, 99, Form.INT32, 2, Order.BADC)),
        (
            {"type": "xsd:double", "mostSignificantByte": False, "mostSignificantWord": False},
            Place(Table.HOLDING, 99, Form.FLOAT64, 4, Order.DCBA),
        ),
        ({"type": "xsd:short", "entity": "InputRegister"}, Place(Table.INPUT, 99, Form.INT16)),
        ({"type": "https://www.w3.org/2001/XMLSchema#unsignedShort", "function": 4}, Place(Table.INPUT, 99, Form.UINT16)),
        ({"type": "xsd:float", "unitID": 9}, Place(Table.HOLDING, 99, Form.FLOAT32, 2)),
    ],
)
def test_the_binding_s_types_and_orders_are_understood(terms: dict[str, Any], place_: Place) -> None:
    terms = terms if {"entity", "function"} & set(terms) else {**terms, "entity": "HoldingRegister"}
    quantity = "" if "unitID" in terms else f"?quantity={place_.registers}"
    assert place(made("wot", thing({"a": {"type": "number", "forms": [form(f"100{quantity}", **terms)]}})), "a") == place_


def test_a_property_s_unit_limits_and_ways_are_kept() -> None:
    speed = {
        "type": "number",
        "unit": "m/s",
        "minimum": 0,
        "maximum": 2,
        "forms": [
            form("5", op="readproperty", function="readHoldingRegisters", type="xsd:float"),
            form("5", op="writeproperty", function="writeMultipleHoldingRegisters", type="xsd:float"),
        ],
    }
    shown = {"type": "integer", "readOnly": True, "unit": "lumps", "forms": [form("9", entity="HoldingRegister")]}
    moved = {"type": "integer", "forms": [form("20", op="readproperty", function=3), form("30", op="writeproperty", function=6)]}
    found = made("wot", thing({"speed": speed, "shown": shown, "moved": moved}))
    row = found.map["speed"]
    assert (row.access, row.signal.unit.symbol, row.signal.range and row.signal.range.high) == (Access.RW, "m/s", 2.0)
    assert (found.map["shown"].access, found.map["moved"].access) == (Access.R, Access.R)
    assert any("'lumps' is unknown" in said for said in found.remarks)


def test_things_of_several_units_keep_them() -> None:
    found = made(
        "wot",
        thing(
            {
                "a": {"type": "boolean", "forms": [form("/4/1", entity="Coil")]},
                "b": {"type": "boolean", "forms": [form("modbus+tcp://h:5/6/1", entity="Coil")]},
            },
            base="modbus+tcp://h:5",
        ),
    )
    assert [place(found, name).unit for name in "ab"] == [4, 6]


def one_form(found: dict[str, Any], kind: str = "boolean") -> str:
    """A Thing with one property whose form is in line 2."""
    return f'{{"base": "modbus+tcp://h:502/1/", "properties": {{"a": {{"type": "{kind}", "forms": [\n{json.dumps(found)}\n]}}}}}}'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"title": "x",\n\n oops}', "f:3: not JSON"),
        (one_form(form("1", entity="Lamp")), "f:2: a: modv:entity must be one of Coil"),
        (one_form(form("1")), "f:2: a: modv:entity must be one of Coil"),
        (one_form(form("0", entity="Coil")), "f:2: a: address 0 counts from 1"),
        (
            one_form(form("7?quantity=3", entity="HoldingRegister", type="xsd:float")),
            "f:2: a: float takes 2 registers, and quantity is 3",
        ),
        (one_form(form("7", entity="HoldingRegister", type="xsd:date"), "number"), "f:2: a: modv:type must be one of xsd:short"),
        (one_form(form("x", entity="Coil")), "f:2: a: address: must be a whole number from 0 to 465536, not 'x'"),
        ('{"properties": {\n"a": {\n"forms": 3}}}', "f:3: a: forms: must be a list, not 3"),
    ],
)
def test_a_malformed_thing_is_refused_with_its_line(text: str, said: str) -> None:
    assert mistakes("wot", text)[0].startswith(said)
