"""Gives a Python process another source for one module: LOCKSTEP_MUTANT=MODULE=FILE, with this folder on PYTHONPATH.

Python imports this by its name before anything else, in the children of such a process too.
"""

import os
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder, SourceFileLoader
from pathlib import Path


class _Edited(SourceFileLoader):
    """Compiles the other source, past the bytecode cache; line numbers and `__file__` stay the module's own."""

    def get_code(self, fullname):
        other = Path(_FILE)
        other.with_suffix(".imported").touch()
        return compile(other.read_text(encoding="utf-8"), self.path, "exec", dont_inherit=True)


class _Finder(MetaPathFinder):
    def find_spec(self, fullname, path=None, target=None):
        if fullname != _MODULE:
            return None
        found = PathFinder.find_spec(fullname, path, target)
        if found is not None and found.origin is not None:
            found.loader = _Edited(fullname, found.origin)
        return found


if named := os.environ.get("LOCKSTEP_MUTANT"):
    _MODULE, _FILE = named.split("=", 1)
    sys.meta_path.insert(0, _Finder())
