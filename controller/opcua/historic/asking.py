"""The server's end: starts the process that has History's door when it is first asked, and again when it has ended."""

import asyncio
import sys
from contextlib import suppress
from pathlib import Path

import msgspec
from asyncua.common.utils import ServiceError
from asyncua.ua.status_codes import StatusCodes

from controller.history.tables import FILE
from controller.opcua.historic.questions import MOST_FRAME, Answer, Question, frame

MOST_WAITING = 64
PATIENCE_S = 30.0


class History:
    """Asks one question after the other of a process of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()
        self._asking: set[asyncio.Task[Answer]] = set()
        self._at_work: asyncio.Task[Answer] | None = None
        self._warming: asyncio.Task[None] | None = None
        self._decoder = msgspec.msgpack.Decoder(Answer)

    def warm(self) -> None:
        """Have the process there before it is asked, where there is a History: it takes a second or two to come up."""
        if self._warming is None and (self._folder / FILE).exists():
            self._warming = asyncio.get_running_loop().create_task(self._warm())

    async def _warm(self) -> None:
        async with self._turn:
            if self._process is None:
                await self._start()

    async def ask(self, question: Question) -> Answer:
        """The answer. Who is cancelled before it is his turn has not asked; later, the answer is waited for and dropped, so that
        nobody else's is touched.

        Raises:
            ServiceError: too many ask, it takes too long, or the process ends again and again.
        """
        if len(self._asking) >= MOST_WAITING:
            raise ServiceError(StatusCodes.BadTooManyOperations)
        asking = asyncio.get_running_loop().create_task(self._in_turn(question))
        self._asking.add(asking)
        asking.add_done_callback(self._ended)
        try:
            return await asyncio.shield(asking)
        except asyncio.CancelledError:
            if asking is not self._at_work:
                asking.cancel()
            raise

    def _ended(self, asking: asyncio.Task[Answer]) -> None:
        self._asking.discard(asking)
        if not asking.cancelled():
            asking.exception()  # is seen, also when nobody waits any more

    async def _in_turn(self, question: Question) -> Answer:
        async with self._turn:
            self._at_work = asyncio.current_task()
            try:
                for _ in range(2):
                    with suppress(ConnectionError, asyncio.IncompleteReadError):
                        async with asyncio.timeout(PATIENCE_S):
                            return await self._asked(question)
                    await self._end()
            except TimeoutError:
                await self._end()  # its answer would be taken for the next one's
                raise ServiceError(StatusCodes.BadTimeout) from None
            finally:
                self._at_work = None
        raise ServiceError(StatusCodes.BadResourceUnavailable)

    async def _start(self) -> None:
        command = (sys.executable, "-m", "controller.opcua.historic", str(self._folder))
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)

    async def _asked(self, question: Question) -> Answer:
        if self._process is None:
            await self._start()
        assert self._process is not None
        asked, told = self._process.stdin, self._process.stdout
        assert asked is not None and told is not None
        asked.write(frame(question))
        await asked.drain()
        size = int.from_bytes(await told.readexactly(4), "big")
        if size > MOST_FRAME:
            raise ConnectionError(f"an answer of {size} bytes")
        answer = self._decoder.decode(await told.readexactly(size))
        assert answer.number == question.number
        return answer

    async def close(self) -> None:
        """End the process, if there is one, and let go who waits for it."""
        under_way = [*self._asking, *([self._warming] if self._warming is not None else [])]
        for one in under_way:
            one.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        await self._end()

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
