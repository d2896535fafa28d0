"""The scan engine: Modbus devices that are none of ours, each Signal of them with its quality and its time.

`engine.Fieldbus` is its face to the core; `plan`, `decode` and `sunspec` are pure; `channel` is one line's queue.
"""
