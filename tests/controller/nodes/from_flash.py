"""A board's own start-up, in the VM: from_flash.py IMAGE OFFSET SIZE STANDINS. Its only file system is that in the image."""

import os
import sys

import micropython

BLOCK = 4096


class Flash:
    """A piece of a file as a block device."""

    def __init__(self, path, offset, size):
        self._file = open(path, "r+b")  # noqa: SIM115  (as long as the node runs)
        self._offset, self._blocks = offset, size // BLOCK

    def readblocks(self, block, buffer, at=0):
        self._file.seek(self._offset + block * BLOCK + at)
        self._file.readinto(buffer)

    def writeblocks(self, block, buffer, at=0):
        self._file.seek(self._offset + block * BLOCK + at)
        self._file.write(buffer)

    def ioctl(self, op, argument):
        if op == 4:
            return self._blocks
        if op == 5:
            return BLOCK
        return 0


class Board:
    """`micropython` with what the unix port lacks of a board's."""

    @staticmethod
    def alloc_emergency_exception_buf(size):
        pass


for name in dir(micropython):
    setattr(Board, name, getattr(micropython, name))
sys.modules["micropython"] = Board
image, offset, size, standins = sys.argv[1:]
disk = os.VfsLfs2(Flash(image, int(offset), int(size)))
here = os.getcwd()
os.umount("/")
os.mount(os.VfsPosix("/"), "/host")
os.mount(disk, "/")
sys.path[:] = ["/host" + standins, ".frozen"]
os.chdir("/host" + here)  # where the file of its pins lies
import machine  # noqa: E402, F401

os.chdir("/")
sys.path[:] = ["", ".frozen", "/host" + standins]
for name in ("boot.py", "main.py"):
    with open(name) as file:
        text = file.read()
    exec(text, {"__name__": "__main__"})
