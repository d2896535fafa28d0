"""The kinds of blocks that a node can be made of, and the file that each lies in: only what a node needs is loaded.

A block's class has KEYS, what it must find in node.json, and is made with (config, bank, effective). Of these methods it
has those that it needs: read() at the beginning of a tick, pins to Status; watch() -> Fault code, what is wrong now; write(silent)
when what takes effect has changed or the owner is silent, commands to pins; slow(ms) ten times a second; rest(), everything
safe, which must not fail.
"""

KINDS = {
    "Input": "blocks",
    "Counter": "blocks",
    "Output": "blocks",
    "Fan": "blocks",
    "Drive": "blocks",
    "Heater": "heat",
    "Analog": "analog",
    "CheckedOutput": "checked",
    "Exclusive": "rules",
    "Travel": "rules",
    "Stall": "rules",
    "Accelerometer": "sense",
    "Above": "limit",
    "Kept": "keep",
}


def find(kind):
    """The class of a kind of block.

    Raises:
        KeyError: there is no such kind.
    """
    return getattr(__import__("node." + KINDS[kind], None, None, (kind,)), kind)
