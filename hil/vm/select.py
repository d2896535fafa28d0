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

    def register(self, obj, mask=POLLIN | POLLOUT):
        if hasattr(obj, "asked"):  # a peripheral of the stand-ins
            self._peripherals.append(obj)
            return None
        vm_link.fresh = True
        self._count += 1
        return self._poll.register(obj, mask)

    def unregister(self, obj):
        self._count -= 1
        return self._poll.unregister(obj)

    def modify(self, obj, mask):
        vm_link.fresh = True
        return self._poll.modify(obj, mask)

    def ipoll(self, timeout=-1, flags=0):
        end = vm_link.FOREVER if timeout < 0 else vm_link.now + timeout * 1000
        writable = [(obj, POLLOUT) for obj in self._peripherals if obj.asked()]
        if writable:
            return writable
        while True:
            if vm_link.fresh and self._count:
                ready = self._poll.poll(0)
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
