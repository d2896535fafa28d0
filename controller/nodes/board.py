"""A board at a USB port: which one it is, and esptool at work on it: a process of its own, as its licence is not ours."""

import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterable

from controller.nodes.chips import Chip

BAUD = 460_800
VENDORS = {
    0x303A: "Espressif, the chip's own USB",
    0x10C4: "Silicon Labs CP210x",
    0x1A86: "WCH CH340 or CH9102",
    0x0403: "FTDI",
    0x067B: "Prolific PL2303",
}
"""USB vendors of what stands between a board's USB socket and its chip."""


class BoardError(Exception):
    """A board that cannot be found, reached or written; one line says why."""


def find() -> str:
    """The one serial port with a board behind it.

    Raises:
        BoardError: there is none, or more than one.
    """
    if importlib.util.find_spec("serial") is None:
        raise BoardError("pyserial is missing: pip install 'lockstep-factory[flash]'")
    from serial.tools import list_ports

    found = [port for port in list_ports.comports() if port.vid in VENDORS]
    if not found:
        raise BoardError("no board is plugged in (no USB serial port of a kind that boards have): name its port with --port")
    if len(found) > 1:
        named = ", ".join(sorted(f"{port.device} ({VENDORS[port.vid]})" for port in found))
        raise BoardError(f"{len(found)} boards may be meant, name one with --port: {named}")
    return str(found[0].device)


def command(chip: Chip, port: str, image: str, baud: int = BAUD, erase: bool = False) -> list[str]:
    """What is run to write an image: it goes in one piece, is read back as a hash, and the board starts anew."""
    head = [sys.executable, "-m", "esptool", "--chip", chip.name, "--port", port, "--baud", str(baud), "--after", "hard-reset"]
    return [*head, "write-flash", *(["--erase-all"] if erase else []), f"{chip.offset:#x}", image]


def write(argv: list[str], port: str) -> None:
    """Run esptool, which shows on our standard output how far it is.

    Raises:
        BoardError: the board is not written, or not with what it was to be written with.
    """
    if importlib.util.find_spec("esptool") is None:
        raise BoardError("esptool is missing: pip install 'lockstep-factory[flash]'")
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False, text=True)
    if done.returncode:
        raise BoardError(why(done.stderr, port))


_WHYS: tuple[tuple[str, str], ...] = (
    (r"This chip is (\S+), not (\S+)\. ", "the chip at {port} is an {0}, the image is for an {1}: give one for it with --image"),
    (r"port is busy or doesn't exist.*(?:No such file|FileNotFound)", "{port}: there is no such port"),
    (r"port is busy or doesn't exist.*Permission denied", "{port}: you may not open it: join its group (dialout or uucp)"),
    (r"port is busy or doesn't exist", "{port} is busy: another program has it open, a serial monitor perhaps"),
    (r"not fit in (\d+) bytes of flash", "the flash of the board at {port} is too small: it has {0} bytes"),
    (r"(?:Verification failed|MD5 of file does not match)", "{port}: what was read back is not what was written: write again"),
    (r"Wrong boot mode detected", "{port}: the chip does not wait for an image: hold BOOT, press RESET, let go, try again"),
    (r"Failed to connect to (\S+):", "no {0} answers at {port}: hold its BOOT button while it connects, and look at the cable"),
)


def why(said: str, port: str) -> str:
    """What esptool's words mean to somebody who wants a node; its own last words where we know no better ones."""
    text = " ".join(said.split())
    for pattern, meaning in _WHYS:
        if found := re.search(pattern, text):
            return meaning.format(*found.groups(), port=port)
    return f"{port}: esptool: {_last(said.splitlines())}"


def _last(lines: Iterable[str]) -> str:
    fatal = "A fatal error occurred: "
    found = [line.strip() for line in lines if line.strip()]
    told = [line.partition(fatal)[2] for line in found if fatal in line]
    return (told or found or ["ended without a word"])[-1]
