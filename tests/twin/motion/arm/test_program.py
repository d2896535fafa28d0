"""The arm's language: what a line means, and which line is to blame."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin.motion.arm import ArmOpKind, MoveKind, read
from twin.motion.limits import JobError

PICK = """; over the bed, down, close, up
speed 0.5
tool 0 0 0.12 0 0 90
blend 0.02
JOINTS 0 -90 90 -90 -90 0   ; the way in
line 0.4 0.1 0.3 180 0 90

grip
wait 0.25
to 0.4 0.1 0.5 180 0 90
release
home
"""


def test_a_program_becomes_moves_with_what_was_set_before_and_operations_between_them():
    program = read(PICK)
    assert [(move.line, move.kind) for move in program.moves] == [(5, MoveKind.JOINTS), (6, MoveKind.LINE), (10, MoveKind.TO)]
    assert [(op.line, op.kind, op.before) for op in program.ops] == [
        (8, ArmOpKind.GRIP, 2),
        (9, ArmOpKind.WAIT, 2),
        (11, ArmOpKind.RELEASE, 3),
        (12, ArmOpKind.HOME, 3),
    ]
    line = program.moves[1]
    assert line.target == (0.4, 0.1, 0.3, math.pi, 0.0, math.pi / 2)
    assert (line.speed, line.blend, line.tool) == (0.5, 0.02, (0.0, 0.0, 0.12, 0.0, 0.0, math.pi / 2))
    assert program.ops[1].seconds == 0.25
    assert program.lines == 13


def test_a_setting_holds_only_for_what_follows():
    first, second = read("joints 0\nspeed 0.1\nblend 0.5\njoints 1").moves
    assert (first.speed, first.blend) == (1.0, 0.0)
    assert (second.speed, second.blend) == (0.1, 0.5)


@pytest.mark.parametrize(
    ("text", "line", "said", "value", "limit"),
    [
        ("home\n\nfly 1 2 3", 3, "'fly' is no command", None, None),
        ("; one\nspeed 1.5", 2, "speed 1.5 is not 0.01 to 1", 1.5, 1.0),
        ("speed 0", 1, "speed 0 is not", 0.0, 0.01),
        ("blend -0.1", 1, "blend -0.1", -0.1, 0.0),
        ("wait 4000", 1, "wait 4000", 4000.0, 3600.0),
        ("home\nline 1 2 3", 2, "line takes 6 numbers, not 3", 3, 6),
        ("joints", 1, "joints takes 1 to 8 numbers", 0, 8),
        ("grip 1", 1, "grip takes 0 numbers", 1, 0),
        ("joints nan", 1, "'nan' is no number", None, None),
        ("joints 1e99", 1, "joints 1e+99", 1e99, 1e4),
        ("joints 0x10", 1, "'0x10' is no number", None, None),
        ("to 1 2 3 4 5 ٣", 1, "is no number", None, None),
    ],
)
def test_a_wrong_line_is_named_with_its_value_and_the_limit(text, line, said, value, limit):
    with pytest.raises(JobError, match=said.replace("+", r"\+")) as caught:
        read(text)
    assert (caught.value.line, caught.value.value, caught.value.limit) == (line, value, limit)


def test_a_text_without_end_is_not_read():
    with pytest.raises(JobError, match="characters"):
        read("home\n" * 300_000)


WORDS = st.sampled_from("speed blend tool joints to line grip release wait home ; 0.5 1 -90 1e3 nan - . 9e9 \n \r x".split(" "))


@given(st.lists(WORDS, max_size=40))
def test_whatever_is_written_is_read_or_refused(words):
    try:
        program = read(" ".join(words))
    except JobError as error:
        assert 0 <= error.line <= " ".join(words).count("\n") + 1 + " ".join(words).count("\r")
    else:
        assert all(0.01 <= move.speed <= 1 for move in program.moves)
        assert all(0 <= op.before <= len(program.moves) for op in program.ops)
