"""Long answers, made slice by slice: between two of them others are served."""

from collections.abc import Generator

from controller.opcua.asked import Asked

Work = Generator[None, None, bytes]
"""Makes an answer, slice by slice."""


class Turn:
    """Waits until everybody else who is ready had a turn."""

    def __await__(self) -> Generator[None, None, None]:
        yield


def sliced(asked: Asked, work: Work) -> bytes | None:
    """What some work comes to, at once when one slice is enough; else it is answered later."""
    try:
        next(work)
    except StopIteration as done:
        made: bytes = done.value
        return made
    asked.later(_finished(work))
    return None


async def _finished(work: Work) -> bytes:
    while True:
        await Turn()
        try:
            next(work)
        except StopIteration as done:
            made: bytes = done.value
            return made
