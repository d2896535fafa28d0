"""Python processes that have what takes long to import before they are forked; of the project they have nothing."""

import contextlib
import importlib.util
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numba
import pytest

ROOT = Path(__file__).resolve().parents[1]
SITE = ROOT / "tests" / "mutation" / "site"
HEAVY = (
    *("pytest", "hypothesis.strategies", "numpy", "numba", "numba.np.arraymath", "msgspec", "pymodbus.client", "asyncio"),
    *("sqlite3", "tomllib", "email.message", "importlib.metadata", "xml.etree.ElementTree", "concurrent.futures.thread"),
)
context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(list(HEAVY))
_running: "set[multiprocessing.process.BaseProcess]" = set()


def run_pytest(arguments: Sequence[str], environment: Mapping[str, str], output: Path, timeout_s: float) -> int | None:
    """pytest's exit code, None where it has not ended in time; whatever it has started is gone. What it says goes to a file."""
    return _run(_pytest, list(arguments), environment, (output, output), timeout_s)


def run_code(code: str, environment: Mapping[str, str], output: Path, error: Path, timeout_s: float) -> int | None:
    """The same for `python -c` with this code; its standard output and its standard error go to a file each."""
    return _run(_code, code, environment, (output, error), timeout_s)


def kill_all() -> None:
    """End everything that runs, for whoever waits for it on another thread and is to end."""
    for process in list(_running):
        _kill(process)


def _run(
    what: Callable[[Any], None], given: object, environment: Mapping[str, str], files: tuple[Path, Path], timeout_s: float
) -> int | None:
    names = [str(file) for file in files]
    process = context.Process(target=_child, args=(what, given, dict(environment), names), daemon=False)
    process.start()
    _running.add(process)
    try:
        process.join(timeout_s)
        return process.exitcode
    finally:
        _kill(process)
        process.join()
        _running.discard(process)


def _kill(process: "multiprocessing.process.BaseProcess") -> None:
    if process.pid is None:
        return
    for kill in (os.killpg, os.kill):  # it leads a group as soon as it has begun
        with contextlib.suppress(ProcessLookupError):
            kill(process.pid, signal.SIGKILL)


def _child(what: Callable[[Any], None], given: object, environment: dict[str, str], files: Sequence[str]) -> None:
    os.setsid()
    os.chdir(ROOT)
    os.environ.clear()
    os.environ.update(environment)
    for stream, name in enumerate(files, 1):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), stream)
    _look_at_the_environment()
    what(given)


def _look_at_the_environment() -> None:
    """What a Python and a Numba that start do."""
    numba.core.config.reload_config()
    sys.path[:0] = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path and path not in sys.path]
    spec = importlib.util.spec_from_file_location("mutant_site", SITE / "sitecustomize.py")
    assert spec is not None and spec.loader is not None
    spec.loader.exec_module(importlib.util.module_from_spec(spec))


def _pytest(arguments: list[str]) -> None:
    code = int(pytest.main(arguments))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _code(code: str) -> None:
    exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})
