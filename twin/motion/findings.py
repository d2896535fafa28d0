"""What reading and checking a program find: refusals, which forbid a Job, and notices, which don't."""

from dataclasses import dataclass

from twin.motion.limits import JobError

MOST_REFUSALS = 100


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a program is not carried out.

    Attributes:
        line: of the program, from 1; 0 where the program as a whole is meant.
        axis: X, Y, Z or E, or empty.
        value, limit: what was asked for and what is allowed, None where there is no number.
    """

    line: int
    axis: str
    value: float | None
    limit: float | None
    text: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.text}" if self.line else self.text


@dataclass(frozen=True, slots=True)
class Notice:
    """Something harmless that its author should know: the first line where it is so, and how often it is."""

    line: int
    text: str
    count: int

    def __str__(self) -> str:
        often = f" ({self.count} times)" if self.count > 1 else ""
        return f"line {self.line}: {self.text}{often}"


class Findings:
    """Collects refusals, the first hundred of them, and notices, one of a kind."""

    def __init__(self) -> None:
        self._refusals: list[Refusal] = []
        self._more = 0
        self._notices: dict[str, tuple[int, str, int]] = {}

    def refuse(
        self, line: int, text: str, axis: str = "", value: float | None = None, limit: float | None = None
    ) -> None:
        if len(self._refusals) < MOST_REFUSALS:
            self._refusals.append(Refusal(line, axis, value, limit, text))
        else:
            self._more += 1

    def refuse_error(self, line: int, error: JobError) -> None:
        self.refuse(line, str(error), error.axis, error.value, error.limit)

    def warn(self, line: int, text: str, kind: str = "", count: int = 1) -> None:
        """Count under `kind` (the text itself unless told); the first line and text of a kind are kept."""
        first, said, before = self._notices.get(kind or text, (line, text, 0))
        self._notices[kind or text] = (first, said, before + count)

    @property
    def refusals(self) -> tuple[Refusal, ...]:
        found = sorted(self._refusals, key=lambda refusal: refusal.line)
        if self._more:
            found.append(Refusal(0, "", None, None, f"and {self._more} more"))
        return tuple(found)

    @property
    def notices(self) -> tuple[Notice, ...]:
        return tuple(Notice(*found) for found in self._notices.values())
