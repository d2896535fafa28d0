"""Apt's two source formats are read as apt reads them, and what is fetched comes from the system's own archive."""

import shutil
from pathlib import Path

import pytest

from hil import debian

DEB822 = """\
# the distribution
Types: deb deb-src
URIs: http://mirror.example.org/debian
Suites: bookworm bookworm-updates
# a comment inside a stanza
Components: main contrib
Signed-By: /usr/share/keyrings/archive.gpg

Types: deb
URIs: http://mirror.example.org/security
Suites: bookworm-security
Components: main

Types: deb-src
URIs: http://mirror.example.org/debian
Suites: bookworm
Components: main

Enabled: no
Types: deb
URIs: http://off.example.org/debian
Suites: bookworm
Components: main
"""

EMBEDDED = """\
types: deb
uris: https://one.example.org/debian https://two.example.org/debian
suites: bookworm
components: main
signed-by:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mQINBFit
 -----END PGP PUBLIC KEY BLOCK-----
"""

ONE_LINE = """\
# deb http://commented.example.org/debian bookworm main
deb http://mirror.example.org/debian bookworm main contrib # the distribution
deb-src http://mirror.example.org/debian bookworm main
deb [arch=amd64 signed-by=/usr/share/keyrings/a.gpg] http://other.example.org/debian bookworm-backports main

deb [ signed-by=/k/a.gpg,/k/b.gpg ] http://flat.example.org/repo ./
"""


def test_deb822_sources_keep_mirror_suites_components_and_keyring() -> None:
    first, security = debian.read_deb822(DEB822)
    assert first == debian.Source(
        uris=("http://mirror.example.org/debian",),
        suites=("bookworm", "bookworm-updates"),
        components=("main", "contrib"),
        signed_by="/usr/share/keyrings/archive.gpg",
    )
    assert security.suites == ("bookworm-security",)
    assert security.signed_by == ""


def test_a_keyring_inside_a_deb822_stanza_survives_being_written_again() -> None:
    (source,) = debian.read_deb822(EMBEDDED)
    (again,) = debian.read_deb822(source.stanza("trixie", "main"))
    assert again.signed_by == source.signed_by
    assert again.signed_by.splitlines()[1:] == EMBEDDED.splitlines()[5:]
    assert (again.uris, again.suites) == (source.uris, ("trixie",))


def test_one_line_sources_keep_mirror_suite_components_and_keyring() -> None:
    plain, backports, flat = debian.read_one_line(ONE_LINE)
    assert plain == debian.Source(("http://mirror.example.org/debian",), ("bookworm",), ("main", "contrib"))
    assert backports.signed_by == "/usr/share/keyrings/a.gpg"
    assert backports.suites == ("bookworm-backports",)
    assert (flat.signed_by, flat.components) == ("/k/a.gpg /k/b.gpg", ())


def test_both_formats_of_one_archive_read_the_same() -> None:
    line = "deb [signed-by=/k/a.gpg] http://mirror.example.org/debian bookworm main\n"
    (source,) = debian.read_one_line(line)
    assert debian.read_deb822(source.stanza("bookworm", "main")) == (source,)


def test_every_file_of_apt_is_read_and_only_the_own_archive_is_chosen(tmp_path: Path) -> None:
    folder = tmp_path / "sources.list.d"
    folder.mkdir()
    (tmp_path / "sources.list").write_text(ONE_LINE)
    (folder / "debian.sources").write_text(DEB822)
    (folder / "tool.list").write_text("deb https://tool.example.org/apt tool-bookworm main\n")
    (folder / "old.list.save").write_text("deb http://saved.example.org/debian bookworm main\n")
    known = debian.sources(tmp_path)
    assert len(known) == 6
    assert [source.uris for source in debian.archives(known, "bookworm")] == [("http://mirror.example.org/debian",)] * 2


def test_a_system_without_sources_has_no_archive(tmp_path: Path) -> None:
    assert debian.sources(tmp_path / "nowhere") == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('ID=debian\nVERSION_CODENAME=bookworm\n', ("bookworm", "trixie", "main")),
        ('ID=ubuntu\nID_LIKE=debian\nUBUNTU_CODENAME="noble"\n', ("noble", "resolute", "main universe")),
        ('ID=linuxmint\nID_LIKE="ubuntu debian"\nVERSION_CODENAME=wilma\nUBUNTU_CODENAME=noble\n',
         ("noble", "resolute", "main universe")),
    ],
)  # fmt: skip
def test_the_release_to_take_from_follows_the_family_of_the_system(text: str, expected: tuple[str, str, str]) -> None:
    assert debian.release(text) == expected


def test_a_system_of_another_family_is_named() -> None:
    with pytest.raises(debian.PackageError, match=r"^fedora is neither Debian nor Ubuntu$"):
        debian.release("ID=fedora\nVERSION_ID=42\n")


@pytest.mark.skipif(shutil.which("apt-get") is None, reason="not a system of apt's")
def test_without_an_archive_among_the_sources_nothing_is_fetched(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(debian, "sources", lambda: ())
    with pytest.raises(debian.PackageError, match=r"^no source of apt's serves \w+ main"):
        debian.unpack("micropython")
    assert not (tmp_path / "cache").exists()


def test_a_program_that_was_never_unpacked_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(debian.PackageError, match=r"^mbpoll is not unpacked in "):
        debian.command("mbpoll")


def test_the_tree_of_whoever_was_first_stays(tmp_path: Path) -> None:
    fresh, tree = tmp_path / "fresh", tmp_path / "tree"
    for folder in (fresh, tree):
        folder.mkdir()
        (folder / "whose").write_text(folder.name)
    debian._put(fresh, tree)
    assert (tree / "whose").read_text() == "tree"
