"""pytest in a process that has what takes long to import before it is forked: a second for each mutant."""

import importlib.util
import multiprocessing
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.mutant import SITE

HEAVY = ("pytest", "hypothesis.strategies", "numpy", "numba", "msgspec", "pymodbus.client", "asyncio")
context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(list(HEAVY))
_running: "set[multiprocessing.process.BaseProcess]" = set()


def run_pytest(arguments: Sequence[str], environment: Mapping[str, str], output: Path, timeout_s: float) -> int | None:
    """Its exit code, None where it has not ended in time; whatever it has started is gone. What it says goes to a file."""
    process = context.Process(target=_child, args=(list(arguments), dict(environment), str(output)), daemon=False)
    process.start()
    _running.add(process)
    try:
        process.join(timeout_s)
        return process.exitcode
    finally:
        _kill(process)
        process.join()
        _running.discard(process)


def kill_all() -> None:
    """End everything that runs, for whoever waits for it on another thread and is to end."""
    for process in list(_running):
        _kill(process)


def _kill(process: "multiprocessing.process.BaseProcess") -> None:
    if process.pid is None:
        return
    for kill in (os.killpg, os.kill):  # it leads a group as soon as it has begun
        try:
            kill(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def _child(arguments: list[str], environment: dict[str, str], output: str) -> None:
    os.setsid()
    os.environ.clear()
    os.environ.update(environment)
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (1, 2):
        os.dup2(file, stream)
    _hook()
    import pytest

    code = int(pytest.main(arguments))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _hook() -> None:
    """What a fresh Python would have imported by its name."""
    spec = importlib.util.spec_from_file_location("mutant_site", SITE / "sitecustomize.py")
    assert spec is not None and spec.loader is not None
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
