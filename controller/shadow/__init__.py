"""The shadow: a process that steps the twin beside reality and tells where they differ. It commands nothing.

`beside` is what it does with the Feed, without I/O; `plans` where a Job has its axes; `calibrations` what was identified of each
machine; `__main__` the process; `calibrate` the command that makes calibrations.
"""
