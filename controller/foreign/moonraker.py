"""A Klipper printer behind Moonraker as a node of the factory: a Link's face, and registers that are kept in `front`.

It plays what it was given by itself, whether we are there or not. It lives in wall time.
"""

import asyncio
import contextlib
import hashlib
import secrets
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import aiohttp

from controller.foreign.files import Files
from controller.foreign.front import Answer, Front, answers
from controller.foreign.klipper import OBJECTS, READY, STATES, File, Told, file, file_of, job_of
from controller.foreign.rpc import LONGEST, Rpc, RpcError, RpcLost
from controller.modbus.burst import Reply
from controller.modbus.pdu import LinkDown, Request
from twin.clock import MS, Clock, Ns, S, seconds
from twin.export import map_hash
from twin.factory import Factory
from twin.foreign import Moonraker
from twin.motion.limits import JobError
from twin.node import MACHINES_AT, Fault, JobState, Op, Reason
from twin.wire import decode, encode

HEARTBEAT_S = 2.0  # between two pings; half of it without an answer ends the connection
CONNECT_S = 5.0
FIRST_PAUSE, LONGEST_PAUSE = Ns(500 * MS), Ns(10 * S)
LOOK = Ns(2 * S)  # between two looks at a Klipper that is not ready
TICK = Ns(100 * MS)
CANCEL = Ns(5 * S)  # within which a cancel must have ended the Job, where the emergency stop is declared
MARGIN = 15.0  # °C above the highest target at which the printer is stopped
BEGINS = Ns(10 * S)  # within which a Job that was started must show


async def _others() -> None:
    """Let others go first: a Job is carried here in many thousands of writes, none of which waits for anything."""
    turn = asyncio.Event()
    asyncio.get_running_loop().call_soon(turn.set)
    await turn.wait()


class MoonrakerLink:
    """One printer.

    Attributes:
        up: whether Moonraker can be asked. cause: why it cannot.
    """

    def __init__(self, factory: Factory, name: str, printer: Moonraker, clock: Clock) -> None:
        self.name, self.cause = name, "not connected yet"
        self._printer, self._clock = printer, clock
        self._machine = next(iter(factory.on(name)), None)
        first, count = MACHINES_AT, 0
        if self._machine is not None:
            status, command = self._machine.type.layouts
            first, count = self._machine.base + status.size, command.size
        uid = factory.nodes[name].uid
        self.front = Front(self, clock, uid, map_hash(factory, name), secrets.randbits(31) or 1, (first, count))
        self.told = Told()
        self._rpc: Rpc | None = None
        self._files: Files | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._made: dict[int, File] = {}
        self._job, self._since = 0, Ns(0)  # the Job that was started, and when it was asked for
        self._begun = False  # it has been seen in work
        self._paused = self._heated = self._stop_at_once = False
        self._cancelled: Ns | None = None

    # ---- a Link's face

    @property
    def up(self) -> bool:
        return self._rpc is not None

    async def ask(self, requests: Sequence[Request], deadline: Ns, urgent: bool = True) -> list[Reply]:
        """The reply to each request."""
        await _others()
        if self._rpc is None:
            return [LinkDown(f"{self.name}: {self.cause}")] * len(requests)
        self._show()
        return answers(self.front, requests)

    def drop(self, cause: str) -> None:
        """End the present connection; a new one is made after a pause."""
        if self._rpc is not None:
            self.cause = cause
            self._spawn(self._rpc.close())

    async def run(self) -> None:
        """Keep the connection up until cancelled, with pauses that grow."""
        pause = FIRST_PAUSE
        ticking = asyncio.create_task(self._tick())
        try:
            while True:
                began = self._clock.now()
                try:
                    await self._live()
                except (aiohttp.ClientError, OSError, TimeoutError, RpcError, RpcLost) as lost:
                    self.cause = f"no connection to {self._printer.url}: {str(lost) or type(lost).__name__}"
                finally:
                    self._rpc = None
                pause = FIRST_PAUSE if self._clock.now() - began > LONGEST_PAUSE else min(Ns(2 * pause), LONGEST_PAUSE)
                await self._clock.until(Ns(self._clock.now() + pause))
        finally:
            ticking.cancel()
            for task in tuple(self._tasks):
                task.cancel()
            await asyncio.gather(ticking, *self._tasks, return_exceptions=True)

    async def _live(self) -> None:
        headers = {"X-Api-Key": self._token()} if self._printer.token_file else {}
        timeout = aiohttp.ClientTimeout(sock_connect=CONNECT_S)
        async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
            self._files = Files(session, self._printer.url)
            url = f"{self._printer.url.replace('http', 'ws', 1)}/websocket"
            async with session.ws_connect(url, heartbeat=HEARTBEAT_S, max_msg_size=LONGEST) as socket:
                rpc = Rpc(socket, self._notified)
                reading = asyncio.create_task(rpc.run())
                try:
                    await self._greet(rpc)
                    self._rpc, self.cause = rpc, ""
                    self._found_again()
                    while not reading.done():
                        if self.told.klippy != READY:
                            await self._greet(rpc)
                        await asyncio.wait((reading,), timeout=seconds(LOOK))
                    self.cause = reading.result()
                finally:
                    reading.cancel()
                    await asyncio.gather(reading, return_exceptions=True)

    def _token(self) -> str:
        path = self._printer.token_file
        assert path is not None
        if path.stat().st_mode & 0o077:
            raise PermissionError(f"{path} can be read by others: chmod 600")
        return path.read_text(encoding="ascii").strip()

    async def _greet(self, rpc: Rpc) -> None:
        """Learn how Klipper is; where it is ready, have it tell all that is shown."""
        info = await rpc.call("server.info")
        state = info.get("klippy_state") if isinstance(info, dict) else None
        before = self.told.klippy
        self.told.klippy = state if isinstance(state, str) else "disconnected"
        if self.told.klippy == READY:
            if before != READY and self._rpc is not None:
                self.front.show(boot_id=(self.front["boot_id"] + 1) & 0xFFFFFFFF)
            found = await rpc.call("printer.objects.subscribe", {"objects": OBJECTS})
            self.told.take(found.get("status") if isinstance(found, dict) else None)
        self._look()

    def _notified(self, method: str, params: list[Any]) -> None:
        match method:
            case "notify_status_update" if params:
                self.told.take(params[0])
            case "notify_klippy_disconnected":
                self.told.klippy = "disconnected"
            case "notify_klippy_shutdown":
                self.told.klippy = "shutdown"
            case _:
                return
        self._look()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # ---- what it tells, and what follows from it

    def _look(self) -> None:
        """See what has changed."""
        told, front = self.told, self.front
        state = front["job_state"]
        ours = job_of(told.file)
        if ours is not None and (ours == self._job or not self._job):
            self._job = ours
            known = STATES.get(told.state)
            if known is not None and (known in (JobState.RUNNING, JobState.HOLDING) or self._begun or not self._since):
                self._begun = True
                state = known
        elif self._begun and state in (JobState.RUNNING, JobState.HOLDING):
            state = JobState.ABORTED  # somebody else has taken the printer
        if told.klippy != READY and state in (JobState.RUNNING, JobState.HOLDING):
            state = JobState.ABORTED
            front.latch(Fault.PRINTER)
        front.show(job_state=state, job_id=self._job, homed=told.homed, moving=told.state == "printing")
        if state not in (JobState.RUNNING, JobState.HOLDING):
            self._cancelled = None
            self._paused = False
        self._watch_heat()
        self.obey()

    def _watch_heat(self) -> None:
        if self._machine is None or self.told.klippy != READY:
            return
        params = self._machine.params
        for heater, most in enumerate((params.max_hotend_temperature, params.max_bed_temperature)):
            if self.told.temperatures[heater] > most + MARGIN and not self.front["latched"]:
                self.front.latch(Fault.OVER_TEMPERATURE)
                self._do("printer.emergency_stop" if self._printer.emergency else "printer.print.cancel")

    def _show(self) -> None:
        """Put what is known into the registers."""
        if self._machine is None:
            return
        self.front.put(self._machine.base, encode(self.told.status(self._machine.type.status)))
        made = self._made.get(self._job)
        if made is not None and self._begun and job_of(self.told.file) == self._job:
            line, chunks = made.reached(self.told.at)
            self.front.show(job_line=line, job_chunks=chunks)

    async def _tick(self) -> None:
        while True:
            await self._clock.until(Ns(self._clock.now() + TICK))
            self.front.tick()
            now = self._clock.now()
            if self._since and not self._begun and now - self._since >= BEGINS and self.front["job_state"] is JobState.RUNNING:
                self.front.show(job_state=JobState.ABORTED, job_fault=Reason.NOT_AS_EXPECTED)
            if self._cancelled is not None and self._printer.emergency and now - self._cancelled >= CANCEL:
                self._cancelled = None
                self._do("printer.emergency_stop")

    def _found_again(self) -> None:
        """The connection is back; what is to be stopped after a silence is stopped now."""
        if self._stop_at_once:
            self._stop_at_once = False
            if self.told.state in ("printing", "paused") and job_of(self.told.file) == self._job:
                self.front.latch(Fault.SILENCE)
                self._cancel()

    # ---- what it is told (Machinery)

    def begin(self, op: Op, argument: int, answer: Answer) -> None:
        """Carry a command out."""
        match op:
            case Op.START:
                self._start(argument, answer)
            case Op.STOP:
                running = self.front["job_state"] in (JobState.RUNNING, JobState.HOLDING)
                if not running:
                    answer(Reason.NONE)
                else:
                    self._cancel(answer)
            case Op.RESET:
                cause = self.front["latched"] and self.told.klippy != READY
                if not cause:
                    self.front.reset()
                answer(Reason.LATCHED if cause else Reason.NONE)
            case _:
                answer(Reason.UNKNOWN_COMMAND)

    def _start(self, job_id: int, answer: Answer) -> None:
        if job_id not in self._made:
            answer(Reason.NO_SUCH_JOB)
        elif self.told.state in ("printing", "paused"):
            answer(Reason.BUSY)
        elif self.told.klippy != READY:
            answer(Reason.NOT_AS_EXPECTED)
        else:
            self._job, self._since, self._begun = job_id, self._clock.now(), False
            self._paused, self._heated = False, True

            def started(reason: Reason) -> None:
                if reason is Reason.NONE:
                    self.front.show(job_id=job_id, job_state=JobState.RUNNING, job_line=0, job_chunks=0, job_fault=Reason.NONE)
                answer(reason)
                self._look()

            self._do("printer.print.start", {"filename": file_of(job_id)}, started)

    def _cancel(self, answer: Answer = lambda reason: None) -> None:
        self._cancelled = self._clock.now()
        self._do("printer.print.cancel", answer=answer)

    def _do(
        self, method: str, params: dict[str, Any] | None = None, answer: Callable[[Reason], None] = lambda reason: None
    ) -> None:
        async def call() -> None:
            if self._rpc is None:
                answer(Reason.NO_PRINTER)
                return
            try:
                await self._rpc.call(method, params, within=60.0)
            except RpcError:
                answer(Reason.NOT_AS_EXPECTED)
            except RpcLost:
                answer(Reason.NO_PRINTER)
            else:
                answer(Reason.NONE)

        self._spawn(call())

    def store(self, job_id: int, job: bytes, answer: Answer) -> None:
        """Upload a Job as G-code, and read it back."""

        async def upload() -> None:
            try:
                made = await asyncio.to_thread(file, job)
                assert self._files is not None
                await self._files.put(file_of(job_id), made.text, hashlib.sha256(made.text).hexdigest())
            except JobError:
                answer(Reason.BAD_JOB)
            except (aiohttp.ClientError, OSError, TimeoutError):
                answer(Reason.BAD_CHECKSUM)  # the carrier begins again
            else:
                self._made[job_id] = made
                answer(Reason.NONE)
                await self._tidy()

        self._spawn(upload())

    async def _tidy(self) -> None:
        """Of our files at the printer, only the last two are kept."""
        for old in list(self._made)[:-2]:
            if old == self._job and self.front["job_state"] in (JobState.RUNNING, JobState.HOLDING):
                continue
            del self._made[old]
            with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
                assert self._files is not None
                await self._files.remove(file_of(old))

    def obey(self) -> None:
        """Hold, go on, or cool down, as the machine's Command says."""
        if self._machine is None or self._rpc is None or self.told.klippy != READY:
            return
        command: Any = decode(self._machine.type.command, self.front.effective())
        ours = self._begun and job_of(self.told.file) == self._job
        if ours and not self.front.commanded:
            return  # nobody has said anything yet: the printer goes on
        if ours and self.told.state == "printing" and not command.run and not self._paused:
            self._paused = True
            self._do("printer.print.pause")
        elif ours and self.told.state == "paused" and command.run and self._paused:
            self._paused = False
            self._do("printer.print.resume")
        busy = self.told.state in ("printing", "paused") or self.front["job_state"] is JobState.RUNNING
        if not command.permit and self._heated and not busy:
            self._heated = False
            self._do("printer.gcode.script", {"script": "TURN_OFF_HEATERS"})

    def fall_silent(self) -> None:
        """The lease has ended: the printer goes on, unless it is to be stopped as soon as it can be reached."""
        if self._printer.stops and self.front["job_state"] in (JobState.RUNNING, JobState.HOLDING):
            self._stop_at_once = True
            if self._rpc is not None:
                self._found_again()
