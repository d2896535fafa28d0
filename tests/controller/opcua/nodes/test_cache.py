"""The cache: what comes out is what went in, and nothing else is believed."""

import os
import sys
from pathlib import Path

import msgspec
import pytest

from controller import prepare as set_up
from controller.opcua import nodes as address_space
from controller.opcua.nodes import cache, sources
from controller.opcua.nodes.store import Nodes
from tests.controller.opcua.nodes.files import NAMESPACES, every


@pytest.fixture(scope="module")
def whole() -> Nodes:
    """All files, as they were loaded."""
    return every().nodes


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of one's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made = tmp_path / "lockstep"
    made.mkdir(mode=0o700)
    return made


def test_nodes_come_out_of_the_cache_as_they_went_in(whole: Nodes) -> None:
    kept = cache.unpack(msgspec.msgpack.decode(msgspec.msgpack.encode(cache.pack(whole)), type=cache.Compiled))
    for column in (
        "keys",
        "classes",
        "browse_names",
        "display_names",
        "descriptions",
        "attributes",
        "kinds",
        "rules",
        "other_texts",
    ):
        assert getattr(kept, column) == getattr(whole, column), column
    assert kept.namespaces == whole.namespaces
    assert all(kept.find(key) == number for number, key in enumerate(whole.keys))
    assert all(list(kept.packed(n)) == list(whole.packed(n)) for n in range(len(whole)))


def small(folder: Path, text: str = "") -> tuple[Path]:
    """The smallest standard there is."""
    file = folder / "small.xml"
    names = {29: "Enumeration", 33: "Hierarchical", 40: "HasTypeDefinition", 45: "HasSubtype", 38: "HasEncoding", 85: "Objects"}
    written = "".join(f'<UAReferenceType NodeId="i={n}" BrowseName="{name}"/>' for n, name in names.items())
    file.write_text(f'<UANodeSet xmlns="http://opcfoundation.org/UA/2011/03/UANodeSet.xsd">{written}{text}</UANodeSet>')
    return (file,)


@pytest.fixture
def unpruned(monkeypatch: pytest.MonkeyPatch) -> None:
    """The smallest standard has nothing to take away."""
    monkeypatch.setattr(cache, "prune", lambda nodes: None)


@pytest.mark.usefixtures("unpruned")
def test_the_second_start_reads_no_xml_and_has_its_own_namespaces(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = small(folder)
    first = address_space.load(("urn:a", "urn:b"), files)
    monkeypatch.setattr(cache, "load", None)
    again = address_space.load(("urn:c", "urn:d"), files)
    assert again.keys == first.keys and first.namespaces[1:] == ["urn:a", "urn:b"] and again.namespaces[1:] == ["urn:c", "urn:d"]


@pytest.mark.usefixtures("unpruned")
def test_another_file_makes_another_cache_and_the_oldest_ones_go(folder: Path) -> None:
    made = []
    for more in range(cache.MOST_KEPT + 2):
        nodes = address_space.load(NAMESPACES, small(folder, f'<UAObject NodeId="i=9{more}" BrowseName="more"/>'))
        made += [file for file in folder.glob("nodes-*.msgpack") if file not in made]
        assert nodes.standard(90 + more) and len(made) == more + 1
    assert sorted(folder.glob("nodes-*.msgpack")) == sorted(made[-cache.MOST_KEPT :]) and not list(folder.glob(".nodes-*"))


@pytest.mark.usefixtures("unpruned")
@pytest.mark.parametrize("broken", [b"", b"\x91", b"\xc1", b"\x9e" * 20])
def test_a_cache_that_is_cut_off_or_nonsense_is_made_again(folder: Path, broken: bytes) -> None:
    files = small(folder)
    address_space.load(NAMESPACES, files)
    (kept,) = folder.glob("nodes-*.msgpack")
    whole = kept.read_bytes()
    kept.write_bytes(broken or whole[: len(whole) // 2])
    assert address_space.load(NAMESPACES, files).standard(85)
    assert kept.read_bytes() == whole


@pytest.mark.usefixtures("unpruned")
@pytest.mark.parametrize(("of_folder", "of_file", "believed"), [(0o700, 0o600, True), (0o770, 0o600, False), (0o700, 0o620, False)])
def test_a_cache_that_others_could_have_written_is_not_believed(folder: Path, of_folder: int, of_file: int, believed: bool) -> None:
    address_space.load(NAMESPACES, small(folder))
    (kept,) = folder.glob("nodes-*.msgpack")
    os.chmod(folder, of_folder)
    kept.chmod(of_file)
    assert cache.written_by_us(kept) is believed


@pytest.mark.usefixtures("unpruned")
def test_where_nothing_can_be_kept_the_nodes_are_there_all_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = small(folder.parent)
    folder.rmdir()
    folder.write_text("a file where the folder would be")
    assert address_space.load(NAMESPACES, files).standard(85)


def test_files_that_are_missing_are_told_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCKSTEP_NODESETS", str(tmp_path))
    with pytest.raises(sources.NodesetError, match=r"run `make setup` \(looked in " + str(tmp_path)):
        address_space.load(NAMESPACES)
    monkeypatch.delenv("LOCKSTEP_NODESETS")
    assert [file.name for file in sources.files()] == [
        "Opc.Ua.NodeSet2.xml",
        "Opc.Ua.Di.NodeSet2.xml",
        "Opc.Ua.IA.NodeSet2.xml",
        "Opc.Ua.Machinery.NodeSet2.xml",
    ]


@pytest.mark.usefixtures("unpruned")
def test_setting_up_makes_the_cache_so_that_no_start_waits_for_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = small(folder)
    for name in ("prepare", "prepare_twins"):
        monkeypatch.setattr(set_up, name, lambda *_: None)
    monkeypatch.setattr(cache, "files", lambda: files)
    monkeypatch.setattr(sys, "argv", ["prepare"])
    assert set_up.main() == 0 and len(list(folder.glob("nodes-*.msgpack"))) == 1
