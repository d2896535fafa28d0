"""Brings an application or a configuration to a node, and makes it permanent only when the node has been read back healthy.

The node is claimed as a core would claim it, so none may run on the same state directory. What broke off is taken up again by doing
the same once more: files that are there already are not sent, and what runs on trial already is only confirmed.
"""

import contextlib
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from controller.nodes.claim import LOOK, Claim, alone, claimed
from controller.nodes.epochs import Epochs
from controller.nodes.grant import words
from controller.nodes.reach import NodeError, Reached
from controller.nodes.transfer import Load
from controller.nodes.trials import keep, resumed, trial
from twin.clock import Ns, S
from twin.factory import Factory
from twin.node import Fault, NodeStatus, Op, Slot, TransferKind

RESTART = Ns(60 * S)
WATCHED = Ns(2 * S)
MANIFEST_ID = 0xFFFF_FFFF
_HARMLESS = (Fault.NONE, Fault.RESTARTED, Fault.SILENCE)

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Image:
    """A signed application.

    Attributes:
        manifest: as a slot holds it, signature first; files: by path.
    """

    release: str
    manifest: bytes
    files: Mapping[str, bytes]


async def update(factory: Factory, reached: Reached, folder: Path, image: Image, say: Say) -> None:
    """Install an application, and confirm it.

    Raises:
        NodeError: it was refused, or the node is not healthy with it: then it is not confirmed, and falls back by itself.
    """
    with alone(folder) as epochs:
        before = await _ours(factory, reached)
        if before.slot is Slot.NONE:
            raise NodeError(f"{reached.node.name}: has no two slots: flash it with `lockstep node flash --key` first")
        if before.unconfirmed:
            on_trial, after = resumed(folder, reached.node.name, before, image.manifest), before
        else:
            on_trial = trial(before, image.manifest, before.map_hash)
            async with claimed(factory, reached, folder, epochs) as claim:
                await _send(claim, image, say)
                keep(folder, reached.node.name, on_trial)
                await claim.do(Op.INSTALL)
                await claim.do(Op.RESTART)
            say("restarting")
            after = await _back(reached, before)
            if after.slot is before.slot:
                slot = after.slot.name.lower()
                raise NodeError(f"{reached.node.name}: has fallen back to slot {slot}: `lockstep node log` says why")
        await _confirm(factory, reached, folder, epochs, on_trial.map_hash, image.release)
        say(f"{reached.node.name} runs {image.release} from slot {after.slot.name.lower()}, confirmed")


async def configure(factory: Factory, reached: Reached, folder: Path, text: str, expected: int, say: Say) -> None:
    """Give a node another configuration, and confirm it.

    Args:
        text: of its node.json; expected: the hash of its map with it.

    Raises:
        NodeError: as `update`.
    """
    with alone(folder) as epochs:
        before = await _ours(factory, reached)
        data = text.encode()
        if before.unconfirmed:
            resumed(folder, reached.node.name, before, data)
        else:
            keep(folder, reached.node.name, trial(before, data, expected))
            number = int.from_bytes(hashlib.sha256(data).digest()[:4], "big")
            async with claimed(factory, reached, folder, epochs) as claim:
                await claim.send(Load(number, data, TransferKind.CONFIG), "node.json")
                await claim.do(Op.RESTART)
            say("restarting")
            if not (await _back(reached, before)).unconfirmed:
                raise NodeError(f"{reached.node.name}: makes nothing of it and runs with the old one: `lockstep node log` says why")
        await _confirm(factory, reached, folder, epochs, expected, await reached.release())
        say(f"{reached.node.name} runs with its new configuration, confirmed")


async def _ours(factory: Factory, reached: Reached) -> NodeStatus:
    status = await reached.status()
    uid = factory.nodes[reached.node.name].uid
    if status.uid not in (uid, 0):  # 0: it does not believe its configuration
        raise NodeError(f"{reached.node.name}: what answers there has uid {status.uid}, not {uid}")
    return status


async def _send(claim: Claim, image: Image, say: Say) -> None:
    await claim.send(Load(MANIFEST_ID, image.manifest, TransferKind.MANIFEST), "the manifest")
    paths = sorted(image.files)
    for number, path in enumerate(paths):
        say(f"{number + 1:3} of {len(paths)}  {path}, {len(image.files[path])} bytes")
        await claim.send(Load(number, image.files[path], TransferKind.UPDATE_FILE), path)


async def _back(reached: Reached, before: NodeStatus) -> NodeStatus:
    """The Status of the node's next run.

    Raises:
        NodeError: there is none.
    """
    clock = reached.clock
    due = Ns(clock.now() + RESTART)
    while True:
        status = None
        with contextlib.suppress(NodeError):
            status = await reached.status(patience=LOOK)
        if status is not None and status.boot_id != before.boot_id:
            return status
        if clock.now() >= due:
            raise NodeError(f"{reached.node.name}: has not come back within {RESTART // S} s; it falls back by itself")
        await clock.until(Ns(clock.now() + LOOK))


async def _confirm(factory: Factory, reached: Reached, folder: Path, epochs: Epochs, expected: int, release: str) -> None:
    """Watch the node for a moment, and confirm what it runs.

    Raises:
        NodeError: it is not healthy, or was not confirmed.
    """
    name = reached.node.name
    first = await reached.status()
    await reached.clock.until(Ns(reached.clock.now() + WATCHED))
    wrong = ailing(first, await reached.status(), factory.nodes[name].uid, expected)
    said = await reached.release()
    if said != release:
        wrong = f"says that it is release {said}, not {release}"
    if wrong:
        raise NodeError(f"{name}: {wrong}; not confirmed: after three unconfirmed starts it falls back by itself")
    async with claimed(factory, reached, folder, epochs) as claim:
        await claim.do(Op.CONFIRM)
        if (await reached.status()).unconfirmed:
            raise NodeError(f"{name}: still says that it is not confirmed")


def ailing(first: NodeStatus, then: NodeStatus, uid: int, expected: int) -> str:
    """What is wrong with a node that was looked at twice; empty where nothing is."""
    if then.boot_id != first.boot_id:
        return "has started again by itself"
    if then.uptime == first.uptime:
        return "does not tick"
    if then.uid != uid:
        return f"says uid {then.uid}, not {uid}"
    if then.map_hash != expected:
        return f"has the map {then.map_hash:#010x}, not {expected:#010x}"
    if then.fault not in _HARMLESS:
        return f"is latched: {words(then.fault.name)}"
    if then.storage_failed:
        return "cannot write to its flash"
    return ""
