"""The Grant of one node as the controller holds it: whose it is, its lease, commands that run at most once. Pure."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple

from twin.clock import MS, Ns
from twin.node import LEASE_MS, Fault, NodeCommand, NodeStatus, Op, Result
from twin.trace import Sample

CLAIM_PATIENCE = Ns(400 * MS)
"""A node answers with its last tick's Status, so a claim is judged on a later reply. For a slow line it is four of its scans."""
EXPIRY_MARGIN_MS = 200
NEVER = Ns(0)


class Standing(StrEnum):
    """Whose a node is, as the controller sees it."""

    LOST = "lost"
    REFUSED = "refused"
    FOREIGN = "read-only"
    FREE = "free"
    CLAIMING = "claiming"
    OURS = "ours"


class Stand(NamedTuple):
    """A node's standing and what it comes from."""

    standing: Standing
    cause: str = ""

    @property
    def heard(self) -> bool:
        """Whether its Status is to be believed."""
        return self.standing not in (Standing.LOST, Standing.REFUSED)

    @property
    def written(self) -> bool:
        """Whether its Grant may be written."""
        return self.standing in (Standing.OURS, Standing.CLAIMING)

    def __str__(self) -> str:
        return f"{self.standing}: {self.cause}" if self.cause else self.standing.value


@dataclass(frozen=True, slots=True)
class Errand:
    """A command that is to run at most once.

    Attributes:
        boot_id: of the node's run that it is meant for.
        not_after: node uptime [ms] after which it is void.
        until: when its outcome counts as unknown if the node has not been heard.
        request: whose answer it is, or 0.
    """

    op: Op
    command_id: int
    boot_id: int
    not_after: int
    argument: int = 0
    until: Ns = NEVER
    request: int = 0


@dataclass(frozen=True, slots=True)
class Grant:
    """What the controller writes into a node's Grant.

    Attributes:
        epoch: under which the node was claimed; 0 before the first claim.
        claimed_at: when.
        errand: the last command; written with every heartbeat, its id keeps it from running twice.
    """

    epoch: int = 0
    claimed_at: Ns = NEVER
    heartbeat: int = 0
    sequence: int = 0
    errand: Errand | None = None

    def claim(self, epoch: int, status: NodeStatus, now: Ns) -> "Grant":
        """A fresh claim; the node's own sequence is taken over, so that nothing is commanded by it."""
        return Grant(epoch, now, self.heartbeat, status.sequence)

    def beat(self) -> "Grant":
        """With a changed heartbeat."""
        return replace(self, heartbeat=(self.heartbeat + 1) & 0xFFFF)

    def send(self, errand: Errand) -> "Grant":
        """With a command, unless it is this one already."""
        if self.errand is not None and self.errand.command_id == errand.command_id:
            return self
        return replace(self, sequence=(self.sequence + 1) & 0xFFFF, errand=errand)

    def busy(self, status: NodeStatus) -> bool:
        """Whether the last command has neither been judged nor become void."""
        return self.errand is not None and verdict(self.errand, status) is None

    def command(self, owner: int, lease_ms: int = LEASE_MS) -> NodeCommand:
        """The record to write."""
        errand = self.errand or Errand(Op.NONE, 0, 0, 0)
        return NodeCommand(
            owner=owner,
            epoch=self.epoch,
            lease=lease_ms,
            heartbeat=self.heartbeat,
            sequence=self.sequence,
            op=errand.op,
            command_id=errand.command_id,
            argument=errand.argument,
            not_after=errand.not_after,
        )


class Verdict(NamedTuple):
    """What became of a command.

    Attributes:
        acted: the node may have acted on it.
    """

    done: bool
    acted: bool
    text: str


def verdict(errand: Errand, status: NodeStatus) -> Verdict | None:
    """What a node's result block says of a command; None while it may still be carried out."""
    if status.boot_id != errand.boot_id:
        return Verdict(False, True, "the node has been restarted, so the outcome is unknown")
    if status.command_id == errand.command_id:
        if status.result is Result.DONE:
            return Verdict(True, True, "done")
        if status.result is Result.REFUSED:
            return Verdict(False, status.executions > 0, f"refused: {words(status.reason.name)}")
    if past(status.uptime, errand.not_after + EXPIRY_MARGIN_MS):
        return Verdict(False, False, "not carried out in time")
    return None


def past(uptime_ms: int, limit_ms: int) -> bool:
    """Whether an uptime that wraps at 2^32 has reached a limit."""
    return (uptime_ms - limit_ms) & 0xFFFFFFFF < 1 << 31


def words(name: str) -> str:
    """An enumeration's name for people."""
    return name.replace("_", " ").lower()


def uptime(sample: Sample[NodeStatus], now: Ns) -> int:
    """A node's uptime [ms] now, reckoned from its last Status."""
    assert sample.status is not None
    return (sample.status.uptime + (now - sample.at) // MS) & 0xFFFFFFFF


def stand(grant: Grant, sample: Sample[NodeStatus], refused: str, owner: int, now: Ns, patience: Ns = CLAIM_PATIENCE) -> Stand:
    """Whose a node is; a claim is given `patience` to show."""
    status = sample.status
    if status is None or not sample.good:
        return Stand(Standing.LOST, sample.every.cause)
    if refused:
        return Stand(Standing.REFUSED, refused)
    if status.leased:
        if status.owner != owner:
            return Stand(Standing.FOREIGN, f"commanded by owner {status.owner:#010x}, epoch {status.epoch}")
        if status.epoch != grant.epoch:
            return Stand(Standing.FOREIGN, f"still leased to an earlier run of this controller, epoch {status.epoch}")
        return Stand(Standing.OURS)
    if grant.epoch > status.epoch and now - grant.claimed_at < patience:
        return Stand(Standing.CLAIMING)
    return Stand(Standing.FREE)


def claim_patience(scan_ms: int) -> Ns:
    """How long a claim is given to show on a node that is scanned so often."""
    return max(CLAIM_PATIENCE, Ns(4 * scan_ms * MS))


def latch(status: NodeStatus | None) -> str:
    """Why a node has latched its outputs safe; empty when it has not."""
    if status is None or not status.latched:
        return ""
    return f"latched: {words(status.fault.name)}" if status.fault is not Fault.NONE else "latched"


Judged = tuple[Errand, bool, str]


def attend(
    grant: Grant, waiting: tuple[Errand, ...], start: Errand | None, status: NodeStatus | None, ours: bool, now: Ns
) -> tuple[Grant, tuple[Errand, ...], tuple[Judged, ...]]:
    """One scan's look at the commands of a node that wait for their turn, oldest first; a start comes after them.

    A STOP goes out even while another command has not been judged yet.

    Args:
        status: the node's, or None while it isn't heard.
        ours: whether it may be commanded.

    Returns:
        The Grant to write, the commands that still wait, and those whose outcome is known: done or not, and why.
    """
    judged: list[Judged] = []
    rest = []
    for errand in waiting:
        found = verdict(errand, status) if status is not None else None
        if found is not None:
            judged.append((errand, found.done, found.text))
        elif now >= errand.until:
            judged.append((errand, False, "outcome unknown: the node has not answered"))
        else:
            rest.append(errand)
    if status is not None and ours:
        head = rest[0] if rest else start
        if head is not None and (head.op is Op.STOP or not grant.busy(status)):
            grant = grant.send(head)
    return grant, tuple(rest), tuple(judged)
