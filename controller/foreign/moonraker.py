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

from controller.foreign.again import Again
from controller.foreign.files import Files, KeyUnusable, key_of, session
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
FIRST_PAUSE, LONGEST_PAUSE = Ns(500 * MS), Ns(10 * S)
LOOK = Ns(2 * S)  # between two looks at a Klipper that is not ready
TICK = Ns(100 * MS)
COOL = {"script": "TURN_OFF_HEATERS"}
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
        self._again = Again(clock, self._do)
        self._paused = False  # the hold that is shown is ours
        self._heated = False  # there may be heat of our Job's
        self._cooling = False  # it was too hot, and is not switched off yet
        self._stop_at_once = self._stop_hard = False
        self._cancelled: Ns | None = None
        self._before = ""  # state of the print at the last look

    # ---- a Link's face

    @property
    def up(self) -> bool:
        return self._rpc is not None

    async def ask(self, requests: Sequence[Request], deadline: Ns, urgent: bool = True) -> list[Reply]:
        """The reply to each request."""
        await _others()
        if self._rpc is not None:
            try:
                self._show()
                return answers(self.front, requests)
            except Exception as strange:  # one printer's nonsense is no other machine's matter
                self.drop(f"what it tells cannot be shown: {strange!r}")
        return [LinkDown(f"{self.name}: {self.cause}")] * len(requests)

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
                except KeyUnusable as wrong:
                    self.cause = str(wrong)
                except Exception as strange:  # one printer's nonsense is no other machine's matter
                    self.cause = f"{self._printer.url} told what nobody expects: {strange!r}"[:200]
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
        async with session(key_of(self._printer.token_file)) as opened:
            self._files = Files(opened, self._printer.url)
            url = f"{self._printer.url.replace('http', 'ws', 1)}/websocket"
            async with opened.ws_connect(url, heartbeat=HEARTBEAT_S, max_msg_size=LONGEST) as socket:
                rpc = Rpc(socket, self._notified)
                reading = asyncio.create_task(rpc.run())
                try:
                    await self._greet(rpc)
                    self._rpc, self.cause = rpc, ""
                    self._urge()
                    while not reading.done():
                        if self.told.klippy != READY:
                            await self._greet(rpc)
                        await asyncio.wait((reading,), timeout=seconds(LOOK))
                    self.cause = reading.result()
                finally:
                    reading.cancel()
                    await asyncio.gather(reading, return_exceptions=True)

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
        self._notice_change()
        state = front["job_state"]
        ours = job_of(told.file)
        if ours is not None and (ours == self._job or not self._job):
            self._job = ours
            known = STATES.get(told.state)
            if known is not None and (known in (JobState.RUNNING, JobState.HOLDING) or self._begun or not self._since):
                self._begun = True
                self._heated |= known in (JobState.RUNNING, JobState.HOLDING)
                state = known
        elif self._begun and state in (JobState.RUNNING, JobState.HOLDING):
            state = JobState.ABORTED  # somebody else has taken the printer
        if told.klippy != READY and state in (JobState.RUNNING, JobState.HOLDING):
            state = JobState.ABORTED
            front.latch(Fault.PRINTER)
        front.show(job_state=state, job_id=self._job, homed=told.homed, moving=told.state == "printing")
        if state not in (JobState.RUNNING, JobState.HOLDING):
            self._cancelled = None
            self._paused = self._stop_hard = False
        self._urge()
        self.obey()

    def _notice_change(self) -> None:
        before, self._before = self._before, self.told.state
        if not before:  # heat of a Job's from before a restart of ours
            self._heated = job_of(self.told.file) is not None and any(target > 0 for target in self.told.targets)
        if before != self._before:
            self._again.changed()
            if before == "paused":
                self._paused = False  # whoever has ended it

    def _too_hot(self) -> bool:
        if self._machine is None:
            return False
        params = self._machine.params
        most = (params.max_hotend_temperature, params.max_bed_temperature)
        return any(now > limit + MARGIN for now, limit in zip(self.told.temperatures, most, strict=True))

    def _urge(self) -> None:
        """Ask again for what makes it safe, until it is."""
        told = self.told
        if self._rpc is None:
            return
        if told.klippy != READY:
            self._stop_hard = self._cooling = False  # Klipper itself has switched all off
            return
        printing = told.state in ("printing", "paused")
        if self._too_hot():
            self._cooling = True
            self.front.latch(Fault.OVER_TEMPERATURE)
        self._cooling = self._cooling and (printing or any(target > 0 for target in told.targets))
        if self._stop_hard or (self._cooling and self._printer.emergency):
            self._again.ask("printer.emergency_stop")
        elif self._cooling:
            if printing:
                self._again.ask("printer.print.cancel")
            self._again.ask("printer.gcode.script", COOL)
        if self._stop_at_once and printing and job_of(told.file) == self._job:
            self.front.latch(Fault.SILENCE)
            self._cancelled = self._cancelled or self._clock.now()
            self._again.ask("printer.print.cancel")
        else:
            self._stop_at_once = False

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
            try:
                self._turn()
            except Exception as strange:  # one printer's nonsense is no other machine's matter
                self.drop(f"what it tells cannot be shown: {strange!r}")

    def _turn(self) -> None:
        self.front.tick()
        now = self._clock.now()
        began = self.front["job_state"] is JobState.RUNNING
        if self._since and not self._begun and now - self._since >= BEGINS and began:
            self.front.show(job_state=JobState.ABORTED, job_fault=Reason.NOT_AS_EXPECTED)
        if self._cancelled is not None and self._printer.emergency and now - self._cancelled >= CANCEL:
            self._cancelled = None
            self._stop_hard = True
        if self._rpc is not None:
            self._urge()
            self.obey()

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
                cause = self.front["latched"] and (self.told.klippy != READY or self._too_hot())
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
            except Exception:  # RpcLost, or whatever else has come between: nobody knows
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
            except Exception:  # as a session that was closed meanwhile: whatever it was, the carrier begins again
                answer(Reason.BAD_CHECKSUM)
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
            with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError, RuntimeError):
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
        if ours and self.told.state == "printing" and not command.run:
            if not (self._cooling or self._stop_at_once):
                self._again.ask("printer.print.pause", answer=self._held)
        elif ours and self.told.state == "printing" and self._again.settled("printer.print.pause"):
            self._paused = False  # a pause from now on is somebody else's
        elif ours and self.told.state == "paused" and command.run and self._paused:
            self._again.ask("printer.print.resume")
        busy = self.told.state in ("printing", "paused") or self.front["job_state"] is JobState.RUNNING
        if not command.permit and self._heated and not busy:
            self._again.ask("printer.gcode.script", COOL, self._cooled)

    def _held(self, reason: Reason) -> None:
        self._paused = reason in (Reason.NONE, Reason.NO_PRINTER)  # where the answer was lost, a hold that shows is taken for ours

    def _cooled(self, reason: Reason) -> None:
        if reason is Reason.NONE:
            self._heated = False

    def fall_silent(self) -> None:
        """The lease has ended: the printer goes on, unless it is to be stopped as soon as it can be reached."""
        if self._printer.stops and self.front["job_state"] in (JobState.RUNNING, JobState.HOLDING):
            self._stop_at_once = True
            if self._rpc is not None:
                self._urge()
