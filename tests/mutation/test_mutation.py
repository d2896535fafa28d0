"""The tool itself: which edits it makes, that they take effect, and what it says of them; and the proof that it is for."""

import ast
from pathlib import Path

import pytest

from tests.mutant import ROOT
from tests.mutation import __main__ as command
from tests.mutation import run as runner
from tests.mutation.edits import Edit, drawn, edits
from tests.mutation.run import Bench, MutationError, Tally, choose, equivalents
from tests.mutation.targets import TARGETS, Target

SOURCE = '''
"""Text 1 stays."""
LIMIT: int = 3

class Door:
    @native
    def may(self, peer, at=0):
        """So does this 2."""
        assert peer > 0
        if self.live and not self.shut:
            self.seen[at] = peer + 1
        self.note(f"{peer + 1}")
        return peer & 7 < LIMIT

def other(x):
    while x:
        x -= 1
    return True
'''
GRANT = Target("controller/nodes/grant.py", (("tests/controller/test_grant.py",),))
BANK = Target(
    "firmware/node/bank.py",
    (("tests/firmware/test_safety.py::test_a_claim_is_granted_and_shown", "tests/firmware/test_bank.py"),),
)


def told(found: list[Edit]) -> list[str]:
    return [f"{edit.function}: {edit.edit}" for edit in found]


def test_every_operator_is_edited_alone_and_what_is_for_readers_is_not() -> None:
    found = edits("door.py", SOURCE)
    assert told(found) == [
        ": 3 to 4",
        ": 3 to 2",
        "Door.may: 0 to 1",
        "Door.may: 0 to -1",
        "Door.may: and to or",
        "Door.may: drop not",
        "Door.may: drop",
        "Door.may: + to -",
        "Door.may: 1 to 2",
        "Door.may: 1 to 0",
        "Door.may: drop",
        "Door.may: return None",
        "Door.may: < to <=",
        "Door.may: < to >=",
        "Door.may: & to |",
        "Door.may: 7 to 8",
        "Door.may: 7 to 6",
        "other: negate",
        "other: -= to +=",
        "other: 1 to 2",
        "other: 1 to 0",
        "other: True to False",
    ]
    assert "self.live or not self.shut" in found[4].apply(SOURCE)
    results = {ast.unparse(ast.parse(edit.apply(SOURCE))) for edit in found}
    assert len(results) == len(found) and ast.unparse(ast.parse(SOURCE)) not in results
    assert told(edits("door.py", SOURCE, ("other",))) == told(found)[-5:]


def test_an_edit_is_known_again_after_lines_have_moved_and_decorators_have_come() -> None:
    moved = "import this\n\n" + SOURCE.replace("    @native\n", "").replace("def other", "@native\ndef other")
    before, after = edits("door.py", SOURCE), edits("door.py", moved)
    assert [edit.key for edit in before] == [edit.key for edit in after]
    assert before[-1].number != after[-1].number


def test_a_draw_is_the_same_again_and_does_not_depend_on_what_else_there_is() -> None:
    found = edits("door.py", SOURCE)
    chosen = drawn(found, 6, seed=1)
    assert chosen == drawn(found, 6, seed=1) != drawn(found, 6, seed=2) and len(chosen) == 6
    fewer = [edit for edit in found if edit in chosen or edit.nth]
    assert drawn(fewer, 6, seed=1) == chosen
    assert drawn(found, 0, seed=1) == found


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.file)
def test_the_edits_of_every_target_are_valid_python_and_every_equivalent_one_exists(target: Target) -> None:
    source = target.source()
    for edit in drawn(target.edits(), 40, seed=0):
        ast.parse(edit.apply(source))
    chosen, existing, listed = choose(target, 0, seed=0)
    assert len(chosen) == existing - listed > 10
    for killer in target.killers:
        assert all((ROOT / name.split("::")[0]).exists() for name in killer)


def test_an_equivalent_edit_has_a_reason_and_a_stale_one_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(len(reason) > 20 for reason in equivalents().values())
    stale = tmp_path / "equivalent.toml"
    stale.write_text('[[equivalent]]\nfile = "firmware/node/bank.py"\nfunction = "f"\nline = "x"\nedit = "drop"\nreason = "r"\n')
    monkeypatch.setattr(runner, "EQUIVALENT", stale)
    with pytest.raises(MutationError, match="lists what there is not"):
        choose(BANK, 0, seed=0)


def one(target: Target, function: str, edit: str) -> Edit:
    return next(found for found in target.edits() if (found.function, found.edit) == (function, edit))


def killers(target: Target, *chosen: Edit) -> list[str]:
    """By which test each is killed."""
    bench = Bench(1)
    found = bench.run(target, chosen, lambda outcome: None)
    bench.check()
    assert [bool(outcome.by) for outcome in found] == [outcome.killed for outcome in found]
    return [outcome.by.partition("::")[2].partition(" ")[0] or outcome.by for outcome in found]


def test_a_wrong_operator_is_killed_and_so_is_who_hangs_but_nothing_wrong_survives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "LEAST_S", 3.0)
    monkeypatch.setattr(runner, "SLOWER", 2.0)
    endless = Edit(GRANT.file, "", "", "hang", text="while True:\n    pass\n")
    found = killers(GRANT, one(GRANT, "past", "< to >="), endless, Edit(GRANT.file, "", "", "nothing"))
    assert found[0].startswith("test_") and found[1:] == ["hangs", ""]


def test_firmware_is_wrong_both_in_its_own_interpreter_and_under_cpython() -> None:
    found = killers(BANK, one(BANK, "Bank.put16", "& to |"), one(BANK, "Bank.i16", "- to +"))
    assert found == [
        "test_a_claim_is_granted_and_shown",
        "test_values_of_one_and_two_registers_are_read_with_their_high_byte_first",
    ]


def test_killers_that_fail_without_a_mutant_prove_nothing() -> None:
    broken = Target(GRANT.file, (("tests/controller/test_grant.py", "--no-such-option"),))
    with pytest.raises(MutationError, match="without any edit"):
        killers(broken)


def test_the_table_names_the_survivors() -> None:
    killed, survivor = edits("door.py", SOURCE)[:2]
    tally = Tally("door.py", 22, 1, (runner.Outcome(killed, True, "a test", 1.0), runner.Outcome(survivor, False, "", 2.0)))
    assert command.rate([tally]) == 0.5
    assert command.table([tally]).splitlines()[1:] == [
        f"{'door.py':32}     22          1      2       1   50.0%",
        "1 of 2 mutants killed: 50.0%; unlisted survivors: 1",
        "  survives: door.py:3 top: 3 to 2: LIMIT: int = 3",
    ]


@pytest.mark.soak
def test_nine_of_ten_mutants_of_the_safety_scan_and_codec_code_are_killed(capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        tallies = command.measure(TARGETS)
        print(command.table(tallies))
    assert command.rate(tallies) >= command.RATE
