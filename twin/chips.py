"""What each pin of the chips that nodes are made of can do. Source: Espressif's datasheets; not measured on silicon."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Chip:
    """A chip's pins, by GPIO number.

    Attributes:
        gpio: those that there are.
        inputs_only: have neither an output nor pull resistors.
        flash: wired to the flash chip of every common module.
        strapping: read while the chip starts, and what it takes for them then.
        analogue: voltages can be read there, with Wi-Fi on too.
        analogue_without_wifi: voltages can be read there as long as Wi-Fi is off.
        console: of the boot loader and MicroPython.
    """

    gpio: frozenset[int]
    inputs_only: frozenset[int]
    flash: frozenset[int]
    strapping: Mapping[int, str]
    analogue: frozenset[int]
    analogue_without_wifi: frozenset[int]
    console: frozenset[int]


def _pins(*parts: int | range) -> frozenset[int]:
    return frozenset(pin for part in parts for pin in ((part,) if isinstance(part, int) else part))


_S2_S3_STRAPPING = {0: "high, or it waits for an image", 45: "low, or its flash gets another voltage", 46: "low"}
CHIPS: Mapping[str, Chip] = {
    "esp32": Chip(
        gpio=_pins(range(24), range(25, 28), range(32, 40)),
        inputs_only=_pins(range(34, 40)),
        flash=_pins(range(6, 12)),
        strapping={
            0: "high, or it waits for an image",
            2: "low or open",
            5: "high",
            12: "low, or its flash gets 1.8 V and it does not start",
            15: "high, or its boot messages are gone",
        },
        analogue=_pins(range(32, 40)),
        analogue_without_wifi=_pins(0, 2, 4, range(12, 16), range(25, 28)),
        console=_pins(1, 3),
    ),
    "esp32s2": Chip(
        gpio=_pins(range(22), range(26, 47)),
        inputs_only=_pins(46),
        flash=_pins(range(26, 33)),
        strapping=_S2_S3_STRAPPING,
        analogue=_pins(range(1, 11)),
        analogue_without_wifi=_pins(range(11, 21)),
        console=_pins(43, 44),
    ),
    "esp32s3": Chip(
        gpio=_pins(range(22), range(26, 49)),
        inputs_only=_pins(),
        flash=_pins(range(26, 33)),
        strapping={**_S2_S3_STRAPPING, 3: "anything; it chooses the debugger"},
        analogue=_pins(range(1, 11)),
        analogue_without_wifi=_pins(range(11, 21)),
        console=_pins(43, 44),
    ),
    "esp32c3": Chip(
        gpio=_pins(range(22)),
        inputs_only=_pins(),
        flash=_pins(range(12, 18)),
        strapping={2: "high", 8: "high", 9: "high, or it waits for an image"},
        analogue=_pins(range(5)),
        analogue_without_wifi=_pins(),
        console=_pins(20, 21),
    ),
    "esp32c6": Chip(
        gpio=_pins(range(31)),
        inputs_only=_pins(),
        flash=_pins(range(24, 31)),
        strapping={
            4: "anything; it chooses how SDIO samples",
            5: "anything; it chooses how SDIO samples",
            8: "high",
            9: "high, or it waits for an image",
            15: "anything; it chooses the debugger",
        },
        analogue=_pins(range(7)),
        analogue_without_wifi=_pins(),
        console=_pins(16, 17),
    ),
}
