"""Picks the folder that a node runs, `a` or `b`: one whose every file is what a signed manifest says. No update replaces this file.

Beside it lie `update.keys`, the public keys, and `slot.state`, which folder is wanted. A folder holds `manifest`, the signature and
the text that it signs, and the files which that names, and nothing else: a file more could be imported in the place of another.
"""

import os
import sys
from binascii import crc32, hexlify
from hashlib import sha256

VERSION = 1
SLOTS = ("a", "b")
TRIALS = 3  # starts without a confirmation
KEYS, STATE, MANIFEST = "update.keys", "slot.state", "manifest"
SIGNED = 256  # bytes of a signature
MOST_BYTES, MOST_FILES, MOST_DEEP = 8192, 64, 3
_EXPONENT = 65537
_PADDED = b"\x00\x01" + b"\xff" * 202 + b"\x00"
_SHA256 = b"\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20"  # RFC 8017, 9.2, note 1
_ARCHITECTURES = {2: "x64", 10: "xtensawin", 11: "rv32imc"}
BOARD = _ARCHITECTURES.get(getattr(sys.implementation, "_mpy", 0) >> 10 & 15, "")
_DIRECTORY = 0x4000
_NAMES = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_."

_HEAD = ("lockstep ", "release ", "secure ", "board ", "loader ")

BAD_SIGNATURE, NOT_VERIFIED, WRONG_BOARD, OLD_VERSION = range(4)


class Refused(Exception):
    """A folder or a manifest that is not to be run: one of the causes above, and a text."""


class Manifest:
    """What a manifest says.

    Attributes:
        secure: its secure version; files: (path, size, SHA-256 in hex) of each file.
    """

    def __init__(self, release, secure, board, files):
        self.release = release
        self.secure = secure
        self.board = board
        self.files = files


class State:
    """Which folder is wanted.

    Attributes:
        confirmed: somebody has read the node back healthy since it was installed; boots: how often it was started before.
        secure: the lowest secure version that may run.
    """

    def __init__(self, slot, confirmed, boots, secure):
        self.slot = slot
        self.confirmed = confirmed
        self.boots = boots
        self.secure = secure


# ---- signatures and manifests


def read_keys():
    """The public keys: one modulus of 2048 bits a line, in hex. Several while a key is being replaced."""
    keys = []
    with open(KEYS) as file:
        for line in file:
            if line.strip():
                key = int(line.strip(), 16)
                if key >> 2047 != 1 or not key & 1:
                    raise ValueError(KEYS + ": not of 2048 bits")
                keys.append(key)
    return keys


def signed(text, signature, keys):
    """Whether one of the keys has signed the text: RSA, PKCS #1 v1.5, SHA-256; the whole encoding is compared."""
    if len(signature) != SIGNED:
        return False
    number = int.from_bytes(signature, "big")
    wanted = _PADDED + _SHA256 + sha256(text).digest()
    return any(number < key and pow(number, _EXPONENT, key).to_bytes(SIGNED, "big") == wanted for key in keys)


def parse(text):
    """The manifest of a text.

    Raises:
        Refused: a line that is not exactly as it must be.
    """
    if not text.endswith(b"\n") or len(text) > MOST_BYTES or any(c > 126 or (c < 32 and c != 10) for c in text):
        raise Refused(NOT_VERIFIED, "manifest: not lines of ASCII")
    head, files, at = [], [], 0
    while at < len(text):
        end = text.find(b"\n", at)
        line = text[at:end].decode()
        at = end + 1
        if len(head) < len(_HEAD):
            head.append(_entry(line, _HEAD[len(head)]))
        elif len(files) == MOST_FILES:
            raise Refused(NOT_VERIFIED, "manifest: too many files")
        else:
            files.append(_file(line))
    if not files or head[0] != "1" or _number(head[4]) > VERSION:
        raise Refused(NOT_VERIFIED, "manifest: not for this loader")
    if len({path for path, _, _ in files}) != len(files):
        raise Refused(NOT_VERIFIED, "manifest: a file twice")
    return Manifest(head[1], _number(head[2]), head[3], files)


def _entry(line, name):
    if not line.startswith(name) or not 0 < len(line) - len(name) <= 32:
        raise Refused(NOT_VERIFIED, "manifest: no " + name)
    return line[len(name) :]


def _number(text):
    if not text.isdigit() or len(text) > 8 or (len(text) > 1 and text[0] == "0"):
        raise Refused(NOT_VERIFIED, "manifest: not a number: " + text)
    return int(text)


def _file(line):
    words = line.split(" ")
    if len(words) != 4 or words[0] != "file" or len(words[2]) != 64 or any(c not in "0123456789abcdef" for c in words[2]):
        raise Refused(NOT_VERIFIED, "manifest: not a file")
    parts = words[3].split("/")
    if len(words[3]) > 48 or len(parts) > MOST_DEEP or parts[0].startswith(MANIFEST):
        raise Refused(NOT_VERIFIED, "manifest: no place for a file: " + words[3])
    for part in parts:
        if not part or part[0] == "." or any(c not in _NAMES for c in part):
            raise Refused(NOT_VERIFIED, "manifest: no place for a file: " + words[3])
    return words[3], _number(words[1]), words[2]


def read(path, keys, floor):
    """The manifest of a file, signed and for this board.

    Raises:
        Refused: it is not, or its secure version is below `floor`.
        OSError: it cannot be read.
    """
    size = os.stat(path)[6] - SIGNED
    if not 0 < size <= MOST_BYTES:
        raise Refused(NOT_VERIFIED, path + ": not of a manifest's size")
    with open(path, "rb") as file:
        signature = file.read(SIGNED)
        text = file.read(size)
    if not signed(text, signature, keys):
        raise Refused(BAD_SIGNATURE, path + ": nobody whom we know has signed it")
    manifest = parse(text)
    if manifest.board not in (BOARD, "any"):
        raise Refused(WRONG_BOARD, "%s: for %s, this is %s" % (path, manifest.board, BOARD))
    if manifest.secure < floor:
        raise Refused(OLD_VERSION, "%s: secure version %d, at least %d may run" % (path, manifest.secure, floor))
    return manifest


# ---- folders


def matches(path, size, digest):
    """Whether a file is there and is the one that is meant."""
    piece = bytearray(512)
    view = memoryview(piece)
    found = sha256()
    try:
        with open(path, "rb") as file:
            while True:
                count = file.readinto(piece)
                if not count:
                    break
                size -= count
                found.update(view[:count])
    except OSError:
        return False
    return size == 0 and hexlify(found.digest()) == digest.encode()


def listed(folder, under=""):
    """Paths of all files below a folder, as a manifest names them, and of empty folders, with a slash at the end.

    No manifest names those: an empty folder would be imported in the place of the file `<its name>.py`.
    """
    found = []
    for entry in os.ilistdir(folder + ("/" + under if under else "")):
        path = (under + "/" if under else "") + entry[0]
        if entry[1] == _DIRECTORY:
            found += listed(folder, path) or [path + "/"]
        else:
            found.append(path)
    return found


def check(slot, manifest, name):
    """See to it that a folder holds the files of a manifest, which lies there under `name`, and nothing else.

    Raises:
        Refused: the first file that is not as it should be.
    """
    wanted = [path for path, _, _ in manifest.files]
    for path in listed(slot):
        if path != name and path not in wanted:
            raise Refused(NOT_VERIFIED, "%s/%s: not in the manifest" % (slot, path))
    for path, size, digest in manifest.files:
        if not matches(slot + "/" + path, size, digest):
            raise Refused(NOT_VERIFIED, "%s/%s: not as signed" % (slot, path))


def trusted(slot, keys, floor):
    """The manifest of a folder that may run, or None; what is wrong with it goes to the console."""
    try:
        manifest = read(slot + "/" + MANIFEST, keys, floor)
        check(slot, manifest, MANIFEST)
    except Refused as wrong:
        print("lockstep:", wrong.args[1])
    except OSError as missing:
        print("lockstep: slot %s: %s" % (slot, missing))
    else:
        return manifest
    return None


def other(slot):
    """The other folder."""
    return SLOTS[slot == SLOTS[0]]


# ---- the state


def read_state():
    """The state as it was last written; None where there is none, or none that can be believed."""
    try:
        with open(STATE) as file:
            text = file.read(64)
        body, _, told = text.rpartition(" ")
        words = body.split(" ")
        if len(words) == 4 and words[0] in SLOTS and int(told, 16) == crc32(body.encode()):
            return State(words[0], words[1] == "1", int(words[2]), int(words[3]))
    except (OSError, ValueError):
        pass
    return None


def write_state(state):
    """Keep the state: the file holds the old or the new one, whatever happens.

    Raises:
        OSError: the flash refuses.
    """
    body = "%s %d %d %d" % (state.slot, 1 if state.confirmed else 0, state.boots, state.secure)
    with open(STATE + ".new", "w") as file:
        file.write("%s %x" % (body, crc32(body.encode())))
    os.rename(STATE + ".new", STATE)


def _kept(state):
    try:
        write_state(state)
    except OSError:
        return False
    return True


# ---- the start


def choose(keys):
    """The folder to run now, its boot counted; None where none can be trusted."""
    state = read_state()
    if state is None:
        return _unheard_of(keys)
    wanted = state.slot
    if not state.confirmed:
        state.boots += 1
        if state.boots > TRIALS or not _kept(state):  # a start that cannot be counted is none on trial
            wanted = other(wanted)
    for slot in (wanted, other(wanted)):
        if trusted(slot, keys, state.secure):
            if slot != state.slot:
                _kept(State(slot, True, 0, state.secure))
            return slot
    return None


def _unheard_of(keys):
    """The newer of the folders that can be trusted, where nothing says which one is wanted: after flashing."""
    best, highest = None, -1
    for slot in SLOTS:
        manifest = trusted(slot, keys, 0)
        if manifest and manifest.secure > highest:
            best, highest = slot, manifest.secure
    if best:
        _kept(State(best, True, 0, highest))
    return best


def enter():
    """Choose the folder, and import from it before all else.

    Raises:
        Refused: none can be trusted.
    """
    try:
        keys = read_keys()
    except (OSError, ValueError) as unusable:
        raise Refused(BAD_SIGNATURE, "%s: %s" % (KEYS, unusable))
    slot = choose(keys)
    if slot is None:
        raise Refused(NOT_VERIFIED, "neither slot can be trusted")
    sys.path.insert(0, slot)


def running():
    """The folder that was entered; an empty text where there is none."""
    return sys.path[0] if sys.path and sys.path[0] in SLOTS else ""


def failed():
    """What runs does not do: where it is on trial, the next start is the other one's. Whether it was on trial."""
    state = read_state()
    if state is None or state.confirmed or state.slot != running():
        return False
    state.boots = TRIALS
    _kept(state)
    return True
