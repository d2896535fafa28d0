"""The rig's serial line, with nobody on it but us: when bytes arrive, with whom, and what becomes of those that meet."""

import os
import select
from collections.abc import Iterator
from pathlib import Path

import pytest

from hil.bus import CLASH, CONTROLLER, Bus, lay
from hil.targets import PinSet, SerialSent
from tests.hil.faults.belts import wired
from twin.clock import MS, US, Ns
from twin.serial import virtual_tty

BYTE = Ns(11 * 10**9 // 115_200)
DE = 4


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[Bus]:
    """A line with two nodes, a and b; both are on."""
    made = lay(wired("a", "b"), tmp_path)["a"]
    for name in ("a", "b"):
        made.power(name, True, Ns(0))
    yield made
    made.close()


def heard(bus: Bus, name: str) -> bytes:
    """What a station can read."""
    end, data = os.open(bus.stations[name].path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK), b""
    looked = select.poll()
    looked.register(end, select.POLLIN)
    while looked.poll(0):
        data += os.read(end, 4096)
    os.close(end)
    return data


def speak(bus: Bus, name: str, now: Ns, data: bytes, lets_go: Ns | None = None) -> None:
    """A station says something; a node holds its direction pin for it, until `lets_go`."""
    end = os.open(bus.stations[name].path, os.O_RDWR | os.O_NOCTTY)
    os.write(end, data)
    os.close(end)
    if name == CONTROLLER:
        bus.pump(now)
        return
    until = lets_go if lets_go is not None else bus.end(now, len(data))
    bus.listen(name, [PinSet(now, DE, 1), SerialSent(now, 1, len(data)), PinSet(until, DE, 0)])


def test_bytes_take_their_time_and_reach_all_but_their_sender(bus: Bus) -> None:
    speak(bus, CONTROLLER, Ns(0), b"question")
    assert 8 * BYTE <= bus.wake < 8 * BYTE + 2 * US and bus.wake % US == 0
    assert not bus.pump(Ns(bus.wake - 1)) and heard(bus, "a") == b""
    assert not bus.pump(bus.wake) and list(bus.heard) == ["a", "b"]
    assert [heard(bus, name) for name in (CONTROLLER, "a", "b")] == [b"", b"question", b"question"]
    speak(bus, "b", Ns(10 * MS), b"answer")
    assert bus.pump(bus.wake), "the controller has heard it"
    assert [heard(bus, name) for name in (CONTROLLER, "a", "b")] == [b"answer", b"answer", b""]


def test_what_is_written_in_two_goes_leaves_one_after_the_other(bus: Bus) -> None:
    speak(bus, CONTROLLER, Ns(0), bytes(50))
    first = bus.wake
    speak(bus, CONTROLLER, Ns(MS), bytes(50))
    bus.pump(first)
    assert bus.wake - first >= 50 * BYTE


def test_a_node_that_tells_of_bytes_ahead_of_time_is_heard_when_they_have_passed(bus: Bus) -> None:
    speak(bus, "a", Ns(70 * MS), b"later")
    assert bus.wake == bus.end(Ns(70 * MS), 5)


def test_two_who_speak_at_once_spoil_what_comes_together(bus: Bus) -> None:
    speak(bus, CONTROLLER, Ns(0), bytes(40))
    speak(bus, "a", Ns(20 * BYTE + US), bytes(40))
    while bus.wake < Ns(10**12):
        bus.pump(bus.wake)
    assert heard(bus, "b") == bytes(20) + bytes(60).translate(CLASH)


def test_bytes_that_leave_while_the_direction_pin_is_low_are_not_on_the_line(bus: Bus) -> None:
    speak(bus, "a", Ns(0), b"0123456789", lets_go=Ns(4 * BYTE))
    bus.pump(bus.wake)
    assert heard(bus, CONTROLLER) == b"0123"
    bus.listen("a", [SerialSent(Ns(20 * MS), 1, 0)])
    end = os.open(bus.stations["a"].path, os.O_RDWR | os.O_NOCTTY)
    os.write(end, b"mute")
    os.close(end)
    bus.listen("a", [SerialSent(Ns(30 * MS), 1, 4)])
    bus.pump(bus.wake)
    assert heard(bus, CONTROLLER) == b""


def test_a_node_that_does_not_let_go_hears_nothing_and_spoils_what_others_say(bus: Bus) -> None:
    speak(bus, "a", Ns(0), b"reply", lets_go=Ns(5 * MS))
    bus.pump(bus.wake)
    speak(bus, CONTROLLER, Ns(2 * MS), b"next")
    bus.pump(bus.wake)
    assert heard(bus, "a") == b"" and heard(bus, "b") == b"reply" + b"next".translate(CLASH)


def test_a_station_that_is_cut_off_neither_speaks_nor_hears(bus: Bus) -> None:
    bus.stations["a"].cut = True
    speak(bus, CONTROLLER, Ns(0), b"hello")
    bus.pump(bus.wake)
    speak(bus, "a", Ns(10 * MS), b"here")
    bus.pump(bus.wake)
    assert [heard(bus, name) for name in (CONTROLLER, "a", "b")] == [b"", b"", b"hello"]


def test_a_node_without_power_hears_nothing_and_what_it_was_about_to_say_is_never_said(bus: Bus) -> None:
    speak(bus, CONTROLLER, Ns(0), b"before")
    bus.pump(bus.wake)
    speak(bus, "a", Ns(10 * MS), b"answer")
    bus.power("a", False, Ns(10 * MS + BYTE))
    speak(bus, CONTROLLER, Ns(20 * MS), b"meanwhile")
    bus.pump(bus.wake)
    bus.power("a", True, Ns(30 * MS))
    assert heard(bus, "a") == b"" and heard(bus, CONTROLLER) == b""


def test_nodes_go_alone_unless_another_one_is_about_to_answer(bus: Bus) -> None:
    quiet = bus.alone(Ns(0))
    speak(bus, CONTROLLER, Ns(0), b"question")
    asked = bus.wake
    bus.pump(asked)
    assert bus.alone(asked) == 4 * BYTE + 1 or bus.alone(asked) < 5 * BYTE < quiet
    speak(bus, "b", Ns(5 * MS), b"answer")
    answered = bus.wake
    bus.pump(answered)
    assert bus.alone(answered) == quiet


def test_the_controllers_port_lies_where_the_core_looks_and_goes_with_the_line(bus: Bus, tmp_path: Path) -> None:
    port = virtual_tty(tmp_path, "/dev/ttyUSB0")
    assert os.ttyname(bus.stations[CONTROLLER]._held) == str(port.resolve()) and (tmp_path / "a" / "uart1").exists()
    bus.close()
    assert not port.is_symlink() and not (tmp_path / "a" / "uart1").is_symlink()
