"""Takes in an update or a new configuration. Loaded when one begins: what is only needed once in months takes no memory before.

An update goes into the folder that does not run: first the manifest, which is believed before anything else is taken, then file by
file what it names and what is not there yet. Installing switches the folders for the next start, by one rename.
"""

import gc
import os
from binascii import crc32

from node import log, slots
from node import registers as reg
from node.store import SPARE_BYTES, read_counter, remove

loader = slots.loader() if slots.slotted() else None
NEW = "manifest.new"
PART, PART_MANIFEST, PART_CONFIG = "part", "manifest.part", "node.part"
MOST_CONFIG = 32_768
_REASONS = (reg.REASON_BAD_SIGNATURE, reg.REASON_NOT_VERIFIED, reg.REASON_WRONG_BOARD, reg.REASON_OLD_VERSION)


class Refusal(Exception):
    """With the Reason that the window tells."""


def _refusal(refused):
    log.say("w", refused.args[1])
    return Refusal(_REASONS[refused.args[0]])


class _ToFile:
    """A file that counts when it is whole.

    Attributes:
        there: it is there already.
    """

    there = False

    def __init__(self, part):
        self._part = part
        self._file = open(part, "wb")  # until the end

    def room(self, count):
        return True

    def put(self, body):
        self._file.write(body)

    def drop(self):
        self._file.close()
        remove(self._part)


class _There:
    """In the place of a file that need not come."""

    there = True

    def room(self, count):
        return True

    def put(self, body):
        pass

    def finish(self):
        pass

    drop = finish


class _Manifest(_ToFile):
    def __init__(self):
        super().__init__(PART_MANIFEST)

    def finish(self):
        self._file.close()
        slot = _target()
        manifest = _read(PART_MANIFEST)
        _clear(slot, manifest)
        if sum(size + 512 for _, size, _ in manifest.files) + SPARE_BYTES > _free() + _taken(slot, manifest):
            raise Refusal(reg.REASON_NO_SPACE)
        os.rename(PART_MANIFEST, slot + "/" + NEW)
        log.say("i", "update to %s begins" % manifest.release)


class _File(_ToFile):
    def __init__(self, slot, path):
        super().__init__(slot + "/" + PART)
        self._path = slot + "/" + path

    def finish(self):
        self._file.close()
        parts = self._path.split("/")
        for count in range(2, len(parts)):
            _make("/".join(parts[:count]))
        os.rename(self._part, self._path)


class _Config(_ToFile):
    def __init__(self, uid):
        super().__init__(PART_CONFIG)
        self._uid = uid

    def finish(self):
        self._file.close()
        _check_config(self._uid)
        remove(slots.TRIAL)
        os.rename(PART_CONFIG, slots.CANDIDATE)
        log.say("i", "new configuration, for the next start")


def sink(kind, number, size, sha, uid):
    """Where a transfer goes.

    Args:
        number: of the file in the manifest; sha: SHA-256 of what comes; uid: this node's, 0 where it is not known.

    Raises:
        Refusal: it is not to come.
        OSError: the flash refuses.
    """
    gc.collect()  # a manifest takes some memory in one piece
    if kind == reg.TRANSFER_KIND_CONFIG:
        if size > MOST_CONFIG:
            raise Refusal(reg.REASON_NO_SPACE)
        return _Config(uid)
    slot = _target()
    if kind == reg.TRANSFER_KIND_MANIFEST:
        if size > loader.SIGNED + loader.MOST_BYTES:
            raise Refusal(reg.REASON_NOT_VERIFIED)
        return _There() if loader.matches(slot + "/" + NEW, size, _hex(sha)) else _Manifest()
    path = _named(slot, "file %d %s " % (size, _hex(sha)), number)
    return _There() if loader.matches(slot + "/" + path, size, _hex(sha)) else _File(slot, path)


def install():
    """Switch to the other folder for the next start, where that holds what its manifest says; returns a Reason."""
    gc.collect()
    try:
        slot = _target()
        state = loader.read_state()
        if state.slot == slot and not state.confirmed and NEW not in os.listdir(slot):
            return reg.REASON_NONE  # a repeat, and no other has come since
        manifest = _read(slot + "/" + NEW)
        loader.check(slot, manifest, NEW)
        os.rename(slot + "/" + NEW, slot + "/" + loader.MANIFEST)
        loader.write_state(loader.State(slot, False, 0, state.secure))
    except Refusal as refused:
        return refused.args[0]
    except loader.Refused as wrong:
        return _refusal(wrong).args[0]
    except OSError:
        return reg.REASON_NO_SPACE
    log.say("i", "update to %s installed" % manifest.release)
    return reg.REASON_NONE


def confirm():
    """What runs now is what is to run from now on, and nothing older any more; returns a Reason."""
    try:
        if loader:
            _confirm_slot()
        if read_counter(slots.TRIAL) and slots.CANDIDATE in os.listdir():  # one that came since has had no trial yet
            os.rename(slots.CANDIDATE, slots.CONFIG)
        remove(slots.TRIAL)
    except Refusal as refused:
        return refused.args[0]
    except (OSError, ValueError):
        return reg.REASON_NO_SPACE
    return reg.REASON_NONE


def _confirm_slot():
    state = loader.read_state()
    slot = loader.running()
    if slot and state and state.slot == slot and not state.confirmed:
        try:
            secure = loader.read(slot + "/" + loader.MANIFEST, loader.read_keys(), state.secure).secure
        except loader.Refused as wrong:
            raise _refusal(wrong)
        loader.write_state(loader.State(slot, True, 0, secure))


# ---- the folder that does not run


def _target():
    """The folder that an update goes to.

    Raises:
        Refusal: there is none, or it holds what this one falls back to.
    """
    running = loader.running()
    state = loader.read_state()
    if not running or state is None:
        raise Refusal(reg.REASON_UNKNOWN_COMMAND)
    if state.slot == running and not state.confirmed:
        raise Refusal(reg.REASON_BUSY)
    return loader.other(running)


def _read(path):
    """The manifest of a file, believed.

    Raises:
        Refusal: it cannot be.
    """
    state = loader.read_state()
    try:
        return loader.read(path, loader.read_keys(), state.secure)
    except loader.Refused as wrong:
        raise _refusal(wrong)
    except (OSError, ValueError):
        raise Refusal(reg.REASON_NOT_VERIFIED)


def _named(slot, line, number):
    """The path in a file's line of the manifest that is being installed. It was believed when it came, and will be asked again.

    Raises:
        Refusal: there is no manifest, or its line is another.
    """
    found = b""
    if number >= loader.MOST_FILES:
        raise Refusal(reg.REASON_NOT_AS_EXPECTED)
    try:
        with open(slot + "/" + NEW, "rb") as file:
            file.seek(loader.SIGNED)
            for _ in range(number + 6):
                found = file.readline()
    except OSError:
        raise Refusal(reg.REASON_NOT_VERIFIED)
    found = found.decode().rstrip("\n")
    if not found.startswith(line):
        raise Refusal(reg.REASON_NOT_AS_EXPECTED)
    return found[len(line) :]


def _clear(slot, manifest):
    """Keep of a folder only the files that a manifest names. Its own manifest goes first: from here on it cannot be run."""
    _make(slot)
    remove(slot + "/" + loader.MANIFEST)
    remove(slot + "/" + NEW)
    for path in loader.listed(slot):
        if not any(path == name and loader.matches(slot + "/" + path, size, sha) for name, size, sha in manifest.files):
            (os.rmdir if path[-1] == "/" else os.remove)(slot + "/" + path.rstrip("/"))
    while empty := [path for path in loader.listed(slot) if path[-1] == "/"]:
        for path in empty:
            os.rmdir(slot + "/" + path[:-1])


def _make(folder):
    try:
        os.mkdir(folder)
    except OSError:
        os.stat(folder)  # it is there, or this is the error that tells


def _taken(slot, manifest):
    there = loader.listed(slot)
    return sum(size + 512 for path, size, _ in manifest.files if path in there)


def _free():
    space = os.statvfs(".")
    return space[0] * space[4]


def _hex(sha):
    return "".join("%02x" % byte for byte in sha)


# ---- a configuration


def _check_config(uid):
    """A configuration that came is whole, of this format, and this node's. Whether it makes a node is seen at the next start.

    Raises:
        Refusal: it is not.
    """
    with open(PART_CONFIG) as file:
        text = file.read()
    at = text.rfind(',\n "check": ')
    if at < 0 or text[at:] != ',\n "check": %d\n}\n' % crc32(text[:at].encode()):
        raise Refusal(reg.REASON_BAD_CHECKSUM)
    if '\n "format": 2,' not in text:
        raise Refusal(reg.REASON_NOT_AS_EXPECTED)
    if uid and '\n "uid": %d,' % uid not in text:
        raise Refusal(reg.REASON_WRONG_BOARD)
