"""Runs in the MicroPython VM: updates and changes of configuration on a flash that loses its power, over a real littlefs.

Argument: a file of JSON with the public key, the files of two releases with their manifests, two configurations, and `cuts`: a list
of lists, each the numbers of the flash operations at which the power goes, the first counted from the beginning and each
further one from the restart after the one before. An empty list stands for every
first cut that there is. Prints JSON: how many operations an undisturbed run takes, how many runs were made, and what was wrong.
"""

import json
import os
import struct
import sys
from binascii import crc32, unhexlify
from hashlib import sha256

import vfs

BLOCK, BLOCKS = 4096, 48
PLACE = "/flash"
_old_path = list(sys.path)


class Cut(BaseException):
    """The power is gone."""


class Flash:
    """A block device that keeps only what was written before the power went, the block of that moment in part."""

    def __init__(self, content):
        self.content = bytearray(content)
        self.left = None  # operations until the power goes
        self.done = 0
        self.dead = False

    def readblocks(self, number, buffer, offset=0):
        at = number * BLOCK + offset
        buffer[:] = memoryview(self.content)[at : at + len(buffer)]

    def writeblocks(self, number, buffer, offset=0):
        at = number * BLOCK + offset
        part = self._spend(len(buffer))
        self.content[at : at + part] = memoryview(buffer)[:part]
        self._cut()

    def ioctl(self, op, argument):
        if op == 4:
            return BLOCKS
        if op == 5:
            return BLOCK
        if op == 6:
            at = argument * BLOCK
            part = self._spend(BLOCK)
            self.content[at : at + part] = b"\xff" * part
            self._cut()
        return 0

    def _spend(self, size):
        """How much of an operation is still carried out."""
        if self.dead:
            return 0
        self.done += 1
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                self.dead = True
                return size * 2 // 5
        return size

    def _cut(self):
        if self.dead and self.left is not None:
            self.left = None  # closing what was open does not raise again
            raise Cut()


def power_on(flash):
    """The file system, and nothing else of before."""
    flash.dead = False
    sys.path[:] = _old_path
    vfs.mount(vfs.VfsLfs2(flash), PLACE)
    os.chdir(PLACE)


def power_off():
    os.chdir("/")
    vfs.umount(PLACE)


def write(path, content):
    with open(path, "wb") as file:
        file.write(content)


def content(path):
    with open(path, "rb") as file:
        return file.read()


def factory_new(given):
    """A flash with release 1 in `a`, and in `b` what a still older one has left."""
    flash = Flash(b"\xff" * (BLOCK * BLOCKS))
    vfs.VfsLfs2.mkfs(flash)
    power_on(flash)
    write("update.keys", given["keys"].encode())
    write("node.json", given["configs"][0].encode())
    os.mkdir("a")
    os.mkdir("a/node")
    for path, text in given["releases"][0]["files"].items():
        write("a/" + path, unhexlify(text))
    write("a/manifest", unhexlify(given["releases"][0]["manifest"]))
    os.mkdir("b")
    os.mkdir("b/node")
    write("b/node/stale.py", b"x = 1")
    write("b/manifest", b"of something else")
    power_off()
    return bytes(flash.content)


class Controller:
    """What the controller does, through the transfer window and the commands."""

    def __init__(self, given):
        from node import registers as reg
        from node import slots, update
        from node.bank import Bank
        from node.store import Store
        from node.transfer import Window

        self.reg, self.slots, self.update = reg, slots, update
        self.bank = Bank(reg.REGISTERS)
        self.window = Window(self.bank, Store(self.bank, 0))
        self.window.resting = lambda: True
        self.window.uid = given["uid"]

    def send(self, kind, number, content):
        """Carry something there; the Reason, 0 when it is stored."""
        reg = self.reg
        body = struct.pack(">I", len(content)) + sha256(content).digest()
        self._write(reg.TRANSFER_OP_BEGIN, kind, number, 0, body)
        if self.state == reg.TRANSFER_STATE_RECEIVING:
            for at in range(0, len(content), reg.TRANSFER_BYTES):
                self._write(reg.TRANSFER_OP_DATA, kind, number, at, content[at : at + reg.TRANSFER_BYTES])
            self._write(reg.TRANSFER_OP_END, kind, number, len(content), b"")
        return 0 if self.state == reg.TRANSFER_STATE_STORED else self.bank.u16(reg.S_TRANSFER_REASON)

    @property
    def state(self):
        return self.bank.u16(self.reg.S_TRANSFER_STATE)

    def _write(self, op, kind, number, offset, body):
        head = struct.pack(">HHIIHHIHH", op, kind, number, offset, len(body), 0, crc32(body), 0, 0)
        assert self.window.write(head[: 2 * self.reg.TRANSFER_HEAD] + body) == 0


def boot(given):
    """Start as main.py does; the release that runs, and its configuration. Neither may be a mixture."""
    import loader
    from node import settings

    if given["entered"] and loader.read_state() is None:
        raise AssertionError("nobody knows any more which slot is wanted")
    loader.enter()
    given["entered"] = True
    slot = loader.running()
    runs = [number for number in (0, 1) if is_release(slot, given["releases"][number])]
    if len(runs) != 1:
        raise AssertionError(f"slot {slot}: neither release: {loader.listed(slot)}")
    config = settings.load()
    return runs[0], config["map_hash"]


def is_release(slot, release):
    import loader

    files = {slot + "/" + path: unhexlify(text) for path, text in release["files"].items()}
    files[slot + "/manifest"] = unhexlify(release["manifest"])
    there = [slot + "/" + path for path in loader.listed(slot)]
    return sorted(there) == sorted(files) and all(content(path) == files[path] for path in there)


def life(given):
    """From a power-on to where the controller wants a restart: the update, then the configuration. Whether all is done."""
    import loader
    from node import registers as reg

    release, map_hash = boot(given)
    controller = Controller(given)
    state = loader.read_state()
    if release == 0:
        wanted = given["releases"][1]
        names = sorted(wanted["files"])
        assert controller.send(reg.TRANSFER_KIND_MANIFEST, 0, unhexlify(wanted["manifest"])) == 0
        for number, name in enumerate(names):
            assert controller.send(reg.TRANSFER_KIND_UPDATE_FILE, number, unhexlify(wanted["files"][name])) == 0
        assert controller.update.install() == 0
        return False
    if not state.confirmed or "node.next" in os.listdir():
        assert controller.update.confirm() == 0
        return False
    if map_hash == 1:
        assert controller.send(reg.TRANSFER_KIND_CONFIG, 0, given["configs"][1].encode()) == 0
        return False
    return True


def run(given, image, cuts):
    """All of it, with these cuts; returns how many flash operations it took."""
    flash = Flash(image)
    given["entered"] = False
    waiting = list(cuts)
    for _ in range(30):
        flash.left = waiting.pop(0) if waiting else None
        power_on(flash)
        try:
            whole = life(given)
        except Cut:
            whole = False
        if flash.left is not None:  # the cut is still to come
            waiting.insert(0, flash.left)
        flash.left = None
        power_off()
        if whole:
            return flash.done
    raise AssertionError("it does not come to an end")


def main():
    import node.settings  # noqa: F401  (what it loads is not on the flash)

    with open(sys.argv[1]) as file:
        given = json.loads(file.read())
    image = factory_new(given)
    whole = run(given, image, [])
    runs, wrong = 0, []
    for cuts in given["cuts"] or [[first] for first in range(given["first"], whole, given["step"])]:
        runs += 1
        try:
            run(given, image, cuts)
        except Exception as failed:
            sys.print_exception(failed, sys.stderr)
            wrong.append([cuts, repr(failed)])
            power_off()
    print(json.dumps({"operations": whole, "runs": runs, "wrong": wrong}))


main()
