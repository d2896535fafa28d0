"""Who comes to the rig for time, and who does not stay."""

import socket
import struct
from pathlib import Path

from hil.guest import Door

WAIT = struct.Struct("<qB")


def knock(door: Door, *sent: bytes) -> socket.socket:
    guest = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    guest.connect(str(door.path))
    for part in sent:
        guest.sendall(part)
    return guest


def test_the_door_is_for_this_user_alone(tmp_path: Path) -> None:
    door = Door(tmp_path / "clock.sock")
    assert door.path.stat().st_mode & 0o777 == 0o600
    assert door.knock() is None
    door.close()


def test_a_guest_tells_its_name_and_when_it_wants_to_be_asked(tmp_path: Path) -> None:
    door = Door(tmp_path / "clock.sock")
    end = knock(door, b"core".ljust(32, b"\0"), WAIT.pack(5_000, 1))
    guest = door.knock()
    assert guest is not None and (guest.name, guest.wake, guest.active, guest.gone) == ("core", 5_000, True, False)
    end.close()
    guest.ask(guest.wake)
    assert guest.gone
    door.close()


def test_a_process_that_dies_before_it_asks_for_time_is_not_let_in(tmp_path: Path) -> None:
    door = Door(tmp_path / "clock.sock")
    knock(door, b"core".ljust(32, b"\0")).close()
    assert door.knock() is None
    knock(door).close()
    assert door.knock() is None
    door.close()
