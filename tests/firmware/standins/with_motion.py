"""Starts the firmware with the Motion beside this file."""

import sys

import eating_motion

sys.modules["node.motion"] = eating_motion
import main  # noqa: E402, F401  (the firmware's own)
