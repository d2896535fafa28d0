"""Commands under loss, doubling, delay, half-open links, kills of the core and restarts of the node.

None runs twice, none runs late, none that was acknowledged is forgotten, and what the book says of each is true.
"""

import pytest

from tests.durability.commanded import Story, told
from twin.node import Op


def commanded(commands: int, seed: int) -> Story:
    story = Story(seed)
    while story.number < commands:
        story.go_on()
    story.cut = 0
    story.calm()
    return story


def assert_true(story: Story) -> None:
    assert [number for number, times in story.executed.items() if times > 1] == []
    assert (story.late, story.unwritten) == ([], [])
    assert told(story) == []
    states = [str(intent.state) for intent in story.disk.safe.values()]
    assert sum(story.executed.values()) > 0.4 * story.number, "many commands do run"
    assert all(state in states for state in ("done", "not carried out", "unknown"))
    assert all(story.happened[kind] for kind in ("node restarted", "core killed", "half-open", "foreign")), story.happened
    assert {story.made[number].op for number in story.executed} == {Op.START, Op.RESET, Op.STOP}


def test_no_command_runs_twice_or_late_or_before_it_is_on_disk_and_none_that_is_there_is_forgotten() -> None:
    assert_true(commanded(5000, seed=1))


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(2, 12))
def test_the_same_for_a_million_commands(seed: int) -> None:
    assert_true(commanded(100_000, seed))
