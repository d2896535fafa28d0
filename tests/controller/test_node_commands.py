"""`lockstep node …` and a node with two slots: the command line on one end, the firmware in the interpreter on the other."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from controller.__main__ import main
from controller.core import held
from controller.nodes import flash, image, sign, status, update
from tests.controller.board import Board, application, written
from twin.clock import MS, Ns, S
from twin.node import Fault, NodeStatus
from twin.wire import decode, layout

Made = tuple[Board, Path, Callable[..., int]]


@pytest.fixture(autouse=True)
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node's ticks are watched for a shorter moment than in a workshop."""
    monkeypatch.setattr(update, "WATCHED", Ns(60 * MS))


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Made]:
    """A board that runs, its factory file, and `lockstep node ACTION n …` for it."""
    plan, state = written(tmp_path), tmp_path / "state"
    assert main(["node", "keys", "--state", str(state)]) == 0
    board = Board(tmp_path / "node", plan, application(), state / "update.key").start()

    def node(*words: str) -> int:
        return main(["node", words[0], "n", "--factory", str(plan), "--state", str(state), *words[1:]])

    yield board, plan, node
    board.stop()


def told(node: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    capsys.readouterr()
    assert node("status", "--json") == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)["n"]
    return found


def test_an_update_is_installed_in_the_other_slot_read_back_and_confirmed(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    _, _, node = made
    before = told(node, capsys)
    assert (before["release"], before["slot"], before["unfit"]) == ("0.0.9", "a", "")
    assert node("update", "--secure-version", "3") == 0
    assert "n runs 0.1.0 from slot b, confirmed" in capsys.readouterr().out
    after = told(node, capsys)
    assert (after["release"], after["slot"], after["unconfirmed"], after["secure_version"]) == ("0.1.0", "b", False, 3)
    assert (after["fault"], after["boot_id"]) == ("none", before["boot_id"] + 1)
    assert node("log") == 0
    log = capsys.readouterr().out
    assert "i application 0.1.0, slot b" in log and "i confirmed" in log
    assert node("update", "--secure-version", "2") == 1  # it would be a step back
    assert "the manifest was refused: old version" in capsys.readouterr().err


def test_an_application_that_does_not_start_is_fallen_back_from(
    made: Made, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    board, _, node = made
    broken = {path: content for path, content in application("0.1.0").items() if path != "node/start.mpy"}
    monkeypatch.setattr(image, "application", lambda board: {**broken, "node/start.py": b"raise ValueError('not today')\n"})
    assert node("update") == 1
    assert "n: has fallen back to slot a" in capsys.readouterr().err
    after = told(node, capsys)
    assert (after["release"], after["slot"], after["unconfirmed"]) == ("0.0.9", "a", False)
    assert any("not today" in said for said in board.said)


def test_an_application_that_nobody_confirms_is_left_after_three_starts(
    made: Made, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    board, plan, node = made

    async def lost(*_: Any) -> None:
        raise update.NodeError("n: the line is cut")

    monkeypatch.setattr(update, "_confirm", lost)
    assert node("update") == 1
    for start in range(1, status.TRIALS + 1):
        found = told(node, capsys)
        assert (found["slot"], found["unconfirmed"], found["boots"]) == ("b", True, start)
        assert f"NOT CONFIRMED, start {start} of 3" in "\n".join(status.lines("n", found))
        board.cycle()
    found = told(node, capsys)
    assert (found["slot"], found["unconfirmed"], found["boots"]) == ("a", False, 0)
    assert node("update") == 1  # it is whole, so installing it again is quick; and it is confirmed by nobody once more
    assert told(node, capsys)["slot"] == "b"
    monkeypatch.undo()
    ours = image.application("x64")
    with monkeypatch.context() as mended:
        mended.setattr(image, "application", lambda board: {**ours, "node/mended.py": b"X = 1\n"})
        assert node("update") == 1  # of the same release, but other bytes than those on trial
        assert "n: something else is on trial" in capsys.readouterr().err
    with monkeypatch.context() as shop:
        shop.setattr(update, "ailing", lambda first, then, uid, expected: f"expects {expected:#010x}")
        plan.write_text(plan.read_text().replace("base = 300", "base = 320"))
        assert node("update") == 1  # a map that the node had before the update, whatever the factory file says now
        assert f"expects {found['map_hash']:#010x}" in capsys.readouterr().err
    assert told(node, capsys)["unconfirmed"] is True
    assert node("update") == 0  # only the confirmation was missing
    assert told(node, capsys)["unconfirmed"] is False


def test_a_configuration_on_trial_is_confirmed_by_nothing_but_itself(
    made: Made, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, plan, node = made
    plan.write_text(plan.read_text().replace("base = 300", "base = 320"))
    confirm = update._confirm

    async def lost(*_: Any) -> None:
        raise update.NodeError("n: the line is cut")

    monkeypatch.setattr(update, "_confirm", lost)
    assert node("configure") == 1
    monkeypatch.setattr(update, "_confirm", confirm)
    assert node("update") == 1
    assert "n: something else is on trial" in capsys.readouterr().err
    assert told(node, capsys)["unconfirmed"] is True
    plan.write_text(plan.read_text().replace("base = 320", "base = 330"))
    assert node("configure") == 1
    assert "n: something else is on trial" in capsys.readouterr().err
    plan.write_text(plan.read_text().replace("base = 330", "base = 320"))
    assert node("configure") == 0  # only the confirmation was missing
    assert told(node, capsys)["unconfirmed"] is False


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({}, ""),
        ({"fault": Fault.RESTARTED}, ""),
        ({"boot_id": 8}, "has started again by itself"),
        ({"uptime": 1000}, "does not tick"),
        ({"uid": 7}, "says uid 7, not 4711"),
        ({"map_hash": 2}, "has the map 0x00000002, not 0x00000001"),
        ({"fault": Fault.SENSOR}, "is latched: sensor"),
        ({"storage_failed": True}, "cannot write to its flash"),
    ],
)
def test_a_node_that_is_not_well_is_not_confirmed(changed: dict[str, Any], why: str) -> None:
    first = replace(decode(NodeStatus, [0] * layout(NodeStatus).size), uid=4711, map_hash=1, boot_id=7, uptime=1000)
    assert update.ailing(first, replace(replace(first, uptime=2000), **changed), 4711, 1) == why


def test_a_node_that_does_not_come_back_is_told(
    made: Made, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    board, _, node = made
    monkeypatch.setattr(update, "RESTART", Ns(S))
    board.last()
    assert node("configure") == 1
    assert "n: has not come back within 1 s; it falls back by itself" in capsys.readouterr().err


def test_an_update_signed_with_a_key_that_the_node_does_not_know_is_refused(
    made: Made, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    _, _, node = made
    sign.make_key(tmp_path / "other.key")
    assert node("update", "--key", str(tmp_path / "other.key")) == 1
    assert "the manifest was refused: bad signature" in capsys.readouterr().err
    assert told(node, capsys)["slot"] == "a"


def test_a_key_is_changed_through_an_image_that_trusts_both(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan, state, other = written(tmp_path), tmp_path / "state", tmp_path / "other"
    for folder in (state, other):
        assert main(["node", "keys", "--state", str(folder)]) == 0
    capsys.readouterr()
    assert main(["node", "keys", "--public", "--state", str(other)]) == 0
    (tmp_path / "other.pub").write_text(capsys.readouterr().out)
    board = Board(tmp_path / "node", plan, application(), state / "update.key")
    (board.folder / "update.keys").write_text(flash.trusted(sign.load_key(state / "update.key"), [tmp_path / "other.pub"]))
    board.start()
    try:
        words = ["--factory", str(plan), "--state", str(state), "--key", str(other / "update.key")]
        assert main(["node", "update", "n", *words]) == 0
    finally:
        board.stop()
    assert "n runs 0.1.0 from slot b, confirmed" in capsys.readouterr().out


def test_no_update_is_begun_beside_a_core(made: Made, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    _, _, node = made
    with held(tmp_path / "state"):
        assert node("update") == 1
        assert "another core or command runs here; stop it first" in capsys.readouterr().err
        assert node("status") == node("log") == 0  # reading is free


def test_an_update_that_broke_off_goes_on_where_it_stood(
    made: Made, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    board, _, node = made
    send = update.Claim.send
    sent: list[str] = []

    async def broken(self: update.Claim, load: Any, what: str) -> None:
        sent.append(what)
        if len(sent) == 9:
            raise update.NodeError("n: the line is cut")
        await send(self, load, what)

    monkeypatch.setattr(update.Claim, "send", broken)
    assert node("update") == 1
    monkeypatch.undo()
    there = {path: path.stat().st_mtime_ns for path in (board.folder / "b" / "node").iterdir()}
    assert len(there) == 7
    assert node("update") == 0
    assert all(path.stat().st_mtime_ns == when for path, when in there.items())  # they were not written once more
    assert told(node, capsys)["slot"] == "b"


def test_a_configuration_takes_effect_at_the_next_start_and_lasts_when_it_is_confirmed(
    made: Made, capsys: pytest.CaptureFixture[str]
) -> None:
    board, plan, node = made
    plan.write_text(plan.read_text().replace("base = 300", "base = 320"))
    assert "map differs" in told(node, capsys)["unfit"]
    assert node("configure") == 0
    assert told(node, capsys)["unfit"] == ""
    assert not (board.folder / "node.next").exists()
    board.cycle()
    assert told(node, capsys)["unfit"] == ""


def test_a_configuration_of_another_node_is_refused(
    made: Made, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, _, node = made
    from twin import export

    true = export.node_json
    monkeypatch.setattr(export, "node_json", lambda *what: export.sealed({**json.loads(true(*what)), "uid": 4712}))
    assert node("configure") == 1
    assert "node.json was refused: wrong board" in capsys.readouterr().err


def test_a_configuration_that_makes_no_node_is_left_for_the_old_one(
    made: Made, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    board, _, node = made
    from twin import export

    true = export.node_json
    monkeypatch.setattr(
        export, "node_json", lambda *what: export.sealed({**json.loads(true(*what)), "blocks": [{"kind": "Laser"}]})
    )
    assert node("configure") == 1
    assert "makes nothing of it and runs with the old one" in capsys.readouterr().err
    assert told(node, capsys)["unfit"] == ""
    assert not (board.folder / "node.next").exists()
    assert node("log") == 0
    assert "node.next: block 0 (Laser): this firmware has no such block" in capsys.readouterr().out


def test_keys_are_private_and_never_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["node", "keys", "--state", str(tmp_path)]
    assert main(words) == 0
    assert (tmp_path / "update.key").stat().st_mode & 0o777 == 0o600
    assert main(words) == 1
    assert "there is a key already" in capsys.readouterr().err
    assert main([*words, "--public"]) == 0
    assert int(capsys.readouterr().out, 16).bit_length() == 2048
    (tmp_path / "update.key").chmod(0o640)
    assert main([*words, "--public"]) == 1
    assert "others may read it" in capsys.readouterr().err
