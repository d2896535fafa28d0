"""Programs from the system's own package archive, unpacked into a private folder beside their own C library.

Nothing is installed, root is not needed, and the system's package state is only read: apt works on folders of our own,
from the mirror and the keyring that the system's own sources name, and checks signatures as always. A program so
unpacked is started through its own loader, so it may come from a newer release than the system's.
"""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

APT_TIMEOUT_S = 600.0
ETC_APT = Path("/etc/apt")
OS_RELEASE = Path("/etc/os-release")

# The release to take programs from, by family: the first that has MicroPython >= 1.25.
RELEASES = {"debian": ("trixie", "main"), "ubuntu": ("resolute", "main universe")}
ROLLING = frozenset({"stable", "testing", "unstable", "sid", "oldstable"})


class PackageError(Exception):
    """A package could not be had; one line says why."""


@dataclass(frozen=True)
class Source:
    """One entry of apt's sources.

    `signed_by` is the text that names the keyring: a path, or a key of several lines, or nothing.
    """

    uris: tuple[str, ...]
    suites: tuple[str, ...]
    components: tuple[str, ...]
    signed_by: str = ""

    def stanza(self, suite: str, components: str) -> str:
        """The same mirror and keyring, for another suite, in apt's deb822 format."""
        lines = ["Types: deb", f"URIs: {' '.join(self.uris)}", f"Suites: {suite}", f"Components: {components}"]
        if self.signed_by:
            lines.append(f"Signed-By: {self.signed_by}")
        return "\n".join(lines) + "\n"


def read_deb822(text: str) -> tuple[Source, ...]:
    """The enabled binary sources of a `.sources` file."""
    found = []
    for fields in _stanzas(text):
        if fields.get("enabled", "yes").lower() in ("no", "false", "off", "0", "disable", "without"):
            continue
        if "deb" in fields.get("types", "").split() and fields.get("uris"):
            uris, suites, components = (tuple(fields.get(key, "").split()) for key in ("uris", "suites", "components"))
            found.append(Source(uris, suites, components, fields.get("signed-by", "")))
    return tuple(found)


def _stanzas(text: str) -> list[dict[str, str]]:
    stanzas: list[dict[str, str]] = [{}]
    key = ""
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        if not line.strip():
            stanzas.append({})
            key = ""
        elif line[0].isspace():
            if key:
                stanzas[-1][key] += "\n" + line.rstrip()
        elif ":" in line:
            name, _, value = line.partition(":")
            key = name.strip().lower()
            stanzas[-1][key] = value.strip()
    return stanzas


def read_one_line(text: str) -> tuple[Source, ...]:
    """The binary sources of a `sources.list` file: `deb [option=value …] uri suite component…`."""
    found = []
    for line in text.splitlines():
        kind, _, rest = line.partition("#")[0].strip().partition(" ")
        if kind != "deb":
            continue
        options = ""
        rest = rest.strip()
        if rest.startswith("["):
            options, _, rest = rest[1:].partition("]")
        named = dict(option.partition("=")[::2] for option in options.split())
        uri, *words = rest.split() or [""]
        if uri and words:
            found.append(Source((uri,), (words[0],), tuple(words[1:]), named.get("signed-by", "").replace(",", " ")))
    return tuple(found)


def sources(etc: Path = ETC_APT) -> tuple[Source, ...]:
    """Every source that apt reads, in apt's order of files."""
    folder = etc / "sources.list.d"
    found: list[Source] = []
    for path in (etc / "sources.list", *sorted(folder.glob("*.list")), *sorted(folder.glob("*.sources"))):
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except (FileNotFoundError, PermissionError):
            continue
        found += read_deb822(text) if path.suffix == ".sources" else read_one_line(text)
    return tuple(found)


def archives(known: tuple[Source, ...], codename: str) -> tuple[Source, ...]:
    """Those of the sources that are the distribution's own archive: its release, component main, no add-on suite."""
    wanted = ROLLING | {codename}
    return tuple(s for s in known if "main" in s.components and not wanted.isdisjoint(s.suites))


def release(os_release: str) -> tuple[str, str, str]:
    """What to take from the archive of the system that `os_release` describes.

    Returns:
        The system's own codename, the suite to take programs from, and its components.
    Raises:
        PackageError: the system is of neither family.
    """
    fields = dict(shlex.split(line)[0].partition("=")[::2] for line in os_release.splitlines() if "=" in line)
    families = [fields.get("ID", ""), *fields.get("ID_LIKE", "").split()]
    family = next((name for name in families if name in RELEASES), None)
    if family is None:
        raise PackageError(f"{fields.get('ID', 'this system') or 'this system'} is neither Debian nor Ubuntu")
    codename = fields.get(f"{family.upper()}_CODENAME") or fields.get("VERSION_CODENAME", "")
    return codename, *RELEASES[family]


def cache() -> Path:
    """Where unpacked programs lie.

    It is the user's cache and not the project's folder: a wheel's folder may be read-only, and clones share one copy.
    """
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lockstep"


def unpacked(package: str, architecture: str = "") -> Path:
    """The folder where `unpack` puts a package's tree; `architecture` where it is not the system's own."""
    return cache() / (f"{package}-{architecture}" if architecture else package)


def command(package: str, architecture: str = "") -> list[str]:
    """The start of a command line that runs the unpacked program of the package's name, by its own loader.

    Raises:
        PackageError: it is not unpacked.
    """
    tree = unpacked(package, architecture)
    program = tree / "usr" / "bin" / package
    loader = next(iter(sorted(tree.glob("usr/lib/*/ld-linux*.so.*"))), None)
    if loader is None or not program.is_file():
        raise PackageError(f"{package} is not unpacked in {tree}")
    return [str(loader), "--inhibit-cache", "--library-path", str(loader.parent), str(program)]


def unpack(package: str, architecture: str = "") -> None:
    """Fetch a package with all it depends on, and put its tree in place, whole or not at all.

    Raises:
        PackageError: this system has no apt, no archive among its sources, or apt refused.
    """
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise PackageError(f"{tool} is missing, so {package} cannot be fetched here")
    codename, suite, components = release(_os_release())
    mirrors = archives(sources(), codename)
    if not mirrors:
        raise PackageError(f"no source of apt's serves {codename} main, so {package} cannot be fetched")
    tree = unpacked(package, architecture)
    try:
        tree.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{package}-", dir=tree.parent) as scratch:
            _download(package, architecture, Path(scratch), tuple(mirror.stanza(suite, components) for mirror in mirrors))
            _put(Path(scratch) / "tree", tree)
    except OSError as error:
        raise PackageError(f"{package} cannot be unpacked in {tree.parent}: {error.strerror}") from error


def _os_release() -> str:
    try:
        return OS_RELEASE.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise PackageError("this system has no os-release file, so its archive is not known") from None


def _download(package: str, architecture: str, scratch: Path, stanzas: tuple[str, ...]) -> None:
    """Packages of the first mirror that serves them, unpacked in scratch/tree."""
    refusals = []
    for number, stanza in enumerate(stanzas):
        state = scratch / str(number)
        try:
            _fetch(package, architecture, state, stanza)
        except PackageError as error:
            refusals.append(str(error))
            continue
        tree = scratch / "tree"
        tree.mkdir()
        for archive in sorted((state / "cache" / "archives").glob("*.deb")):
            _run(["dpkg-deb", "--extract", str(archive), str(tree)], package)
        return
    raise PackageError(refusals[0])


def _fetch(package: str, architecture: str, state: Path, stanza: str) -> None:
    for folder in ("lists/partial", "cache/archives/partial", "sources"):
        (state / folder).mkdir(parents=True)
    (state / "status").touch()
    (state / "sources" / "own.sources").write_text(stanza, encoding="utf-8")
    options = {
        "Dir::Etc::SourceList": "/dev/null",
        "Dir::Etc::SourceParts": state / "sources",
        "Dir::Etc::Preferences": "/dev/null",
        "Dir::Etc::PreferencesParts": "/dev/null",
        "Dir::State": state,
        "Dir::State::Lists": state / "lists",
        "Dir::State::Status": state / "status",
        "Dir::Cache": state / "cache",
        "Debug::NoLocking": "1",  # the lock guards the system's package state, which is not ours
        "APT::Update::Error-Mode": "any",  # a mirror that fails is a failure here, not a warning
        "Acquire::Languages": "none",
        "Acquire::Retries": "2",
        # apt's own download user could not enter a folder of this user's home.
        "APT::Sandbox::User": "root",
    }
    if architecture:
        options |= {"APT::Architecture": architecture, "APT::Architectures": architecture}
    apt = ["apt-get", "--quiet", "--yes", *(f"--option={key}={value}" for key, value in options.items())]
    _run([*apt, "update"], package)
    _run([*apt, "install", "--download-only", "--no-install-recommends", package], package)


def _run(argv: list[str], package: str) -> None:
    environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(
            argv,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=APT_TIMEOUT_S,
            check=False,
            text=True,
        )
    except subprocess.TimeoutExpired:
        raise PackageError(f"{package}: {argv[0]} did not end within {APT_TIMEOUT_S:.0f} s") from None
    if done.returncode != 0:
        said = [line for line in done.stdout.splitlines() if line.startswith(("E:", "dpkg-deb: error"))]
        raise PackageError(f"{package}: {said[0] if said else f'{argv[0]} ended with {done.returncode}'}")


def _put(fresh: Path, tree: Path) -> None:
    """Move the tree into place by one rename; when another process was first, its tree stays."""
    try:
        fresh.rename(tree)
    except OSError:
        if not tree.is_dir():
            raise


def main(package: str) -> int:
    """Print the command that runs the package's program, fetched where it is not there yet."""
    try:
        if not unpacked(package).is_dir():
            unpack(package)
        print(shlex.join(command(package)))
    except PackageError as error:
        print(f"lockstep: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
