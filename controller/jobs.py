"""Jobs on their way: planned and carried to their nodes beside the scan, which learns of them as facts."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

from controller import programs
from controller.aside import Aside
from controller.modbus.client import Link
from controller.nodes.transfer import Carrier, Load, NoRoom, TransferError
from controller.orders.job import Job, make, shortest_reserve
from controller.orders.order import OrderError
from controller.orders.turn import Drop, Fact, Failed, MakePlan, Planned, Send, Sent, Work
from twin.clock import Clock
from twin.export import RING_BYTES
from twin.factory import Factory
from twin.node import TransferKind

STORED_BYTES = 1536 * 1024
"""A Job above this is streamed without asking whether the node could store it."""
LEAST_RESERVE = 10.0
"""Seconds of motion that a node's ring must hold while a Job is streamed."""


class Jobs:
    """Plans and carries Jobs; each is known by its id until it is dropped."""

    def __init__(
        self,
        factory: Factory,
        folder: Path,
        links: Mapping[str, Link],
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
        if isinstance(broken, (OrderError, TransferError)):
            self._facts.append(Failed(job_id, str(broken)))
            return
        self._facts.append(Failed(job_id, f"internal error: {type(broken).__name__}: {broken}"))
        about = {"message": f"Job {job_id:#010x} broke down", "exception": broken, "task": task}
        task.get_loop().call_exception_handler(about)

    async def _plan(self, work: MakePlan) -> None:
        machine = self._factory.machines[work.machine]
        assert machine.type.limits is not None, "only machines that plan Jobs are asked to"
        limits = machine.type.limits(machine.params)
        job = await self._aside(lambda: make(programs.read(self._folder, work.program), limits))
        self._made[work.job_id] = job
        self._facts.append(Planned(work.job_id, job.chunks, job.duration, job.waiting, job.warnings))

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

        if len(data) <= self._stored_bytes:
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
