"""Nodes that are none of ours in factory.toml: what they are made of, and every mistake by its key."""

from pathlib import Path

import pytest

from twin.devices import ModbusDevice, OpcUaServer
from twin.factory import FactoryError, parse

HEAD = '[factory]\nname = "f"\n[cells.c]\n'
MAP = """name,table,address,type,unit
voltage,ir,0,float32,V
current,ir,2,float32,A
"""
METER = (
    HEAD + '[nodes.m]\nkind = "modbus"\nhost = "10.0.0.5"\n'
    '[machines.m]\ntype = "registers"\ncell = "c"\nnode = "m"\nmap = "meter.csv"\n'
)
PRESS = """name = "press"
[[signals]]
name = "force"
node = "nsu=urn:maker;s=Press.Force"
type = "float"
"""
OPCUA = (
    HEAD + '[nodes.p]\nkind = "opcua"\nurl = "opc.tcp://127.0.0.1:4840"\ncertificate = "press.der"\n'
    '[machines.p]\ntype = "opcua"\ncell = "c"\nnode = "p"\nmap = "press.toml"\n'
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "meter.csv").write_text(MAP)
    (tmp_path / "press.toml").write_text(PRESS)
    (tmp_path / "arm.csv").write_text(ARM_MAP)
    (tmp_path / "units.csv").write_text("name,table,address,type,unit_id\na,hr,1,int16,250\n")
    return tmp_path


def test_a_meter_is_a_device_with_a_machine_and_none_of_the_nodes_that_are_commanded(folder: Path) -> None:
    factory = parse(METER, folder)
    assert not factory.nodes and not factory.machines
    assert factory.devices["m"].reached == ModbusDevice("10.0.0.5", 502)
    assert [row.name for row in factory.mirrored["m"].map.read] == ["voltage", "current"]


def test_an_opc_ua_machine_is_declared_like_any_other(folder: Path) -> None:
    factory = parse(OPCUA, folder)
    assert factory.devices["p"].reached == OpcUaServer("opc.tcp://127.0.0.1:4840", certificate=folder / "press.der")
    assert factory.mirrored["p"].map["force"].place.node == "nsu=urn:maker;s=Press.Force"


def test_a_serial_line_and_tls_are_read(folder: Path) -> None:
    line = METER.replace('host = "10.0.0.5"', 'serial = "/dev/ttyUSB1"\nbaud = 19200\nparity = "even"')
    reached = parse(line, folder).devices["m"].reached
    assert isinstance(reached, ModbusDevice) and reached.serial is not None
    assert (reached.serial.port, reached.serial.baud, reached.serial.parity) == ("/dev/ttyUSB1", 19200, "even")
    secured = METER.replace("[machines.m]", 'tls = { certificate = "a.pem", key = "a.key", authority = "ca.pem" }\n[machines.m]')
    reached = parse(secured, folder).devices["m"].reached
    assert isinstance(reached, ModbusDevice) and reached.tls is not None
    assert reached.port == 802 and reached.tls.key == folder / "a.key"


SERIAL = 'serial = "/dev/ttyUSB1"'
ARM_MAP = "name,table,address,type,unit,unit_id\n" + "".join(f"j{i},hr,{i},int16,{'V' if i == 6 else 'rad'},\n" for i in range(7))
ARM = METER.replace("meter.csv", "arm.csv") + 'robot = "ur5e"\njoints = ["j0", "j1", "j2", "j3", "j4", "j5"]\n'
LINE = METER.replace('host = "10.0.0.5"', SERIAL)
SECOND = LINE[LINE.index("[nodes.m]") :].replace(".m]", ".k]").replace('node = "m"', 'node = "k"\nunit = 2')
OURS = f'[nodes.ours]\nuid = 1\n{SERIAL}\n'


@pytest.mark.parametrize(
    ("text", "old", "new", "key", "why"),
    [
        (METER, "10.0.0.5", "plc..local", "nodes.m.host", "must be a name or an address of at most 253 letters"),
        (METER, "10.0.0.5", "x" * 64, "nodes.m.host", "1 to 63"),
        (
            METER, "[machines.m]", 'tls = { certificate = "a", key = "b", authority = "c", server = ".plc" }\n[machines.m]',
            "nodes.m.tls.server", "not '.plc'",
        ),
        (OPCUA, "127.0.0.1:4840", "[::1", "nodes.p.url", "opc.tcp://127.0.0.1:4840"),
        (OPCUA, "127.0.0.1:4840", "h:99999", "nodes.p.url", "opc.tcp://127.0.0.1:4840"),
        (OPCUA, "127.0.0.1", "plc..local", "nodes.p.url", "opc.tcp://127.0.0.1:4840"),
        (LINE, 'node = "m"', 'node = "m"\nunit = 0', "machines.m.unit", "must be 1 to 247 on a serial line, not 0"),
        (LINE, 'node = "m"', 'node = "m"\nunit = 248', "machines.m.unit", "must be 1 to 247 on a serial line, not 248"),
        (LINE, "meter.csv", "units.csv", "machines.m.map", "signal a: unit_id must be 1 to 247 on a serial line, not 250"),
        (LINE + SECOND, '.k]\nkind = "modbus"', '.k]\nkind = "modbus"\nbaud = 19200', "nodes.k.baud", "as of nodes.m"),
        (LINE + SECOND, '.k]\nkind = "modbus"', '.k]\nkind = "modbus"\nparity = "odd"', "nodes.k.parity", "as of nodes.m"),
        (LINE + SECOND, "unit = 2", "unit = 1", "machines.k.unit", "1 of /dev/ttyUSB1 is machines.m already"),
        (METER + '[nodes.ours]\nuid = 1\nhost = "a..b"\n', "x" * 9, "", "nodes.ours.host", "not 'a..b'"),
        (LINE + OURS, "x" * 9, "", "nodes.m.serial", "is the line of nodes.ours"),
        (ARM, 'robot = "ur5e"\n', "", "machines.m.joints", "there is no robot"),
        (ARM, ', "j5"', "", "machines.m.joints", "must be 6 different Signals, as ur5e has 6 joints"),
        (ARM, '"j5"', '"j4"', "machines.m.joints", "must be 6 different Signals"),
        (ARM, '"j5"', '"j6"', "machines.m.joints", "j6 must be an angle, in rad, °, mrad, and has V"),
        (ARM, ARM[ARM.index("joints") :], "", "machines.m.joints", "must be 6 different Signals"),
        (METER, 'host = "10.0.0.5"', "uid = 3", "nodes.m.uid", "unknown key"),
        (METER, 'host = "10.0.0.5"', "port = 70000", "nodes.m.port", "1 to 65535"),
        (METER, 'host = "10.0.0.5"', 'host = "x"\nbaud = 9600', "nodes.m.baud", "only a device on a serial line"),
        (METER, 'host = "10.0.0.5"', 'serial = "/dev/x"\nvirtual = true', "nodes.m.virtual", "only a device on a network"),
        (METER, 'map = "meter.csv"', 'map = "meter"', "machines.m.map", "no such Map"),
        (METER, 'map = "meter.csv"', 'map = "other.csv"', "machines.m.map", "cannot be read"),
        (METER, 'map = "meter.csv"', 'map = "press.toml"', "machines.m.map", "no Map of a machine of type registers"),
        (METER, 'node = "m"', 'node = "n"', "machines.m.node", "must be one of m"),
        (METER, 'map = "meter.csv"', 'map = "meter.csv"\nunit = 300', "machines.m.unit", "0 to 255"),
        (METER, 'map = "meter.csv"', 'map = "meter.csv"\nbase = 256', "machines.m.base", "unknown key"),
        (METER, 'map = "meter.csv"', 'map = "meter.csv"\njoints = ["elbow"]', "machines.m.joints", "'elbow'"),
        (OPCUA, "opc.tcp://", "http://", "nodes.p.url", "opc.tcp://127.0.0.1:4840"),
        (OPCUA, 'certificate = "press.der"\n', "", "nodes.p.certificate", "missing"),
        (OPCUA, 'certificate = "press.der"', 'policy = "None"\npassword_file = "x"', "nodes.p.password_file", "not sent"),
        (OPCUA, 'certificate = "press.der"', 'policy = "Basic128"', "nodes.p.policy", "Basic256Sha256"),
    ],
)
def test_a_mistake_is_named_with_its_key_and_what_is_allowed(
    folder: Path, text: str, old: str, new: str, key: str, why: str
) -> None:
    with pytest.raises(FactoryError) as wrong:
        parse(text.replace(old, new), folder)
    assert any(line.startswith(f"{key}: ") and why in line for line in wrong.value.mistakes), wrong.value.mistakes


def test_a_line_may_have_several_devices_and_a_robot_its_joints(folder: Path) -> None:
    assert set(parse(LINE + SECOND, folder).devices) == {"m", "k"}
    assert parse(ARM, folder).mirrored["m"].joints == ("j0", "j1", "j2", "j3", "j4", "j5")


@pytest.mark.parametrize("number", ["1" * 5000, "0x" + "1" * 5000])
def test_a_number_that_is_too_long_is_a_mistake_too(folder: Path, number: str) -> None:
    with pytest.raises(FactoryError, match=r"not TOML: a number has more than 300 digits \(at line 3\)"):
        parse(f'[factory]\nname = "f"\nscan_ms = {number}\n', folder)


def test_two_machines_on_one_unit_and_two_maps_of_one_name_are_mistakes(folder: Path) -> None:
    twice = METER + METER[METER.index("[machines.m]") :].replace("machines.m", "machines.n")
    with pytest.raises(FactoryError, match=r"machines.n.unit: 1 of m is machines.m already"):
        parse(twice, folder)
    (folder / "other").mkdir()
    (folder / "other" / "meter.csv").write_text(MAP.replace("current", "power"))
    named = twice.replace('machines.n]', "machines.n]\nunit = 2")
    at = named.rindex("meter.csv")
    with pytest.raises(FactoryError, match=r"machines.n.map: 'meter' is the name of another Map, that of machines.m"):
        parse(named[:at] + "other/meter.csv" + named[at + len("meter.csv") :], folder)


def test_a_map_with_a_mistake_is_the_only_thing_that_is_wrong(folder: Path) -> None:
    with pytest.raises(FactoryError) as wrong:
        parse(METER.replace("meter.csv", "none.csv"), folder)
    assert len(wrong.value.mistakes) == 1


def test_a_device_without_a_machine_is_a_mistake(folder: Path) -> None:
    with pytest.raises(FactoryError, match=r"nodes\.m: no machine is on this device"):
        parse(METER[: METER.index("[machines.m]")], folder)
