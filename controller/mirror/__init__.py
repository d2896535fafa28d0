"""Machines on OPC UA servers: a process of its own that follows their values and brings them to the core.

`python -m controller.mirror FACTORY --state DIR`. Whatever a server does, it can stop this process at most, never the scan.
"""
