"""`python -m controller.prepare [FACTORY]`: makes what a factory's Jobs, its shadow and its OPC UA server need, once on a machine.

A core does the same for its Jobs before its first scan, a shadow for its twins, the server for its nodes; done beforehand, nobody
waits for it.
"""

import sys
from pathlib import Path

from controller.opcua import nodes
from controller.opcua.nodes.sources import NodesetError
from controller.shadow.ready import prepare as prepare_twins
from twin.factory import FactoryError, read
from twin.making import prepare

DEMO = Path(__file__).parent / "demo" / "factory.toml"


def main() -> int:
    """The process. Returns 2 where the file or the kernels' cache folder cannot be used."""
    try:
        factory = read(Path(sys.argv[1]) if len(sys.argv) > 1 else DEMO)
        prepare(factory)
        prepare_twins(factory, lambda line: print(line, flush=True))
    except (FactoryError, OSError) as unusable:
        print(unusable, file=sys.stderr)
        return 2
    try:
        nodes.load(("", ""))
    except NodesetError as missing:  # nobody but the server needs them, and it says so, too
        print(missing, file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
