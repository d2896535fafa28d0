"""`lockstep node flash`: a node's image is made, written to a board in one go, and the node asked who it is.

Not measured on silicon: there was no board where this was written.
"""

import argparse
import asyncio
import contextlib
import hashlib
import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from controller.modbus.pdu import ReadIdentity, Words, identity_of
from controller.nodes import board, image, stock
from controller.nodes.reach import STATUS, NodeError, ours, reached
from controller.nodes.secret import WIFI_KEY, SecretError, wifi_key
from controller.nodes.sign import KEY, SECURE, SignError, load_key, manifest, packed, public_keys, public_line
from controller.nodes.stock import ImageError, Stock
from controller.nodes.wiring import minded
from twin.clock import Ns, S
from twin.export import map_hash, node_json
from twin.factory import Factory, Node, read
from twin.node import MAGIC, NodeStatus
from twin.wire import decode

PATIENCE = Ns(60 * S)
"""ns that a node has to join its network and answer."""
SLOT, OTHER_SLOT = "a", "b"


class FlashError(Exception):
    """A node that cannot be flashed; one line says why."""


@dataclass(frozen=True, slots=True)
class Made:
    """A node's image, and what is to be said of it.

    Attributes:
        files: on its file system, by path.
        data: the whole, its first byte at the chip's offset.
        secret: a password is in it.
    """

    node: Node
    stock: Stock
    files: dict[str, bytes]
    data: bytes
    secret: bool


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Give `lockstep node` its command `flash`."""
    flash = commands.add_parser("flash", help="make a node's image and write it to a board, or to a file")
    flash.add_argument("--node", required=True, metavar="NAME", help="which node of the factory")
    flash.add_argument("--factory", type=Path, default=Path("factory.toml"), metavar="FILE", help="whose node (factory.toml)")
    flash.add_argument("--port", default="auto", help="serial port of the board (the one that is plugged in)")
    flash.add_argument("--image", type=Path, metavar="FILE", help="MicroPython for the board (1.25.0 for ESP32_GENERIC)")
    flash.add_argument("--baud", type=int, default=board.BAUD, metavar="N", help=f"while writing ({board.BAUD})")
    flash.add_argument("--key", type=Path, metavar="FILE", help=f"signs the application (STATE/{KEY}, where there is one)")
    flash.add_argument("--trust", type=Path, metavar="FILE", action="append", default=[], help="public keys to be believed, too")
    flash.add_argument("--state", type=Path, metavar="DIR", help="where state is kept (.lockstep/NAME)")
    flash.add_argument("--erase", action="store_true", help="erase the whole flash first")
    flash.add_argument("--output", type=Path, metavar="FILE", help="write the image to a file and to no board")
    flash.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
    flash.set_defaults(do=_flash)


def _flash(options: argparse.Namespace) -> int:
    try:
        _do(options)
    except (FlashError, ImageError, SecretError, SignError, board.BoardError) as failed:
        print(f"lockstep: {failed}", file=sys.stderr)
        return 1
    return 0


def _do(options: argparse.Namespace) -> None:
    factory = read(options.factory)
    node = _node(factory, options.node)
    if node.virtual and not (options.output or options.dry_run):
        raise FlashError(f"{node.name} is virtual: it runs in a VM, not on a board; --output FILE writes its image all the same")
    state: Path = (options.state or Path(".lockstep") / factory.name).resolve()
    key: Path | None = options.key or (state / KEY if (state / KEY).exists() else None)
    if options.trust and key is None:
        raise FlashError("--trust goes with a key that signs: `lockstep node keys` makes one")
    made = make(factory, node, stock.read(options.image), key, options.trust)
    for line in described(made, options.dry_run):
        print(line)
    for line in minded(factory, node):
        print(line)
    if key is None:
        print(f"unsigned, so {node.name} will take no updates: `lockstep node keys --state {state}` makes a key")
    if options.dry_run:
        print(_would(made, options))
    elif options.output:
        _keep(made, options.output)
        print(f"written to {options.output}; to a board: {_by_hand(made, str(options.output))}")
    else:
        _to_board(factory, made, options, state)


def _node(factory: Factory, name: str) -> Node:
    try:
        return ours(factory, name, "flash")
    except NodeError as strange:
        raise FlashError(str(strange)) from None


def make(factory: Factory, node: Node, of: Stock, key: Path | None, trust: Sequence[Path] = ()) -> Made:
    """The image of a node.

    Args:
        key: signs it; None for a node that takes no updates.
        trust: files of public keys that the node is to believe beside.

    Raises:
        FlashError: MicroPython's image is for another chip than the node's.
        SignError, SecretError: the key cannot be used, or the password of its Wi-Fi is not to be had.
        ImageError: it cannot be made.
    """
    if of.chip.name != node.chip:
        raise FlashError(
            f"{of.name} is for an {of.chip.name}, and nodes.{node.name}.chip is {node.chip}: give one for it with --image"
        )
    architecture = of.chip.architecture
    files = image.starters(architecture) | _signed(image.application(architecture), architecture, key, trust)
    files["node.json"] = node_json(factory, node).encode()
    password = wifi_key(node)
    if password is not None:
        files[WIFI_KEY] = f"{password}\n".encode()
    disk = image.file_system(files, of.files.size, (SLOT, OTHER_SLOT) if key else ())
    return Made(node, of, files, image.merged(of, disk), password is not None)


def described(made: Made, whole: bool) -> list[str]:
    """What the image is made of: places, sizes in bytes, hashes; the `whole` of it with each file.

    No hash covers a password: whoever has it could try passwords until they fit.
    """
    of, node = made.stock, made.node
    start, place = of.chip.offset, of.files.offset
    lines = [
        f"{node.name}: uid {node.uid}, {of.chip.title}, MicroPython {of.version}",
        _row(start, len(of.data), of.name, of.data),
        _row(place, of.files.size, f"file system, {len(made.files)} files", None),
    ]
    for path, data in sorted(made.files.items()) if whole else ():
        hidden = made.secret and path == WIFI_KEY
        lines.append(_row(None, len(data), f"  {path}", None if hidden else data))
    lines.append(_row(start, len(made.data), "the whole", None if made.secret else made.data))
    return lines


def _row(offset: int | None, size: int, what: str, data: bytes | None) -> str:
    place = f"{offset:#010x}" if offset is not None else ""
    digest = f"sha256 {hashlib.sha256(data).hexdigest()}" if data is not None else ""
    return f"{place:10} {size:>9}  {what:40} {digest}".rstrip()


def _would(made: Made, options: argparse.Namespace) -> str:
    if options.output:
        return f"would write {options.output}"
    argv = board.command(made.stock.chip, options.port, "IMAGE", options.baud, options.erase)
    return f"would run: {' '.join(argv[2:])}\nwould then wait for {made.node.name} at {_address(made.node)}"


def _by_hand(made: Made, path: str) -> str:
    chip = made.stock.chip
    return f"esptool --chip {chip.name} write-flash {chip.offset:#x} {path}"


def _keep(made: Made, path: Path) -> None:
    """Write the image to a file that only we may read if there is a password in it; the old one stays if that fails."""
    new = path.with_name(path.name + ".new")
    try:
        new.unlink(missing_ok=True)
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if made.secret else 0o666), "wb") as file:
            file.write(made.data)
        new.replace(path)
    except OSError as failed:
        with contextlib.suppress(OSError):
            new.unlink()
        raise FlashError(f"--output {path}: {failed.strerror}") from None


def _to_board(factory: Factory, made: Made, options: argparse.Namespace, state: Path) -> None:
    port = board.find() if options.port == "auto" else options.port
    with _ended_in_order(), tempfile.TemporaryDirectory() as private:
        path = Path(private) / "image.bin"
        path.write_bytes(made.data)
        board.write(board.command(made.stock.chip, port, str(path), options.baud, options.erase), port)
    print(f"written to {port} and read back; waiting for {made.node.name} at {_address(made.node)}", flush=True)
    print(asyncio.run(_answer(factory, made.node, state)))


@contextlib.contextmanager
def _ended_in_order() -> Iterator[None]:
    """SIGTERM leaves no image behind: there may be a password in it."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _address(node: Node) -> str:
    if node.serial is not None:
        return f"{node.serial.port}, unit {node.serial.unit}"
    return f"{node.host}:{node.port}"


async def _answer(factory: Factory, node: Node, state: Path) -> str:
    """Who answers at the node's address, once it is the node that was flashed.

    Raises:
        FlashError: nobody does in time, or somebody else.
    """
    async with reached(factory, node.name, state) as one:
        try:
            identity, status = await one.ask(ReadIdentity(), STATUS, patience=PATIENCE)
        except NodeError as silent:
            cause = str(silent).replace(f"{node.name}: ", "")
            raise FlashError(
                f"{node.name} is flashed, but does not answer at {_address(node)} within {PATIENCE // S} s ({cause}): "
                "its console says why, 115200 baud at the port that it was flashed through"
            ) from None
    return _known(node, map_hash(factory, node.name), identity, status)


def _known(node: Node, expected: int, identity: Words, status: Words) -> str:
    """What a node that answers says of itself, if it is the one.

    Raises:
        FlashError: it is another.
    """
    told = decode(NodeStatus, status)
    who = " ".join(text for _, text in sorted(identity_of(identity).items()))
    if told.magic != MAGIC:
        raise FlashError(f"{_address(node)} answers, but is no node of ours: {who}")
    if told.uid != node.uid:
        raise FlashError(f"{_address(node)} answers, but as uid {told.uid}, not {node.uid}: another node has this address")
    if told.map_hash != expected:
        raise FlashError(f"{_address(node)} answers, but with another configuration: is an older board of this uid still there?")
    return f"{node.name} answers at {_address(node)}: {who}"


def trusted(key: RSAPrivateKey, others: Sequence[Path]) -> str:
    """The text of a node's `update.keys`: the key that signs, and those of files of public ones, each once.

    Raises:
        SignError: a file cannot be read, or holds something else.
    """
    lines = [public_line(key)]
    for path in others:
        lines += public_keys(path)
    return "".join(dict.fromkeys(lines))


def _signed(firmware: dict[str, bytes], architecture: str, key: Path | None, trust: Sequence[Path]) -> dict[str, bytes]:
    """The firmware as slot a with its manifest; without a key beside main.py, for a node that takes no updates."""
    if key is None:
        return firmware
    private = load_key(key)
    text = manifest(firmware, image.release(), SECURE, architecture)
    slot = {**firmware, "manifest": packed(text, private)}
    return {"update.keys": trusted(private, trust).encode(), **{f"{SLOT}/{path}": data for path, data in slot.items()}}
