"""Jobs on their way: planned and carried to their nodes beside the scan, which learns of them as facts.

What plans are made with (Numba, the kernels) is imported where they are made: a core that starts scans its nodes before that.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from controller.aside import Aside
from controller.modbus.burst import AnyLink
from controller.nodes.transfer import Carrier, Load, NoRoom, TransferError
from controller.orders.order import OrderError
from controller.orders.turn import Drop, Fact, Failed, MakePlan, Planned, Request, Send, Sent, Work
from twin.clock import Clock
from twin.export import RING_BYTES
from twin.factory import Factory
from twin.node import TransferKind

if TYPE_CHECKING:
    from twin.making import Job

STORED_BYTES = 1536 * 1024
"""A Job above this is streamed without asking whether the node could store it."""
SHOWN = 4
"""Jobs of each machine that are left for the shadow."""
LEAST_RESERVE = 10.0
"""Seconds of motion that a node's ring must hold while a Job is streamed."""


class Jobs:
    """Plans and carries Jobs; each is known by its id until it is dropped."""

    def __init__(
        self,
        factory: Factory,
        folder: Path,
        links: Mapping[str, AnyLink],
        ours: Callable[[str], bool],
        clock: Clock,
        aside: Aside,
        stored_bytes: int = STORED_BYTES,
    ) -> None:
        self._factory, self._folder, self._links, self._ours = factory, folder, links, ours
        self._clock, self._aside, self._stored_bytes = clock, aside, stored_bytes
        self._made: dict[int, Job] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._facts: list[Fact] = []
        self._tried: list[tuple[Request, str]] = []

    def take_on(self, work: Work) -> None:
        """Begin a piece of work, or end it."""
        match work:
            case MakePlan():
                self._begin(work.job_id, self._plan(work))
            case Send():
                self._begin(work.job_id, self._send(work))
            case Drop():
                self._made.pop(work.job_id, None)
                if (task := self._tasks.pop(work.job_id, None)) is not None:
                    task.cancel()

    def attempt(self, request: Request, works: Sequence[Sequence[MakePlan]]) -> None:
        """Try whether the Jobs of a request can be made, before it is accepted."""
        task = asyncio.get_running_loop().create_task(self._attempt(works))
        self._tasks[-request.id] = task
        task.add_done_callback(lambda done: self._attempted(request, done))

    def tried(self) -> tuple[tuple[Request, str], ...]:
        """Requests that were tried since the last call, and why they are refused; empty where they are not."""
        found = tuple(self._tried)
        self._tried.clear()
        return found

    async def _attempt(self, works: Sequence[Sequence[MakePlan]]) -> None:
        """By operation: one machine that can take it is enough."""
        for several in works:
            refused: list[str] = []
            for work in several:
                try:
                    await self._aside(lambda: make(self._factory, self._folder, work))  # noqa: B023
                    refused.clear()
                    break
                except OrderError as why:
                    refused.append(f"{work.machine}: {why}")
            if refused:
                raise OrderError("; ".join(refused))

    def _attempted(self, request: Request, task: "asyncio.Task[None]") -> None:
        self._tasks.pop(-request.id, None)
        if task.cancelled():
            return
        broken = task.exception()
        told = "" if broken is None else str(broken) if isinstance(broken, OrderError) else self._internal(task, broken)
        self._tried.append((request, told))

    def _internal(self, task: "asyncio.Task[None]", broken: BaseException) -> str:
        """Tell the process of a mistake of ours; what orders are told of it."""
        about = {"message": "a Job broke down", "exception": broken, "task": task}
        task.get_loop().call_exception_handler(about)
        return f"internal error: {type(broken).__name__}: {broken}"

    def take(self) -> tuple[Fact, ...]:
        """What has become of them since the last call."""
        found = tuple(self._facts)
        self._facts.clear()
        return found

    async def close(self) -> None:
        """End everything."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(self, job_id: int, work: Coroutine[Any, Any, None]) -> None:
        task = self._tasks[job_id] = asyncio.get_running_loop().create_task(work)
        task.add_done_callback(lambda done: self._ended(job_id, done))

    def _ended(self, job_id: int, task: "asyncio.Task[None]") -> None:
        """A Job whose making breaks down, for whatever reason, holds its own order and nothing else."""
        if self._tasks.get(job_id) is task:
            del self._tasks[job_id]
        if task.cancelled() or (broken := task.exception()) is None:
            return
        expected = isinstance(broken, (OrderError, TransferError))
        self._facts.append(Failed(job_id, str(broken) if expected else self._internal(task, broken)))

    async def _plan(self, work: MakePlan) -> None:
        job = await self._aside(lambda: make(self._factory, self._folder, work))
        await self._aside(lambda: show(self._folder.parent / "jobs", work, job.data))
        self._made[work.job_id] = job
        self._facts.append(Planned(work.job_id, job.chunks, job.duration, job.waiting, job.warnings, job.digest))

    async def _send(self, work: Send) -> None:
        node = self._factory.machines[work.machine].node
        data = self._made[work.job_id].data
        told = False

        def ahead() -> None:
            nonlocal told
            if not told:
                told = True
                self._facts.append(Sent(work.job_id))

        def carrier(kind: TransferKind) -> Carrier:
            load = Load(work.job_id, data, kind)
            return Carrier(self._links[node], self._clock, load, lambda: self._ours(node), ahead)

        if len(data) <= self._stored_bytes or self._factory.nodes[node].foreign is not None:
            try:
                await carrier(TransferKind.STORED_JOB).carry()
                return
            except NoRoom:
                pass  # then it is streamed
        reserve = await self._aside(lambda: shortest_reserve(data, RING_BYTES))
        if reserve < LEAST_RESERVE:
            raise TransferError(
                f"{len(data)} bytes are more than node {node} can store, and its ring of {RING_BYTES} bytes would hold only "
                f"{reserve:.1f} s of them, not {LEAST_RESERVE:g} s"
            )
        await carrier(TransferKind.STREAMED_JOB).carry()


def show(folder: Path, work: MakePlan, data: bytes) -> None:
    """Leave a machine's Job where the shadow finds it, beside the last few: one may still run while the next is planned.

    A disk that refuses is no reason to hold an order.
    """
    with contextlib.suppress(OSError):
        folder.mkdir(mode=0o700, exist_ok=True)
        fresh = folder / f"{work.machine}.new"
        fresh.write_bytes(data)
        fresh.replace(folder / f"{work.machine}.{work.job_id}.job")
        shown = folder.glob(f"{work.machine}.*.job")
        for old in sorted(shown, key=lambda path: (path.stat().st_mtime_ns, int(path.name.rsplit(".", 2)[1])))[:-SHOWN]:
            old.unlink()


def make(factory: Factory, folder: Path, work: MakePlan) -> "Job":
    """See `controller.orders.job`."""
    from controller.orders import job

    return job.make(factory, folder, work)


def shortest_reserve(data: bytes, ring: int) -> float:
    """See `controller.orders.job`."""
    from controller.orders import job

    return job.shortest_reserve(data, ring)
