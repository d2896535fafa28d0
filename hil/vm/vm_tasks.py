"""The task core of asyncio for the VM: the built-in one reads the processor's clock, this one reads `time`.

It has the interface that `asyncio.core` asks of `_asyncio`: TaskQueue(push, pop, peek, remove) and Task.
"""

import micropython
import vm_link

core = None  # asyncio.core, see serve()
_ENDS = ()
_MASK = 0x3FFFFFFF  # of ticks_ms
_HALF = 0x20000000
_OVERRUN_US = 10_000  # by which a processor that is never idle may run ahead of what was granted


def serve(module):
    """Be the task core of this asyncio.core, and its loop: that looks at sockets only after time was granted."""
    global core, _ENDS
    core = module
    _ENDS = (core.CancelledError, Exception)
    core.run_until_complete = run_until_complete
    core.sleep_ms = sleep_ms


class _Sleep:
    """What sleep_ms() gives: it puts the running task back into the queue, and then lets it go on."""

    def __init__(self):
        self.due = None
        self._end = StopIteration()

    def __iter__(self):
        return self

    @micropython.native
    def __next__(self):
        due = self.due
        if due is None:
            self._end.__traceback__ = None
            raise self._end
        self.due = None
        core._task_queue.push(core.cur_task, due)


_sleep = _Sleep()  # one is enough: it is awaited before anybody else can ask for one


@micropython.native
def sleep_ms(duration):
    """asyncio.sleep_ms: the running task waits."""
    _sleep.due = (vm_link.now // 1000 + (duration if duration > 0 else 0)) & 0x3FFFFFFF
    return _sleep


class TaskQueue:
    """Tasks by due time; those with the same due time in the order they came."""

    def __init__(self):
        self._tasks = []

    def peek(self):
        return self._tasks[0] if self._tasks else None

    @micropython.native
    def push(self, task, key=None):
        task.data = None
        task.ph_key = core.ticks() if key is None else key
        tasks = self._tasks
        at = len(tasks)
        while at and core.ticks_diff(task.ph_key, tasks[at - 1].ph_key) < 0:
            at -= 1
        tasks.insert(at, task)

    def pop(self):
        return self._tasks.pop(0)

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


def run_until_complete(main_task=None):
    """Run tasks in the order of their times, until the main one ends; where none can ever run again, return."""
    link = vm_link
    tasks = core._task_queue._tasks
    while True:
        while True:
            if link.fresh:
                core._io_queue.wait_io_event(0)
                link.fresh = False
            if tasks:
                missing = (tasks[0].ph_key - link.now // 1000 + _HALF & _MASK) - _HALF
                if missing <= 0:
                    if link.now > link.grant + _OVERRUN_US and link.now > link.granted + _OVERRUN_US:
                        link.exchange(link.now)  # never idle: the others must be asked all the same
                    break
                wake = link.now + missing * 1000
                if wake <= link.grant:
                    link.now = wake
                    break
                link.exchange(wake)
            elif core._io_queue.map:
                link.exchange(link.FOREVER)
            else:
                core.cur_task = None
                return None
        task = tasks.pop(0)
        link.now += link.switch_us
        if link.io_due:
            link.io_due = False
            link.now += link.exchange_us
            link.settle()
        core.cur_task = task
        thrown = task.data
        try:
            if thrown:
                task.data = None
                task.coro.throw(thrown)
            else:
                task.coro.send(None)
        except _ENDS as end:
            if task is main_task:
                core.cur_task = None
                if isinstance(end, StopIteration):
                    return end.value
                raise
            _ended(task, end, thrown)


def _ended(task, end, thrown):
    """A task has ended: who waits for it goes on; an exception that nobody waits for is told at its second turn."""
    if task.state is None:
        task.data = thrown
        core._exc_context["exception"] = thrown
        core._exc_context["future"] = task
        core.Loop.call_exception_handler(core._exc_context)
        return
    noticed = True
    if task.state is True:
        task.state = None
        noticed = False
    elif callable(task.state):
        task.state(task, end)
        task.state = False
    else:
        noticed = task.state.peek() is not None
        while task.state.peek():
            core._task_queue.push(task.state.pop())
        task.state = False
    if not noticed and not isinstance(end, (core.CancelledError, StopIteration)):
        core._task_queue.push(task)
    task.data = end
