"""Ports on this machine: whether one is free, and one that is."""

import os
import socket
from collections import deque

FIRST, LAST = 20_000, 29_999
"""Below the ports that the system gives to outgoing connections."""
BLOCK = 50
COUNT = (LAST + 1 - FIRST) // BLOCK
MOST = 4
"""Blocks that a process takes."""


class PortError(Exception):
    """A port that cannot be had; one line says why."""


def check_port(node: str, host: str, port: int) -> None:
    """Whether a virtual node can listen where the factory says.

    Raises:
        PortError: something else listens there.
    """
    try:
        socket.create_server((host, port)).close()
    except OSError as taken:
        raise PortError(f"node {node} can't listen at {host}:{port}: {taken.strerror}") from taken


class _Blocks:
    """The blocks of ports that this process holds.

    A port that is free now may be given away twice before anyone listens at it. So a process claims blocks: the first port of
    each stays bound, without SO_REUSEADDR, for as long as the process lives, and only the holder hands out the others, in turn.
    """

    def __init__(self) -> None:
        self._process = 0
        self._held: list[socket.socket] = []
        self._ports: deque[int] = deque()

    def next(self) -> int | None:
        """The port that was handed out longest ago or never; None where all blocks are others'."""
        if self._process != os.getpid():  # a fork holds nothing of its parent's
            self._process, self._held, self._ports = os.getpid(), [], deque()
            for turn in range(COUNT):
                if len(self._held) < MOST:
                    self._claim(FIRST + (os.getpid() + turn) % COUNT * BLOCK)
        if not self._ports:
            return None
        self._ports.rotate(-1)
        return self._ports[-1]

    def _claim(self, first: int) -> None:
        claim = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            claim.bind(("127.0.0.1", first))
        except OSError:
            claim.close()
            return
        self._held.append(claim)
        self._ports.extend(range(first + 1, first + BLOCK))


_blocks = _Blocks()


def free_port() -> int:
    """A port on 127.0.0.1 that is free now and that no other process which asks here is given.

    Raises:
        PortError: there is none.
    """
    for _ in range(MOST * BLOCK):
        port = _blocks.next()
        if port is None:
            break
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port
    raise PortError(f"no port from {FIRST} to {LAST} is free on 127.0.0.1")
