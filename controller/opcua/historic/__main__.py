"""python -m controller.opcua.historic FOLDER: answers questions about History, which come on standard input in frames.

A process of its own: reading a year may take a while and loads a compiler; the server must not wait for either.
"""

import sys
from pathlib import Path
from typing import BinaryIO

import msgspec

from controller.history.door import Door
from controller.history.kept import HistoryError
from controller.opcua.historic.answers import Answers
from controller.opcua.historic.questions import MOST_FRAME, NO_DATA, Answer, Question, frame


def main(folder: Path, asked: BinaryIO, told: BinaryIO) -> None:
    """Answer until nobody asks any more."""
    decoder = msgspec.msgpack.Decoder(Question)
    answers: Answers | None = None
    while len(head := asked.read(4)) == 4:
        size = int.from_bytes(head, "big")
        assert size <= MOST_FRAME
        question = decoder.decode(asked.read(size))
        if answers is None:
            answers = _opened(folder)
        told.write(frame(answers.answer(question) if answers else Answer(question.number, NO_DATA)))
        told.flush()


def _opened(folder: Path) -> Answers | None:
    try:
        return Answers(Door(folder))
    except HistoryError:
        return None


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.stdin.buffer, sys.stdout.buffer)
