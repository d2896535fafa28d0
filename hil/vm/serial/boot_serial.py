"""Starts boot_vm.py, unmodified, on a board whose console is the rig's only way in.

Usage as for boot_vm.py: sys.argv = [anything, MAIN, SWITCH_US, EXCHANGE_US, COLLECT_US, BYTE_NS]; sys.path has this folder, the
stand-ins' and the firmware's.
"""

import builtins
import os
import sys

import serial_link
import serial_net


class _Environment:
    """`os` as vm_link wants it: a board has no environment."""

    def getenv(self, name):
        return None

    def __getattr__(self, name):
        return getattr(os, name)


def _pipe(name, mode):
    return serial_link.Rig()


_open = builtins.open
sys.modules["os"] = _Environment()  # pyright: ignore[reportArgumentType]
builtins.open = _pipe
try:
    import vm_link  # it opens its pipes now
finally:
    builtins.open = _open
    sys.modules["os"] = os
sys.modules["socket"] = serial_net

import select  # noqa: E402  (the stand-in, on this clock)

select._poll = serial_net.Poll  # pyright: ignore[reportAttributeAccessIssue]


def _text(name):
    for folder in sys.path:
        try:
            with open(folder + "/" + name) as file:
                return file.read()
        except OSError:
            pass
    raise OSError("no " + name)


try:
    exec(compile(_text("boot_vm.py"), "boot_vm.py", "exec"), {"__name__": "__main__"})
except Exception as failed:
    sys.print_exception(failed)
finally:
    serial_link.say(b"E")
