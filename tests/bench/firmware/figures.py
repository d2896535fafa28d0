"""What `python -m tests.bench firmware` measures. Ours and the peer run in turn, server and client on cores of their own."""

import statistics
from collections.abc import Callable
from dataclasses import dataclass

from tests.bench.firmware import heap as rooms
from tests.bench.firmware import servers
from tests.bench.rig_speed import printer_at_work
from tests.firmware.rig import FIRMWARE
from twin.clock import Ns, S
from twin.node import JobState

ROUNDS = 5
TURN_S = 2.0
# Read in its tests' log and measured once on another machine, round by round against a prototype of ours.
PUBLISHED_P50_US = 71.0
PUBLISHED_HEAP = 127_000
LEAST_FREE = 40 * 1024


@dataclass(frozen=True)
class Figure:
    """One line of the table.

    Attributes:
        ours, peer: in `unit`; no peer where the figure is only reported.
        ratio: ours / peer, or how much of what is allowed it takes; what it should come to is `bound`.
    """

    ours: float
    unit: str
    peer: float | None = None
    peer_name: str = ""
    ratio: float | None = None
    bound: str = ""


def _in_turn(peer: Callable[[], object]) -> list[tuple[servers.Turn, servers.Turn]]:
    """Ours and the peer's, round by round; one round before that is not counted."""
    found = []
    for seconds in (0.3, *[TURN_S] * ROUNDS):
        with servers.node() as port:
            ours = servers.ask(port, seconds)
        with peer() as port:  # type: ignore[attr-defined]
            found.append((ours, servers.ask(port, seconds)))
    return found[1:]


def requests() -> Figure:
    """Reads of 100 registers a second, one after the other on one connection."""
    turns = _in_turn(servers.pymodbus)
    ratio = statistics.median(ours.rate / peer.rate for ours, peer in turns)
    ours, peer = (statistics.median(turn[k].rate for turn in turns) for k in (0, 1))
    return Figure(ours, "1/s", peer, f"pymodbus; client: {servers.client_name()}", ratio, "at least 2")


def p50() -> Figure:
    """Time of one such read."""
    source = servers.peer_source()
    if source is None:
        with servers.node() as port:
            ours = statistics.median(servers.ask(port, TURN_S).p50 for _ in range(ROUNDS))
        told = f"{servers.PEER} 2.3.7 could not be had: its figure from another machine"
        return Figure(ours, "µs", PUBLISHED_P50_US, told, ours / PUBLISHED_P50_US, "at most 0.7")
    turns = _in_turn(lambda: servers.peer(source))
    ratio = statistics.median(ours.p50 / peer.p50 for ours, peer in turns)
    ours, peer = (statistics.median(turn[k].p50 for turn in turns) for k in (0, 1))
    return Figure(ours, "µs", peer, f"{servers.PEER} 2.3.7; client: {servers.client_name()}", ratio, "at most 0.7")


def heap() -> Figure:
    """What code, buffers and registers take of the VM's heap, compiled from source in either case."""
    ours = sum(servers.heap("ours_vm.py", str(FIRMWARE)).values())
    source = servers.peer_source()
    peer, name = PUBLISHED_HEAP, f"{servers.PEER} 2.3.7 could not be had: its figure from another machine"
    if source is not None:
        peer, name = sum(servers.heap("peer_vm.py", str(source), "heap").values()), f"{servers.PEER} 2.3.7, same VM"
    return Figure(ours, "B", peer, name, ours / peer, "at most 0.125, aim 0.0625")


def free() -> Figure:
    """The least that any node of any scenario has free of a board's heap."""
    room, where = min((room, where) for where, room in rooms.free())
    return Figure(room, "B", LEAST_FREE, f"what is to be free at least; the worst: {where}", room / LEAST_FREE, "at least 1")


def lateness() -> Figure:
    """The latest tick of a printer's node while it is printing, with what things cost a board."""
    with printer_at_work() as (rig, driver):
        rig.run(Ns(rig.now + 60 * S))
        assert driver.status.job_state is JobState.RUNNING
        return Figure(driver.status.late * 1e-6, "s")


METRICS: tuple[tuple[str, Callable[[], Figure]], ...] = (
    ("requests/s: VM server, 100 registers, C client, vs pymodbus's server", requests),
    ("p50 vs micropython-modbus", p50),
    ("heap: server and 1,000 registers vs micropython-modbus's 127 KB", heap),
    ("heap free at worst", free),
    ("lateness: worst of a 100 Hz tick with the cost model of a board, s", lateness),
)
