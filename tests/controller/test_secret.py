"""The password of a node's Wi-Fi: where it comes from, and that a bad one is refused without being shown."""

from pathlib import Path

import pytest

from controller.nodes.secret import NAMED_BY, SecretError, wifi_key
from twin.factory import Node
from twin.network import Network


def node(file: Path | None) -> Node:
    return Node("n", 1, "127.0.0.1", 502, False, network=Network("wifi", "hall", file))


def written(path: Path, text: str) -> None:
    path.write_bytes(text.encode())
    path.chmod(0o600)


def test_it_is_read_from_its_file_else_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path / "wifi.txt", "from a file\n")
    monkeypatch.setenv(NAMED_BY, "from outside")
    assert wifi_key(node(tmp_path / "wifi.txt")) == "from a file"
    assert wifi_key(node(None)) == "from outside"
    assert wifi_key(Node("n", 1, "127.0.0.1", 502, False)) is None


@pytest.mark.parametrize("password", ["short-1", "x" * 64, "two\nlines-of-it", "a\ttab in it", "a\rreturn in it", ""])
def test_one_that_no_wi_fi_takes_is_refused_and_not_shown(tmp_path: Path, password: str) -> None:
    written(tmp_path / "wifi.txt", password)
    with pytest.raises(SecretError) as refused:
        wifi_key(node(tmp_path / "wifi.txt"))
    assert not password or password not in str(refused.value)


def test_one_that_is_nowhere_is_missed_with_the_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(NAMED_BY, raising=False)
    with pytest.raises(SecretError, match=NAMED_BY):
        wifi_key(node(None))
    with pytest.raises(SecretError, match="cannot be read"):
        wifi_key(node(tmp_path / "none.txt"))


def test_a_file_of_another_system_gives_the_password_alone(tmp_path: Path) -> None:
    written(tmp_path / "wifi.txt", "from a file\r\n")
    assert wifi_key(node(tmp_path / "wifi.txt")) == "from a file"


def test_a_file_that_others_can_read_is_not_used(tmp_path: Path) -> None:
    written(tmp_path / "wifi.txt", "from a file")
    (tmp_path / "wifi.txt").chmod(0o644)
    with pytest.raises(SecretError, match="others may read it; chmod 600"):
        wifi_key(node(tmp_path / "wifi.txt"))


def test_no_byte_of_one_that_is_no_text_is_shown(tmp_path: Path) -> None:
    written(tmp_path / "wifi.txt", "")
    (tmp_path / "wifi.txt").write_bytes(b"hush hush \xe9\xe9")
    with pytest.raises(SecretError, match="not UTF-8") as refused:
        wifi_key(node(tmp_path / "wifi.txt"))
    assert "xe9" not in str(refused.value) and refused.value.__cause__ is None
