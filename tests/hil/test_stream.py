"""A step stream on its way is the words that were queued, wherever it is cut, forgotten or looked at."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hil.stream import FRAME, ROOM, Stream
from twin.clock import Ns

ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("queue"), st.integers(0, 50), st.integers(1, 400)),
        st.tuples(st.just("cut"), st.integers(0, 300), st.just(0)),
        st.tuples(st.just("played"), st.integers(0, 300), st.just(0)),
    ),
    max_size=60,
)


@given(ACTS, st.integers(0, 3 * ROOM))
def test_what_is_played_is_what_was_queued(acts: list[tuple[str, int, int]], start: int) -> None:
    stream, plain, now, number = Stream(), {}, start, 0
    for act, offset, count in acts:
        if act == "queue":
            at = max(stream.end, now) + offset
            words = np.arange(number + 1, number + 1 + count, dtype=np.uint32)
            number += count
            plain.update({at + i: int(word) for i, word in enumerate(words)})
            stream.queue(Ns(at * FRAME), words)
        elif act == "cut":
            plain = {at: word for at, word in plain.items() if at < now + offset}
            stream.cut(Ns((now + offset) * FRAME))
        else:
            now += offset
            stream.played(Ns(now * FRAME))
        seen = stream.words(Ns(now * FRAME), Ns(600 * FRAME))
        wanted = [plain.get(at, 0) for at in range(now, now + 600)]
        assert list(seen) == wanted[: len(seen)] and not any(wanted[len(seen) :])
        assert bool(stream) or not any(wanted)
