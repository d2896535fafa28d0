"""Our code with one thing wrong: what a test of a defence must notice."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.forked import ROOT, SITE, run_code

FIRMWARE = ROOT / "firmware"
PATIENCE_S = 60.0


def edited(source: str, before: str, after: str, name: str) -> str:
    """The source with `after` in the place of `before`, which must be there exactly once."""
    found = source.count(before)
    assert found == 1, f"{name} holds {before!r} {found} times, not once"
    assert before != after, f"{name}: {before!r} stays as it is"
    return source.replace(before, after)


def firmware_with(folder: Path, file: str, before: str, after: str) -> Path:
    """A copy of the firmware in `folder`/firmware with one edit.

    Args:
        file: relative to firmware/, as "node/safety.py".

    Raises:
        AssertionError: `before` is not in the file exactly once.
    """
    text = edited((FIRMWARE / file).read_text(encoding="utf-8"), before, after, f"firmware/{file}")
    return copied_firmware(folder, file, text)


def copied_firmware(folder: Path, file: str, text: str) -> Path:
    """A copy of the firmware in `folder`/firmware with another text for one file."""
    copy = folder / "firmware"
    shutil.copytree(FIRMWARE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / file).write_text(text, encoding="utf-8")
    return copy


def source_of(module: str) -> Path:
    """The file of one of the project's modules, as "controller.scan"; a package's is its __init__."""
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def run_mutant(
    module: str, before: str, after: str, code: str, timeout_s: float = PATIENCE_S
) -> "subprocess.CompletedProcess[str]":
    """A Python of its own, with nothing of the project in it yet, runs `code` in the repository's folder with one module edited.

    Its child processes see the same edit. Nothing is written beside the sources: neither bytecode nor compiled kernels.

    Raises:
        AssertionError: `before` is not in the module exactly once, or nothing has imported the module.
        subprocess.TimeoutExpired: it has not ended in time; it and its children are gone.
    """
    source = source_of(module)
    text = edited(source.read_text(encoding="utf-8"), before, after, module)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = folder / "mutant.py"
        file.write_text(text, encoding="utf-8")
        out, error = folder / "out", folder / "error"
        status = run_code(code, with_source(module, file), out, error, timeout_s)
        if status is None:
            raise subprocess.TimeoutExpired(code, timeout_s)
        done = subprocess.CompletedProcess([code], status, *(said.read_text(errors="replace") for said in (out, error)))
        assert file.with_suffix(".imported").exists(), f"nothing has imported {module}:\n{done.stdout}{done.stderr}"
    return done


def with_source(module: str, file: Path) -> dict[str, str]:
    """The environment of a Python in which a module is made of `file`; file.imported appears once that has happened."""
    paths = [str(SITE), str(ROOT), os.environ.get("PYTHONPATH", "")]
    more = {"LOCKSTEP_MUTANT": f"{module}={file}", "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    if "kernel" in source_of(module).read_text(encoding="utf-8"):
        more["NUMBA_CACHE_DIR"] = str(file.parent / "kernels")  # Numba tells sources apart by time and size of the file
    return {**os.environ, **more}
