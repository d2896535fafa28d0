"""Maps made of what others have written down: SunSpec models, Telegraf's modbus configuration, W3C Thing Descriptions. Pure."""

from twin.maps.importers import sunspec, telegraf, wot
from twin.maps.importers.making import Imported
from twin.maps.map import MapError

FORMATS = ("sunspec", "telegraf", "wot")

__all__ = ["FORMATS", "Imported", "imported"]


def imported(format: str, files: list[tuple[str, str]], device: str = "", repeat: int = 4) -> Imported:
    """The Map of files of one of FORMATS, each its name and its text.

    Args:
        device: which of a Telegraf configuration's devices, by its name.
        repeat: how many of a SunSpec group are mapped whose number is only known at run time.

    Raises:
        MapError: every mistake, with file and line.
    """
    if format == "sunspec":
        return sunspec.read(*files, repeat=repeat)
    if len(files) != 1:
        raise MapError((f"{files[1][0]}: a Map is made of one file; only SunSpec models come in several",))
    (file, text), *_ = files
    return telegraf.read(file, text, device) if format == "telegraf" else wot.read(file, text)
