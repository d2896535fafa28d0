"""Ports on this machine: whether one is free, and one that is."""

import itertools
import os
import socket


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


_ports = itertools.count()


def free_port() -> int:
    """A port on 127.0.0.1 that is free now, below those that the system gives to outgoing connections.

    Each process looks in another place first, so that two at a time seldom meet.

    Raises:
        PortError: there is none.
    """
    for _ in range(10_000):
        port = 20_000 + (os.getpid() * 61 + next(_ports)) % 10_000
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port
    raise PortError("no port from 20000 to 29999 is free on 127.0.0.1")
