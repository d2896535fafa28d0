"""The configuration that counts: a new one on trial, the confirmed one, or none where that is broken. Unloaded when it is read."""

import json
import os
from binascii import crc32

from node import app, kinds, log, slots
from node import registers as reg
from node.store import read_counter, remove, write_counter

FORMAT = 2
TRIALS = 3
_KEYS = ("node", "uid", "map_hash", "link", "commands", "blocks", "interlocks", "motion")
_LINK_KEYS = {"tcp": ("host", "port", "unit"), "rtu": ("uart", "tx", "rx", "de", "baud", "unit")}


def load():
    """The configuration to run with.

    Raises:
        NodeError: there is none, and none that says where the node could be reached.
    """
    if slots.CANDIDATE in os.listdir():
        trials = read_counter(slots.TRIAL)
        if trials < TRIALS and write_counter(slots.TRIAL, trials + 1):
            try:
                config = _read(slots.CANDIDATE)
                config["trial"] = True
                return config
            except app.NodeError as wrong:
                log.say("e", "%s" % wrong)
        else:
            log.say("w", "%s: not confirmed" % slots.CANDIDATE)
        remove(slots.CANDIDATE)
    remove(slots.TRIAL)
    try:
        return _read(slots.CONFIG)
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
        _check(kept)
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
    bank = app.Bank(reg.S_SIZE)
    bank.put32(reg.S_UID, 0x12345678)
    if bank.u32(reg.S_UID) != 0x12345678:
        raise app.NodeError("its registers do not keep what they are given")


def _read(path):
    """The configuration of a file.

    Raises:
        NodeError: it is missing, broken, or of another format.
    """
    try:
        with open(path) as file:
            text = file.read()
        config = json.loads(text)
    except OSError as failed:
        raise app.NodeError("%s: cannot be read: %s" % (path, failed)) from None
    except ValueError as broken:
        raise app.NodeError("%s: not JSON: %s" % (path, broken)) from None
    # MicroPython's reader takes half a file for a whole one.
    if text.count("{") != text.count("}") or text.count("[") != text.count("]"):
        raise app.NodeError("%s: not JSON: cut short" % path)
    try:
        _check(config)
    except app.NodeError as wrong:
        raise app.NodeError("%s: %s" % (path, wrong)) from None
    body = text[: max(0, text.rfind(',\n "check": '))]
    if crc32(body.encode()) != config.pop("check", None):
        raise app.NodeError("%s: does not match its checksum" % path)
    return config


def _check(config):
    """Refuse a configuration that this firmware cannot be made of.

    Raises:
        NodeError: the first thing that is wrong.
    """
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise app.NodeError("not of format %d" % FORMAT)
    _need("the file", config, _KEYS)
    for number, block in enumerate(config["blocks"]):
        where = "block %d" % number
        _need(where, block, ("kind",))
        kind = block["kind"]
        where += " (%s)" % kind
        if kind not in kinds.KINDS:
            raise app.NodeError("%s: this firmware has no such block" % where)
        _need(where, block, kinds.find("Fan" if "job" in block else kind).KEYS)
    _need("the link", config["link"], _LINK_KEYS.get(config["link"].get("kind"), ("kind",)))
    for first, words in config["commands"]:
        if first < reg.MACHINES_AT or first + len(words) > reg.REGISTERS:
            where = "registers %d to %d" % (reg.MACHINES_AT, reg.REGISTERS - 1)
            raise app.NodeError("commands at %d lie outside %s" % (first, where))


def _need(where, table, keys):
    for key in keys:
        if key not in table:
            raise app.NodeError("%s has no %r" % (where, key))
