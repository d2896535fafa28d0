"""Starts the firmware with little patience for silent clients."""

from node import modbus

modbus.IDLE_MS = 50
modbus.STALE_MS = 1000
import main  # noqa: E402, F401  (the firmware's own)
