"""The whole server in one process: real nodes, services and trust on wires of memory and virtual time; no core behind it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from controller.feed import feed_signals, schema_hash
from controller.opcua.certificate import own
from controller.opcua.historic.questions import NO_DATA, Answer, Question
from controller.opcua.server import FactoryServer, bind
from controller.opcua.space import space
from controller.opcua.trust.folders import TRUSTED
from controller.users import Role
from tests.controller.factories import shop
from tests.controller.opcua.wired import Wired, identity


class Nothing:
    """A History without a past."""

    async def ask(self, question: Question) -> Answer:
        """No data."""
        return Answer(question.number, NO_DATA)

    def warm(self) -> None:
        """Nothing to start."""

    async def close(self) -> None:
        """Nothing to end."""


class Whole(Wired):
    """A server that shows the shop.

    Attributes:
        server: it.
    """

    def __init__(self, users: Mapping[str, Role] | None = None, clients: tuple[str, ...] = ("client",)) -> None:
        super().__init__(users=users)
        factory = shop()
        signals = feed_signals(factory)
        self._bound = bind(0)
        self.server: FactoryServer = self.run(self._made(space(factory, signals), schema_hash(signals)))
        for name in clients:
            self.server.trust.put(TRUSTED, identity(name).certificate)
        self.link = self.server.link
        self.own = self.link.terms.own
        self.sessions = self.link.sessions

    async def _made(self, shown: Any, schema: str) -> FactoryServer:
        state = Path(self._folder.name)
        own(state / "pki", "server", shown.application)
        made = FactoryServer(shown, schema, state, self._bound, self.clock)
        made.past.asks = Nothing()
        return made

    def __exit__(self, *ended: Any) -> None:
        self._bound.close()
        self.server.auditing.close()
        super().__exit__(*ended)
