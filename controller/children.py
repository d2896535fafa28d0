"""The processes of a running factory: the virtual nodes' rig, the core, the OPC UA server. Started, watched, ended."""

import asyncio
import ctypes
import json
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from twin.clock import Clock, Ns, S

MOST_ENDS = 5
WINDOW = Ns(60 * S)
PAUSE = Ns(S // 2)
PATIENCE = Ns(10 * S)
LONGEST_LINE = 1 << 20
PR_SET_PDEATHSIG = 1

Line = Callable[[str, str], None]


class ChildEnded(Exception):
    """A process that the factory can't do without has ended, or one ends again and again."""


@dataclass(frozen=True, slots=True)
class Child:
    """One process.

    Attributes:
        module: run as `python -m module`.
        restart: start it again when it ends by itself.
        vital: the factory can't do without it; another that ends again and again is started again after a minute.
    """

    name: str
    module: str
    arguments: Sequence[str]
    restart: bool
    vital: bool = True


class Children:
    """Runs processes and hands on what they print, a line at a time; those that may be started again are.

    Args:
        heard: called with a child's name and a line of its output.
    """

    def __init__(self, clock: Clock, heard: Line) -> None:
        self._clock = clock
        self._heard = heard
        self._running: dict[str, asyncio.subprocess.Process] = {}
        self._ending = False

    def pid(self, name: str) -> int | None:
        """The process number of a child that runs."""
        process = self._running.get(name)
        return process.pid if process else None

    async def keep(self, child: Child) -> None:
        """Run a child until all are told to end.

        Raises:
            ChildEnded: it ended and is not to be started again, or it ended five times within a minute.
        """
        ends: list[Ns] = []
        while True:
            code = await self._once(child)
            if self._told_to_end():
                return
            now = self._clock.now()
            ends = [end for end in ends if now - end < WINDOW] + [now]
            if not child.restart:
                raise ChildEnded(f"{child.name} has ended with exit code {code}")
            if len(ends) >= MOST_ENDS and not child.vital:
                self._heard(child.name, f"has ended {len(ends)} times within a minute, last with {code}; again in a minute")
                await self._clock.until(Ns(now + WINDOW))
                continue
            if len(ends) >= MOST_ENDS:
                raise ChildEnded(f"{child.name} has ended {len(ends)} times within a minute, last with exit code {code}")
            self._heard(child.name, f"ended with exit code {code}, started again")
            if len(ends) > 1:  # the first end in a while costs its nodes no more time than it must
                await self._clock.until(Ns(now + PAUSE))

    def _told_to_end(self) -> bool:
        return self._ending

    async def _once(self, child: Child) -> int:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            child.module,
            *child.arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_end_with_parent,
            limit=LONGEST_LINE,
        )
        self._running[child.name] = process
        assert process.stdout is not None
        try:
            async for raw in process.stdout:
                self._heard(child.name, raw.decode("utf-8", "replace").rstrip())
            return await process.wait()
        finally:
            if process.returncode is not None:
                del self._running[child.name]

    async def end(self, names: Sequence[str]) -> None:
        """End children in this order, each before the next; one that does not end in ten seconds is killed."""
        self._ending = True
        for name in names:
            process = self._running.get(name)
            if process is None:
                continue
            with suppress(ProcessLookupError):
                process.terminate()
            if not await self._gone(name):
                with suppress(ProcessLookupError):
                    process.kill()

    async def _gone(self, name: str) -> bool:
        until = Ns(self._clock.now() + PATIENCE)
        process = self._running[name]
        while process.returncode is None and self._clock.now() < until:
            await self._clock.until(Ns(self._clock.now() + S // 50))
        return process.returncode is not None


def _end_with_parent() -> None:
    """In the new process: be told to end when the launcher is gone, however it went (Linux)."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def json_line(line: str) -> dict[str, Any] | None:
    """The object on a line, or None where it is none."""
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


