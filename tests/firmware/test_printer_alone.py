"""The node's side of a Marlin board under CPython: what shows after days, in a rotten flash, or at a line that nobody makes."""

import struct
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from tests.firmware.alone import Ticks, load
from twin.motion.lines import MAGIC, Kind

MACHINE = dict.fromkeys(("ADC", "I2S", "PWM", "WDT", "Pin", "reset", "reset_cause", "unique_id"))
DAY_US = 86400 * 10**6
TICK_US = 10_000
FINGERPRINT = 42
PERMIT = 256
CONFIG: dict[str, Any] = {
    "uart": 1, "tx_pin": 17, "rx_pin": 16, "baud": 115200, "fingerprint": FINGERPRINT,
    "on_link_loss": "stop", "permit": [PERMIT, 0],
    "highest": [2900, 1200], "killed": [300, 0], "fan": [301], "axes": [[310], [312], [314], [316]], "temperatures": [[320], [321]],
    "targets": [[322], [323]], "resent": [324], "connected": [325, 0], "quick": [325, 1],
}  # fmt: skip


class Wire:
    """A UART whose other end says `ok` to every line, as long as it is there."""

    def __init__(self) -> None:
        self.out: list[bytes] = []
        self.coming = b""

    def any(self) -> int:
        return len(self.coming)

    def readinto(self, buffer: bytearray) -> int:
        count = min(len(buffer), len(self.coming))
        buffer[:count], self.coming = self.coming[:count], self.coming[count:]
        return count

    def write(self, text: bytes) -> None:
        self.out.append(bytes(text))

    def said(self) -> list[str]:
        """What was sent, without numbers and checksums."""
        lines = b"".join(self.out).decode().splitlines()
        return [line.partition(" ")[2].partition("*")[0] if line.startswith("N") else line for line in lines if line]


class Stored:
    """A Job that lies in the flash, and its store."""

    def __init__(self, job: bytes) -> None:
        self._job, self._at, self.ended, self.job_id = job, 0, False, 1

    def open(self, job_id: int) -> "Stored":
        self._at, self.ended = 0, False
        return self

    def readinto(self, buffer: bytearray) -> int:
        piece = self._job[self._at : self._at + len(buffer)]
        buffer[: len(piece)] = piece
        self._at += len(piece)
        self.ended = len(piece) < len(buffer)
        return len(piece)

    def close(self) -> None:
        pass


def job(*records: tuple[Kind, bytes]) -> bytes:
    body = b"".join(struct.pack("<HHBB", 1, 0, kind, len(text)) + text for kind, text in (*records, (Kind.END, b"")))
    return struct.pack("<4sHHIIIIII", MAGIC, 10, 4, len(records) + 1, 0, 0, FINGERPRINT, len(body), zlib.crc32(body)) + body


class Stand:
    """A Marlin backend with its board, and all the time that a test wants."""

    def __init__(self, stored: bytes = b"") -> None:
        self.ticks, self.wire = Ticks(5000), Wire()
        marlin, printer, bank, self.reg, feed = load(
            "marlin", "printer", "bank", "registers", "feed", ticks=self.ticks, machine=MACHINE
        )
        printer.pins.uart = lambda *of: self.wire
        feed.StoredJob = Stored
        self.bank, self.effective = bank.Bank(1024), bank.Bank(400)
        self.motion = marlin.Marlin(CONFIG, self.bank, Stored(stored), self.effective)
        self.talk = self.motion._talk
        self.permit(1)
        self.answers = self.permitted = True
        self.pass_time(100)
        self.wire.out.clear()

    def permit(self, level: int) -> None:
        self.effective.put_bit(PERMIT, 0, level)

    def pass_time(self, count: int, until: Callable[[], bool] = lambda: False) -> None:
        for _ in range(count):
            self.ticks.us += TICK_US
            if self.answers and self.talk._out > self.talk.acked:
                self.wire.coming += b"ok\n"
            self.motion.tick(self.ticks.us % (1 << 30), 1, None)
            if until():
                return

    def state(self) -> int:
        return int(self.bank.u16(self.reg.S_JOB_STATE))


def test_a_board_that_is_lost_after_days_of_printing_is_greeted_again_within_a_second() -> None:
    here = Stand()
    here.ticks.us += 8 * DAY_US  # longer than ticks can tell apart
    here.answers = False
    here.talk.put(b"M114", 4)
    here.pass_time(800, until=lambda: here.talk.acked != here.talk._out and not here.motion._board.ready)
    here.wire.out.clear()
    here.pass_time(110)
    assert b"M104 S0" not in b"".join(here.wire.out), "M110 comes first, and waits for its answer"
    assert "M110" in here.wire.said()


def test_a_board_that_comes_back_after_a_week_is_asked_where_it_is() -> None:
    here = Stand()
    here.answers = False
    here.talk.put(b"M114", 4)
    here.pass_time(800, until=lambda: not here.motion._board.ready)
    for _ in range(8):
        here.ticks.us += DAY_US
        here.pass_time(1)
    here.pass_time(800, until=lambda: not here.motion._board.ready and here.motion._board._link == 0)
    here.answers = True
    here.pass_time(400)
    here.wire.out.clear()
    here.pass_time(210)
    assert {"M114", "M105"} <= set(here.wire.said())


def test_a_stored_job_that_has_rotted_in_the_flash_is_never_sent() -> None:
    whole = job((Kind.SET, b"M104 S200"))
    good = Stand(whole)
    assert good.motion.start(1) == 0 and good.state() == good.reg.JOB_STATE_READY
    good.pass_time(8)
    assert "M104 S200" in good.wire.said() and good.state() == good.reg.JOB_STATE_DONE
    rotten = Stand(whole.replace(b"S200", b"S260"))
    assert rotten.motion.start(1) == 0
    rotten.pass_time(8)
    assert "M104 S260" not in rotten.wire.said() and rotten.state() == rotten.reg.JOB_STATE_ABORTED
    assert rotten.motion.fault == rotten.reg.FAULT_JOB and rotten.bank.u16(rotten.reg.S_JOB_FAULT) == rotten.reg.REASON_BAD_CHECKSUM


@pytest.mark.parametrize("length", [97, 123, 255])
def test_a_line_that_is_longer_than_a_board_takes_is_a_bad_job(length: int) -> None:
    here = Stand(job((Kind.MOVE, b"G1 X" + b"1" * (length - 4))))
    here.motion.start(1)
    here.pass_time(300, until=lambda: here.state() == here.reg.JOB_STATE_ABORTED)
    assert here.bank.u16(here.reg.S_JOB_FAULT) == here.reg.REASON_BAD_JOB
    assert not [text for text in here.wire.said() if text.startswith("G1")]


def test_no_line_that_waits_is_overwritten_and_heat_is_off_however_often_permit_comes_and_goes() -> None:
    here = Stand(job((Kind.SET, b"M104 S200"), (Kind.HOME, b"G28"), (Kind.MOVE, b"G1 X1")))
    here.motion.start(1)
    here.pass_time(300, until=lambda: "G28" in here.wire.said())
    here.answers = False  # it homes
    here.wire.out.clear()
    before = here.talk.acked
    for _ in range(10):
        here.permit(0)
        here.pass_time(2)
        here.permit(1)
        here.pass_time(2)
    here.permit(0)
    here.pass_time(2)
    assert here.talk.made - before <= 8
    here.answers = True
    here.pass_time(60)
    heat = [text for text in here.wire.said() if text.startswith("M104")]
    assert heat[0] == "M104 S0" and heat[-1] == "M104 S0" and "G1 X1" not in here.wire.said()
    here.permit(1)
    here.pass_time(60)
    assert [text for text in here.wire.said() if text.startswith("M104")][-1] == "M104 S200.0"


def test_a_full_conversation_takes_no_more() -> None:
    here = Stand()
    here.answers = False
    put = [here.talk.put(b"M104 S%d" % k, 7) for k in range(14)]
    assert put[-1] == -1 and here.talk.made - here.talk.acked == 8
    here.talk.send(0, 8)
    assert here.wire.said()[:2] == ["M104 S0", "M104 S1"]


def test_the_cause_of_a_fault_stays_while_the_board_is_too_hot_and_until_a_halted_one_is_reset() -> None:
    here = Stand()
    assert not here.motion.cause
    for _ in range(3):
        here.wire.coming += b"T:320.0 /0.0 B:20.0 /0.0\n"
        here.pass_time(2)
    assert here.motion.fault == here.motion.cause == here.reg.FAULT_OVER_TEMPERATURE
    here.wire.coming += b"T:290.0 /0.0 B:20.0 /0.0\n"
    here.pass_time(2)
    assert not here.motion.cause
    here.wire.coming += b"Error:Printer halted. kill() called!\n"
    here.answers = False
    here.pass_time(2000)
    assert here.motion.cause == here.reg.FAULT_PRINTER, "it does not answer, and so it is still halted"
    here.wire.coming += b"start\n"
    here.answers = True
    here.pass_time(200)
    assert not here.motion.cause and here.motion._board.ready
