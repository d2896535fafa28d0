"""An asyncio event loop whose time is granted by the rig, so that the core runs in factory time.

When nothing is ready the loop asks for time up to its next timer, and is told when it is. Sockets are real; they are looked at
when time was granted, at that instant.
"""

import asyncio
import selectors
import socket
import struct
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from twin.clock import Ns, S, ns

FOREVER = Ns(2**62)
WAIT = struct.Struct("<qB")
GRANT = struct.Struct("<q")


class TimeEnded(Exception):
    """The rig that grants the time is gone."""


class _GrantedSelector(selectors.BaseSelector):
    """Waits in factory time: the rig is asked instead of the operating system."""

    def __init__(self, link: socket.socket) -> None:
        self._real = selectors.PollSelector()  # it sees at once what was written to a pseudo-terminal, epoll at times later
        self._link = link
        self.active = True
        self.now = Ns(0)

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.modify(fileobj, events, data)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._real.get_map() or {}

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.get_key(fileobj)

    def close(self) -> None:
        self._real.close()
        self._link.close()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready now; where nothing is, what is ready once time has been granted."""
        ready = self._real.select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        self._exchange(FOREVER if timeout is None else Ns(self.now + max(1, ns(timeout))))
        return self._real.select(0)

    def _exchange(self, due: Ns) -> None:
        try:
            self._link.sendall(WAIT.pack(due, self.active))
            self.active = False
            reply = self._link.recv(GRANT.size, socket.MSG_WAITALL)
        except (BrokenPipeError, ConnectionResetError) as gone:
            raise TimeEnded("the rig that grants factory time is gone") from gone
        if len(reply) != GRANT.size:
            raise TimeEnded("the rig that grants factory time is gone")
        self.now = Ns(GRANT.unpack(reply)[0])


class FactoryLoop(asyncio.SelectorEventLoop):
    """An event loop on granted time."""

    def __init__(self, link: socket.socket) -> None:
        self._granted = _GrantedSelector(link)
        super().__init__(self._granted)
        self._unfelt: set[Any] = set()

    def unfelt(self, *where: Any) -> None:
        """No node listens at this host and port: what is sent there stirs none, and the rig looks there by itself."""
        self._unfelt.add(where)

    def time(self) -> float:
        """Factory time [s]."""
        return self._granted.now / S

    def now(self) -> Ns:
        """Factory time, exact."""
        return self._granted.now

    def stir(self) -> None:
        """Something was done that a node can notice: the rig is to ask the nodes at this instant."""
        self._granted.active = True

    async def create_connection(self, protocol_factory: Any, *where: Any, **options: Any) -> Any:
        """As asyncio's; what is done on the connection is told to the rig, unless it leads to no node."""
        if where in self._unfelt:
            return await super().create_connection(protocol_factory, *where, **options)
        self.stir()
        transport, watched = await super().create_connection(lambda: _Watched(protocol_factory(), self), *where, **options)
        self.stir()
        return transport, watched.protocol


class _Watched(asyncio.Protocol):
    """A protocol whose transport tells the loop of all that it sends."""

    def __init__(self, protocol: asyncio.Protocol, loop: FactoryLoop) -> None:
        self.protocol = protocol
        self._loop = loop
        self.data_received = protocol.data_received  # type: ignore[method-assign]
        self.eof_received = protocol.eof_received  # type: ignore[method-assign]
        self.pause_writing = protocol.pause_writing  # type: ignore[method-assign]
        self.resume_writing = protocol.resume_writing  # type: ignore[method-assign]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.protocol.connection_made(_Telling(transport, self._loop))  # type: ignore[arg-type]

    def connection_lost(self, lost: Exception | None) -> None:
        self._loop.stir()
        self.protocol.connection_lost(lost)


class _Telling:
    """A transport that tells the loop when it is written to or closed; all else is the transport's own."""

    def __init__(self, transport: asyncio.BaseTransport, loop: FactoryLoop) -> None:
        self._transport = transport
        self._loop = loop

    def __getattr__(self, name: str) -> Any:
        if name in ("write", "writelines", "close", "abort", "write_eof"):
            self._loop.stir()
        return getattr(self._transport, name)


class FactoryClock:
    """The rig's factory time as a Clock."""

    def __init__(self, loop: FactoryLoop) -> None:
        self._loop = loop

    def now(self) -> Ns:
        """Nanoseconds since the factory was started."""
        return self._loop.now()

    def unfelt(self, *where: Any) -> None:
        """See FactoryLoop.unfelt."""
        self._loop.unfelt(*where)

    async def until(self, due: Ns) -> None:
        """Return when factory time has reached `due`."""
        while self._loop.now() < due:
            reached: asyncio.Future[None] = self._loop.create_future()
            self._loop.call_at(due / S, _wake, reached)
            await reached


def _wake(reached: "asyncio.Future[None]") -> None:
    if not reached.done():
        reached.set_result(None)


Main = Callable[[FactoryClock], Coroutine[Any, Any, None]]


def run_on(link: socket.socket, main: Main) -> None:
    """Run a coroutine on an event loop whose time comes over `link`, a connected stream socket."""
    loop = FactoryLoop(link)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(main(FactoryClock(loop)))


def run(main: Main, socket_path: str, name: str) -> None:
    """The same over the rig's Unix socket; `name` tells the rig who asks.

    Raises:
        TimeEnded: the rig went away.
    """
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    link.connect(socket_path)
    link.sendall(name.encode("ascii").ljust(32, b"\0"))
    run_on(link, main)
