"""Machines that are not ours, simulated by pymodbus in factory time: what a foreign device says, and when.

Each lays its registers out after its maker's table (facts read in public sources, see the files), not after our Map of it: else
the Map would be compared with itself.
"""

from hil.devices.devices import Devices, at_port

__all__ = ["Devices", "at_port"]
