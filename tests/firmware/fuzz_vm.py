"""Mutated frames through the firmware's codec in the VM: `fuzz_vm.py COUNT SEED` prints bytes of memory in use before and after."""

import gc
import sys

sys.modules["node.pins"] = sys  # no pin is touched

from fuzzing import OWN, over_rtu, over_tcp  # noqa: E402

from node.bank import Bank  # noqa: E402
from node.codec import Codec  # noqa: E402
from node.modbus import Connection  # noqa: E402
from node.rtu import Line, crc  # noqa: E402


class Door:
    """Takes writes to registers 16 to 138."""

    def __init__(self, bank):
        self._bank = bank

    def writable(self, first, count):
        return first >= 16 and first + count <= 139

    def write(self, peer, first, data, touched):
        if first == 17:
            return 4
        self._bank.view[2 * first : 2 * first + len(data)] = data
        return 0


count, seed = int(sys.argv[1]), int(sys.argv[2])
bank = Bank(160)
codec = Codec(bank, Door(bank), (b"a", b"b", b"c"), OWN)
connection = Connection(codec)
line = Line(codec)


def both(count, seed):
    over_tcp(connection, count // 2, seed)
    over_rtu(line, crc, count // 2, seed)


both(100, seed)
gc.collect()
before = gc.mem_alloc()
both(count, seed)
gc.collect()
print(before, gc.mem_alloc())
