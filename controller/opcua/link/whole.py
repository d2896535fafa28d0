"""The link put together."""

from collections.abc import Iterable, Mapping
from typing import Protocol

from controller.opcua.access import Access
from controller.opcua.asked import Handle
from controller.opcua.link.discovery import About, Discovery
from controller.opcua.link.dispatch import Dispatch
from controller.opcua.link.gate import Gates
from controller.opcua.link.handshake import Handshake
from controller.opcua.link.terms import Own, Terms, Trust
from controller.opcua.sessions import Sessions
from twin.clock import Clock


class Offers(Protocol):
    """Whatever serves services."""

    def services(self) -> Mapping[str, Handle]:
        """Them, by their names in the standard."""
        ...


class Link:
    """Everything between a listening socket and the services.

    Attributes:
        terms: identity and trust; where to be told of channels.
        sessions: where to be told of sessions.
        gates: makes each connection; `gates.run()` must run.
    """

    def __init__(self, own: Own, trust: Trust, access: Access, clock: Clock, about: About, offers: Iterable[Offers] = ()) -> None:
        self.terms = Terms(own, trust, clock)
        self.sessions = Sessions(access, clock)
        self.discovery = Discovery(about, self.terms)
        self.handshake = Handshake(self.sessions, self.discovery)
        self.dispatch = Dispatch(self.sessions, {})
        everyone: list[Offers] = [self.discovery, self.handshake, *offers]
        for one in everyone:
            self.dispatch.offer(one.services())
        self.gates = Gates(self.terms, self.dispatch, self.handshake)
