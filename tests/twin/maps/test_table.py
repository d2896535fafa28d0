"""Maps from CSV and TOML: what is read, what is refused with its line, and that what is written reads back as the same."""

from dataclasses import replace
from typing import Any

import pytest

from twin.maps import Access, Deadband, Form, Map, MapError, Method, NodePlace, Order, Place, Table
from twin.maps.table import crossings, parse
from twin.units import KWH
from twin.wire import Range


def csv(*lines: str) -> Map:
    return parse("\n".join(lines) + "\n", "m.csv")


def mistakes(text: str, name: str = "m.csv") -> list[str]:
    with pytest.raises(MapError) as found:
        parse(text, name)
    return list(found.value.mistakes)


def without_lines(of: Map) -> Map:
    return replace(of, signals=tuple(replace(row, line=0) for row in of.signals))


def test_a_row_becomes_a_signal_in_si() -> None:
    made = csv(
        "# text = a meter",
        "name,table,address,type,order,scale,unit,scan,deadband,min,max,description",
        "energy,ir,72,uint32,CDAB,0.01,kWh,slow,0.5,0,1000,all of it",
    )
    row = made["energy"]
    assert (made.name, made.text) == ("m", "a meter")
    assert row.place == Place(Table.INPUT, 72, Form.UINT32, 2, Order.CDAB, scale=0.01)
    assert (row.signal.type, row.signal.unit, row.signal.text) == (float, KWH, "all of it")
    assert row.signal.range == Range(0.0, 3.6e9)
    assert (row.scan, row.access, row.line) == ("slow", Access.R, 3)
    assert row.deadband == Deadband(absolute=1.8e6)


def test_a_spreadsheet_s_csv_is_read_too() -> None:
    made = parse("\ufeff# name = meter;;\r\nname;table;address;type\r\npower;input;52;float32\r\n;;;\r\n", "a.csv")
    assert made.name == "meter"
    assert made["power"].place == Place(Table.INPUT, 52, Form.FLOAT32, 2)


@pytest.mark.parametrize(
    ("base", "table", "written", "place"),
    [
        ("0-based", "hr", "40001", (Table.HOLDING, 40001)),
        ("0-based", "hr", "0x0A", (Table.HOLDING, 10)),
        ("1-based", "ir", "1", (Table.INPUT, 0)),
        ("1-based", "ir", "65536", (Table.INPUT, 65535)),
        ("4xxxx", "", "40001", (Table.HOLDING, 0)),
        ("4xxxx", "holding", "49999", (Table.HOLDING, 9998)),
        ("4xxxx", "", "465536", (Table.HOLDING, 65535)),
        ("4xxxx", "", "30072", (Table.INPUT, 71)),
        ("4xxxx", "di", "10003", (Table.DISCRETE, 2)),
        ("4xxxx", "", "00017", (Table.COILS, 16)),
        ("4xxxx", "coil", "17", (Table.COILS, 16)),
        ("", "hr", "4000", (Table.HOLDING, 4000)),
    ],
)
def test_an_address_is_read_as_the_file_says_it_is_printed(base: str, table: str, written: str, place: tuple[Any, int]) -> None:
    kind = "bool" if place[0].bits else "uint16"
    made = csv(f"# base = {base}", "name,table,address,type", f"a,{table},{written},{kind}")
    assert (made["a"].place.table, made["a"].place.address) == place


def test_a_number_that_may_be_read_in_two_ways_is_refused() -> None:
    for table, written in (("hr", "40001"), ("ir", "30001"), ("hr", "400001"), ("di", "10001"), ("co", "00001")):
        kind = "bool" if table in ("co", "di") else "int16"
        (said,) = mistakes(f"name,table,address,type\na,{table},{written},{kind}\n")
        assert said.startswith(f"m.csv:2: signal a: address: {written} may be that address on the wire, or the printed number")


HEAD = "name,table,address,type,bit,count,scale,order,unit,access,scan,deadband,min,max,enum,bits,invalid\n"


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("a,hr,1,uint16,,,0,,,,,,,,,,", "scale: must not be 0"),
        ("a,hr,1,uint16,,,1e999,,,,,,,,,,", "scale: must be a number such as 0.1 or 1e-3, not '1e999'"),
        ("a,hr,1,bool,,,,,,,,,,,,,", "bit: missing: a bool in a register is one of its bits, 0 to 15"),
        ("a,hr,1,bool,16,,,,,,,,,,,,", "bit: must be a whole number from 0 to 15, not '16'"),
        ("a,hr,1,int16,3,,,,,,,,,,,,", "bit: only a bool is a bit, and the type is int16"),
        ("a,co,1,int16,,,,,,,,,,,,,", "type: must be bool in table co, not int16"),
        ("a,hr,1,,,,,,,,,,,,,,", "type: missing: must be one of bool, int16"),
        (
            "a,hr,1,word,,,,,,,,,,,,,",
            "type: must be one of bool, int16, uint16, int32, uint32, int64, uint64, float32, float64, string",
        ),
        ("a,zz,1,int16,,,,,,,,,,,,,", "table: must be one of hr, ir, co, di, holding, input, coil, discrete, not 'zz'"),
        ("a,hr,65536,int16,,,,,,,,,,,,,", "address: must be a whole number from 0 to 65535, not '65536'"),
        ("a,hr,65535,int32,,,,,,,,,,,,,", "address: 65535 and 2 registers go beyond 65535"),
        ("a,ir,1,int16,,,,,,rw,,,,,,,", "access: must be r, not rw: nobody can write to table ir"),
        ("a,di,1,bool,,,,,,w,,,,,,,", "access: must be r, not w: nobody can write to table di"),
        ("a,hr,1,bool,3,,,,,rw,,,,,,,", "access: must be r, not rw: a bit cannot be written without its register"),
        ("a,hr,1,int16,,,,,furlong,,,,,,,,", "unit: 'furlong' is unknown; allowed are %"),
        ("a,hr,1,int16,,,,,,,often,,,,,,", "scan: must be one of fast, normal, slow, once, not 'often'"),
        (
            "a,hr,1,int16,,,0.1,,V,,,,0,4000,,,",
            "min: 0 to 4000 cannot be: a int16 with this scale and offset holds -3276.8 to 3276.7 V",
        ),
        ("a,hr,1,int16,,,,,,,,,0,,,,", "min: min and max go together"),
        ("a,hr,1,int16,,,,,,,,,5,5,,,", "max: must be more than min, 5, not 5"),
        ("a,hr,1,int16,,,,,,,,1%,,,,,", "deadband: 1% of what: a share needs min and max"),
        ("a,hr,1,int16,,,,,,,,-1,,,,,", "deadband: must be 0 or more, in the unit, or a share such as 1%, not '-1'"),
        ("a,hr,1,float32,,,,,kWh,,,1e308,,,,,", "deadband: must be 0 or more, in the unit, or a share such as 1%, not '1e308'"),
        ("a,hr,1,uint16,,,,,,,,,,,0=off|70000=on,,", "enum: '70000' must be a whole number from 0 to 65535"),
        ("a,hr,1,uint16,,,,,,,,,,,0=off|1=Off,,", "enum: 1=Off is there twice"),
        ("a,hr,1,uint16,,,,,,,,,,,off|on,,", "enum: must be written 0=off|1=on, not 'off|on'"),
        ("a,hr,1,float32,,,,,,,,,,,0=off|1=on,,", "enum: only a whole number has enum, and this is a float"),
        ("a,hr,1,uint16,,,0.1,,,,,,,,0=off,,", "scale: enum has none"),
        ("a,hr,1,int16,,,,,,,,,,,,0=on,", "bits: the type must be uint16, uint32 or uint64"),
        ("a,hr,1,uint16,,,,,,,,,,,,16=on,", "bits: '16' must be a whole number from 0 to 15"),
        ("a,hr,1,string,,,,,,,,,,,,,", "count: missing: a string takes so many registers"),
        ("a,hr,1,int16,,3,,,,,,,,,,,", "count: must be 1 for int16, not 3"),
        ("a,hr,1,int16,,,,CDAB,,,,,,,,,", "order: must be one of AB, BA, ABCD, BADC, not 'CDAB'"),
        (
            "a,hr,1,uint16,,,,,,,,,,,,,-1",
            "invalid: must be different whole numbers that uint16 can hold, with | between them, not '-1'",
        ),
        (
            "class,hr,1,uint16,,,,,,,,,,,,,",
            "name: must be a-z, 0-9 and _, a letter first, at most 64, and no word of Python, not 'class'",
        ),
    ],
)
def test_a_row_that_cannot_be_is_refused_with_its_line(row: str, said: str) -> None:
    found = mistakes(HEAD + "fine,hr,500,int16" + "," * 13 + "\n" + row + "\n")
    assert len(found) == 1
    assert found[0].startswith(f"m.csv:3: signal {row.partition(',')[0]}: {said}")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "# most_registers = 126\nname,table,address,type\na,hr,1,int16\n",
            "m.csv:1: most_registers: must be a whole number from 1 to 125, not '126'",
        ),
        (
            "# most_register = 50\nname,table,address,type\na,hr,1,int16\n",
            "m.csv:1: # most_register = ...: unknown key; allowed are name, text",
        ),
        ("# gap = 1\n# gap = 2\nname,table,address,type\na,hr,1,int16\n", "m.csv:2: # gap = ...: said in line 1 already"),
        (
            "# forbidden = 24\nname,table,address,type\na,hr,1,int16\n",
            "m.csv:1: forbidden: must be written hr 24-25|ir 100, not '24'",
        ),
        (
            "# classes = quick=5\nname,table,address,type\na,hr,1,int16\n",
            "m.csv:1: classes: quick must be 0 or a whole number of milliseconds from 10",
        ),
        ("# forbidden = hr 1-3\nname,table,address,type\na,hr,0,int32\n", "m.csv:3: signal a: address: hr 1-3 is forbidden"),
        (
            "# most_registers = 2\nname,table,address,type\na,hr,0,int64\n",
            "m.csv:3: signal a: type: 4 registers, and one request may read 2",
        ),
        ("name,table,address,kind\na,hr,1,int16\n", "m.csv:1: column 'kind': unknown; allowed are name, node"),
        ("name,name,address,table\n", "m.csv:1: column 'name': there are 2 of it"),
        ("table,address\n", "m.csv:1: column 'name' is missing"),
        ("", "m.csv:1: no head line with the names of the columns"),
        ("name,table,address,type\n", "m.csv:1: no Signals"),
        ("name,table,address,type\na,hr,1\n", "m.csv:2: has 3 cells, the head line 4"),
        ('name,table,address,type\n"a,hr,1,int16\n', "m.csv:2: not CSV"),
        ("name,table,address,type\na,hr,1,int16\na,hr,2,int16\n", "m.csv:3: signal a: name: is taken in line 2"),
        ("name,table,address,type\na,hr,1,int16\nb,hr,1,int16\n", "m.csv:3: signal b: address: hr 1 int16 is in line 2 already"),
        (
            "name,table,address,type,scale_from\na,hr,1,int16,sf\n",
            "m.csv:2: signal a: scale_from: 'sf' is no other Signal of this Map",
        ),
        (
            "name,table,address,type,scale_from\na,hr,1,int16,sf\nsf,hr,200,int16,\n",
            "m.csv:2: signal a: scale_from: sf is too far away",
        ),
        (
            "name,table,address,type,scale_from\na,hr,1,int16,sf\nsf,ir,2,int16,\n",
            "m.csv:2: signal a: scale_from: sf must be in the same table",
        ),
        (
            "name,table,address,type,together\nz,hr,0,int16,\na,hr,1,int16,q\nb,ir,2,int16,q\n",
            "m.csv:3: signal a: together: a, b are read in one request, and must be in one table and unit",
        ),
        (
            "name,table,address,type,together\nz,hr,0,int16,\na,hr,1,int16,q\nb,hr,126,int16,q\n",
            "m.csv:3: signal a: together: a, b are read in one request and take 126 addresses; one request reads at most 125",
        ),
        (
            "name,table,address,type,scale_from\na,hr,0,int16,sf\nb,hr,200,int16,sf\nsf,hr,100,int16,\n",
            "m.csv:2: signal a: scale_from: a, b, sf are read in one request and take 201 addresses",
        ),
        (
            "# forbidden = hr 2\nname,table,address,type,scale_from\na,hr,1,int16,sf\nsf,hr,3,int16,\n",
            "m.csv:3: signal a: scale_from: a, sf are read in one request, and hr 2-2 between them is forbidden",
        ),
        ("name,table,address,type,plus_from\na,hr,1,int16,b\nb,hr,2,int16,\n", "m.csv:2: signal a: plus_factor: must be there"),
        ("# sunspec = 40000\nname,table,address,type\na,hr,2,int16\n", "m.csv:3: signal a: together: must be model:ID"),
        (
            "# base = 4xxxx\nname,table,address,type\na,ir,40001,int16\n",
            "m.csv:3: signal a: address: 40001 is in table hr, and the row says ir",
        ),
        (
            "# base = 4xxxx\nname,table,address,type\na,,50001,int16\n",
            "m.csv:3: signal a: address: must be 0xxxx, 1xxxx, 3xxxx or 4xxxx",
        ),
    ],
)
def test_a_file_that_cannot_be_is_refused_with_the_line(text: str, said: str) -> None:
    assert mistakes(text)[0].startswith(said)


def test_all_mistakes_are_told_at_once() -> None:
    found = mistakes("# gap = x\nname,table,address,type\na,hr,x,int16\nb,yy,1,int99\nc,hr,3,int16\n")
    assert [said.partition(": ")[0] for said in found] == ["m.csv:1", "m.csv:3", "m.csv:4", "m.csv:4"]


def test_the_same_register_may_be_looked_at_as_a_whole_and_in_bits() -> None:
    made = csv(
        "name,table,address,type,bit",
        "all,hr,7,uint16,",
        "low,hr,7,,0",
        "high,hr,7,bool,15",
        "both,hr,6,uint32,",
        "real,hr,6,float32,",
    )
    assert [row.signal.type for row in made.signals] == [int, bool, bool, int, float]
    assert crossings(made) == ()


def test_values_that_cross_may_be_but_can_be_asked_for() -> None:
    made = csv(
        "name,table,address,type", "a,hr,1,int64", "b,hr,2,int32", "c,hr,4,int32", "d,ir,2,int32", "e,hr,5,int16", "f,hr,3,int32"
    )
    assert [(one.name, other.name) for one, other in crossings(made)] == [("b", "f"), ("a", "c")]


TOML = """name = "press"
classes = { quick = 50 }

[[signals]]
name = "state"          # a remark
table = "holding"
address = 0x10
type = "uint16"
enum = { off = 0, on = 1 }

[[signals]]
name = "speed"
table = "holding"
address = 17
type = "int16"
invalid = [
    0x8000,
    -1,
]
scale = 0.1
unit = "MTS"
scan = "%s"
"""


def test_toml_says_the_same_as_csv() -> None:
    said = csv(
        "# name = press",
        "# classes = quick=50",
        "name,table,address,type,enum,invalid,scale,unit,scan",
        "state,hr,16,uint16,0=off|1=on,,,,",
        "speed,hr,17,int16,,0x8000|-1,0.1,m/s,quick",
    )
    assert without_lines(parse(TOML % "quick", "p.toml")) == without_lines(said)
    assert said["speed"].place.invalid == (-32768, -1)


def test_mistakes_in_toml_have_their_lines_too() -> None:
    assert mistakes(TOML % "often", "p.toml") == [
        "p.toml:22: signal speed: scan: must be one of fast, normal, slow, once, quick, not 'often'"
    ]
    assert mistakes("name = 'x'\n[[signals]]\nname = \n", "p.toml")[0].startswith("p.toml:3: not TOML: ")
    odd = 'text = """\n[[signals]]\n"""\n[[signals]]\nname = "a"\naddress.x = 1\n\'table\' = "hr"\ntype = "u16"\n'
    assert [said[:9] for said in mistakes(odd, "p.toml")] == ["p.toml:6:", "p.toml:8:"]


def test_an_opc_ua_map_has_nodes_and_methods() -> None:
    made = parse(
        '[[signals]]\nname = "speed"\nnode = "nsu=urn:maker;s=Press.Speed"\nunit = "mm/s"\naccess = "rw"\n'
        '[[methods]]\nname = "start"\nobject = "nsu=urn:maker;i=5"\nmethod = "nsu=urn:maker;i=6"\n'
        'inputs = { job = "str", count = "int" }\n',
        "press.toml",
    )
    assert made["speed"].place == NodePlace("nsu=urn:maker;s=Press.Speed")
    assert made["speed"].signal.type is float
    assert made.methods == (Method("start", "nsu=urn:maker;i=5", "nsu=urn:maker;i=6", (("job", str), ("count", int))),)


def test_a_node_s_namespace_must_have_its_uri() -> None:
    found = mistakes('[[signals]]\nname = "a"\nnode = "ns=2;s=A"\ntable = "hr"\n', "p.toml")
    assert found[0].startswith("p.toml:3: signal a: node: must be like nsu=urn:maker;s=Press.Speed")
    assert found[1] == "p.toml:4: signal a: table: a Signal with a node has none"


def test_names_of_values_and_bits_become_types_that_are_equal_where_they_say_the_same() -> None:
    kind = csv("name,table,address,type,enum,bits", "robot_mode,hr,1,uint16,0=off|7=Running,", "event,hr,2,uint32,,0=fault|31=hot")
    again = csv("name,table,address,type,enum,bits", "robot_mode,hr,9,uint16,0=off|7=running,", "event,hr,2,uint32,,0=fault|31=hot")
    mode, event = kind["robot_mode"].signal.type, kind["event"].signal.type
    assert (mode.__name__, mode(7).name, event(1).name, event(0x80000002)) == ("RobotMode", "RUNNING", "FAULT", event.HOT | 2)
    assert mode is again["robot_mode"].signal.type
