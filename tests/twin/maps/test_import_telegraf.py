"""Telegraf's configuration, on small examples of our own that follow its documentation; each says which."""

import pytest

from tests.twin.maps.importing import made, mistakes, place
from twin.maps import Form, Order, Place, Table

REGISTER_STYLE = """
[[inputs.modbus]]
  name = "Machine Hall"
  slave_id = 7
  controller = "tcp://10.0.0.5:1502"
  configuration_type = "register"
  discrete_inputs = [
    { name = "start", address = [0]},
    { name = "Emergency-Stop", address = [3]},
  ]
  coils = [{ name = "motor1_run", address = [4]}]
  holding_registers = [
    { name = "power_factor", byte_order = "AB", data_type = "FIXED", scale=0.01, address = [8]},
    { name = "energy", byte_order = "ABCD", data_type = "FIXED", scale=0.001, address = [5,6]},
    { name = "power", byte_order = "CDAB", data_type = "FLOAT32", scale=0.1, address = [3,4]},
    { name = "total", byte_order = "GHEFCDAB", data_type = "UINT64", scale=1.0, address = [20,21,22,23]},
  ]
  input_registers = [
    { name = "tank", byte_order = "BA", data_type = "INT16", scale=1.0, address = [0]},
    { name = "heat", byte_order = "DCBA", data_type = "FLOAT32-IEEE", scale=1.0, address = [1,2]},
    { name = "half", byte_order = "AB", data_type = "INT8L", scale=1.0, address = [3]},
  ]
"""


def test_telegraf_s_register_style_becomes_a_map() -> None:
    """After sample_register.conf of the plugin's README."""
    found = made("telegraf", REGISTER_STYLE)
    assert found.map.name == "machine-hall"
    assert place(found, "start") == Place(Table.DISCRETE, 0, Form.BOOL)
    assert place(found, "emergency_stop") == Place(Table.DISCRETE, 3, Form.BOOL)
    assert place(found, "motor1_run") == Place(Table.COILS, 4, Form.BOOL)
    assert place(found, "power_factor") == Place(Table.HOLDING, 8, Form.INT16, 1, scale=0.01)
    assert place(found, "energy") == Place(Table.HOLDING, 5, Form.INT32, 2, scale=0.001)
    assert place(found, "power") == Place(Table.HOLDING, 3, Form.UINT32, 2, Order.CDAB, scale=0.1)
    assert place(found, "total") == Place(Table.HOLDING, 20, Form.UINT64, 4, Order.CDAB)
    assert place(found, "tank") == Place(Table.INPUT, 0, Form.INT16, 1, Order.BADC)
    assert place(found, "heat") == Place(Table.INPUT, 1, Form.FLOAT32, 2, Order.DCBA)
    assert found.remarks == (
        "f:21: half: type INT8L is left out",
        'f:5: reached at host = "10.0.0.5", port = 1502',
        "f:2: its unit = 7 belongs to the machine in factory.toml, not to the Map",
    )


REQUEST_STYLE = """
[[inputs.modbus]]
  name = "Device"
  configuration_type = "request"
  [[inputs.modbus.request]]
    slave_id = 1
    register = "coil"
    fields = [
      { address=0, name="motor1_run"},
      { address=1, name="jog", measurement="motor"},
      { address=2, name="motor1_stop", omit=true},
      { address=3, name="overheating", output="BOOL"},
    ]
    [inputs.modbus.request.tags]
      location = "main building"
  [[inputs.modbus.request]]
    slave_id = 2
    byte_order = "DCBA"
    register = "holding"
    fields = [
      { address=0, name="voltage", type="INT16", scale=0.1 },
      { address=1, name="current", type="INT32", scale=0.001 },
      { address=5, name="energy", type="FLOAT32", scale=0.001, measurement="W" },
      { address=7, name="frequency", type="UINT32", scale=0.1 },
      { address=8, name="power_factor", type="INT64", scale=0.01 },
      { address=20, name="motor1_run", type="UINT16" },
    ]
  [[inputs.modbus.request]]
    slave_id = 1
    byte_order = "ABCD"
    register = "input"
    fields = [
      { address=0, name="rpm", type="INT16" },
      { address=2, name="force", type="INT32", output="FLOAT64" },
    ]
"""


def test_telegraf_s_request_style_becomes_a_map() -> None:
    """After sample_request.conf; its frequency and power factor cross there too."""
    found = made("telegraf", REQUEST_STYLE)
    assert place(found, "motor1_run") == Place(Table.COILS, 0, Form.BOOL, unit=1)
    assert place(found, "voltage") == Place(Table.HOLDING, 0, Form.INT16, 1, Order.BADC, unit=2, scale=0.1)
    assert place(found, "current") == Place(Table.HOLDING, 1, Form.INT32, 2, Order.DCBA, unit=2, scale=0.001)
    assert place(found, "energy") == Place(Table.HOLDING, 5, Form.FLOAT32, 2, Order.DCBA, unit=2, scale=0.001)
    assert place(found, "power_factor") == Place(Table.HOLDING, 8, Form.INT64, 4, Order.DCBA, unit=2, scale=0.01)
    assert place(found, "unit_2_motor1_run") == Place(Table.HOLDING, 20, Form.UINT16, 1, Order.BADC, unit=2)
    assert place(found, "rpm") == Place(Table.INPUT, 0, Form.INT16, 1, unit=1)
    assert "motor1_stop" not in found.map.status._fields


def test_telegraf_s_metric_style_becomes_a_map() -> None:
    """After sample_metric.conf, with the BIT of its table of types."""
    found = made(
        "telegraf",
        '[[inputs.modbus]]\nconfiguration_type = "metric"\n[[inputs.modbus.metric]]\nslave_id = 3\nfields = [\n'
        '{ register="coil", address=0, name="door_open"},\n{ address=1, name="current", type="INT32", scale=0.001 },\n'
        '{ address=9, name="firmware", type="STRING", length=8 },\n'
        '{ register="input", address=30, name="ready", type="BIT", bit=4 },\n]\n',
    )
    assert place(found, "door_open") == Place(Table.COILS, 0, Form.BOOL)
    assert place(found, "current") == Place(Table.HOLDING, 1, Form.INT32, 2, scale=0.001)
    assert place(found, "firmware") == Place(Table.HOLDING, 9, Form.STRING, 8)
    assert place(found, "ready") == Place(Table.INPUT, 30, Form.BOOL, 1, bit=4)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[inputs.modbus]]\nname = \n", "f:2: not TOML"),
        ("[[inputs.cpu]]\n", "f:1: [[inputs.modbus]]: there must be one, or its name given; there are none"),
        (
            '[[inputs.modbus]]\nname="a"\n[[inputs.modbus]]\nname="b"\n',
            "f:1: [[inputs.modbus]]: there must be one, or its name given; there are a, b",
        ),
        (
            '[[inputs.modbus]]\nconfiguration_type = "other"\n',
            "f:2: configuration_type: must be one of register, request, metric, not 'other'",
        ),
        (
            '[[inputs.modbus]]\ncoils = [\n {name="a", address=[0]},\n {name="b", address=[99999]}]\n',
            "f:4: b: address: must be a whole number from 0 to 65535, not 99999",
        ),
        (
            '[[inputs.modbus]]\nholding_registers = [\n{name="a", data_type="INT32",\naddress=[1]}]\n'.replace(",\n", ", "),
            "f:3: a: INT32 takes 2 registers, and address has 1",
        ),
        (
            '[[inputs.modbus]]\nholding_registers = [\n{name="a", data_type="INT32", address=[1,3]}]\n',
            "f:3: a: address: registers must follow each other, not [1, 3]",
        ),
        (
            '[[inputs.modbus]]\nholding_registers = [\n{name="a", data_type="WORD", address=[1]}]\n',
            "f:3: a: type must be one of INT16",
        ),
        (
            '[[inputs.modbus]]\nholding_registers = [\n{name="a", data_type="INT32", byte_order="ACBD", address=[1,2]}]\n',
            "f:3: signal a: order: must be one of ABCD",
        ),
        (
            '[[inputs.modbus]]\nconfiguration_type="request"\n[[inputs.modbus.request]]\n'
            'register = "relay"\nfields=[{address=1,name="a"}]\n',
            "f:4: register: must be one of coil",
        ),
    ],
)
def test_a_malformed_telegraf_configuration_is_refused_with_its_line(text: str, said: str) -> None:
    assert mistakes("telegraf", text)[0].startswith(said)


def test_one_of_several_telegraf_devices_is_chosen_by_its_name() -> None:
    text = "".join(
        f'[[inputs.modbus]]\nname = "{name}"\ncoils = [{{ name = "{name}", address = [0] }}]\n' for name in ("left", "right")
    )
    assert [row.name for row in made("telegraf", text, device="right").map.signals] == ["right"]
