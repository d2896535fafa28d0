"""Starts the firmware such that a client soon gives way to a new one."""

from node import modbus

modbus.STALE_MS = 50
import main  # noqa: E402, F401  (the firmware's own)
