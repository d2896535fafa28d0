"""The task core of asyncio for the VM: the built-in one reads the processor's clock, this one reads `time`.

It has the interface that `asyncio.core` asks of `_asyncio`: TaskQueue(push, pop, peek, remove) and Task.
"""

import vm_link

core = None  # asyncio.core, see serve()


def serve(module):
    """Be the task core of this asyncio.core."""
    global core
    core = module


class TaskQueue:
    """Tasks by due time; those with the same due time in the order they came."""

    def __init__(self):
        self._tasks = []

    def peek(self):
        return self._tasks[0] if self._tasks else None

    def push(self, task, key=None):
        task.data = None
        task.ph_key = core.ticks() if key is None else key
        tasks = self._tasks
        at = len(tasks)
        while at and core.ticks_diff(task.ph_key, tasks[at - 1].ph_key) < 0:
            at -= 1
        tasks.insert(at, task)

    def pop(self):
        task = self._tasks.pop(0)
        if self is core._task_queue:
            vm_link.now += vm_link.switch_us
            if vm_link.io_due:
                vm_link.io_due = False
                vm_link.now += vm_link.exchange_us
                vm_link.settle()
        return task

    def remove(self, task):
        self._tasks.remove(task)


class Task:
    """A coroutine on its way. `state`: True running, a TaskQueue of waiters, False or None when finished."""

    def __init__(self, coro, globals=None):
        self.coro = coro
        self.data = None
        self.state = True
        self.ph_key = 0

    def __iter__(self):
        if not self.state:
            self.state = False  # its end has been noticed: asyncio reports no unhandled exception
        elif self.state is True:
            self.state = TaskQueue()
        elif not isinstance(self.state, TaskQueue):
            raise RuntimeError("can't wait")
        return self

    def __next__(self):
        if not self.state:
            raise self.data  # pyright: ignore[reportGeneralTypeIssues]
        waiter = core.cur_task
        waiters = self.state
        waiters.push(waiter)  # pyright: ignore[reportAttributeAccessIssue]
        waiter.data = self  # where it waits, for cancel()

    def done(self):
        return not self.state

    def cancel(self):
        if not self.state:
            return False
        if self is core.cur_task:
            raise RuntimeError("can't cancel self")
        task = self
        while isinstance(task.data, Task):
            inner = task.data
            if inner.state and inner.state is not True:
                task = inner
            else:
                break
        if hasattr(task.data, "remove"):
            task.data.remove(task)  # pyright: ignore[reportAttributeAccessIssue]
            core._task_queue.push(task)
        elif core.ticks_diff(task.ph_key, core.ticks()) > 0:
            core._task_queue.remove(task)
            core._task_queue.push(task)
        task.data = core.CancelledError
        return True
