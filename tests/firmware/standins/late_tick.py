"""A lease that has ended is over at the door, also when the tick has not come round to it yet."""

from time import sleep_ms

from node import registers as reg
from node.app import NoMotion
from node.bank import Bank
from node.safety import Commands, Safety

PEER = 1
bank = Bank(reg.REGISTERS)
commands = Commands([[256, [0, 0]]], bank, Bank(258))
safety = Safety([], bank, commands, None, None, NoMotion(), [], [])

LEASE_MS = 250
grant = bytes([0, 0, 0, 1, 0, 0, 0, 1, 0, LEASE_MS, 0, 1])
print("claim", safety.write(PEER, reg.COMMAND_AT, grant))
print("in time", safety.write(PEER, 256, bytes([0, 1, 0, 0])))
sleep_ms(LEASE_MS + 1)
print("too late", safety.write(PEER, 256, bytes([0, 1, 0, 0])))
print("renewal", safety.write(PEER, reg.COMMAND_AT + 5, bytes([0, 2])))
print("leased", bank.bit(reg.S_LEASED, reg.S_LEASED_BIT), "latched", safety.latched)
