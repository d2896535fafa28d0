"""The chips that a node's image can be made for. Source: esptool's targets, MicroPython's ports/esp32."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Chip:
    """What flashing must know of a chip.

    Attributes:
        name: as esptool is told it.
        title: as esptool tells it.
        id: in the header of every image for it.
        offset: of the image's first byte in the flash.
        architecture: for which mpy-cross makes native code.
    """

    name: str
    title: str
    id: int
    offset: int
    architecture: str


CHIPS = {
    chip.name: chip
    for chip in (
        Chip("esp32", "ESP32", 0, 0x1000, "xtensawin"),
        Chip("esp32s2", "ESP32-S2", 2, 0x1000, "xtensawin"),
        Chip("esp32s3", "ESP32-S3", 9, 0x0, "xtensawin"),
        Chip("esp32c3", "ESP32-C3", 5, 0x0, "rv32imc"),
        Chip("esp32c6", "ESP32-C6", 13, 0x0, "rv32imc"),
    )
}
BY_ID = {chip.id: chip for chip in CHIPS.values()}
