"""`lockstep node …`: looking at nodes, and bringing them up to date."""

import argparse
import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from controller.nodes import flash
from controller.nodes.reach import NodeError, Reached, names, ours, reached
from controller.nodes.sign import KEY
from twin.clock import Ns, S
from twin.factory import Factory, Node, read

POLL = S
MOST_SECURE = 99_999_999
"""Of a manifest's numbers: firmware/loader.py takes eight digits."""


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Give `lockstep` its command `node`."""
    node = commands.add_parser("node", help="flash, look at and update nodes")
    actions = node.add_subparsers(required=True, metavar="ACTION")
    flash.add_to(actions)

    status = actions.add_parser("status", help="what nodes say of themselves")
    status.add_argument("node", nargs="*", metavar="NODE")
    status.add_argument("--all", action="store_true", help="every node of the factory")
    status.add_argument("--json", action="store_true", help="one JSON object, by node")
    _with_factory(status)
    status.set_defaults(do=_status)

    log = actions.add_parser("log", help="what has happened on a node since it started")
    log.add_argument("node", metavar="NODE")
    log.add_argument("--follow", action="store_true", help="go on until interrupted")
    _with_factory(log)
    log.set_defaults(do=_log)

    update = actions.add_parser("update", help="install an application, and confirm it when the node is healthy")
    update.add_argument("node", metavar="NODE")
    update.add_argument("--key", type=Path, metavar="FILE", help=f"signs it (STATE/{KEY})")
    update.add_argument("--secure-version", type=_secure, metavar="N", help="nodes refuse lower ones from then on")
    update.add_argument("--source", action="store_true", help="send the files as they are, not compiled")
    _with_factory(update)
    update.set_defaults(do=_update)

    configure = actions.add_parser("configure", help="send a node its configuration out of the factory file")
    configure.add_argument("node", metavar="NODE")
    _with_factory(configure)
    configure.set_defaults(do=_configure)

    keys = actions.add_parser("keys", help="make the key that signs applications, or show what nodes know of it")
    keys.add_argument("--key", type=Path, metavar="FILE", help=f"where it lies (STATE/{KEY})")
    keys.add_argument("--public", action="store_true", help="print the line for a node's update.keys")
    keys.add_argument("--state", type=Path, metavar="DIR", required=True, help="the factory's state")
    keys.set_defaults(do=_keys)


def _with_factory(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--factory", type=Path, metavar="FILE", required=True, help="factory.toml")
    parser.add_argument("--state", type=Path, metavar="DIR", help="where state is kept (.lockstep/NAME)")


def _secure(text: str) -> int:
    number = int(text)
    if not 0 <= number <= MOST_SECURE:
        raise argparse.ArgumentTypeError(f"{number} is not from 0 to {MOST_SECURE}")
    return number


def _state(options: argparse.Namespace, factory: Factory) -> Path:
    folder: Path = options.state or Path(".lockstep") / factory.name
    return folder.resolve()


def _told(failed: Exception) -> int:
    print(f"lockstep: {failed}", file=sys.stderr)
    return 1


# ---- looking


def _status(options: argparse.Namespace) -> int:
    from controller.nodes import status

    factory = read(options.factory)
    try:
        asked = names(factory, options.node, options.all)
    except NodeError as unknown:
        return _told(unknown)
    found = asyncio.run(_looked(factory, asked, _state(options, factory)))
    if options.json:
        print(json.dumps(found))
    else:
        for name, told in found.items():
            print("\n".join(status.lines(name, told) if "error" not in told else [name, f"  {told['error']}"]))
    return 1 if any("error" in told for told in found.values()) else 0


async def _looked(factory: Factory, asked: tuple[str, ...], folder: Path) -> dict[str, Any]:
    from controller.nodes import status

    async def one(name: str) -> dict[str, Any]:
        try:
            async with reached(factory, name, folder) as node:
                return await status.look(factory, node)
        except NodeError as failed:
            return {"error": str(failed)}

    async with asyncio.TaskGroup() as tasks:
        looks = {name: tasks.create_task(one(name)) for name in asked}
    return {name: look.result() for name, look in looks.items()}


def _log(options: argparse.Namespace) -> int:
    factory = read(options.factory)
    try:
        ours(factory, options.node, "log")
        asyncio.run(_followed(factory, options.node, _state(options, factory), options.follow))
    except NodeError as failed:
        return _told(failed)
    return 0


async def _followed(factory: Factory, name: str, folder: Path, follow: bool) -> None:
    from controller.nodes.status import Log

    async with reached(factory, name, folder) as node:
        log = Log(node)
        while True:
            print(await log.more(), end="", flush=True)
            if not follow:
                return
            await node.clock.until(Ns(node.clock.now() + POLL))


# ---- changing


async def _with(factory: Factory, name: str, folder: Path, work: Callable[[Reached], Awaitable[None]]) -> None:
    async with reached(factory, name, folder) as node:
        await work(node)


def _update(options: argparse.Namespace) -> int:
    from controller.nodes import sign, update

    factory = read(options.factory)
    folder = _state(options, factory)

    async def work(node: Reached) -> None:
        await update.update(factory, node, folder, image, print)

    try:
        ours(factory, options.node, "update")
        image = _image(options, factory, folder)
        asyncio.run(_with(factory, options.node, folder, work))
    except (NodeError, sign.SignError) as failed:
        return _told(failed)
    return 0


def _image(options: argparse.Namespace, factory: Factory, folder: Path) -> Any:
    """The application for a node, signed.

    Raises:
        NodeError: it cannot be made; SignError: the key cannot be used.
    """
    from controller.nodes import image, sign, update
    from controller.nodes.stock import ImageError

    board = "any" if options.source else _architecture(factory.nodes[options.node])
    key = sign.load_key(options.key or folder / KEY)
    try:
        files = image.sources() if options.source else image.application(board)
    except ImageError as unusable:
        raise NodeError(str(unusable)) from unusable
    release = image.release()
    secure = sign.SECURE if options.secure_version is None else options.secure_version
    return update.Image(release, sign.packed(sign.manifest(files, release, secure, board), key), files)


def _architecture(node: Node) -> str:
    from controller.nodes.chips import CHIPS

    return "x64" if node.virtual else CHIPS[node.chip].architecture


def _configure(options: argparse.Namespace) -> int:
    from controller.nodes import update
    from twin.export import map_hash, node_json

    factory = read(options.factory)
    folder = _state(options, factory)

    async def work(node: Reached) -> None:
        text = node_json(factory, factory.nodes[options.node])
        await update.configure(factory, node, folder, text, map_hash(factory, options.node), print)

    try:
        ours(factory, options.node, "configure")
        asyncio.run(_with(factory, options.node, folder, work))
    except NodeError as failed:
        return _told(failed)
    return 0


def _keys(options: argparse.Namespace) -> int:
    from controller.nodes import sign

    path: Path = options.key or options.state / KEY
    try:
        if options.public:
            print(sign.public_line(sign.load_key(path)), end="")
        else:
            sign.make_key(path)
            print(f"{path}: a new key; who has it can change what your machines do: keep a copy of it where nobody else gets at it")
    except sign.SignError as failed:
        return _told(failed)
    return 0
