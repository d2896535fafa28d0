"""Runs before main.py. No WebREPL is started, and Ctrl-C stops nothing unless node.json says that this board is being worked on."""

import os

import micropython

micropython.alloc_emergency_exception_buf(100)  # what an exception in an interrupt needs to be reported at all


def _worked_on():
    """A board without a configuration is one nobody relies on yet."""
    try:
        with open("node.json", "rb") as file:  # bytes: a flash that has rotted need not hold text
            return any(line.startswith(b' "repl": true') for line in file)
    except OSError as failed:
        return failed.errno == 2  # there is none
    except Exception:  # whatever it is: a boot.py that raises leaves the board in an open REPL, without a watchdog
        return False


if not _worked_on():
    micropython.kbd_intr(-1)
    if hasattr(os, "dupterm"):
        os.dupterm(None)
