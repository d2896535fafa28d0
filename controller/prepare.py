"""`python -m controller.prepare [FACTORY]`: compiles what the Jobs of a factory's machines need, once on a machine.

A core does the same before its first scan; done beforehand, nobody waits for it.
"""

import sys
from pathlib import Path

from twin.factory import FactoryError, read
from twin.making import prepare

DEMO = Path(__file__).parent / "demo" / "factory.toml"


def main() -> int:
    """The process. Returns 2 where the file or the kernels' cache folder cannot be used."""
    try:
        prepare(read(Path(sys.argv[1]) if len(sys.argv) > 1 else DEMO))
    except (FactoryError, OSError) as unusable:
        print(unusable, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
