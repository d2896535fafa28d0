"""Runs in the VM beside update.keys: how many manifests are in `forged.bin`, each behind its length, and how many are believed."""

import struct

import loader

keys = loader.read_keys()
believed = asked = 0
with open("forged.bin", "rb") as forged:
    while head := forged.read(4):
        with open("one", "wb") as file:
            file.write(forged.read(struct.unpack("<I", head)[0]))
        asked += 1
        try:
            loader.read("one", keys, 7)
            believed += 1
        except loader.Refused:
            pass
print(asked, believed)
