"""The node: made of what node.json says, ticked every TICK_MS, watched, and served to its clients."""

import asyncio
import gc
from time import ticks_add, ticks_diff, ticks_ms, ticks_us

import micropython

from node import RELEASE, kinds, pins, slots
from node import registers as reg
from node.bank import Bank
from node.safety import Commands, Safety
from node.store import Store, read_counter, write_counter
from node.supervisor import Supervisor
from node.transfer import Window
from node.use import Use

WATCHDOG_MS = 2000
HEATER_TICKS = 10
COLLECT_TICKS = 100  # a multiple of HEATER_TICKS
_TICK_MS = reg.TICK_MS
_TICK_US = 1000 * reg.TICK_MS


class NodeError(Exception):
    """A node that cannot start; one line says why."""


class NoMotion:
    """In the place of a Motion where there is none."""

    running = finishes = False
    fault = cause = reg.FAULT_NONE

    def start(self, job_id):
        return reg.REASON_UNKNOWN_COMMAND

    def stop(self):
        pass

    def tick(self, now_us, run, deadline_us):
        pass


class Node:
    """All parts of a node, and its tick."""

    def __init__(self, config):
        _load(config)
        self.bank = bank = Bank(reg.REGISTERS)
        self.effective = Bank(_end_of(config["commands"]))
        motion = config["motion"]
        jobs = Store(bank, motion["ring"] if motion else 0)
        commands = Commands(config["commands"], bank, self.effective)
        self.reads = []  # methods, bound once: a tick calls each of them a hundred times a second
        self.watches = []
        self._watched = []  # numbers of the blocks that these, and the heaters, are of
        self._heated = []
        self.writes = []
        self.slows = []
        self.rests = []
        self.heaters = []
        self.permits = []
        self.fans = []
        for number, block in enumerate(config["blocks"]):
            self._add(number, block)
            if "max_age" in block:
                for name in ("from", "run", "speed"):
                    if name in block:
                        commands.age(block[name], block["max_age"], number)
            if block.get("silence") == "hold":
                commands.hold(block["from"] if "from" in block else block["speed"])
        self.motion = _motion(motion, bank, jobs, self.heaters, self.fans, self.effective) if motion else NoMotion()
        rest = getattr(self.motion, "rest", None)
        if rest:
            self.rests.append(rest)
        self._moves = bool(motion)
        self._run = motion["run"] if motion else (0, 0)
        self.window = window = Window(bank, jobs)
        self.use = Use(bank)
        heat = self.heaters, self.fans
        run = motion and motion["run"]
        self.safety = Safety(config["interlocks"], bank, commands, jobs, window, self.motion, *heat, self.use, run)
        identity = (b"Lockstep", b"node", RELEASE.encode())
        self.server = _server(config["link"])(bank, self.safety, identity, config["link"])
        self.beat = False
        self.supervisor = Supervisor()
        self.supervisor.expect(self)
        self.supervisor.expect(self.server)
        self._late = 0
        self._ticks = 0
        self._say_who(config)
        if self.use.before:
            self.safety.latch(reg.FAULT_RESTARTED)
        slots.equip(self, config)

    def _add(self, number, block):
        kind = block["kind"]
        if kind == "Heater":
            self.heaters.append(kinds.find(kind)(block, self.bank, pins))
            self.permits.append(block["permit"])
            self._heated.append(number)
            return
        made = kinds.find("Fan" if "job" in block else kind)(block, self.bank, self.effective)
        if "job" in block:
            self.fans.append(made)
        for name, methods in (
            ("read", self.reads),
            ("watch", self.watches),
            ("write", self.writes),
            ("slow", self.slows),
            ("rest", self.rests),
        ):
            if hasattr(made, name):
                methods.append(getattr(made, name))
        if hasattr(made, "watch"):
            self._watched.append(number)

    def _say_who(self, config):
        bank = self.bank
        boot_id = read_counter("boot") + 1
        if not write_counter("boot", boot_id):
            bank.put_bit(reg.S_STORAGE_FAILED, reg.S_STORAGE_FAILED_BIT, 1)
        bank.put16(reg.S_MAGIC, reg.MAGIC)
        bank.put16(reg.S_VERSION, reg.VERSION)
        bank.put32(reg.S_MAP_HASH, config["map_hash"])
        bank.put32(reg.S_UID, config["uid"])
        bank.put32(reg.S_BOOT_ID, boot_id)
        bank.put16(reg.S_RESET_CAUSE, pins.reset_cause())
        bank.put16(reg.S_FAULT_BLOCK, 0xFFFF)
        bank.put32(reg.S_HEAP_FREE, gc.mem_free())

    @micropython.native
    def tick(self):
        """One turn: what the pins say, who commands, what the pins are to do, the Job, the heaters."""
        for read in self.reads:
            read()
        safety = self.safety
        if self.watches:
            self._watch()
        safety.tick(ticks_ms())
        silent = safety.silent
        if silent or safety.changed:
            for write in self.writes:
                write(silent)
        if self._moves:
            self._tick_motion()
        self._ticks = (self._ticks + 1) % COLLECT_TICKS
        for heater in self.heaters:
            heater.sample()
        if self._ticks % HEATER_TICKS == 0:
            if self.heaters:
                self._tick_heaters()
            for slow in self.slows:
                slow(HEATER_TICKS * _TICK_MS)
            self.use.look(safety.idle)
        self.beat = True

    @micropython.native
    def _watch(self):
        """What the blocks find wrong latches now, before anything is written; every one of them is asked in every tick."""
        found = reg.FAULT_NONE
        for k in range(len(self.watches)):
            fault = self.watches[k]()
            if fault:
                found = fault
                self.safety.latch(fault, self._watched[k])
        self.safety.block_fault = found

    def _tick_motion(self):
        motion = self.motion
        now_us = ticks_us()
        motion.tick(now_us, self.effective.bit(self._run[0], self._run[1]), self.safety.deadline(now_us))
        if motion.fault:
            self.safety.latch(motion.fault)
            motion.fault = reg.FAULT_NONE

    def _tick_heaters(self):
        found = reg.FAULT_NONE
        for k in range(len(self.heaters)):
            heater = self.heaters[k]
            at, bit = self.permits[k]
            permitted = self.effective.bit(at, bit)
            if heater.wanted and not permitted and self.motion.running:
                self.motion.stop()  # a Job that has lost its heat does not go on in the cold
            fault = heater.tick(permitted, HEATER_TICKS * reg.TICK_MS)
            if fault:
                found = found or fault
                self.safety.latch(fault, self._heated[k])
        self.safety.heater_fault = found

    def rest(self):
        """Everything off, whatever state the rest is in; nothing ticks after this, and the watchdog is not fed."""
        _surely(self.safety.commands.settle, False)
        for write in self.writes:
            _surely(write, False)
        for heater in self.heaters:
            _surely(heater.off)
        for fan in self.fans:
            _surely(fan.set, 0)
        for rest in self.rests:
            _surely(rest)

    @micropython.native
    async def loop(self):
        """Tick for ever. A period adds to the last due time; a tick that is missed altogether is not made up for."""
        await asyncio.sleep_ms(reg.TICK_MS)
        due_ms = ticks_ms()
        due_us = ticks_us()
        try:
            while True:
                late_us = ticks_diff(ticks_us(), due_us)
                if late_us > self._late:
                    self._late = late_us
                    self.bank.put32(reg.S_LATE, late_us)
                self.tick()
                if self._ticks == 0:
                    gc.collect()
                    self.bank.put32(reg.S_HEAP_FREE, gc.mem_free())
                left_ms = -_TICK_MS
                while left_ms <= -_TICK_MS:  # the next tick, or the first that is not over yet
                    due_ms = ticks_add(due_ms, _TICK_MS)
                    due_us = ticks_add(due_us, _TICK_US)
                    left_ms = ticks_diff(due_ms, ticks_ms())
                await asyncio.sleep_ms(left_ms if left_ms > 0 else 0)
        finally:
            self.rest()


def _surely(act, *what):
    """Do it; what fails must not keep the others from being done."""
    try:
        act(*what)
    except Exception as failed:
        print("lockstep: while everything was switched off:", failed)


def _load(config):
    """Import what only some nodes need, as long as memory is in one piece: compiling takes a lot of it for a while."""
    for block in config["blocks"]:
        kinds.find(block["kind"])
    if config["motion"] and "backend" in config["motion"]:
        import node.marlin
    elif config["motion"]:
        import node.motion

        if "order" in config["motion"]:
            import node.joints
        if "probe" in config["motion"]:
            import node.probe
        if any("servo" in axis for axis in config["motion"]["axes"]):
            import node.servo  # noqa: F401
    _server(config["link"])
    gc.collect()


def _motion(config, bank, jobs, heaters, fans, effective):
    if config.get("backend") == "marlin":
        from node.marlin import Marlin

        return Marlin(config, bank, jobs, effective)
    if "order" in config:
        from node.joints import JointMotion as Motion
    else:
        from node.motion import Motion
    return Motion(config, bank, jobs, heaters, fans)


def _server(link):
    """The server for the link's kind."""
    if link["kind"] == "rtu":
        from node.rtu import Server
    else:
        from node.modbus import Server
    return Server


def _end_of(commands):
    """Registers up to the last Command's end."""
    end = reg.MACHINES_AT
    for first, words in commands:
        end = max(end, first + len(words))
    return end


def _network(config, node):
    """The task that keeps the board on its network, where it has one to look after."""
    if not config:
        return ()
    from node.net import Network

    network = Network(config, node.bank)
    node.supervisor.expect(network)
    return (asyncio.create_task(network.run()),)


async def run(config):
    """Make the node and run it, for ever. The configuration is used up.

    Raises:
        NodeError: it cannot listen where it should.
    """
    node = Node(config)
    network = _network(config.get("network"), node)
    name, where = config["node"], node.server.where
    config.clear()  # its memory is needed, and a place on some stack may still point to it
    try:
        await node.server.start()
    except OSError as failed:
        raise NodeError("cannot listen at %s: %s" % (where, failed)) from None
    gc.threshold(-1)  # from here on the tick says when
    gc.collect()
    node.bank.put32(reg.S_HEAP_FREE, gc.mem_free())
    print("lockstep: node %s listens at %s" % (name, where))
    tasks = (
        asyncio.create_task(node.server.watch()),
        asyncio.create_task(node.supervisor.watch(pins.watchdog(WATCHDOG_MS))),
    ) + network
    try:
        await node.loop()
    finally:
        for task in tasks:
            task.cancel()
