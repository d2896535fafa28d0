"""Names of computers and URLs in files, as far as they can be told to be wrong without asking anybody."""

from urllib.parse import SplitResult, urlsplit

LONGEST = 253
ALLOWED = f"a name or an address of at most {LONGEST} letters, each part between its dots 1 to 63"

NOWHERE = SplitResult("", "", "", "", "")


def fits(host: str) -> bool:
    """Whether a name can be looked up at all: what cannot be encoded (RFC 1035, 3490) is no mistake of the network's."""
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return 0 < len(host) <= LONGEST and host.isprintable() and " " not in host


def split(url: str) -> SplitResult | None:
    """The parts of a URL, its port a number or none; None where it has no such parts."""
    try:
        parts = urlsplit(url)
        return parts if parts.port is None or parts.port else None
    except ValueError:
        return None
