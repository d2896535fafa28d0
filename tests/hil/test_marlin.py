"""Real firmware drives a simulated Marlin board through its UART, from an order to its end, and past all that goes wrong."""

import math
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from hil.house import House, Look
from hil.marlin import Board
from hil.ports import free_port
from hil.scenario import Stage, play
from tests.hil.jobs import ROOT
from twin import motion
from twin.clock import MS, Ns, S
from twin.factory import Factory, parse
from twin.motion import lines
from twin.node import LEASE_MS, TICK_MS, Fault, JobState
from twin.plant import PartMade

NAME = "prusa-1"
FACTORY = """
[factory]
name = "own-printer"
[cells.shop]
[nodes.prusa-1]
uid = 1
port = {port}
virtual = true
[machines.prusa-1]
type = "gcode_printer"
cell = "shop"
node = "prusa-1"
base = 256
pins = {{ tx = 17, rx = 16 }}
[recipes.print]
operations = ["print"]
"""
PROGRAM = """; ours: two walls and a bridge
G28
M104 S200
M140 S50
M190 S50
M109 S200
G90
M83
G1 X20 Y20 Z0.3 F9000
G1 X40 E1.2 F1800
G1 Y40 E1.2
G1 X20 E1.2
G1 Y20 E1.2
M106 S128
G4 P300
G1 X30 Y30.5 E.8 F2400
G1 E-1 F2100
G1 X0 Y200 F9000
M107
M104 S0
M140 S0
M84
"""
LEASE_AND_TICK = Ns((LEASE_MS + TICK_MS) * MS)
OFF = ("M104 S0", "M140 S0", "M107")


def factory_of() -> Factory:
    return parse(FACTORY.format(port=free_port()), ROOT)


class Shop:
    """A house with one such printer, its board, and what its node said."""

    def __init__(self, house: House, board: Board) -> None:
        self.house, self.board, self.rig = house, board, house.rig
        self.looks: list[Look] = house.looks[NAME]
        self.stage = Stage(house.rig, house)

    def until(self, holds: Callable[[], bool], within_s: float = 120.0) -> None:
        async def wait(stage: Stage) -> None:
            await stage.until(holds, within=Ns(round(within_s * S)))

        play(self.stage, wait(self.stage))

    def after(self, duration: Ns) -> None:
        self.rig.run(Ns(self.rig.now + duration))

    @property
    def last(self) -> Any:
        return self.looks[-1].node

    @property
    def printer(self) -> Any:
        return self.looks[-1].machines[NAME]

    def printing(self, moves: int = 3) -> None:
        """Wait until some moves of the Job have been planned."""
        self.until(lambda: len(self.board.moves) > moves)

    def said_after(self, since: Ns) -> list[str]:
        return [text.partition("*")[0].partition(" ")[2] if text.startswith("N") else text
                for at, text in self.board.lines if at > since]  # fmt: skip


@contextmanager
def shop(folder: Path, feed: bool = False, program: str = PROGRAM, **board: Any) -> Iterator[Shop]:
    made = House(factory_of(), folder, {"p.gcode": program}, "print", "p.gcode", links=True, look=Ns(200 * MS), feed=feed)
    there = Board(made.rig, NAME, **board)
    try:
        with made:
            yield Shop(made, there)
    finally:
        there.close()


def wanted() -> list[str]:
    """The moves of the program as its Job tells them."""
    kind = factory_of().machines[NAME]
    assert kind.type.limits is not None
    limits = kind.type.limits(kind.params)
    job = lines.encode(motion.plan(PROGRAM, limits), limits)
    return [record.text for record in lines.inspect(job) if record.kind in (lines.Kind.MOVE, lines.Kind.HOME)]


def moved(board: Board) -> list[str]:
    return [text for _, text in board.commands if text.startswith(("G1", "G28"))]


def test_a_print_goes_from_its_order_to_its_end_move_for_move(tmp_path: Path) -> None:
    with shop(tmp_path) as here:
        here.until(lambda: any(here.stage.trace.of(PartMade)))
        here.after(Ns(2 * S))
        assert moved(here.board) == wanted()
        assert here.last.job_state is JobState.DONE and not here.last.latched
        assert here.printer.connected and here.printer.quick and here.printer.resent == 0
        assert here.board.moves[-1].to == pytest.approx((0.0, 200.0, 0.3, 4.6))
        assert (here.printer.x, here.printer.y, here.printer.z, here.printer.e) == pytest.approx((0, 0.2, 0.0003, 0.0046), abs=1e-5)
        pause = max(later.begin - move.end for move, later in pairwise(here.board.moves[2:]))
        assert 300 * MS <= pause <= 400 * MS, "the dwell counts from where the motion before it has ended"
        told = [text for _, text in here.board.commands]
        assert not any(text.startswith(("M109", "M190", "G4")) for text in told), "the board never waits, so it can be stopped"
        warm = next(look for look in here.looks if look.node.job_line > 7)
        assert warm.machines[NAME].hotend_temperature > 195 and warm.machines[NAME].bed_temperature > 45


def test_short_lines_never_let_the_board_run_dry(tmp_path: Path) -> None:
    corners = ((100 + 30 * math.cos(i / 20), 100 + 30 * math.sin(i / 20)) for i in range(250))
    dense = "G28\nG90\nG1 X100 Y100 Z5 F9000\n" + "".join(f"G1 X{x:.3f} Y{y:.3f} F6000\n" for x, y in corners) + "M84\n"
    with shop(tmp_path, program=dense) as here:
        here.until(lambda: bool(here.looks) and here.last.job_state is JobState.DONE, 60)
        drawn = here.board.moves[-240:]  # 15 ms each, of which the node sends one every 10 ms
        assert all(later.begin == move.end for move, later in pairwise(drawn))


def test_spoilt_bytes_either_way_lose_no_move_and_print_none_twice(tmp_path: Path) -> None:
    with shop(tmp_path) as here:
        here.until(lambda: len(here.board.commands) > 12)
        here.board.random_faults(seed=7, share=0.004)
        here.until(lambda: any(here.stage.trace.of(PartMade)), 400)
        here.after(Ns(S))
        assert moved(here.board) == wanted()
        assert here.printer.resent >= 3, "some lines were really spoilt"
        assert here.last.job_state is JobState.DONE


def test_a_cut_link_stops_the_board_and_its_heat_within_the_lease_and_a_tick(tmp_path: Path) -> None:
    with shop(tmp_path) as here:
        here.printing()
        cut_at = here.rig.now
        here.rig.cut(NAME)
        here.after(Ns(3 * S))
        stopped = {text: at for at, text in reversed(here.board.lines) if at > cut_at and text == "M410"}
        assert stopped["M410"] - cut_at <= LEASE_AND_TICK + 1 * MS  # the wire takes 0.6 ms of it
        quiet = [at for at, text in here.board.commands if at > cut_at and text in OFF]
        assert len(quiet) == 3 and max(quiet) - cut_at <= LEASE_AND_TICK + 8 * MS
        assert here.board.hotend.target == here.board.bed.target == 0
        still = here.board.moves[-1].end
        assert still - cut_at <= LEASE_AND_TICK + 1 * MS
        here.rig.heal(NAME)
        here.after(Ns(3 * S))
        assert here.last.job_state is JobState.ABORTED and here.last.fault is Fault.SILENCE and here.last.latched
        assert here.board.moves[-1].end == still, "nothing restarts when the link is back"
        assert not here.board.halted


def test_a_board_that_falls_silent_or_starts_anew_ends_the_job_and_is_made_safe_when_it_is_back(tmp_path: Path) -> None:
    with shop(tmp_path) as here:
        here.printing()
        lost_at = here.rig.now
        here.board.deaf = True
        here.until(lambda: here.last.latched, 20)
        assert here.last.fault is Fault.PRINTER and here.last.job_state is JobState.ABORTED
        assert here.rig.now - lost_at <= 9 * S
        here.until(lambda: not here.printer.connected, 3)
        here.board.deaf = False
        back = here.rig.now
        here.until(lambda: here.printer.connected, 12)
        assert set(OFF) <= set(here.said_after(back))
        assert here.board.hotend.target == 0
        done = len(here.board.moves)
        here.after(Ns(3 * S))
        assert len(here.board.moves) == done


def test_a_board_that_is_reset_amid_a_job_ends_it(tmp_path: Path) -> None:
    with shop(tmp_path) as here:
        here.printing()
        here.board.reset()
        reset_at = here.rig.now
        here.until(lambda: here.last.latched, 3)
        assert here.last.fault is Fault.PRINTER and here.last.job_state is JobState.ABORTED
        here.until(lambda: here.printer.connected, 3)
        assert not [text for at, text in here.board.commands if at > reset_at and text.startswith("G")]


def test_a_board_that_halts_itself_ends_the_job_and_stays_named_until_it_is_reset(tmp_path: Path) -> None:
    with shop(tmp_path, feed=True) as here:
        here.printing()
        here.board.kill()
        here.until(lambda: here.last.latched and here.printer.killed, 3)
        assert here.last.fault is Fault.PRINTER and not here.printer.connected
        here.house.ask("reset", machine=NAME)
        here.after(Ns(3 * S))
        assert here.printer.killed and here.last.latched, "a reset is refused while the board stands"
        here.board.reset()
        here.until(lambda: here.printer.connected and not here.printer.killed, 12)
        here.house.ask("reset", machine=NAME)
        here.until(lambda: not here.last.latched, 3)


def test_a_board_that_is_too_hot_is_halted_for_good(tmp_path: Path) -> None:
    with shop(tmp_path) as here:
        here.printing()
        here.board.hotend.now = here.board.hotend.target = 320.0
        here.until(lambda: here.board.halted, 5)
        here.after(Ns(S))
        assert "M112" in [text for _, text in here.board.lines]
        assert here.last.fault is Fault.OVER_TEMPERATURE and here.last.job_state is JobState.ABORTED and here.printer.killed


def test_a_hold_comes_to_rest_by_itself_and_goes_on_without_a_lost_step(tmp_path: Path) -> None:
    with shop(tmp_path, feed=True) as here:
        here.printing()
        held_at = here.rig.now
        here.house.ask("pause", machine=NAME)
        here.until(lambda: here.last.job_state is JobState.HOLDING, 3)
        assert here.board.moves[-1].end - held_at <= 1.2 * S
        resting = len(here.board.moves)
        here.after(Ns(2 * S))
        assert len(here.board.moves) == resting
        here.house.ask("start", machine=NAME)
        here.until(lambda: any(here.stage.trace.of(PartMade)))
        assert moved(here.board) == wanted()
        assert all(one.to == other.start for one, other in pairwise(here.board.moves[1:]))
        assert "M410" not in [text for _, text in here.board.lines]


STRANGE = ("Resend: 99999", "ok", "ok N4000000000 P99", "echo:strange", "T:nonsense /x B:", "X:- Y:", "rs ", "\xff" * 300,
           "Error:checksum mismatch, Last Line: 3", "ok T:", "Resend:", "//action:notification hello", "Cap:")  # fmt: skip


def test_wrong_answers_neither_lose_a_move_nor_bring_the_node_down(tmp_path: Path) -> None:
    with shop(tmp_path, advanced=False, quick=False) as here:
        here.printing(1)
        for said in STRANGE:
            here.board._say(said)
            here.after(Ns(40 * MS))
        here.until(lambda: any(here.stage.trace.of(PartMade)))
        assert moved(here.board) == wanted()


@pytest.mark.soak
def test_spoilt_bytes_lose_no_move_whatever_they_hit(tmp_path: Path) -> None:
    for seed in range(100):
        with shop(tmp_path / str(seed)) as here:
            here.until(lambda here=here: len(here.board.commands) > 12)  # type: ignore[misc]
            here.board.random_faults(seed=seed, share=0.006)
            here.until(lambda here=here: any(here.stage.trace.of(PartMade)) or here.last.latched, 600)  # type: ignore[misc]
            made, whole = moved(here.board), wanted()
            # A line that has lost both its N and its asterisk is a command without a number: where it is none, the Job ends.
            assert made == whole or (here.last.fault is Fault.PRINTER and made == whole[: len(made)]), seed


@pytest.mark.soak
@pytest.mark.parametrize("quick", [True, False])
def test_a_link_cut_at_any_instant_ends_in_a_cold_board_at_rest(tmp_path: Path, quick: bool) -> None:
    for seed in range(100):
        with shop(tmp_path / str(seed), quick=quick) as here:
            instant = Ns(round(random.Random(seed).uniform(0.7, 27.0) * S))
            here.after(instant)
            began = here.board.hotend.target > 0 or bool(here.board.moves)
            here.rig.cut(NAME)
            here.after(LEASE_AND_TICK)
            said = [text for at, text in here.board.lines if at > instant]
            if began and here.last.job_state is JobState.RUNNING:
                assert "M410" in said or not quick, (seed, said)
            here.after(Ns(4 * S))
            assert here.board.hotend.target == here.board.bed.target == 0, seed
            resting = len(here.board.moves)
            here.after(Ns(2 * S))
            assert len(here.board.moves) == resting, seed
