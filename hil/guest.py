"""Processes that ask the rig for time over a socket: the controller's core is one."""

import socket
import struct
from pathlib import Path
from typing import Protocol

from twin.clock import Ns

_WAIT = struct.Struct("<qB")
_GRANT = struct.Struct("<q")
_NAME_BYTES = 32
_HANDSHAKE_S = 5.0
_CREDENTIALS = struct.Struct("3i")


class Participant(Protocol):
    """Who is asked for what it has to do at an instant; its attributes as in Guest.

    Attributes:
        reacts: it may send something at the instant at which it hears something; else only at its wake.
    """

    name: str
    pid: int
    wake: Ns
    active: bool
    gone: bool

    @property
    def reacts(self) -> bool:
        """See above."""
        ...

    def ask(self, now: Ns) -> None:
        """Grant it time up to `now`."""
        ...

    def dismiss(self) -> None:
        """Tell it that time has ended."""
        ...


class Guest:
    """One process on factory time.

    Attributes:
        wake: when it wants to be asked again.
        active: it did something that a node can notice when it was last asked.
        gone: its process has ended; time goes on without it.
        pid: of its process; 0 where it lives in the rig's.
    """

    def __init__(self, name: str, link: socket.socket, pid: int = 0) -> None:
        self.name = name
        self.pid = pid
        self.wake = Ns(0)
        self.active = False
        self.gone = False
        self.reacts = True
        self._link = link
        self._collect()

    def ask(self, now: Ns) -> None:
        """Grant it time up to `now` and wait until it has nothing more to do at this instant."""
        try:
            self._link.sendall(_GRANT.pack(now))
        except OSError:
            self._lost()
            return
        self._collect()

    def _collect(self) -> None:
        try:
            message = self._link.recv(_WAIT.size, socket.MSG_WAITALL)
        except OSError:
            message = b""
        if len(message) != _WAIT.size:
            self._lost()
            return
        due, active = _WAIT.unpack(message)
        self.wake, self.active = Ns(due), bool(active)

    def _lost(self) -> None:
        self.gone, self.active = True, False
        self._link.close()

    def dismiss(self) -> None:
        """Close its link: it is told that time has ended."""
        self._link.close()


class Door:
    """The Unix socket at which processes come for factory time (mode 0600)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(str(path))
        path.chmod(0o600)
        self._socket.listen(4)
        self._socket.setblocking(False)

    def knock(self) -> Guest | None:
        """The next process that wants in, if there is one."""
        try:
            link, _ = self._socket.accept()
        except BlockingIOError:
            return None
        link.settimeout(_HANDSHAKE_S)
        credentials = link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        try:
            name = link.recv(_NAME_BYTES, socket.MSG_WAITALL).rstrip(b"\0").decode("ascii", "replace")
        except OSError:
            name = ""
        if not name:
            link.close()
            return None
        link.settimeout(None)
        guest = Guest(name, link, _CREDENTIALS.unpack(credentials)[0])
        return None if guest.gone else guest

    def close(self) -> None:
        """Let nobody in any more."""
        self._socket.close()
        self.path.unlink(missing_ok=True)
