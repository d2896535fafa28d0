"""The node's network card: believed late, left alone while it works, tried again and again, and never waited for."""

import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from controller.modbus.pdu import Frames, Write, frame
from controller.nodes.status import WINDOW
from hil.driver import Driver
from hil.ports import free_port
from hil.rig import Rig
from hil.targets.vm import BOARD
from tests.firmware.alone import Ticks, load
from twin import factory
from twin.clock import MS, Ns, S
from twin.export import node_json
from twin.node import TRANSFER_AT, Transfer, TransferKind, TransferOp
from twin.wire import encode

CANARY = "a-secret-canary"
SECTION = 'network = { kind = "wifi", ssid = "hall", password_file = "wifi.txt" }\n'
HALL = """
[factory]
name = "hall"
[cells.hall]
[nodes.n]
uid = 7
port = {port}
virtual = true
{network}
[machines.belt]
type = "conveyor"
cell = "hall"
node = "n"
base = 256
pins = {{ at_entry = 34, at_exit = 35, tripped = 32, run = 16, speed = 17 }}
"""


class Card:
    """A card in the test's hands.

    Attributes:
        linked, address: what it says; asked: calls that change something.
    """

    def __init__(self) -> None:
        self.linked, self.address, self.broken = False, "0.0.0.0", False
        self.asked: list[str] = []

    def _call(self, what: str) -> None:
        if self.broken:
            raise OSError(5)
        self.asked.append(what)

    def active(self, on: bool) -> None:
        self._call("on" if on else "off")

    def connect(self, ssid: str, password: str) -> None:
        self._call(f"connect {ssid}")

    def disconnect(self) -> None:
        self._call("disconnect")

    def isconnected(self) -> bool:
        if self.broken:
            raise OSError(5)
        return self.linked

    def ifconfig(self, *_: Any) -> tuple[str, ...]:
        return (self.address, "", "", "")

    def config(self, **_: Any) -> None:
        pass


class Bench:
    """The state machine alone, looked at as often as on a node."""

    def __init__(self) -> None:
        self.card, self.ticks = Card(), Ticks(2**30 - 5000)  # it wraps soon
        board = dict.fromkeys(("ADC", "I2S", "PWM", "WDT", "Pin", "reset", "reset_cause", "unique_id"))
        network = {"WLAN": lambda _: self.card, "STA_IF": 0}
        self.net, self.log, bank = load("net", "log", "bank", ticks=self.ticks, network=network, machine=board)
        self.bank = bank.Bank(64)
        self.network = self.net.Network({"kind": "wifi", "ssid": "hall"}, self.bank)

    def looks(self, seconds: float) -> None:
        for _ in range(round(4 * seconds)):
            self.ticks.us += 250_000
            self.network.look(self.ticks.ms)

    def connected(self) -> "Bench":
        self.card.linked, self.card.address = True, "192.0.2.9"
        self.looks(65)  # the longest pause, and what it takes to be believed
        assert self.network.state == self.net.UP
        self.card.asked.clear()
        return self

    def said(self) -> str:
        buffer = bytearray(4096)
        _, count = self.log.read(0, memoryview(buffer))
        return buffer[:count].decode()


def test_a_card_is_believed_when_it_has_been_connected_for_two_seconds() -> None:
    bench = Bench()
    bench.card.linked, bench.card.address = True, "192.0.2.9"
    bench.looks(2)
    assert bench.network.state == bench.net.SETTLING
    bench.looks(0.5)
    assert bench.network.state == bench.net.UP
    assert "i network: at 192.0.2.9" in bench.said()


def test_a_card_that_calls_itself_connected_without_an_address_is_not_believed() -> None:
    bench = Bench()
    bench.card.linked = True
    bench.looks(14)
    assert bench.network.state in (bench.net.CONNECTING, bench.net.SETTLING)
    bench.looks(1)
    assert bench.network.state == bench.net.WAITING and bench.card.asked[-1] == "disconnect"


def test_a_short_loss_is_waited_out_and_a_long_one_is_not() -> None:
    bench = Bench().connected()
    bench.card.linked = False
    bench.looks(2)
    bench.card.linked = True
    bench.looks(1)
    assert bench.network.state == bench.net.UP and bench.card.asked == []
    bench.card.linked = False
    bench.looks(5)
    assert bench.card.asked == ["disconnect", "on", "connect hall"]


def test_each_attempt_waits_longer_up_to_a_minute_and_success_forgets_that() -> None:
    bench = Bench()
    bench.looks(600)
    waits = [int(line.rsplit(" ", 2)[1]) for line in bench.said().splitlines()]
    assert waits[:8] == [1, 2, 4, 8, 16, 32, 60, 60]
    bench.connected()
    bench.card.linked = False
    bench.looks(4)
    assert bench.said().splitlines()[-1].endswith("again in 1 s")


def test_a_card_that_raises_is_tried_again_like_any_other() -> None:
    bench = Bench()
    bench.card.broken = True
    bench.looks(100)
    bench.card.broken, bench.card.linked, bench.card.address = False, True, "192.0.2.9"
    bench.looks(65)
    assert bench.network.state == bench.net.UP


def test_a_connection_over_which_nobody_commands_for_five_minutes_is_made_anew() -> None:
    bench = Bench().connected()
    bench.bank.put_bit(11, 0, 1)
    bench.looks(900)
    assert bench.card.asked == []
    bench.bank.put_bit(11, 0, 0)
    bench.looks(299)
    assert bench.card.asked == []
    bench.looks(3)
    assert bench.card.asked == ["disconnect", "on", "connect hall"]


# ---- in the VM, with the costs of a board


def ran(folder: Path, script: str | None) -> SimpleNamespace:
    """A belt's node that is commanded for 50 s, its card doing what the script says."""
    folder.mkdir()
    made = factory.parse(HALL.format(port=free_port(), network=SECTION if script else ""), folder)
    home = folder / "nodes" / "n"
    home.mkdir(parents=True)
    if script:
        (home / "network.txt").write_text(script)
        (home / "wifi.key").write_text(CANARY + "\n")
    with Rig(made, folder / "nodes", costs=BOARD) as rig:
        driver = Driver.of(rig, "n")
        rig.run(Ns(50 * S))
        status = driver.status
        assert status is not None
        log = read_log(rig) if script else ""
        console = rig.nodes["n"].console()
    return SimpleNamespace(late=status.late, lost=status.leases_lost, uptime=status.uptime, log=log, console=console, home=home)


def read_log(rig: Rig) -> str:
    node = rig.factory.nodes["n"]
    said, offset = b"", 0
    with socket.create_connection((node.host, node.port)) as client:
        while True:
            asked = Transfer(op=TransferOp.READ, kind=TransferKind.LOG, id=1, offset=offset)
            for number, request in enumerate((Write(TRANSFER_AT, tuple(encode(asked))), WINDOW)):
                client.sendall(frame(number, 1, request.encode()))
            rig.run(Ns(rig.now + 200 * MS))
            client.settimeout(5)
            reply = Frames().feed(client.recv(4096))[-1][2]
            length = int.from_bytes(reply[14:16], "big")
            if not length:
                return said.decode()
            said += reply[22 : 22 + length]
            offset = int.from_bytes(reply[10:14], "big") + length


def test_whatever_the_card_does_no_tick_is_later_for_it_and_the_lease_lives(tmp_path: Path) -> None:
    calm = ran(tmp_path / "calm", None)
    script = "0 never\n4000 lies\n9000 up\n20000 drops\n21000 up\n30000 fails\n36000 up\n"
    wild = ran(tmp_path / "wild", script)
    assert (calm.lost, wild.lost) == (0, 0)
    assert wild.uptime == pytest.approx(calm.uptime, abs=50)
    assert wild.late <= calm.late + 2000  # µs
    assert wild.log.count("network: at 192.0.2.7") >= 2 and "network: no connection" in wild.log
    everything = wild.log + wild.console + (wild.home / "node.json").read_text()
    assert CANARY not in everything


def test_an_address_of_its_own_needs_all_of_its_parts(tmp_path: Path) -> None:
    text = HALL.format(port=15999, network='network = { kind = "lan", address = "10.0.0.7", phy = "W5500" }')
    with pytest.raises(factory.FactoryError) as refused:
        factory.parse(text, tmp_path)
    assert (
        "nodes.n.network: an address of its own takes mask, gateway, dns too; without any of them it is DHCP"
        in refused.value.mistakes
    )
    assert any(mistake.startswith("nodes.n.network.phy: must be one of LAN8720") for mistake in refused.value.mistakes)


def test_a_node_that_is_being_worked_on_says_so_as_boot_py_looks_for_it(tmp_path: Path) -> None:
    for line, found in (("", False), ("repl = false", False), ("repl = true", True)):
        made = factory.parse(HALL.format(port=15999, network=line), tmp_path)
        assert ('\n "repl": true' in node_json(made, made.nodes["n"])) is found


def test_a_password_in_the_factory_file_is_refused(tmp_path: Path) -> None:
    text = HALL.format(port=15999, network='network = { kind = "wifi", ssid = "hall", password = "x" }')
    with pytest.raises(factory.FactoryError, match=r"nodes\.n\.network\.password: unknown key"):
        factory.parse(text, tmp_path)
