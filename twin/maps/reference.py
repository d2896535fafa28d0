"""The docs' page of Maps, read off the parser: `python -m twin.maps.reference > docs/reference/maps.md`."""

from collections.abc import Iterator, Mapping

from twin.maps.columns import HEAD, METHOD, ROW
from twin.maps.map import CLASSES
from twin.units import ALL

PAGE = """# Maps

<!-- Generated from twin/maps/columns.py and twin/units.py by `python -m twin.maps.reference > docs/reference/maps.md`:
do not edit by hand. What a key says is written in columns.py; run this, and tests/twin/maps/test_maps_reference.py compares. -->

A Map says where the Signals of a machine lie that is not ours, and what they mean: a file that ends in `.csv` or `.toml`. How to
make one: [Add a Modbus device](../how-to/add-a-modbus-device.md). Packaged Maps are named without an ending: `map = "sdm630"`.

A mistake is told with its file and its line, all of them at once, and a file with a mistake is not used at all.

## The two forms

In CSV, lines `# key = value` before the table say what is true of the whole Map; other lines that begin with `#` are remarks. The
first other line names the columns, in any order; each further line is one Signal, and has as many cells. Commas or semicolons;
decimals have a point; a cell never goes on in the next line.

```csv
# name = heater
# base = 4xxxx
name,table,address,type,scale,unit,access,min,max,enum
temperature,,30001,int16,0.1,°C,r,-40,250,
setpoint,,40001,int16,0.1,°C,rw,0,200,
state,,40003,uint16,,,r,,,0=off|1=heating|2=fault
```

In TOML the same keys stand at the top, and each Signal is a table. Lists may be lists instead of `a|b`, and pairs tables:

```toml
name = "heater"
base = "4xxxx"

[[signals]]
name = "state"
address = 40003
type = "uint16"
enum = {{ off = 0, heating = 1, fault = 2 }}
```

## The whole Map

| key | what it says |
|---|---|
{head}

## A Signal

| column | what it says |
|---|---|
{row}

## A method

Of an OPC UA server, in TOML alone: `[[methods]]`.

| key | what it says |
|---|---|
{method}

## What becomes of it

- **The value** is (raw × scale × 10^`scale_from` + offset + raw of `plus_from` × plus_factor) in the unit; in Python, in the Feed
  and in OPC UA's EngineeringUnits it is what [the house](../explanations/architecture.md) says: SI inside, the unit for people.
- **The type** is bool for a bit, text for a string, an enumeration named after the Signal where `enum` or `bits` name values; a
  whole number without scale, offset and unit stays a whole number; all else is a float.
- **`min` and `max`** are checked against what the type can hold with its scale. A value outside is shown, and is not Good; one that
  is to be written is refused.
- **NaN** in a float needs no `invalid`: it is no value.
- **Addresses** have two customs, and 40001 is an address in both. Where `base` is not given and an address looks like a printed one
  (five or six digits that begin with its table's digit), the file is refused until it says which.
- **The same register twice** is allowed where it is another view: a word and its bits, a float and its pattern. The same value at
  the same place twice is refused. Values that cross are read as they are.
- **A bit of a register** can only be read: to write it, its register would have to be read first, and somebody else might write in
  between. Map the whole register with `bits`, or the device's masks or coils.
- **Scan classes**: {classes}. What is read in one request is read as often as the most frequent of it.

## Units

A symbol, a usual spelling of it (`deg`, `degC`, `rpm`, `m3/h`, `kVArh`), or the code of UNECE Recommendation 20.

| symbol | code | name |
|---|---|---|
{units}
"""


def page() -> str:
    """The whole page, in Markdown."""
    classes = ", ".join(f"`{name}` {period} ms" if period else f"`{name}` once" for name, period in CLASSES.items())
    units = "\n".join(f"| {unit.symbol} | {unit.code} | {unit.name} |" for unit in ALL if unit.symbol)
    return PAGE.format(head=_table(HEAD), row=_table(ROW), method=_table(METHOD), classes=classes, units=units)


def _table(keys: Mapping[str, str]) -> str:
    return "\n".join(_rows(keys))


def _rows(keys: Mapping[str, str]) -> Iterator[str]:
    for key, text in keys.items():
        yield f"| `{key}` | {text.replace('|', chr(92) + '|')} |"


if __name__ == "__main__":
    print(page(), end="")
