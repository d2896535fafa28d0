"""What the tests of all importers need."""

import json
from typing import Any

import pytest

from twin.maps import MapError, Place
from twin.maps.importers import imported
from twin.maps.importers.making import Imported


def made(format: str, text: Any, **options: Any) -> Imported:
    return imported(format, [("f", text if isinstance(text, str) else json.dumps(text, indent=1))], **options)


def mistakes(format: str, text: Any) -> tuple[str, ...]:
    with pytest.raises(MapError) as found:
        made(format, text)
    return tuple(found.value.mistakes)


def place(of: Imported, name: str) -> Place:
    found: Place = of.map[name].place
    return found
