"""Takes values out of the tables of a TOML file, and notes every mistake with its key, the value and what is allowed."""

from typing import Any

NAME_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_")


class Mistakes(ValueError):
    """A file that cannot be used. `mistakes` holds one line for each."""

    def __init__(self, mistakes: tuple[str, ...]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


class Reader:
    """Collects mistakes while values are taken out of the tables of a TOML file.

    Attributes:
        mistakes: one line for each, with its key, the value and what is allowed.
    """

    def __init__(self) -> None:
        self.mistakes: list[str] = []

    def wrong(self, key: str, text: str) -> None:
        """Note a mistake."""
        self.mistakes.append(f"{key}: {text}")

    def table(self, key: str, value: Any, allowed: tuple[str, ...] | None = None) -> dict[str, Any]:
        """A table; keys that are not allowed are mistakes."""
        if not isinstance(value, dict):
            self.wrong(key, f"must be a table, not {value!r}")
            return {}
        if allowed is not None:
            for name in value:
                if name not in allowed:
                    self.wrong(f"{key}.{name}".lstrip("."), f"unknown key; allowed are {', '.join(allowed)}")
        return value

    def tables(self, key: str, value: Any) -> list[Any]:
        """A list of tables."""
        if not isinstance(value, list):
            self.wrong(key, f"must be a list of tables: [[{key}]]")
            return []
        return value

    def named(self, key: str, value: Any) -> dict[str, Any]:
        """A table of tables whose keys are names."""
        found = self.table(key, value)
        for name in found:
            if not name or set(name) - NAME_LETTERS:
                self.wrong(f"{key}.{name}", "a name is made of a-z, 0-9, - and _")
        return found

    def integer(self, key: str, value: Any, low: int, high: int) -> int:
        """A whole number in its range."""
        if type(value) is not int or not low <= value <= high:
            self.wrong(key, f"must be a whole number from {low} to {high}, not {value!r}")
            return low
        return value

    def multiple(self, key: str, value: Any, name: str, of: int, high: int) -> int:
        """A whole number of times another one, which has a name."""
        if type(value) is not int or not of <= value <= high or value % of:
            self.wrong(key, f"must be a multiple of {name}, from {of} to {high}, not {value!r}")
            return of
        return value

    def number(self, key: str, value: Any, low: float, high: float) -> float:
        """A number in its range."""
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
            self.wrong(key, f"must be a number from {low:g} to {high:g}, not {value!r}")
            return low
        return float(value)

    def numbers(self, key: str, value: Any, names: tuple[str, ...], low: float, high: float) -> tuple[float, ...]:
        """A list of as many numbers as there are names, each in the range."""
        if not isinstance(value, list) or len(value) != len(names):
            self.wrong(key, f"must be a list of {', '.join(names)}, not {value!r}")
            return (low,) * len(names)
        return tuple(self.number(f"{key}[{i}]", v, low, high) for i, v in enumerate(value))

    def text(self, key: str, value: Any) -> str:
        """A text that is not empty."""
        if not isinstance(value, str) or not value:
            self.wrong(key, f"must be a text, not {value!r}")
            return ""
        return value

    def flag(self, key: str, value: Any) -> bool:
        """true or false."""
        if not isinstance(value, bool):
            self.wrong(key, f"must be true or false, not {value!r}")
        return value is True

    def choice(self, key: str, value: Any, allowed: tuple[str, ...]) -> str:
        """One of the values that are allowed."""
        if value not in allowed:
            self.wrong(key, f"must be one of {', '.join(allowed) or '(none declared)'}, not {value!r}")
            return ""
        return str(value)
