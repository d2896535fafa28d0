"""What Moonraker tells of a Klipper printer, read strictly: its objects, as far as the registers of a printer need them. No I/O.

Object and field names: https://moonraker.readthedocs.io/en/latest/printer_objects/ and https://www.klipper3d.org/Status_Reference.html.
"""

import re
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from twin.motion import lines
from twin.node import JobState
from twin.wire import Bit, layout

OBJECTS: dict[str, list[str]] = {
    "webhooks": ["state", "state_message"],
    "print_stats": ["filename", "state", "message", "filament_used"],
    "virtual_sdcard": ["file_position", "is_active"],
    "toolhead": ["position", "homed_axes"],
    "extruder": ["temperature", "target"],
    "heater_bed": ["temperature", "target"],
    "fan": ["speed"],
    "display_status": ["progress"],
}
STATES = {
    "printing": JobState.RUNNING,
    "paused": JobState.HOLDING,
    "complete": JobState.DONE,
    "error": JobState.ABORTED,
    "cancelled": JobState.ABORTED,
}
READY = "ready"
LARGEST = 1e12
FOLDER = "lockstep"
_OURS = re.compile(rf"{FOLDER}/job-([0-9a-f]{{8}})\.gcode\Z")


def file_of(job_id: int) -> str:
    """A Job's file below Moonraker's `gcodes`."""
    return f"{FOLDER}/job-{job_id:08x}.gcode"


def job_of(file: str) -> int | None:
    """The Job of a file; None where it is none of ours."""
    found = _OURS.match(file)
    return int(found[1], 16) if found else None


@dataclass
class Told:
    """What was last told.

    Attributes:
        klippy: Klipper's state: ready, startup, shutdown, error, disconnected.
        position: X, Y, Z [mm]; temperatures and targets [°C] of hotend and bed; fan: share; filament: mm in this print.
        state, file, at: of the print, and the place in its file [bytes].
        strange: values that were not what they should be, and were left out.
    """

    klippy: str = "disconnected"
    message: str = ""
    position: tuple[float, float, float] = (0.0, 0.0, 0.0)
    homed: bool = False
    temperatures: list[float] = field(default_factory=lambda: [0.0, 0.0])
    targets: list[float] = field(default_factory=lambda: [0.0, 0.0])
    fan: float = 0.0
    filament: float = 0.0
    state: str = "standby"
    file: str = ""
    at: int = 0
    strange: int = 0

    def take(self, status: object) -> None:
        """Take in an update: objects with those of their fields that have changed."""
        if not isinstance(status, dict):
            self.strange += 1
            return
        for name in OBJECTS:
            fields = status.get(name)
            if isinstance(fields, dict):
                self._object(name, fields)
            elif fields is not None:
                self.strange += 1

    def _object(self, name: str, fields: Mapping[str, Any]) -> None:
        match name:
            case "webhooks":
                self.klippy = self._text(fields, "state", self.klippy)
                self.message = self._text(fields, "state_message", self.message)[:200]
            case "print_stats":
                self.file = self._text(fields, "filename", self.file)
                self.state = self._text(fields, "state", self.state)
                self.filament = self._number(fields, "filament_used", self.filament)
            case "virtual_sdcard":
                self.at = int(self._number(fields, "file_position", self.at))
            case "toolhead":
                self._place(fields)
            case "extruder" | "heater_bed":
                heater = int(name == "heater_bed")
                self.temperatures[heater] = self._number(fields, "temperature", self.temperatures[heater])
                self.targets[heater] = self._number(fields, "target", self.targets[heater])
            case "fan":
                self.fan = self._number(fields, "speed", self.fan)

    def _place(self, fields: Mapping[str, Any]) -> None:
        place = fields.get("position")
        if isinstance(place, list) and len(place) >= 3 and all(_is_number(value) for value in place[:3]):
            self.position = (float(place[0]), float(place[1]), float(place[2]))
        elif place is not None:
            self.strange += 1
        self.homed = set("xyz") <= set(self._text(fields, "homed_axes", "xyz" if self.homed else ""))

    def _number(self, fields: Mapping[str, Any], name: str, before: float) -> float:
        value = fields.get(name, before)
        if _is_number(value):
            return float(value)
        self.strange += value is not None
        return before

    def _text(self, fields: Mapping[str, Any], name: str, before: str) -> str:
        value = fields.get(name, before)
        if isinstance(value, str):
            return value
        self.strange += value is not None
        return before

    def status(self, kind: type) -> Any:
        """The machine's Status record, each value within what its register holds."""
        values = {
            "connected": self.klippy == READY,
            "killed": self.klippy in ("shutdown", "error"),
            "quick": False,
            **{axis: mm * 1e-3 for axis, mm in zip("xyz", self.position, strict=True)},
            "e": self.filament * 1e-3,
            "hotend_temperature": self.temperatures[0],
            "hotend_target": self.targets[0],
            "bed_temperature": self.temperatures[1],
            "bed_target": self.targets[1],
            "fan": self.fan,
            "resent": 0,
        }
        for signal in layout(kind).signals:
            if not isinstance(signal.binding, Bit) and signal.range is not None:
                values[signal.name] = min(max(values[signal.name], signal.range.low), signal.range.high)
        return kind(**values)


def _is_number(value: object) -> bool:
    """Whether it is a number that anything here may be: JSON has integers of hundreds of digits, too."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= LARGEST  # NaN is not


@dataclass(frozen=True)
class File:
    """A Job as the G-code that Klipper is given.

    Attributes:
        ends: bytes at the end of each line; records: what the lines come from.
    """

    text: bytes
    ends: tuple[int, ...]
    records: tuple[lines.Record, ...]

    def reached(self, at: int) -> tuple[int, int]:
        """Line of the program and chunks at a place in the file [bytes]."""
        index = bisect_right(self.ends, at) - 1
        return (0, 0) if index < 0 else (self.records[index].line, self.records[index].chunks)


def file(job: bytes) -> File:
    """The file of a Job of lines.

    Raises:
        JobError: bytes that are none.
    """
    text, ends, records = bytearray(b"; made by lockstep, checked as a whole\n"), [], []
    for line, record in lines.texts(job):
        text += line.encode("ascii") + b"\n"
        ends.append(len(text))
        records.append(record)
    return File(bytes(text), tuple(ends), tuple(records))
