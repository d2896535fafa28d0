"""What keeps a node going over the years: which application and configuration it runs, what became of it, and its restart."""

import sys
from binascii import hexlify
from time import ticks_add, ticks_diff, ticks_ms

from node import RELEASE, log, pins
from node import registers as reg
from node.store import read_counter

CANDIDATE, CONFIG, TRIAL = "node.next", "node.json", "trial"
ANSWERED_MS = 300  # between the command to restart and the restart: its result is to be read
_FAULTS = (
    "none silence over-temperature heater-stuck sensor interlock homing underrun job internal restarted travel stall end-switches "
    "output supply printer"
)
_CAUSES = "unknown power hard watchdog sleep soft"


def slotted():
    """Whether there are two folders to run from, and this is one of them."""
    return bool(sys.path) and sys.path[0] in ("a", "b")


def loader():
    """The loader, for as long as it is needed."""
    import loader

    sys.modules.pop("loader", None)
    return loader


def word(words, number):
    """One of the words, or the number where there is none."""
    found = words.split(" ")
    return found[number] if number < len(found) else str(number)


def _upkeep(what):
    """Carry out a command of `update`, whose code may not find room; a Reason."""
    try:
        from node import update

        return getattr(update, what)()
    except MemoryError:
        return reg.REASON_NO_SPACE


class Upkeep:
    """Ten times a second: tells the log what has changed in the Status, and restarts the node when that was asked for.

    Args:
        trial: the configuration is not confirmed yet.
    """

    def __init__(self, node, trial):
        self._node = node
        self._bank = node.bank
        self._restart_ms = None
        self._fault = reg.FAULT_NONE
        self._owner = 0
        self._boots = read_counter(TRIAL) if trial else 0
        self.show()

    def show(self):
        """Which application this is, to the Status."""
        bank = self._bank
        unconfirmed = self._boots > 0
        boots = self._boots
        state = loader().read_state() if slotted() else None
        if state:
            slot = sys.path[0]
            bank.put16(reg.S_SLOT, reg.SLOT_A if slot == "a" else reg.SLOT_B)
            bank.put16(reg.S_SECURE_VERSION, state.secure)
            if slot == state.slot and not state.confirmed:
                unconfirmed = True
                boots = state.boots
        bank.put16(reg.S_BOOTS, boots)
        bank.put_bit(reg.S_UNCONFIRMED, reg.S_UNCONFIRMED_BIT, unconfirmed)

    def resting(self):
        """Whether nothing moves and every command is at its default: then the processor may be away for a moment."""
        node = self._node
        return not node.motion.running and not self._bank.bit(reg.S_MOVING, reg.S_MOVING_BIT) and node.safety.commands.idle

    # ---- commands

    def restart(self, _):
        if not self.resting():
            return reg.REASON_BUSY
        self._restart_ms = ticks_add(ticks_ms(), ANSWERED_MS)
        self._node.motion.start = lambda _: reg.REASON_BUSY  # on this Motion only, and until the restart is forgotten
        log.say("i", "restart: asked for")
        return reg.REASON_NONE

    def install(self, _):
        if not slotted():
            return reg.REASON_UNKNOWN_COMMAND
        if not self.resting():
            return reg.REASON_BUSY
        return _upkeep("install")

    def confirm(self, _):
        if not self._bank.bit(reg.S_UNCONFIRMED, reg.S_UNCONFIRMED_BIT):
            return reg.REASON_NONE
        if not self.resting():
            return reg.REASON_BUSY
        reason = _upkeep("confirm")
        if not reason:
            self._boots = 0
            self.show()
            log.say("i", "confirmed")
        return reason

    # ---- ten times a second

    def slow(self, ms):
        """Look."""
        log.age()
        bank = self._bank
        owner = bank.u32(reg.S_OWNER)
        if owner != self._owner:
            self._owner = owner
            log.say("i", "owner %08x epoch %d" % (owner, bank.u32(reg.S_EPOCH)) if owner else "nobody commands")
        fault = bank.u16(reg.S_FAULT)
        if fault != self._fault:
            self._tell_fault(fault)
        if self._restart_ms is not None and ticks_diff(ticks_ms(), self._restart_ms) >= 0:
            self._restart()

    def _restart(self):
        """Now that the result could be read; unless something was set going meanwhile."""
        node = self._node
        self._restart_ms = None
        if not self.resting():
            del node.motion.start
            log.say("w", "restart: forgotten, it does not rest")
            return
        node.rest()
        node.use.end()
        pins.reset()

    def _tell_fault(self, fault):
        self._fault = fault
        if fault == reg.FAULT_NONE:
            log.say("i", "reset")
            return
        block = self._bank.u16(reg.S_FAULT_BLOCK)
        where = " block %d" % block if block != 0xFFFF else ""
        log.say("w", "latched: %s%s" % (word(_FAULTS, fault), where))


def equip(node, config):
    """Give a node what it needs to be kept going."""
    log.attach(node.bank)
    upkeep = Upkeep(node, config.get("trial"))
    log.say("i", "start after %s, board %s" % (word(_CAUSES, node.bank.u16(reg.S_RESET_CAUSE)), hexlify(pins.unique_id()).decode()))
    log.say("i", "application %s, %s" % (RELEASE, "slot " + sys.path[0] if slotted() else "no slots"))
    node.window.resting = upkeep.resting
    node.window.uid = config["uid"]
    node.slows.append(upkeep.slow)
    ops = node.safety.ops
    ops[reg.OP_RESTART] = upkeep.restart
    ops[reg.OP_INSTALL] = upkeep.install
    ops[reg.OP_CONFIRM] = upkeep.confirm
