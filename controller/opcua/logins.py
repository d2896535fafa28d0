"""Passwords are checked one at a time; those who wait take turns, and those who guess wait longer each time."""

import asyncio
from collections import deque
from typing import Final

from asyncua.common.utils import ServiceError
from asyncua.ua.status_codes import StatusCodes

from controller.users import Lock, Users
from twin.clock import Clock

MOST_WAITING: Final = 8
"""Logins of one client that wait."""
FREE_OF_CLIENT: Final = 10
FREE_OF_NAME: Final = 10
"""Failures of one client whatever the names, and of one name whoever tries, that cost no wait."""
MOST_KNOWN: Final = 1_000


class Turns:
    """One at a time; each client that waits has its turn before another one has its next."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        self._taken = False

    async def take(self, client: str) -> None:
        """Wait for a turn.

        Raises:
            ServiceError: too many of this client wait.
        """
        if not self._taken:
            self._taken = True
            return
        mine = self._waiting.setdefault(client, deque())
        if len(mine) >= MOST_WAITING:
            raise ServiceError(StatusCodes.BadTooManyOperations)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        mine.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._forget(client, turn)
            else:
                self.leave()  # it had come meanwhile
            raise

    def leave(self) -> None:
        """The turn is over: the next one's."""
        if not self._waiting:
            self._taken = False
            return
        client = next(iter(self._waiting))
        mine = self._waiting.pop(client)
        turn = mine.popleft()
        if mine:
            self._waiting[client] = mine  # behind the others
        if turn.done():  # cancelled, and not told yet
            self.leave()
        else:
            turn.set_result(None)

    def _forget(self, client: str, turn: asyncio.Future[None]) -> None:
        mine = self._waiting.get(client)
        if mine is not None and turn in mine:
            mine.remove(turn)
            if not mine:
                del self._waiting[client]


class Logins:
    """Whether names and passwords are right.

    A client is its certificate. After failures a name waits for the client that failed; after more of them the client for
    every name, and the name for every client. Who has come in by a name before waits for neither of these two: so nobody
    keeps a user out who comes as he always does.
    """

    def __init__(self, users: Users, clock: Clock) -> None:
        self._users = users
        self._clock = clock
        self._turns = Turns()
        self._lock = Lock()
        self._of_client = Lock(FREE_OF_CLIENT)
        self._of_name = Lock(FREE_OF_NAME)
        self._known: dict[tuple[str, str], None] = {}
        self._under_way: set[asyncio.Task[bool]] = set()

    async def right(self, name: str, password: str, client: str) -> bool:
        """Whether this is a user's password, and the client may try.

        Raises:
            ServiceError: too many of this client wait.
        """
        await self._turns.take(client)  # a check takes 16 MB and 50 ms: no crowd may take more
        if self._locked(name, client):
            self._turns.leave()
            return False
        # Who gives up waiting does not end the check: its thread goes on, and its outcome counts.
        check = asyncio.get_running_loop().create_task(self._check(name, password, client))
        self._under_way.add(check)
        check.add_done_callback(self._under_way.discard)
        return await asyncio.shield(check)

    def _locked(self, name: str, client: str) -> bool:
        now, who = self._clock.now(), (name, client)
        if self._lock.locked(who, now):
            return True
        return who not in self._known and (self._of_client.locked((client,), now) or self._of_name.locked((name,), now))

    async def _check(self, name: str, password: str, client: str) -> bool:
        try:
            right = await asyncio.to_thread(self._users.verify, name, password) is not None
            now, who = self._clock.now(), (name, client)
            if right:
                self._lock.succeeded(who)
                self._known.pop(who, None)
                self._known[who] = None
                if len(self._known) > MOST_KNOWN:
                    del self._known[next(iter(self._known))]
            else:
                self._lock.failed(who, now)
                self._of_client.failed((client,), now)
                self._of_name.failed((name,), now)
            return right
        finally:
            self._turns.leave()
