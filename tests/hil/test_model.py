"""Back to back: a node's firmware in the VM and the reference that was written from the documents do the same."""

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from hil.targets import Absent, Inject, PinSet, Target
from hil.targets.model import Model
from hil.targets.serving import answer
from hil.targets.vm import BOARD, Vm
from tests.firmware import test_codec
from tests.firmware.factories import (
    AT_EXIT,
    BELT_COMMAND,
    LAMPS_COMMAND,
    OPEN,
    RUN,
    SHUT,
    TRIPPED,
)
from tests.hil.backtoback import (
    FOREVER,
    FULL,
    RESET,
    SILENT,
    TICK_MS,
    TRIP,
    Beat,
    Bench,
    Pass,
    Put,
    Sense,
    Step,
    agree,
    all_agree,
    back_to_back,
    bench,
    cut_link,
    follow,
    levels,
    pair,
)
from tests.hil.jobs import one_printer
from twin.clock import MS, Ns, S
from twin.export import node_json
from twin.node import COMMAND_AT, Fault, Op


def test_silence_reset_and_an_interlock_go_as_the_documents_say(tmp_path: Path) -> None:
    with pair(tmp_path) as (vm, model):
        back_to_back(vm, model, [*SILENT, *RESET, Pass(2000), *TRIP])
        ran = levels(model.outputs, RUN, model.target.now)
        assert np.count_nonzero(np.diff(ran)) == 7, "it ran four times, and three times something stopped it"
        assert vm.status().fault is Fault.NONE


def test_with_the_cost_model_of_a_board_pins_stay_within_a_tick(tmp_path: Path) -> None:
    script = [*SILENT, *RESET, Pass(2000), *TRIP]
    with pair(tmp_path, costs=BOARD) as (vm, model):
        vm.patience_ms = 0.5
        for step in script:
            for one in (vm, model):
                follow(one, step)
            later = Ns(max(vm.target.now, model.target.now) + TICK_MS * MS)
            for one in (vm, model):
                one.pass_ms((later - one.target.now) / MS)
        all_agree(vm, model)
        assert levels(vm.outputs, RUN, later).any()


def test_a_tube_of_one_tick_is_no_wider(tmp_path: Path) -> None:
    made = Bench(Model("n", tmp_path), 0), Bench(Model("n", tmp_path), 0)
    for one, at_ms in zip(made, (100, 111), strict=True):
        one.target.now = Ns(S)
        one.outputs += [PinSet(Ns(at_ms * MS), RUN, 1)]
    with pytest.raises(AssertionError, match="GPIO 16 differs from 100 ms on"):
        agree(*made, RUN)


beat_steps = st.builds(
    Beat,
    peer=st.sampled_from([0, 0, 0, 1]),
    owner=st.sampled_from([11, 11, 11, 22, 0]),
    epoch=st.sampled_from([1, 1, 2, 2, 3, 4]),
    lease=st.sampled_from([0, 50, 200, 200, 60_000]),
    heartbeat=st.integers(0, 5),
    sequence=st.integers(0, 4),
    op=st.sampled_from([0, Op.STOP, Op.RESET, Op.RESET, Op.START, 9]),
    command_id=st.integers(0, 3),
    not_after=st.sampled_from([FOREVER, FOREVER, 0, 500]),
)
speeds = st.sampled_from([0, 0, 1, FULL, 6000, 0x8000])
put_steps = st.one_of(
    st.builds(Put, st.just(BELT_COMMAND), st.tuples(st.integers(0, 1), speeds), st.sampled_from([0, 0, 0, 1])),
    st.builds(Put, st.just(LAMPS_COMMAND), st.tuples(st.integers(0, 1), st.sampled_from([0, 1 << 9]))),
    st.builds(Put, st.sampled_from([BELT_COMMAND, LAMPS_COMMAND + 1, COMMAND_AT + 5]), st.tuples(st.integers(0, 3))),
)
sense_steps = st.builds(Sense, st.sampled_from([TRIPPED, OPEN, SHUT, AT_EXIT]), st.integers(0, 1))
passes = st.builds(Pass, st.sampled_from([10, 30, 70, 190, 260, 700]))
scripts = st.lists(st.one_of(beat_steps, put_steps, sense_steps, passes), min_size=8, max_size=40)


@settings(
    max_examples=40,
    derandomize=True,
    deadline=None,
    phases=[Phase.generate],  # an example takes a third of a second: shrinking one would take minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(scripts)
def test_whatever_is_commanded_both_do_the_same(tmp_path: Path, script: list[Step]) -> None:
    for place in ("vm", "model"):
        for kept in (tmp_path / place).glob("*"):
            if kept.is_file():
                kept.unlink()
    claimed: list[Step] = [Beat(lease=200), Put(BELT_COMMAND, (1, FULL)), Put(LAMPS_COMMAND, (1, 1 << 9)), Pass(20)]
    with pair(tmp_path) as (vm, model):
        back_to_back(vm, model, claimed + script)


# ---- in the rig's place of a virtual board


def test_a_cut_link_ends_alike_in_a_rig_on_firmware_and_on_the_reference(tmp_path: Path) -> None:
    rigs = [cut_link(tmp_path / kind.__name__, kind) for kind in (Vm, Model)]
    series = [list(rig.trace.series["belt/pin/run"]) for rig in rigs]
    values = [[value for _, value in one] for one in series]
    assert values[0] == values[1] == [0, 1, 0], "it ran, it stopped, and nothing restarted it"
    for (ours, _), (theirs, _) in zip(*series, strict=True):
        assert abs(ours - theirs) <= TICK_MS * MS
    stopped = series[0][-1][0]
    assert 1900 * MS <= stopped <= 2020 * MS, "by the lease and a tick after the last heartbeat"


def test_the_model_says_what_it_cannot_be(tmp_path: Path) -> None:
    factory = one_printer()
    (tmp_path / "node.json").write_text(node_json(factory, factory.nodes["printer-1"]))
    model = Model("printer-1", tmp_path)
    with pytest.raises(Absent, match="printer-1 plays Jobs"):
        model.power_on()
    assert not model.alive
    with pytest.raises(Absent, match="runs no firmware"):
        model.flash(tmp_path)
    with pytest.raises(Absent, match="EAT"):
        model.inject(Inject.EAT, 1)


def test_a_model_that_hangs_feeds_no_watchdog_and_answers_nobody(tmp_path: Path) -> None:
    one = bench(Model, tmp_path)
    one.status()
    one.target.inject(Inject.HANG)
    one.outputs.clear()
    one.pass_ms(3000)
    assert not one.outputs
    with pytest.raises(AssertionError, match="does not answer"):
        one.status()
    one.close()


SERVED = (3, 4, 6, 16, 0x2B)  # what the rig and the core ask for


@settings(max_examples=300, derandomize=True, deadline=None)
@given(requests=st.lists(test_codec.requests, max_size=30))
def test_its_server_answers_as_the_specification_says(requests: list[tuple[int, int, bytes]]) -> None:
    registers = Plain()
    expected = test_codec.Model()
    for _, unit, pdu in requests:
        if pdu[0] in SERVED:
            asked = 1 if unit == test_codec.UNIT else unit
            assert answer(registers, 5, asked, pdu) == expected.reply(unit, pdu)
    assert registers.words == expected.words


class Plain:
    """The registers that the firmware's codec is tested with."""

    size = test_codec.REGISTERS
    identity = test_codec.IDENTITY

    def __init__(self) -> None:
        self.words = list(struct.unpack(f">{self.size}H", test_codec.Bank().view))

    def read(self, first: int, count: int) -> list[int]:
        return self.words[first : first + count]

    def write(self, peer: int, first: int, words: Sequence[int]) -> int:
        if first not in test_codec.WRITABLE or first + len(words) - 1 not in test_codec.WRITABLE:
            return 2
        if first in (test_codec.REFUSED, test_codec.BUSY):
            return 4 if first == test_codec.REFUSED else 6
        self.words[first : first + len(words)] = words
        return 0


def test_an_epoch_outlives_a_restart_of_the_model(tmp_path: Path) -> None:
    one = bench(Model, tmp_path)
    follow(one, Beat(epoch=40_000))
    assert one.status().boot_id == 1
    one.target.reset()
    one.clients.clear()
    follow(one, Beat(epoch=40_000))
    assert (one.status().leased, one.status().epoch, one.status().boot_id) == (False, 40_000, 2)
    one.close()


@pytest.mark.parametrize("kind", [Vm, Model])
@pytest.mark.parametrize(("idle_ms", "latched"), [(0, True), (59_000, True), (61_000, False)])
def test_who_was_in_use_comes_back_latched(tmp_path: Path, kind: type[Target], idle_ms: int, latched: bool) -> None:
    one = bench(kind, tmp_path)
    follow(one, Beat(lease=5000))
    follow(one, Put(BELT_COMMAND, (1, FULL)))
    one.pass_ms(100)
    follow(one, Put(BELT_COMMAND, (0, 0)))
    one.pass_ms(100 + idle_ms)
    one.target.power(False)
    one.clients.clear()
    one.target.power(True)
    one.pass_ms(33)
    assert (one.status().fault is Fault.RESTARTED) == latched
    one.close()
