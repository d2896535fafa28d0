"""Compiled nodes, kept between starts in a file that only its owner can have written.

Nothing in it is code, it is columns: byte strings that many nodes share lie in it once, and references are one array.
"""

import hashlib
import itertools
import os
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from controller.opcua.nodes.nodeset import DESIGN_ONLY, Loaded, load
from controller.opcua.nodes.served import prune
from controller.opcua.nodes.sources import NodesetError, cache_folder, files
from controller.opcua.nodes.store import Nodes
from controller.opcua.roles import Rule

PREFIX: Final = "nodes-"
MOST_KEPT: Final = 3
"""Caches of one user: several versions may run beside each other."""


class Compiled(msgspec.Struct, array_like=True):
    """The nodes of some files.

    Attributes:
        pool: byte strings; the columns of texts are (n,) uint32 into it.
        sets: attributes, each once; `of_sets` is (n,) uint32 into them.
        kinds: (n,) int32.
        packed: (r,) int64, all references; `starts` is (n + 1,) uint32.
    """

    namespaces: list[str]
    keys: list[bytes]
    classes: bytes
    rules: bytes
    kinds: bytes
    pool: list[bytes]
    browse_names: bytes
    display_names: bytes
    descriptions: bytes
    sets: list[dict[int, bytes]]
    of_sets: bytes
    packed: bytes
    starts: bytes
    other_texts: dict[int, dict[str, bytes]]


def ready(namespaces: tuple[str, str], sources: Iterable[Path] | None = None) -> Nodes:
    """The nodes of the standard and of our specifications, from the cache where it holds them; else the cache is made.

    Args:
        namespaces: URIs of this application and of our own nodes, at index 1 and 2.

    Raises:
        NodesetError: the files are missing, or one does not load completely.
    """
    found = files() if sources is None else tuple(sources)
    cache = cache_folder() / f"{PREFIX}{fingerprint(found)}.msgpack"
    compiled = _kept(cache)
    if compiled is None:
        compiled = compile_files(found)
        keep(compiled, cache)
    nodes = unpack(compiled)
    nodes.namespaces[1:3] = namespaces
    return nodes


def compile_files(sources: Iterable[Path]) -> Compiled:
    """The nodes of some files that are served.

    Raises:
        NodesetError: one does not load completely.
    """
    nodes = complete(load(sources, ("urn:application", "urn:ours")))
    prune(nodes)
    return pack(nodes)


def complete(loaded: Loaded) -> Nodes:
    """The nodes that were loaded, when nothing is lost.

    Raises:
        NodesetError: something is.
    """
    lost = [each for each in (*loaded.left_out, *loaded.unresolved) if each.reason != DESIGN_ONLY]
    if lost:
        first = lost[0]
        raise NodesetError(f"{first.file}: {first.node} {first.name}: {first.reason} ({len(lost)} such)")
    return loaded.nodes


def pack(nodes: Nodes) -> Compiled:
    """Nodes as they are kept."""
    pool: dict[bytes, int] = {}
    sets: dict[tuple[tuple[int, bytes], ...], int] = {}
    browse, display, described = (
        np.array([pool.setdefault(each, len(pool)) for each in column], "<u4").tobytes()
        for column in (nodes.browse_names, nodes.display_names, nodes.descriptions)
    )
    of_sets = [sets.setdefault(tuple(each.items()), len(sets)) for each in nodes.attributes]
    references = [nodes.packed(number) for number in range(len(nodes))]
    starts = list(itertools.accumulate(map(len, references), initial=0))
    packed = np.fromiter(itertools.chain.from_iterable(references), "<i8", starts[-1])
    return Compiled(
        list(nodes.namespaces),
        list(nodes.keys),
        bytes(nodes.classes),
        bytes(nodes.rules),
        np.array(nodes.kinds, "<i4").tobytes(),
        list(pool),
        browse,
        display,
        described,
        [dict(each) for each in sets],
        np.array(of_sets, "<u4").tobytes(),
        packed.tobytes(),
        np.array(starts, "<u4").tobytes(),
        nodes.other_texts,
    )


def unpack(compiled: Compiled) -> Nodes:
    """Nodes that were kept."""
    pool, sets = compiled.pool, compiled.sets
    columns = (compiled.browse_names, compiled.display_names, compiled.descriptions)
    browse, display, described = ([pool[n] for n in np.frombuffer(column, "<u4").tolist()] for column in columns)
    nodes = Nodes.laid(
        compiled.keys,
        compiled.classes,
        (browse, display, described),
        [sets[n] for n in np.frombuffer(compiled.of_sets, "<u4").tolist()],
        compiled.kinds,
        compiled.rules,
        np.frombuffer(compiled.packed, "<i8").astype(np.int64, copy=False),
        np.frombuffer(compiled.starts, "<u4").tolist(),
    )
    nodes.namespaces = compiled.namespaces
    nodes.other_texts = compiled.other_texts
    return nodes


def fingerprint(sources: Iterable[Path]) -> str:
    """Of all that the result depends on: the files, and what is made of them here.

    Raises:
        NodesetError: a file cannot be read.
    """
    of = hashlib.sha256(f"{sys.byteorder} {list(Rule)}".encode())
    sources = (*sorted(Path(__file__).parent.glob("*.py")), *sources)
    for source in sources:
        try:
            of.update(source.read_bytes())
        except OSError as failed:
            raise NodesetError(f"{source}: {failed.strerror}") from failed
    return of.hexdigest()[:16]


def keep(compiled: Compiled, cache: Path) -> None:
    """Put it beside the latest ones, and take older ones away; where nothing can be written, the next start compiles again."""
    try:
        cache.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, beside = tempfile.mkstemp(dir=cache.parent, prefix=f".{PREFIX}")
        with os.fdopen(handle, "wb") as file:
            file.write(msgspec.msgpack.encode(compiled))
        os.replace(beside, cache)
        kept = sorted(cache.parent.glob(f"{PREFIX}*.msgpack"), key=lambda each: each.stat().st_mtime_ns)
        for older in kept[:-MOST_KEPT]:
            older.unlink(missing_ok=True)
    except OSError:
        return


def _kept(cache: Path) -> Compiled | None:
    """What the cache holds; None where there is none that can be believed and understood."""
    if not written_by_us(cache):
        return None
    try:
        return msgspec.msgpack.decode(cache.read_bytes(), type=Compiled)
    except (OSError, msgspec.DecodeError):
        return None


def written_by_us(cache: Path) -> bool:
    """Whether it is there and nobody else could have written it: its nodes say who may do what."""
    try:
        abouts = (cache.stat(), cache.parent.stat())
    except OSError:
        return False
    return all(about.st_uid == os.geteuid() and not about.st_mode & 0o022 for about in abouts)
