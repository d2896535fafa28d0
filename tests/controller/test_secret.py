"""The password of a node's Wi-Fi: where it comes from, and that a bad one is refused without being shown."""

from pathlib import Path

import pytest

from controller.nodes.secret import NAMED_BY, SecretError, wifi_key
from twin.factory import Node
from twin.network import Network


def node(file: Path | None) -> Node:
    return Node("n", 1, "127.0.0.1", 502, False, network=Network("wifi", "hall", file))


def test_it_is_read_from_its_file_else_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "wifi.txt").write_text("from a file\n")
    monkeypatch.setenv(NAMED_BY, "from outside")
    assert wifi_key(node(tmp_path / "wifi.txt")) == "from a file"
    assert wifi_key(node(None)) == "from outside"
    assert wifi_key(Node("n", 1, "127.0.0.1", 502, False)) is None


@pytest.mark.parametrize("password", ["short-1", "x" * 64, "two\nlines-of-it", ""])
def test_one_that_no_wi_fi_takes_is_refused_and_not_shown(tmp_path: Path, password: str) -> None:
    (tmp_path / "wifi.txt").write_text(password)
    with pytest.raises(SecretError) as refused:
        wifi_key(node(tmp_path / "wifi.txt"))
    assert not password or password not in str(refused.value)


def test_one_that_is_nowhere_is_missed_with_the_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(NAMED_BY, raising=False)
    with pytest.raises(SecretError, match=NAMED_BY):
        wifi_key(node(None))
    with pytest.raises(SecretError, match="cannot be read"):
        wifi_key(node(tmp_path / "none.txt"))
