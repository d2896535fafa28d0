"""The node block: what every node of ours reports and takes, whatever machines hang on it.

Records like any other: Status lies at register 0, Command (the Grant) at 64, the transfer window at 128, and the
machines from 256 on.
"""

import enum
from typing import Annotated as A

from twin.units import HZ, MS
from twin.wire import Bit, UInt16, UInt32, record

MAGIC = 0x4C53
VERSION = 2
STATUS_AT = 0
COMMAND_AT = 64
TRANSFER_AT = 128
MACHINES_AT = 256
REGISTERS = 1024
LEASE_MS = 500
TICK_MS = 10


class Result(enum.IntEnum):
    """What became of the last command."""

    NONE = 0
    DONE = 1
    REFUSED = 2


class Reason(enum.IntEnum):
    """Why a command, a claim or a transfer was refused."""

    NONE = 0
    NOT_OWNER = 1
    LEASE_LIVE = 2
    OLD_EPOCH = 3
    TOO_LATE = 4
    UNKNOWN_COMMAND = 5
    NO_SUCH_JOB = 6
    LATCHED = 7
    BUSY = 8
    BAD_JOB = 9
    WRONG_MACHINE = 10
    BAD_CHECKSUM = 11
    BAD_OFFSET = 12
    NO_SPACE = 13
    NOT_AS_EXPECTED = 14
    BAD_SIGNATURE = 15
    OLD_VERSION = 16
    WRONG_BOARD = 17
    NOT_VERIFIED = 18
    NO_PRINTER = 19
    REPEATED = 20


class Fault(enum.IntEnum):
    """Why a node has latched its outputs safe."""

    NONE = 0
    SILENCE = 1
    OVER_TEMPERATURE = 2
    HEATER_STUCK = 3
    SENSOR = 4
    INTERLOCK = 5
    HOMING = 6
    UNDERRUN = 7
    JOB = 8
    INTERNAL = 9
    RESTARTED = 10
    TRAVEL = 11
    STALL = 12
    END_SWITCHES = 13
    OUTPUT = 14
    SUPPLY = 15
    PRINTER = 16


class JobState(enum.IntEnum):
    """Where a node's Job stands."""

    NONE = 0
    READY = 1
    RUNNING = 2
    HOLDING = 3
    DONE = 4
    ABORTED = 5


class TransferState(enum.IntEnum):
    """Where the transfer window stands."""

    IDLE = 0
    RECEIVING = 1
    STORED = 2
    REFUSED = 3


class ResetCause(enum.IntEnum):
    """Why a node started, as MicroPython's machine.reset_cause() numbers it."""

    UNKNOWN = 0
    POWER = 1
    HARD = 2
    WATCHDOG = 3
    SLEEP = 4
    SOFT = 5


class Slot(enum.IntEnum):
    """Which of its two application folders a node runs."""

    NONE = 0
    A = 1
    B = 2


class Op(enum.IntEnum):
    """Commands that run at most once."""

    NONE = 0
    START = 1
    STOP = 2
    RESET = 3
    RESTART = 4
    CONFIRM = 5
    INSTALL = 6
    RELEASE = 7


class TransferOp(enum.IntEnum):
    """What a write into the transfer window does."""

    NONE = 0
    BEGIN = 1
    DATA = 2
    END = 3
    READ = 4


class TransferKind(enum.IntEnum):
    """What a transfer carries."""

    STORED_JOB = 1
    STREAMED_JOB = 2
    CONFIG = 3
    UPDATE_FILE = 4
    MANIFEST = 5
    LOG = 6


@record
class NodeStatus:
    """What a node says of itself."""

    magic: A[int, UInt16(0)]
    version: A[int, UInt16(1)]
    map_hash: A[int, UInt32(2)]
    uid: A[int, UInt32(4)]
    boot_id: A[int, UInt32(6)]
    uptime: A[int, MS, "since start, wraps at 2^32", UInt32(8)]
    fault: A[Fault, "why the outputs are latched safe", UInt16(10)]
    leased: A[bool, "a lease is live", Bit(11, 0)]
    latched: A[bool, "outputs are safe until an operator's reset", Bit(11, 1)]
    moving: A[bool, Bit(11, 2)]
    homed: A[bool, Bit(11, 3)]
    epoch: A[int, "highest ever granted", UInt32(12)]
    owner: A[int, "of the live lease, else 0", UInt32(14)]
    heartbeat: A[int, "echo of the owner's", UInt16(16)]
    refused: A[int, "claims and commands refused since start", UInt16(17)]
    sequence: A[int, "of the last command judged", UInt16(18)]
    result: A[Result, UInt16(19)]
    reason: A[Reason, UInt16(20)]
    executions: A[int, "how often command_id was executed", UInt16(21)]
    command_id: A[int, UInt32(22)]
    job_id: A[int, UInt32(24)]
    job_state: A[JobState, UInt16(26)]
    job_fault: A[Reason, "why the Job could not be run", UInt16(27)]
    job_chunks: A[int, "motion chunks played since the Job's start", UInt32(28)]
    job_line: A[int, "line of the program being executed", UInt32(30)]
    underruns: A[int, "times the step stream ran dry", UInt16(32)]
    peak_rate: A[int, HZ, "largest step rate of the Job", UInt32(34)]
    ring_free: A[int, "bytes free for a streamed Job", UInt32(36)]
    transfer_state: A[TransferState, UInt16(38)]
    transfer_reason: A[Reason, UInt16(39)]
    transfer_id: A[int, UInt32(40)]
    transfer_received: A[int, "bytes received in order", UInt32(42)]
    heap_free: A[int, "bytes", UInt32(44)]
    late: A[int, "largest lateness of a tick, µs", UInt32(46)]
    leases_lost: A[int, UInt16(48)]
    heater_wait: A[bool, "the Job waits for a temperature", Bit(49, 0)]
    homing: A[bool, Bit(49, 1)]
    unconfirmed: A[bool, "this application was installed and not confirmed yet", Bit(49, 2)]
    storage_failed: A[bool, "the flash has refused a write", Bit(49, 3)]
    probed: A[bool, "the last probing of the Job touched something", Bit(49, 4)]
    reset_cause: A[ResetCause, UInt16(50)]
    slot: A[Slot, UInt16(51)]
    secure_version: A[int, "an update with a lower one is refused", UInt16(52)]
    late_refused: A[int, "commands that came after their time", UInt16(53)]
    repeated: A[int, "commands that had run already", UInt16(54)]
    foreign: A[int, "writes of others than the owner", UInt16(55)]
    old_epochs: A[int, "claims with an epoch that is too low", UInt16(56)]
    fault_block: A[int, "number of the block that latched, 65535 for none", UInt16(57)]
    boots: A[int, "starts of this application since it was installed, until it is confirmed", UInt16(58)]
    log_end: A[int, "bytes ever written to the log", UInt32(60)]


@record
class NodeCommand:
    """The Grant: who commands, for how long, and what is to be done once. The defaults ask for nothing."""

    owner: A[int, UInt32(0)] = 0
    epoch: A[int, UInt32(2)] = 0
    lease: A[int, MS, "50 to 5000, beyond that the nearest", UInt16(4)] = LEASE_MS
    heartbeat: A[int, "must change for the lease to live", UInt16(5)] = 0
    sequence: A[int, "changes with every command", UInt16(6)] = 0
    op: A[Op, UInt16(7)] = Op.NONE
    command_id: A[int, UInt32(8)] = 0
    argument: A[int, UInt32(10)] = 0
    not_after: A[int, MS, "node uptime after which the command is refused", UInt32(12)] = 0


@record
class Transfer:
    """Head of a write into the transfer window; the bytes follow it, two a register."""

    op: A[TransferOp, UInt16(0)] = TransferOp.NONE
    kind: A[TransferKind, UInt16(1)] = TransferKind.STORED_JOB
    id: A[int, UInt32(2)] = 0
    offset: A[int, UInt32(4)] = 0
    length: A[int, "bytes that follow", UInt16(6)] = 0
    crc: A[int, "CRC-32 of the bytes that follow", UInt32(8)] = 0


TRANSFER_HEAD = 10
TRANSFER_BYTES = 224
