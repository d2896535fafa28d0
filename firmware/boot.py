"""Runs before main.py: memory that an exception in an interrupt needs to be reported at all."""

import micropython

micropython.alloc_emergency_exception_buf(100)
