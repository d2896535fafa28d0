"""Passwords are checked one at a time, in turns, and who guesses keeps nobody else out."""

import asyncio
import threading
from collections import Counter
from pathlib import Path

import pytest
from asyncua.common.utils import ServiceError

from controller.opcua.logins import FREE_OF_CLIENT, FREE_OF_NAME, MOST_KNOWN, MOST_WAITING, Logins
from controller.users import Cost, Role, User, Users, hashed
from tests.controller.opcua.standing import Standing
from tests.controller.opcua.wired import Wired, status_of
from twin.clock import LoopClock, Ns, S

RIGHT, WRONG = "otto-password", "not-the-password"


class Watched(Users):
    """Users whose checks are counted, and wait where a test wants it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "users.json")
        self._write({name: User("operator", hashed(f"{name}-password", Cost(2, 1))) for name in ("otto", "olga")})
        self.go = threading.Event()
        self.go.set()
        self.begun: list[str] = []
        self.running = self.most = 0

    def verify(self, name: str, password: str) -> Role | None:
        """Check it."""
        self.begun.append(name)
        self.running += 1
        self.most = max(self.most, self.running)
        self.go.wait(10)
        self.running -= 1
        return super().verify(name, password)


@pytest.fixture
def users(tmp_path: Path) -> Watched:
    """otto and olga."""
    return Watched(tmp_path)


async def tried(logins: Logins, name: str, password: str, client: str) -> str:
    """What comes of a login."""
    try:
        return "in" if await logins.right(name, password, client) else "refused"
    except ServiceError:
        return "full"


def test_a_crowd_of_one_clients_logins_lets_another_client_in_next(users: Watched) -> None:
    async def main() -> list[str]:
        logins = Logins(users, LoopClock(asyncio.get_running_loop()))
        users.go.clear()
        crowd = [asyncio.create_task(tried(logins, f"u{number}", WRONG, "evil")) for number in range(MOST_WAITING + 5)]
        await asyncio.sleep(0)
        otto = asyncio.create_task(tried(logins, "otto", RIGHT, "good"))
        await asyncio.sleep(0)
        users.go.set()
        assert await otto == "in"
        assert users.begun.index("otto") <= 2 and users.most == 1
        return [await one for one in crowd]

    told = Counter(asyncio.run(main()))
    assert told == {"refused": MOST_WAITING + 1, "full": 4}


def test_a_login_that_is_given_up_is_checked_to_its_end_and_counts(users: Watched) -> None:
    async def main() -> None:
        logins = Logins(users, LoopClock(asyncio.get_running_loop()))
        users.go.clear()
        for _ in range(5):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await tried(logins, "otto", WRONG, "evil")
        assert users.running == users.most == 1 and len(users.begun) == 1 and not logins._turns._waiting
        users.go.set()
        assert await tried(logins, "olga", "olga-password", "good") == "in"
        assert logins._lock._tries["otto", "evil"].failed == 1 and users.most == 1

    asyncio.run(main())


def test_guesses_of_others_never_lock_out_who_comes_as_always(users: Watched) -> None:
    async def main() -> None:
        clock = Standing()
        logins = Logins(users, clock)
        assert await tried(logins, "otto", RIGHT, "his") == "in"
        for number in range(FREE_OF_NAME + 20):
            await tried(logins, "otto", WRONG, f"evil-{number}")
        assert await tried(logins, "otto", RIGHT, "his") == "in"
        before = len(users.begun)
        assert await tried(logins, "otto", RIGHT, "new") == "refused" and len(users.begun) == before
        clock.time = Ns(301 * S)
        assert await tried(logins, "otto", RIGHT, "new") == "in"

    asyncio.run(main())


def test_a_client_that_guesses_waits_whatever_the_names(users: Watched) -> None:
    async def main() -> None:
        logins = Logins(users, Standing())
        assert await tried(logins, "olga", "olga-password", "evil") == "in"
        for number in range(FREE_OF_CLIENT + 20):
            await tried(logins, f"u{number}", WRONG, "evil")
        assert len(users.begun) == 1 + FREE_OF_CLIENT + 1
        assert await tried(logins, "otto", RIGHT, "evil") == "refused"
        assert await tried(logins, "olga", "olga-password", "evil") == "in"
        assert await tried(logins, "otto", RIGHT, "his") == "in"

    asyncio.run(main())


def test_who_is_known_is_bounded_and_still_waits_for_its_own_guesses(users: Watched) -> None:
    async def main() -> None:
        logins = Logins(users, Standing())
        logins._known |= {("otto", f"{number}"): None for number in range(MOST_KNOWN)}
        assert await tried(logins, "otto", RIGHT, "his") == "in"
        assert len(logins._known) == MOST_KNOWN and ("otto", "0") not in logins._known
        assert [await tried(logins, "otto", WRONG, "his") for _ in range(4)] == ["refused"] * 4
        assert await tried(logins, "otto", RIGHT, "his") == "refused"

    asyncio.run(main())


def test_wrong_guesses_over_another_clients_channel_leave_the_user_alone() -> None:
    with Wired(users={"otto": Role.OPERATOR}) as wired:
        evil, good = wired.client(name="evil"), wired.client()
        told = {status_of(lambda: evil.activate("otto", "wrong")) for _ in range(8)}
        assert told == {"BadUserAccessDenied"} and status_of(lambda: good.activate("otto")) == "Good"
        assert status_of(lambda: evil.activate("otto")) == "BadUserAccessDenied"
