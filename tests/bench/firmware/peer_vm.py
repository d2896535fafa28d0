"""Runs in the VM: `peer_vm.py SOURCE heap` prints what micropython-modbus takes, `peer_vm.py SOURCE serve PORT` serves."""

import gc
import json
import sys

sys.path.append(sys.argv[1])


def taken():
    gc.collect()
    return gc.mem_alloc()


import socket  # noqa: E402, F401  (the VM's own, as it is for ours)
import struct  # noqa: E402, F401
import time  # noqa: E402, F401

empty = taken()
from umodbus.tcp import ModbusTCP  # noqa: E402  # pyright: ignore

code = taken() - empty
server = ModbusTCP()
server.setup_registers(
    {
        "HREGS": {"all": {"register": 0, "len": 1000, "val": [0] * 1000}},
        "COILS": {"all": {"register": 0, "len": 16, "val": [0] * 16}},
    }
)
if sys.argv[2] == "heap":
    print(json.dumps({"code": code, "server and registers": taken() - empty - code}))
else:
    server.bind(local_ip="127.0.0.1", local_port=int(sys.argv[3]))
    print("listens")
    while True:
        server.process()
