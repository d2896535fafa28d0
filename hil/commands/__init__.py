"""What `lockstep hil` can do, a module for each command."""


class UsageError(Exception):
    """What was asked for can't be done; one line says why."""
