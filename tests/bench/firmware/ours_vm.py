"""Runs in the VM: `ours_vm.py FIRMWARE` prints what the node's server takes, with 1,000 registers and room for four clients."""

import gc
import json
import sys

sys.path.append(sys.argv[1])


def taken():
    gc.collect()
    return gc.mem_alloc()


import asyncio  # noqa: E402, F401  (the VM's own, as sockets are)
from time import ticks_diff, ticks_ms  # noqa: E402, F401


class Door:
    """Whoever writes may."""

    def writable(self, first, count):
        return True

    def write(self, peer, first, data, touched):
        return 0


door = Door()
link = {"host": "127.0.0.1", "port": 1, "unit": 1}
identity = (b"Lockstep", b"node", b"0")
empty = taken()
from node.bank import Bank  # noqa: E402
from node.modbus import Server  # noqa: E402

code = taken() - empty
bank = Bank(1000)
server = Server(bank, door, identity, link)
print(json.dumps({"code": code, "server and registers": taken() - empty - code}))
