"""Runs before main.py. No WebREPL is started, and Ctrl-C stops nothing unless node.json says that this board is being worked on."""

import os

import micropython

micropython.alloc_emergency_exception_buf(100)  # what an exception in an interrupt needs to be reported at all


def _worked_on():
    """A board without a configuration is one nobody relies on yet."""
    try:
        with open("node.json") as file:
            return '\n "repl": true' in file.read()
    except OSError:
        return True


if not _worked_on():
    micropython.kbd_intr(-1)
    if hasattr(os, "dupterm"):
        os.dupterm(None)
