"""The Grant of one node as the controller holds it: whose it is, its lease, commands that run at most once. Pure."""

from collections.abc import Container
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple

from controller.orders.intents import Intent, IntentState
from controller.orders.order import Why
from twin.clock import MS, Ns
from twin.node import LEASE_MS, Fault, JobState, NodeCommand, NodeStatus, Op, Result
from twin.trace import Sample

CLAIM_PATIENCE = Ns(400 * MS)
"""A node answers with its last tick's Status, so a claim is judged on a later reply. For a slow line it is four of its scans."""
EXPIRY_MARGIN_MS = 200
FAR = 1 << 31
"""A node that tells a higher epoch than this, which none of ours had been given, tells no epoch: its flash is erased or rotten."""
NEVER = Ns(0)
EARLIER_RUN = "still leased to an earlier run of this controller"


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
        before: the command that the node had judged last when this one was made; -1 where that is not known.
    """

    op: Op
    command_id: int
    boot_id: int
    not_after: int
    argument: int = 0
    until: Ns = NEVER
    request: int = 0
    before: int = -1

    def intent(self, node: str, user: str, utc_ns: int) -> Intent:
        """It as the book has it, before anything is known of its outcome."""
        what = self.op.name.lower()
        return Intent(self.command_id, node, what, "", user, self.boot_id, self.not_after, self.before, utc_ns)


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

    @property
    def state(self) -> IntentState:
        """It as the book has it."""
        if self.done:
            return IntentState.DONE
        if self.text.startswith(_REFUSED):
            return IntentState.REFUSED
        return IntentState.UNKNOWN if self.acted else IntentState.VOID


def verdict(errand: Errand, status: NodeStatus) -> Verdict | None:
    """What a node's result block says of a command; None while it may still be carried out."""
    if status.boot_id != errand.boot_id:
        return Verdict(False, True, "the node has been restarted, so the outcome is unknown")
    if status.command_id == errand.command_id:
        if status.result is Result.DONE:
            return Verdict(True, True, "done")
        if status.result is Result.REFUSED:
            return Verdict(False, status.executions > 0, f"{_REFUSED}{words(status.reason.name)}")
    if past(status.uptime, errand.not_after + EXPIRY_MARGIN_MS):
        return _void(errand, status)
    return None


def _void(errand: Errand, status: NodeStatus) -> Verdict:
    """Of a command that can't be carried out any more, where the node's result block is another one's.

    Its own result may have stood there before, unseen: so a start is asked of the Job, and of the others nothing is sure
    unless the block is still the one that it was before.
    """
    if errand.op is Op.START and errand.argument == status.job_id and status.job_state in _BEGUN:
        return Verdict(True, True, "done, as the node's Job tells")
    if errand.op is not Op.START and errand.before not in (-1, status.command_id):
        return Verdict(False, True, "outcome unknown: a later command stands in the node's result")
    return Verdict(False, False, "not carried out in time")


_REFUSED = "refused: "


def why_of(done: bool, text: str) -> Why | str:
    """What kind of refusal a node's verdict on a command is; empty where it was done."""
    if done:
        return ""
    return Why.REFUSED if text.startswith(_REFUSED) else Why.UNREACHED if text.startswith("not carried out") else Why.UNSURE


_BEGUN = (JobState.RUNNING, JobState.HOLDING, JobState.DONE, JobState.ABORTED)


def recalled(intent: Intent) -> Errand:
    """The command of an intent, to be looked for in its node's Status; it is not sent."""
    return Errand(Op[intent.what.upper()], intent.id, intent.boot_id, intent.not_after, before=intent.before)


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


def stand(
    grant: Grant,
    sample: Sample[NodeStatus],
    refused: str,
    owner: int,
    now: Ns,
    patience: Ns = CLAIM_PATIENCE,
    known: int = 0,
) -> Stand:
    """Whose a node is; a claim is given `patience` to show.

    Args:
        known: the highest epoch that had been given out when this run of the controller began.
    """
    status = sample.status
    if status is None or not sample.good:
        return Stand(Standing.LOST, sample.every.cause)
    if refused:
        return Stand(Standing.REFUSED, refused)
    if status.leased:
        if status.owner != owner:
            if same_house(status.owner, owner):
                return Stand(Standing.FOREIGN, f"{EARLIER_RUN}, epoch {status.epoch}")
            return Stand(Standing.FOREIGN, f"commanded by owner {status.owner:#010x}, epoch {status.epoch}")
        if status.epoch != grant.epoch:
            return Stand(Standing.FOREIGN, f"{EARLIER_RUN}, epoch {status.epoch}")
        return Stand(Standing.OURS)
    if status.epoch > max(FAR, known, grant.epoch):
        return Stand(Standing.REFUSED, f"it tells epoch {status.epoch}, which nobody has given out: at most {FAR} is believed")
    if grant.epoch > status.epoch and now - grant.claimed_at < patience:
        return Stand(Standing.CLAIMING)
    return Stand(Standing.FREE)


def same_house(one: int, other: int) -> bool:
    """Whether two owners are runs of a controller on one state directory, or on copies of it."""
    return one & 0xFFFF == other & 0xFFFF


def strange(status: NodeStatus, issued: int, owner: int, known: int) -> str:
    """Why somebody else must have commanded a node since this book was written; empty where nothing says so.

    Args:
        issued: the highest epoch that this state directory has ever given out.
        known: the same, when this run of the controller began.
    """
    if status.leased and status.owner != owner and (status.epoch > known or not same_house(status.owner, owner)):
        return f"commanded by owner {status.owner:#010x}, epoch {status.epoch}"
    if max(FAR, issued) >= status.epoch > issued:
        return f"claimed under epoch {status.epoch}, and this book knows of none above {issued}"
    return ""


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
    grant: Grant,
    waiting: tuple[Errand, ...],
    start: Errand | None,
    status: NodeStatus | None,
    ours: bool,
    now: Ns,
    noted: Container[int] | None = None,
) -> tuple[Grant, tuple[Errand, ...], tuple[Judged, ...]]:
    """One scan's look at the commands of a node that wait for their turn, oldest first; a start comes after them.

    A STOP goes out even while another command has not been judged yet, and before it is on disk, where it is written beside:
    a disk that is slow, full or broken must not keep a machine moving. Nothing is promised by it: nobody is told that it is done
    before the node says so, and a controller that dies before it was written finds what STOP did in the node's Status.

    Args:
        status: the node's, or None while it isn't heard.
        ours: whether it may be commanded.
        noted: the ids of the commands that are safe on disk; all of them unless told.

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
        written = head is not None and (head is start or noted is None or head.command_id in noted)
        if head is not None and (head.op is Op.STOP or (written and not grant.busy(status))):
            grant = grant.send(head)
    return grant, tuple(rest), tuple(judged)
