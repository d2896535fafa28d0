"""A program is asked for by its name, never by a path."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller import programs
from controller.orders.order import OrderError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "programs").mkdir()
    (tmp_path / "programs" / "cube.gcode").write_text("G28\n")
    (tmp_path / "secret").write_text("not yours")
    return tmp_path / "programs"


def test_a_program_is_found_by_its_name(folder: Path) -> None:
    assert programs.names(folder) == ("cube.gcode",)
    assert programs.check(folder, "cube.gcode") == "cube.gcode" and programs.read(folder, "cube.gcode") == "G28\n"


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/passwd", "a/b", "..", ".", ".hidden", "", "cube.gcode\n", "é.gcode", "a" * 129, None, 7]
)
def test_what_is_no_name_is_refused(folder: Path, name: object) -> None:
    with pytest.raises(OrderError, match="is no program's name"):
        programs.check(folder, name)


def test_a_missing_program_is_refused_with_those_that_are_there(folder: Path) -> None:
    with pytest.raises(OrderError, match=r"no program 'ball': .*there are: cube.gcode"):
        programs.check(folder, "ball")


def test_a_link_a_folder_and_a_pipe_are_no_programs(folder: Path) -> None:
    (folder / "link").symlink_to(folder.parent / "secret")
    (folder / "sub").mkdir()
    os.mkfifo(folder / "pipe")
    for name in ("link", "sub", "pipe"):
        with pytest.raises(OrderError):
            programs.check(folder, name)
        with pytest.raises(OrderError):
            programs.read(folder, name)


def test_a_program_that_is_too_large_or_no_text_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "noise").write_bytes(b"\xff\xfe")
    with pytest.raises(OrderError, match="not UTF-8 text: byte 0"):
        programs.read(folder, "noise")
    monkeypatch.setattr(programs, "MOST_BYTES", 3)
    with pytest.raises(OrderError, match="has 4 bytes, at most 3"):
        programs.check(folder, "cube.gcode")


@given(st.text(max_size=40))
def test_no_text_leads_out_of_the_folder(text: str) -> None:
    try:
        name = programs.check_name(text)
    except OrderError:
        return
    assert Path("/programs", name).resolve().parent == Path("/programs")
