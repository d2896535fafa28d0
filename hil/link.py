"""The network between the core and a node, in the rig's hands: it forwards bytes, or does not."""

import socket
from dataclasses import dataclass, field


@dataclass
class _Pair:
    near: socket.socket
    far: socket.socket
    to_far: bytearray = field(default_factory=bytearray)
    to_near: bytearray = field(default_factory=bytearray)


class Link:
    """A TCP forwarder on 127.0.0.1 that works only when the rig says `pump`, so that it takes part in factory time.

    While it is cut, bytes are kept from both ends and lost, as on a pulled cable; connections stay half open.
    """

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.setblocking(False)
        self.port: int = self._server.getsockname()[1]
        self.cut = False
        self._pairs: list[_Pair] = []

    def pump(self) -> bool:
        """Move what is there to be moved; whether anything was."""
        moved = self._accept()
        for pair in list(self._pairs):
            moved |= self._move(pair, pair.near, pair.far) | self._move(pair, pair.far, pair.near)
        return moved

    def _accept(self) -> bool:
        if self.cut:
            return False
        try:
            near, _ = self._server.accept()
        except BlockingIOError:
            return False
        try:
            far = socket.create_connection(self._target, timeout=2)
        except OSError:
            near.close()
            return True
        for end in (near, far):
            end.setblocking(False)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._pairs.append(_Pair(near, far))
        return True

    def _move(self, pair: _Pair, source: socket.socket, target: socket.socket) -> bool:
        try:
            data = source.recv(65536)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if self.cut:
            return False
        if data:
            try:
                target.sendall(data)
            except OSError:
                data = b""
        if not data and pair in self._pairs:
            self._pairs.remove(pair)
            pair.near.close()
            pair.far.close()
        return True

    def close(self) -> None:
        """Close everything."""
        self._server.close()
        for pair in self._pairs:
            pair.near.close()
            pair.far.close()
        self._pairs.clear()
