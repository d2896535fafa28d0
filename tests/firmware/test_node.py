"""A node as a whole: what it is made of, what it says of itself, what pins do, and what it refuses to start with."""

import dataclasses
import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from controller import __file__ as controller_file
from tests.firmware.conftest import Make
from tests.firmware.factories import (
    AT_ENTRY,
    AT_EXIT,
    BEACON,
    BELT,
    BELT_COMMAND,
    BELT_STATUS,
    LAMP,
    LAMPS,
    LAMPS_COMMAND,
    LAMPS_STATUS,
    OPEN,
    RUN,
    SHUT,
    SPEED,
    TRIPPED,
    node_file,
    with_jobs,
)
from tests.firmware.rig import FIRMWARE, PATIENCE_S, Node, eventually, launch
from twin import export, factory
from twin.machines.conveyor import spec as conveyor
from twin.node import MAGIC, VERSION, Fault, Op, Reason, Result
from twin.wire import decode

US = 11
HEAP_LEFT = 12_000  # bytes that a printer's node must have to spare


def test_the_committed_register_names_are_those_of_the_node_block() -> None:
    assert (FIRMWARE / "node" / "registers.py").read_text() == export.registers()


def test_a_node_says_who_it_is_and_counts_its_starts(make: Make, tmp_path: Path) -> None:
    node = make()
    first = node.client().status()
    expected = json.loads(node_file(tmp_path, BELT + LAMPS))
    assert (first.magic, first.version) == (MAGIC, VERSION)
    assert (first.map_hash, first.uid, first.boot_id) == (expected["map_hash"], 4711, 1)
    assert first.heap_free > HEAP_LEFT
    node.stop()
    node.start()
    assert node.client().status().boot_id == 2
    assert node.said == f"lockstep: node n listens at 127.0.0.1:{node.port}\n"


def test_uptime_grows_and_lateness_is_told(make: Make) -> None:
    client = make().client()
    first = client.status()
    eventually(lambda: client.status().uptime > first.uptime)
    eventually(lambda: client.status().late > 0)


def test_the_watchdog_is_fed(make: Make) -> None:
    node = make()
    eventually(lambda: node.fed >= 2, "the watchdog was not fed")


def test_inputs_counters_and_drives_reach_the_machines_records(make: Make) -> None:
    node = make()
    client = node.client()

    def belt() -> conveyor.Status:
        return decode(conveyor.Status, client.read(BELT_STATUS, 3))

    assert belt() == conveyor.Status(at_entry=False, at_exit=False, tripped=False, running=False, speed=0.0, parts=0)
    for pin, name in ((AT_ENTRY, "at_entry"), (AT_EXIT, "at_exit"), (TRIPPED, "tripped")):
        node.put(pin, 1)
        eventually(lambda name=name: getattr(belt(), name))  # type: ignore[misc]
        node.put(pin, 0)
        eventually(lambda: dataclasses.replace(belt(), parts=0) == dataclasses.replace(belt(), at_entry=False, parts=0))
    eventually(lambda: not (belt().at_exit or belt().tripped))
    assert belt().parts == 1
    client.grant(US, 1)
    client.write(BELT_COMMAND, [1, 2500])
    eventually(lambda: belt().running)
    assert belt().speed == pytest.approx(0.25)
    assert (node.out(RUN), node.out(SPEED)) == (1, 65535 // 2)


def test_an_inverted_input_shows_the_opposite(make: Make) -> None:
    node = make()
    client = node.client()
    eventually(lambda: client.read(LAMPS_STATUS, 1) == [1 << 15])
    node.put(SHUT, 1)
    node.put(OPEN, 1)
    eventually(lambda: client.read(LAMPS_STATUS, 1) == [1])


@pytest.mark.parametrize(("asked", "duty"), [(5000, 65535), (32767, 65535), (0x8000, 0), (0xFFFF, 0), (0, 0)])
def test_a_set_point_beyond_its_limits_is_cut_to_them(make: Make, asked: int, duty: int) -> None:
    node = make()
    client = node.client()
    client.grant(US, 1)
    client.write(BELT_COMMAND, [1, asked])
    eventually(lambda: client.read(BELT_STATUS, 1) == [1 << 3])  # it is running, and the tick that began it is over
    assert node.out(SPEED) == duty


def test_the_watchdog_is_not_fed_when_the_server_is_dead(make: Make) -> None:
    node = make(main="no_watch.py")
    client = node.client()
    eventually(lambda: client.status().uptime > 1600)  # the supervisor has looked three times
    assert node.fed == 0


def test_a_bug_in_the_tick_leaves_the_outputs_at_their_defaults(make: Make, tmp_path: Path) -> None:
    node = make(with_jobs(node_file(tmp_path, BELT + LAMPS)), main="with_motion.py")
    client = node.client()
    client.grant(US, 1)
    client.write(BELT_COMMAND, [1, 5000])
    client.write(LAMPS_COMMAND, [1, 1 << 9])
    eventually(lambda: (node.out(RUN), node.out(LAMP), node.out(BEACON)) == (1, 1, 1))
    client.begin(bytes(100), id=13)
    client.send(bytes(100), id=13)
    client.grant(US, 1, op=Op.START, command_id=1, argument=13)
    assert "a bug" in node.ended()
    assert (node.out(RUN), node.out(SPEED), node.out(LAMP), node.out(BEACON)) == (0, 0, 0, 0)


def printer() -> str:
    made = factory.read(Path(controller_file).parent / "demo" / "factory.toml")
    return export.node_json(made, made.nodes["printer-1"])


HOTEND, BED = 36, 39
ROOM = 62_593  # 25 °C: 100 kΩ over 4.7 kΩ


def test_a_printers_node_leaves_room_in_a_boards_heap(make: Make) -> None:
    client = make(printer(), voltages={HOTEND: ROOM, BED: ROOM}).client()
    eventually(lambda: client.status().uptime > 1200)  # the heap has been collected at least once
    status = client.status()
    print(f"heap free: {status.heap_free} bytes of 160 KiB, largest lateness {status.late} µs")
    assert status.heap_free > HEAP_LEFT
    assert not status.latched
    assert [word / 10 for word in client.read(256 + 10, 1)] == [pytest.approx(25.0, abs=0.3)]


def test_a_broken_sensor_latches_and_is_reset_only_when_it_is_mended(make: Make) -> None:
    node = make(printer(), voltages={HOTEND: 65_535, BED: ROOM})
    client = node.client()
    eventually(lambda: client.status().fault is Fault.SENSOR)
    client.grant(US, 1)
    client.grant(US, 1, op=Op.RESET, command_id=1)
    assert (client.status().result, client.status().reason) == (Result.REFUSED, Reason.LATCHED)
    node.put_voltage(HOTEND, ROOM)
    commands = itertools.count(2)

    def mended() -> bool:
        client.grant(US, 1, op=Op.RESET, command_id=next(commands))
        return not client.status().latched

    eventually(mended)
    assert client.status().result is Result.DONE


# ---- what a node refuses to start with

BROKEN = {
    "no file": (None, "node.json: cannot be read"),
    "nothing in it": ("", "node.json: not JSON"),
    "half a file": ('{"format": 2, "node"', "node.json: not JSON"),
    "no table": ("[1, 2]", "node.json: not of format 2"),
    "another format": ('{"format": 1}', "node.json: not of format 2"),
    "a key missing": ('{"format": 2}', "node.json: the file has no 'node'"),
}


def refusal(folder: Path) -> str:
    """What a node says before it ends."""
    (folder / "pins.bin").write_bytes(bytes(256))
    said, _ = launch(folder, FIRMWARE / "main.py").communicate(timeout=PATIENCE_S)
    return said


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_node_file_is_told_in_one_line(tmp_path: Path, case: str) -> None:
    text, told = BROKEN[case]
    if text is not None:
        (tmp_path / "node.json").write_text(text)
    said = refusal(tmp_path)
    assert said.startswith(f"lockstep: {told}") and said.count("\n") == 1


def test_a_node_file_cut_short_anywhere_is_told_in_one_line(tmp_path: Path) -> None:
    text = node_file(tmp_path, BELT + LAMPS)
    for length in range(1, len(text) - 1, len(text) // 15):
        (tmp_path / "node.json").write_text(text[:length])
        said = refusal(tmp_path)
        assert said.startswith(("lockstep: node.json: not ", "lockstep: node.json: does not match")) and said.count("\n") == 1, said


def test_a_node_file_with_a_flipped_bit_anywhere_is_never_taken_for_a_good_one(tmp_path: Path, bench: Node) -> None:
    config = json.loads(node_file(tmp_path, BELT + LAMPS))
    config["link"]["port"] = bench.port  # taken: a node that is quarantined ends there
    text = export.sealed(config).encode()
    for at in range(0, len(text) - 2, len(text) // 20):
        flipped = bytearray(text)
        flipped[at] ^= 1
        (tmp_path / "node.json").write_bytes(flipped)
        said = refusal(tmp_path).splitlines()
        assert said[0].startswith("lockstep: node.json: "), said
        assert len(said) == 1 or ("quarantined" in said[0] and said[1].startswith("lockstep: cannot listen at ")), said


def test_a_node_whose_file_is_broken_listens_as_nobody_and_does_nothing(make: Make, tmp_path: Path) -> None:
    node = make()
    node.stop()
    text = (node.folder / "node.json").read_text()
    (node.folder / "node.json").write_text(text.replace('"pin": 34', '"pin": 35'))
    node.start()
    client = node.client()
    status = client.status()
    assert (status.uid, status.map_hash) == (0, 0)
    client.grant(US, 1)
    assert client.write(BELT_COMMAND, [1, 2500]) == 2  # there is no such register on it
    assert (node.out(RUN), node.out(SPEED)) == (0, 0)


def spoil_kind(config: dict[str, Any]) -> None:
    config["blocks"][1]["kind"] = "Laser"


def spoil_block(config: dict[str, Any]) -> None:
    del config["blocks"][3]["full"]


def spoil_commands(config: dict[str, Any]) -> None:
    config["commands"][0][0] = 3


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (spoil_kind, "block 1 (Laser): this firmware has no such block"),
        (spoil_block, "block 3 (Drive) has no 'full'"),
        (spoil_commands, "commands at 3 lie outside registers 256 to 1023"),
    ],
)
def test_a_node_file_that_asks_for_what_there_is_not_is_told_in_one_line(tmp_path: Path, spoil: Any, told: str) -> None:
    config = json.loads(node_file(tmp_path, BELT))
    spoil(config)
    (tmp_path / "node.json").write_text(export.sealed(config))
    assert refusal(tmp_path) == f"lockstep: node.json: {told}\n"


def test_a_taken_port_is_told_in_one_line(bench: Node, tmp_path: Path) -> None:
    config = json.loads(node_file(tmp_path, BELT))
    config["link"]["port"] = bench.port
    (tmp_path / "node.json").write_text(export.sealed(config))
    said = refusal(tmp_path)
    assert said.startswith(f"lockstep: cannot listen at 127.0.0.1:{bench.port}: ") and said.count("\n") == 1
