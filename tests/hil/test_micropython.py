"""The VM is found or fetched, is new enough, and where it cannot be had one clear line says so."""

import subprocess
import sys
from pathlib import Path

import pytest

from hil import debian, micropython


def ask(argv: list[str], program: str) -> str:
    return subprocess.run([*argv, "-c", program], capture_output=True, check=True, text=True, timeout=60).stdout.strip()


def a_program(folder: Path, name: str, answer: str) -> Path:
    """A shell script that says `answer`, whatever it is asked."""
    path = folder / name
    path.write_text(f"#!/bin/sh\necho \"{answer}\"\n")
    path.chmod(0o755)
    return path


def test_the_vm_answers_with_a_version_that_is_new_enough() -> None:
    argv = micropython.command()
    told = ask(argv, "import sys; print(sys.implementation.name, *sys.implementation.version[:2])").split()
    assert told[0] == "micropython"
    assert tuple(int(part) for part in told[1:]) >= (1, 25)
    assert micropython.version(argv)[:2] == tuple(int(part) for part in told[1:])


def test_addresses_are_the_same_in_every_run_where_the_system_lets_us() -> None:
    argv = micropython.command()
    if argv[0] != "setarch":
        with pytest.warns(RuntimeWarning, match="address randomisation"):
            micropython._fixed_addresses.__wrapped__()
        return
    assert len({ask(argv, "print(id(object()))") for _ in range(3)}) == 1


def test_a_vm_that_is_named_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    named = a_program(tmp_path, "my vm", "('micropython', (1, 31, 2, ''))")
    monkeypatch.setenv("LOCKSTEP_MICROPYTHON", str(named))
    assert micropython.command()[-1] == str(named)


def test_a_vm_that_is_named_may_have_arguments(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    named = a_program(tmp_path, "vm", "('micropython', (1, 25, 0, ''))")
    monkeypatch.setenv("LOCKSTEP_MICROPYTHON", f"{named} -X heapsize=160K")
    assert micropython.command()[-3:] == [str(named), "-X", "heapsize=160K"]


@pytest.mark.parametrize(
    ("named", "complaint"),
    [
        ("/nowhere/micropython", "/nowhere/micropython does not start: No such file or directory"),
        (sys.executable, f"{sys.executable} does not answer as MicroPython does"),
        ("  ", "LOCKSTEP_MICROPYTHON is blank"),
        ("'open", "No closing quotation"),
    ],
)
def test_a_bad_name_gives_one_clear_line(named: str, complaint: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hil.micropython"],
        env={"LOCKSTEP_MICROPYTHON": named, "PATH": "/usr/bin:/bin"},
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("lockstep: ") and "LOCKSTEP_MICROPYTHON" in line and complaint in line


def test_a_vm_that_is_too_old_is_refused_when_named_and_passed_over_on_path(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    old = a_program(tmp_path, "micropython", "('micropython', (1, 19, 1))")
    monkeypatch.setenv("LOCKSTEP_MICROPYTHON", str(old))
    with pytest.raises(micropython.MicroPythonError, match=r"is version 1\.19\.1; it takes >= 1\.25$"):
        micropython.command()
    monkeypatch.delenv("LOCKSTEP_MICROPYTHON")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert micropython.command()[-1] != str(old)


def test_where_nothing_can_be_fetched_the_line_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("LOCKSTEP_MICROPYTHON", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(micropython.MicroPythonError, match=r"^no MicroPython VM: .*LOCKSTEP_MICROPYTHON$") as caught:
        micropython.command()
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_private_copy_that_does_not_run_is_fetched_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    unpacked = debian.unpacked("micropython")

    def unpack(package: str, answer: str = "('micropython', (1, 25, 0, ''))") -> None:
        for folder in ("usr/bin", "usr/lib/any"):
            (unpacked / folder).mkdir(parents=True)
        a_program(unpacked / "usr/bin", package, "")
        a_program(unpacked / "usr/lib/any", "ld-linux-any.so.1", answer)

    unpack("micropython", answer="Segmentation fault")
    monkeypatch.setattr(debian, "unpack", unpack)
    assert micropython.fetch() == debian.command("micropython")
    assert micropython.version(micropython.fetch()) == (1, 25, 0)
