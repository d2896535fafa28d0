"""The standard address space and the companion specifications that machines are shown in, from the Foundation's XML.

Building them takes seconds, so the result is kept in a cache that only its owner can have written.
"""

import hashlib
import os
import pickle
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

from asyncua.server.server import Server

SPECIFICATIONS = ("Di", "IA", "Machinery")
STANDARD = "http://opcfoundation.org/UA/"
DI, MACHINERY = "http://opcfoundation.org/UA/DI/", "http://opcfoundation.org/UA/Machinery/"
FORMAT = 1


class NodesetError(RuntimeError):
    """The nodesets cannot be had, and what to do about it."""


def cache_folder() -> Path:
    """Where what can be made again is kept: $XDG_CACHE_HOME/lockstep or ~/.cache/lockstep."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lockstep"


def folders() -> tuple[Path, ...]:
    """Where nodesets are looked for, in this order; `LOCKSTEP_NODESETS` alone where it is set."""
    if named := os.environ.get("LOCKSTEP_NODESETS"):
        return (Path(named),)
    project = Path(__file__).resolve().parents[2]
    return (project / "tests/node_modules/node-opcua-nodesets/nodesets", cache_folder() / "nodesets")


def files(among: Iterable[Path] | None = None) -> tuple[Path, ...]:
    """The XML files of our specifications, in the order in which they build on each other.

    Raises:
        NodesetError: no folder has them all.
    """
    looked = tuple(folders() if among is None else among)
    for folder in looked:
        found = tuple(folder / f"Opc.Ua.{name}.NodeSet2.xml" for name in SPECIFICATIONS)
        if all(file.is_file() for file in found):
            return found
    where = " and ".join(str(folder) for folder in looked)
    raise NodesetError(f"the OPC UA nodesets are missing: run `make setup` (looked in {where})")


async def load(server: Server, namespaces: tuple[str, str]) -> None:
    """Fill a new server's address space: the standard, the specifications, and our two namespaces at index 1 and 2.

    Raises:
        NodesetError: they are missing, or one does not load completely.
    """
    sources = files()
    cache = cache_folder() / f"space-{_fingerprint(sources)}.pickle"
    space = server.iserver.aspace
    if _written_by_us(cache):
        space.load(cache)
    else:
        await _build(server, sources)
        _keep(space._nodes, cache)
    theirs = (await server.get_namespace_array())[3:]
    await server.iserver.setup_nodes()  # among others it forgets all namespaces
    await server.nodes.namespace_array.write_value([STANDARD, *namespaces, *theirs])


async def _build(server: Server, sources: Iterable[Path]) -> None:
    await server.iserver.load_standard_address_space()
    await server.iserver._address_space_fixes()
    await server.nodes.namespace_array.write_value([STANDARD, "urn:application", "urn:ours"])
    for source in sources:
        root = _without_drafts(ElementTree.parse(source).getroot())
        wanted = {node.get("NodeId") for node in root if "NodeId" in node.attrib}
        made = await server.import_xml(xmlstring=ElementTree.tostring(root, encoding="unicode"), auto_load_definitions=False)
        if len(made) != len(wanted):
            raise NodesetError(f"{source}: {len(made)} of {len(wanted)} nodes were loaded")


def _without_drafts(root: ElementTree.Element) -> ElementTree.Element:
    """Without the nodes that are there for design tools only; they have no parent, and no server shows them."""
    for node in [node for node in root if node.get("DesignToolOnly") == "true"]:
        root.remove(node)
    return root


def _fingerprint(sources: Iterable[Path]) -> str:
    """Of all that the result depends on."""
    of = hashlib.sha256(f"{FORMAT} {version('asyncua')} {sys.version_info[:2]}".encode())
    for source in sources:
        of.update(source.read_bytes())
    return of.hexdigest()[:16]


def _written_by_us(cache: Path) -> bool:
    """Whether it is there and nobody else could have written it: a pickle is as good as code."""
    try:
        abouts = (cache.stat(), cache.parent.stat())
    except FileNotFoundError:
        return False
    return all(about.st_uid == os.geteuid() and not about.st_mode & 0o022 for about in abouts)


def _keep(nodes: object, cache: Path) -> None:
    cache.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, beside = tempfile.mkstemp(dir=cache.parent, prefix=".space-")
    with os.fdopen(handle, "wb") as file:
        pickle.dump(nodes, file, pickle.HIGHEST_PROTOCOL)
    os.replace(beside, cache)
    for older in cache.parent.glob("space-*.pickle"):
        if older != cache:
            older.unlink(missing_ok=True)
