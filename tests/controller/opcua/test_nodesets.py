"""Where the specifications come from, and whose cache is believed."""

import asyncio
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from asyncua import Server

from controller.opcua import nodesets


def test_nodesets_are_looked_for_where_setup_puts_them_or_where_one_is_told_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LOCKSTEP_NODESETS", raising=False)
    assert [file.name for file in nodesets.files()] == [
        "Opc.Ua.Di.NodeSet2.xml",
        "Opc.Ua.IA.NodeSet2.xml",
        "Opc.Ua.Machinery.NodeSet2.xml",
    ]
    monkeypatch.setenv("LOCKSTEP_NODESETS", str(tmp_path))
    with pytest.raises(nodesets.NodesetError, match="make setup"):
        nodesets.files()


@pytest.mark.parametrize(("of_file", "of_folder", "believed"), [(0o600, 0o700, True), (0o620, 0o700, False), (0o600, 0o777, False)])
def test_a_cache_that_others_could_have_written_is_not_believed(
    tmp_path: Path, of_file: int, of_folder: int, believed: bool
) -> None:
    folder = tmp_path / "cache"
    folder.mkdir()
    cache = folder / "space.pickle"
    assert not nodesets._written_by_us(cache)
    cache.write_bytes(b"")
    cache.chmod(of_file)
    folder.chmod(of_folder)
    assert nodesets._written_by_us(cache) is believed


def test_every_node_of_the_specifications_is_there() -> None:
    async def load() -> tuple[list[str], set[str]]:
        server = Server()
        await nodesets.load(server, ("urn:application", "urn:ours"))
        return await server.get_namespace_array(), {node.to_string() for node in server.iserver.aspace.keys()}  # noqa: SIM118

    namespaces, nodes = asyncio.run(load())
    assert namespaces[:3] == [nodesets.STANDARD, "urn:application", "urn:ours"]
    for file in nodesets.files():
        root = ElementTree.parse(file).getroot()
        own = next(uri.text for uri in root.iter() if uri.tag.endswith("}Uri"))
        index = namespaces.index(str(own))
        wanted = [
            node.get("NodeId", "").replace("ns=1;", f"ns={index};")
            for node in root
            if "NodeId" in node.attrib and node.get("DesignToolOnly") != "true"
        ]
        assert wanted and [node for node in wanted if node not in nodes] == []
