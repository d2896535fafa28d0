"""`select` in factory time: real sockets, looked at whenever the rig has granted time, and never waited for."""

import sys

import vm_link

_path = sys.path
sys.path = ()
try:
    from select import POLLERR, POLLHUP, POLLIN, POLLOUT
    from select import poll as _poll
finally:
    sys.path = _path


class _Poll:
    def __init__(self):
        self._poll = _poll()
        self._count = 0
        self._peripherals = []
        self._uarts = {}  # by id: the UART and what is asked of it

    def register(self, obj, mask=POLLIN | POLLOUT):
        if hasattr(obj, "asked"):  # a peripheral of the stand-ins
            self._peripherals.append(obj)
            return None
        vm_link.fresh = True
        self._count += 1
        if hasattr(obj, "txdone"):
            self._uarts[id(obj)] = (obj, mask)
            return None
        return self._poll.register(obj, mask)

    def unregister(self, obj):
        self._count -= 1
        if self._uarts.pop(id(obj), None) is not None:
            return None
        return self._poll.unregister(obj)

    def modify(self, obj, mask):
        vm_link.fresh = True
        if id(obj) in self._uarts:
            self._uarts[id(obj)] = (obj, mask)
            return None
        return self._poll.modify(obj, mask)

    def _asked(self):
        """The UARTs that have something to read, or may be written to, as they always may."""
        found = []
        for uart, mask in self._uarts.values():
            ready = mask & POLLOUT
            if mask & POLLIN and uart.any():
                ready |= POLLIN
            if ready:
                found.append((uart, ready))
        return found

    def ipoll(self, timeout=-1, flags=0):
        end = vm_link.FOREVER if timeout < 0 else vm_link.now + timeout * 1000
        writable = [(obj, POLLOUT) for obj in self._peripherals if obj.asked()]
        if writable:
            return writable
        while True:
            if vm_link.fresh and self._count:
                ready = self._poll.poll(0)
                if not ready and self._uarts:
                    ready = self._asked()
                    if ready:  # what is sent in answer bears its time: no need to wait until it is granted
                        vm_link.now += vm_link.exchange_us
                        return ready
                if ready:
                    vm_link.io_due = True  # it is answered by a task, which may have to take its time first
                    if not vm_link.through:
                        vm_link.grant = 0
                    return ready
            vm_link.fresh = False
            if vm_link.now >= end:
                return ()
            vm_link.wait_until(end)

    def poll(self, timeout=-1):
        return list(self.ipoll(timeout))


def poll():
    return _Poll()


def readable(file):
    """A poll of the system's own that looks whether a file can be read."""
    looked = _poll()
    looked.register(file, POLLIN)
    return looked
