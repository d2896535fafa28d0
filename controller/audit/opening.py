"""What a start finds of a chain, before it is judged."""

from controller.audit.chain import ChainError
from controller.audit.files import Place, last_line, read_head, shorten


def size_of(place: Place) -> int:
    """Bytes of all files of a chain."""
    return sum(place.file(number).stat().st_size for number in place.numbers())


def only_begun(place: Place, key: bytes) -> bool:
    """Whether there is no more than the first record of a first start, which ended before it had written its first head."""
    numbers = place.numbers()
    if numbers != [1]:
        return not numbers
    try:
        last, _ = last_line(place.file(1), key)
    except ChainError:
        return False
    return last is None or last.number == 1


def drop_unfinished(place: Place, key: bytes) -> str:
    """Cut off what a power cut leaves unfinished at the end, a record or a head, of which nobody was told. What was there."""
    if place.heads.exists():
        shorten(place.heads, place.heads.read_bytes().rfind(b"\n") + 1)
    for number in reversed(place.numbers()):
        path = place.file(number)
        try:
            last, rest = last_line(path, key)
        except ChainError:
            return ""
        if last is None and place.file(number - 1).exists():  # a file in which nothing was ever acknowledged
            path.unlink()
            continue
        shorten(path, path.stat().st_size - rest)
        return f"{rest} bytes of an unfinished record at the end of {path.name}" if rest else ""
    return ""


def highest(place: Place, key: bytes) -> int:
    """The highest number that can be read in records and heads: none is given again."""
    most = 0
    for number in place.numbers():
        try:
            last, _ = last_line(place.file(number), key)
        except ChainError:
            continue
        most = max(most, last.number if last is not None else 0)
    for line in place.heads.read_bytes().split(b"\n") if place.heads.exists() else ():
        try:
            most = max(most, read_head(line, key)[0].number)
        except ChainError:
            continue
    return most
