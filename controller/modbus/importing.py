"""`lockstep modbus import`: a Map made of what others have written down about a device."""

import argparse
import sys
from pathlib import Path

from twin.maps import MapError
from twin.maps.importers import FORMATS, imported
from twin.maps.table import READERS, write


def add_to(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Give `lockstep modbus` its action `import`."""
    found = actions.add_parser("import", help="make a Map of SunSpec models, a Telegraf configuration or a Thing Description")
    found.add_argument("format", choices=FORMATS)
    found.add_argument("file", type=Path, nargs="+", metavar="FILE", help="several for SunSpec: one a model")
    found.add_argument("--output", type=Path, metavar="MAP", help="a file that ends in .csv or .toml (shown as CSV)")
    found.add_argument("--device", default="", metavar="NAME", help="which [[inputs.modbus]], where there are several")
    many = "how many of a SunSpec group of which the device tells the number (4)"
    found.add_argument("--repeat", type=int, default=4, metavar="N", help=many)
    found.set_defaults(do=run)


def run(options: argparse.Namespace) -> int:
    """Write the Map; what was left out goes to standard error."""
    output: Path | None = options.output
    try:
        if output is not None and output.suffix not in READERS:
            raise MapError((f"{output}: must end in {' or '.join(READERS)}",))
        if not 1 <= options.repeat <= 100:
            raise MapError((f"--repeat: must be from 1 to 100, not {options.repeat}",))
        files = [(str(path), _text(path)) for path in options.file]
        found = imported(options.format, files, options.device, options.repeat)
        text = write(found.map, output.suffix[1:] if output is not None else "csv")
        if output is None:
            sys.stdout.write(text)
        else:
            output.write_text(text, encoding="utf-8")
    except (MapError, OSError) as failed:
        print(failed, file=sys.stderr)
        return 1
    for remark in found.remarks:
        print(remark, file=sys.stderr)
    if output is not None:
        print(f"{output}: {len(found.map.signals)} Signals")
    return 0


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as broken:
        raise MapError((f"{path}:1: not UTF-8: {broken.reason} at byte {broken.start}",)) from broken
