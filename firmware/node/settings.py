"""The configuration that counts: a new one on trial, the confirmed one, or none where that is broken. Unloaded when it is read."""

import json
import os
from binascii import crc32

from node import app, log, registers, slots
from node.store import read_counter, remove, write_counter

TRIALS = 3


def load():
    """The configuration to run with.

    Raises:
        NodeError: there is none, and none that says where the node could be reached.
    """
    if slots.CANDIDATE in os.listdir():
        trials = read_counter(slots.TRIAL)
        if trials < TRIALS and write_counter(slots.TRIAL, trials + 1):
            try:
                config = app.read(slots.CANDIDATE)
                config["trial"] = True
                return config
            except app.NodeError as wrong:
                log.say("e", "%s" % wrong)
        else:
            log.say("w", "%s: not confirmed" % slots.CANDIDATE)
        remove(slots.CANDIDATE)
    remove(slots.TRIAL)
    try:
        return app.read(slots.CONFIG)
    except app.NodeError as wrong:
        config = reachable(slots.CONFIG)
        if config is None:
            raise
        log.say("e", "%s" % wrong)
        print("lockstep: %s; quarantined: it answers and does nothing" % wrong)
        return config


def reachable(path):
    """Of a configuration that cannot be believed, where the node is reached, and nothing else of it; None where it does not say.

    Such a node has the uid 0, so nobody takes it for one that may be commanded.
    """
    try:
        with open(path) as file:
            text = file.read()
        if not text.endswith("\n}\n"):
            return None
        found = json.loads(text)
        body = text[: max(0, text.rfind(',\n "check": '))]
        if crc32(body.encode()) == found.get("check"):
            return None  # it is refused for what it says, and that does not change by itself
        kept = {key: found[key] for key in ("format", "node", "link")}
        kept["network"] = found.get("network")
        kept.update({"uid": 0, "map_hash": 0, "commands": [], "blocks": [], "interlocks": [], "motion": None})
        app.check(kept)
        return kept
    except (OSError, ValueError, KeyError, TypeError, AttributeError, app.NodeError):
        return None


def check():
    """What an application must show before it may say that it runs.

    Raises:
        NodeError: what it lacks.
    """
    try:
        if not slots.loader().read_keys():
            raise app.NodeError("there is no key to update it by")
    except (OSError, ValueError) as unusable:
        raise app.NodeError("update.keys: %s" % unusable)
    bank = app.Bank(registers.S_SIZE)
    bank.put32(registers.S_UID, 0x12345678)
    if bank.u32(registers.S_UID) != 0x12345678:
        raise app.NodeError("its registers do not keep what they are given")
