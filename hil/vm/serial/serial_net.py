"""`socket` where there is no network: what comes and goes on a connection travels over the rig's line. One listener."""

AF_INET, SOCK_STREAM, SOL_SOCKET, SO_REUSEADDR = 2, 1, 1, 2
POLLIN, POLLOUT = 1, 4
OPENED, DATA, CLOSED = 0, 1, 2

listener = None
connections = {}  # number -> socket


def carry(number, what, data=b""):
    """Something goes out; set by who carries it."""
    raise NotImplementedError


def came(data):
    """Something has come: number, what, bytes."""
    number, what = data[0], data[1]
    if what == OPENED:
        if listener is None:
            carry(number, CLOSED)
            return
        connections[number] = made = socket()
        made.number = number
        listener.waiting.append(made)
    elif number in connections:
        if what == DATA:
            connections[number].received += data[2:]
        else:
            connections.pop(number).ended = True


def getaddrinfo(host, port, *how):
    return [(AF_INET, SOCK_STREAM, 0, "", (host, port))]


class socket:
    """A TCP socket that never waits."""

    def __init__(self, *kind):
        self.number = None
        self.waiting = []  # of a listener: connections not accepted yet
        self.received = bytearray()
        self.ended = False

    def setblocking(self, blocking):
        pass

    def setsockopt(self, level, option, value):
        pass

    def bind(self, address):
        pass

    def listen(self, backlog=1):
        global listener
        listener = self

    def accept(self):
        return self.waiting.pop(0), ("0.0.0.0", 0)

    def readable(self):
        return bool(self.waiting or self.received or self.ended)

    def read(self, size=-1):
        size = len(self.received) if size < 0 else min(size, len(self.received))
        if not size:
            return b"" if self.ended else None
        data = bytes(self.received[:size])
        self.received = self.received[size:]
        return data

    recv = read

    def readinto(self, buffer):
        data = self.read(len(buffer))
        if data is None:
            return None
        buffer[: len(data)] = data
        return len(data)

    def write(self, data):
        if self.number not in connections:
            raise OSError(104)  # ECONNRESET
        carry(self.number, DATA, bytes(data))
        return len(data)

    send = write

    def close(self):
        if connections.pop(self.number, None) is not None:
            carry(self.number, CLOSED)
        self.ended = True


class Poll:
    """The port's poll, over these sockets."""

    def __init__(self):
        self._asked = {}  # id -> (socket, mask)

    def register(self, obj, mask=POLLIN | POLLOUT):
        self._asked[id(obj)] = (obj, mask)

    modify = register

    def unregister(self, obj):
        self._asked.pop(id(obj), None)

    def poll(self, timeout=0):
        found = []
        for obj, mask in self._asked.values():
            ready = mask & (POLLOUT | (POLLIN if obj.readable() else 0))
            if ready:
                found.append((obj, ready))
        return found
